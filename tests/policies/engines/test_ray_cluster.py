"""Workers in a Ray cluster: the same results as here, nothing left behind, and one clear error for what cannot be."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from verbs import gwm

import gwm_sim
from gwm_sim.data.episode_file import EpisodeFile, parts_folder
from gwm_sim.errors import ConfigError, MissingDependency
from gwm_sim.policies.engines import ray_cluster
from gwm_sim.policies.engines.engine import Engine
from gwm_sim.policies.engines.ray_cluster import RayEngine
from gwm_sim.policies.testing.engine import Doubler, EngineConformance, doubles
from gwm_sim.policies.worker_pool import WorkerPool

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
unwatched = pytest.mark.filterwarnings("ignore::ResourceWarning")  # Ray leaves ends of pipes to the collector

RECORD = "collect --episodes 20 --steps 40 --seed 300000 --rendering fast --workers 2".split()


@pytest.fixture(scope="module", autouse=True)
def guarded() -> Iterator[None]:
    """Let nobody else use a cluster of these tests; Ray reads this when it is imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        yield


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Address of a cluster on this machine that others have started."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--node-ip-address=127.0.0.1"]
    command += [f"--port={port}", "--num-cpus=2", "--include-dashboard=false", "--disable-usage-stats"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8") as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        said = next((line for line in lines if "Ray runtime started" in line), None)
        assert said is not None, "no cluster has started"
        yield f"127.0.0.1:{port}"
        process.terminate()
        process.communicate(timeout=60)


@needs_ray
@unwatched
@pytest.mark.slow
class TestRayEngine(EngineConformance):
    address: str

    @pytest.fixture(autouse=True)
    def _connect(self, cluster: str) -> None:
        self.address = cluster

    def make_engine(self) -> Engine:
        return RayEngine(self.address)

    def test_more_workers_than_cores_do_not_wait_for_each_other(self) -> None:
        with self.pool(5) as pool:
            assert sorted(pool.run(doubles(range(1, 20)))) == [2 * number - 1 for number in range(1, 20)]

    def test_another_version_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        own = gwm_sim.__version__
        monkeypatch.setattr(gwm_sim, "__version__", "9.9")
        told = f"has other versions: gwm_sim is 9.9 here and {own} there. Install the same on all machines"
        with self.pool(1) as pool, pytest.raises(ConfigError, match=told):
            list(pool.run(doubles(range(1, 3))))

    def test_errors_of_other_machines_say_where(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("platform.node", lambda: "the-head")
        with self.pool(1, possible=False) as pool, pytest.raises(ConfigError, match=r"this cannot be made \(on .*too"):
            list(pool.run(doubles(range(1, 3))))


# --- commands ---------------------------------------------------------------------------------------------------------


def digest(path: Path) -> str:
    with EpisodeFile(path) as file:
        return file.digest()


def descendants(pid: int) -> dict[int, str]:
    """Processes that a process has begun, and those that these have, each with its command."""
    parents, commands = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            commands[int(folder.name)] = (folder / "cmdline").read_text(encoding="utf-8").replace("\0", " ")
        except OSError:
            continue  # it has ended meanwhile
        if status[0] not in "ZX":
            parents[int(folder.name)] = int(status[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return {number: commands[number] for number in found - {pid}}


def wait_for(what: Any, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def begin(*words: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "gwm_sim", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", **options)


@needs_ray
@pytest.mark.slow
def test_a_recording_is_the_same_on_ray_though_a_worker_is_killed(tmp_path: Path) -> None:
    pytest.importorskip("mujoco")
    here, there = tmp_path / "here.hdf5", tmp_path / "there.hdf5"
    assert gwm(*RECORD, "--out", here).returncode == 0
    with begin(*RECORD, "--engine", "ray", "--out", str(there)) as process:
        wait_for(lambda: len(list(parts_folder(there).glob("*.hdf5"))) > 2)
        began = descendants(process.pid)
        worker = next(pid for pid, command in began.items() if command.startswith("ray::Actor.work"))
        os.kill(worker, signal.SIGKILL)
        out, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert digest(here) == digest(there)
    assert "raylet" not in out + said and "Ray" not in out + said
    assert not [pid for pid in began if Path(f"/proc/{pid}").exists()]


@needs_ray
@pytest.mark.slow
def test_nothing_is_left_of_a_recording_that_is_interrupted(tmp_path: Path) -> None:
    pytest.importorskip("mujoco")
    out, rubbish = tmp_path / "a.hdf5", Path(os.environ.get("TMPDIR", "/tmp")) / "gwm-ray-test"
    rubbish.mkdir(exist_ok=True)  # a short name: sockets lie in it

    def begin_here() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # which tests started in the background ignore

    words = [*RECORD, "--episodes", "5000", "--engine", "ray", "--out", str(out)]
    with begin(
        *words, start_new_session=True, preexec_fn=begin_here, env=os.environ | {"TMPDIR": str(rubbish)}
    ) as head:
        wait_for(lambda: list(parts_folder(out).glob("*.hdf5")))
        began = descendants(head.pid)
        while head.poll() is None:  # as a terminal does: to the whole group, and people press again and again
            os.killpg(head.pid, signal.SIGINT)
            time.sleep(0.2)
        _, said = head.communicate(timeout=60)
    assert head.returncode == 130 and "the same command goes on" in said
    assert not list(rubbish.iterdir())
    rubbish.rmdir()
    wait_for(lambda: not [pid for pid in began if Path(f"/proc/{pid}").exists()], 30.0)


@needs_ray
@unwatched
@pytest.mark.slow
def test_numbers_are_the_same_on_ray(tiny_checkpoint: Path, tmp_path: Path) -> None:
    model = ("--model", str(tiny_checkpoint))
    commands = {
        "compare": ("compare", "--policies", "icem:population=4:iterations=1", "uniform", "--task", "reach", *model),
        "rl": ("rl", "eval", "--policy", "uniform", "--env", "GWM-BlockReach-v0", "--rows", "2", *model),
        "plan": ("plan", "--env", "GWM-World-v0", "--task", "stack", "--population", "4", "--horizon", "6", *model),
    }
    ways = {"alone": (), "local": ("--workers", "2"), "ray": ("--engine", "ray", "--workers", "2")}
    for name, words in commands.items():
        found = {}
        for way, more in ways.items():
            path = tmp_path / f"{name}.json"  # which some reports name
            ended = gwm(*words, "--episodes", "5", *more, "--json", path)
            assert ended.returncode == 0, ended.stderr
            lines = path.read_text(encoding="utf-8").splitlines()
            found[way] = [line for line in lines if "plan_ms" not in line]
        assert found["alone"] == found["local"] == found["ray"], name


# --- what cannot be ---------------------------------------------------------------------------------------------------


def test_ray_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependency, match=r'--engine ray needs ray.*pip install "gwm-sim\[ray\]"'):
        RayEngine().open(1)


@needs_ray
@unwatched
@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", r"no Ray cluster answers at 127.0.0.1:1 .*refused.*Start one"),
        ("ray://127.0.0.1:1", r"no Ray cluster answers at ray://127.0.0.1:1 "),
        ("cluster", r"--address must be auto, HOST:PORT or ray://HOST:PORT, got 'cluster'"),
    ],
)
def test_a_cluster_that_cannot_be_reached_is_told_at_once(address: str, message: str) -> None:
    before = time.monotonic()
    with pytest.raises(ConfigError, match=message), WorkerPool(Doubler, 1, RayEngine(address)):
        pass
    assert time.monotonic() - before < 30


@needs_ray
@unwatched
@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_what_listens_and_is_no_cluster_is_told(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "ANSWERING", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"{scheme}127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"what answers at {address} is no Ray cluster. Start one"):
            RayEngine(address).open(1)
