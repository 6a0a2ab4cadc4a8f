"""Recipes of clusters: no linter complains, and what a job runs on its nodes is a command that `gwm` takes."""

import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from gwm_sim.cli import parse

ROOT = Path(__file__).parents[1]
CLUSTERS = ROOT / "examples" / "clusters"
SBATCH = sorted(CLUSTERS.glob("*.sbatch"))
JOB = {"SLURM_JOB_ID": "70123", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_NUM_NODES": "2"}


def lint(linter: str, *words: str | Path) -> None:
    """Let a linter of this environment, or of this machine, read a file."""
    found = shutil.which(linter, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"{linter} is not installed")
    ended = subprocess.run([found, *words], capture_output=True, encoding="utf-8", check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def usage(script: Path) -> list[str]:
    """What a script is called with in its first comment."""
    line = next(line for line in script.read_text(encoding="utf-8").splitlines() if line.startswith("#   sbatch "))
    return shlex.split(line)[3:]


def step(script: str, words: list[str], folder: Path) -> list[str]:
    """What a job lets every node run, found by a `srun` that writes it down."""
    (folder / "srun").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {folder}/step\n', encoding="utf-8")
    (folder / "scontrol").write_text('#!/bin/sh\nprintf "n1\\nn2\\n"\n', encoding="utf-8")
    (folder / "hostname").write_text('#!/bin/sh\necho "10.0.0.1 192.168.0.1 "\n', encoding="utf-8")
    for name in ("srun", "scontrol", "hostname"):
        (folder / name).chmod(0o755)
    job = os.environ | JOB | {"SLURM_CPUS_PER_TASK": "32", "SLURM_GPUS_ON_NODE": "4"}
    job["PATH"] = f"{folder}:{job['PATH']}"
    subprocess.run(["bash", CLUSTERS / script, *words], env=job, check=True)
    return (folder / "step").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("script", SBATCH, ids=lambda script: script.name)
def test_shellcheck_finds_nothing_in_scripts(script: Path) -> None:
    lint("shellcheck", script)


def test_hadolint_finds_nothing_in_the_image() -> None:
    lint("hadolint", CLUSTERS / "Dockerfile")


@pytest.mark.slow
def test_what_goes_into_the_image_is_all_that_installing_needs(tmp_path: Path) -> None:
    allowed = (CLUSTERS / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    for name in (line[1:] for line in allowed if line.startswith("!")):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, symlinks=True)
        else:
            shutil.copy(ROOT / name, tmp_path)
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "."], cwd=tmp_path, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"gwm_sim/envs/__init__.py", "gwm_sim/pretrained/gwm-mini/model.safetensors"} <= names


def test_torchrun_is_given_every_node_and_gpu(tmp_path: Path) -> None:
    words = step("train.sbatch", usage(CLUSTERS / "train.sbatch"), tmp_path)
    assert words[0] == "torchrun"
    told: dict[str, Any] = dict(zip(words[1:11:2], words[2:11:2], strict=True))
    assert told == {
        "--nnodes": "2",
        "--nproc-per-node": "4",
        "--rdzv-backend": "c10d",
        "--rdzv-endpoint": "n1:20123",
        "--rdzv-id": "70123",
    }
    assert words[11:14] == ["-m", "gwm_sim", "train"]
    config = parse("train", words[14:])
    assert config.data == (Path("data.hdf5"),) and config.resume and config.minutes == 200


def test_ray_runs_the_command_on_a_cluster_of_all_nodes(tmp_path: Path) -> None:
    words = step("ray.sbatch", usage(CLUSTERS / "ray.sbatch"), tmp_path)
    split = words.index("--")
    cluster = ["--address", "10.0.0.1:20123", "--min-nodes", "2", "--num-cpus", "32"]
    assert words[:split] == ["ray", "symmetric-run", *cluster]
    assert words[split + 1 : split + 3] == ["gwm", "collect"]
    config = parse("collect", words[split + 3 :])
    assert config.engine == "ray" and config.address == "10.0.0.1:20123" and config.episodes == 20_000


@pytest.mark.parametrize("script", SBATCH, ids=lambda script: script.name)
def test_a_script_without_a_command_says_how_it_is_called(script: Path) -> None:
    ended = subprocess.run(["bash", script], capture_output=True, encoding="utf-8", check=False)
    assert ended.returncode == 2 and ended.stderr.startswith("usage: sbatch ")


def test_skypilot_starts_a_process_for_every_gpu() -> None:
    yaml = pytest.importorskip("yaml")
    task = yaml.safe_load((CLUSTERS / "sky.yaml").read_text(encoding="utf-8"))
    assert task["file_mounts"]["/bucket"]["mode"] == "MOUNT_CACHED"
    ended = subprocess.run(
        ["bash", "-euc", task["run"].replace("~/gwm/bin/torchrun", "printf '%s\\n'")],
        env=os.environ
        | {name: str(value) for name, value in task["envs"].items()}
        | {"SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2", "SKYPILOT_NUM_NODES": "2"}
        | {"SKYPILOT_NUM_GPUS_PER_NODE": "8", "SKYPILOT_TASK_ID": "sky-1"},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    words = ended.stdout.splitlines()
    split = words.index("-m")
    assert words[:4] == ["--nnodes", "2", "--nproc-per-node", "8"] and "10.0.0.1:29500" in words[:split]
    config = parse("train", words[split + 3 :])
    assert config.out == Path("/bucket/my-world") and config.resume
