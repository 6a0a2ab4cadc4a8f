"""Several processes train as one does: they share each batch, one writes, and all of them end together."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import ranks
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from gwm_sim.commands.train import main
from gwm_sim.errors import ConfigError
from gwm_sim.files import exclusive
from gwm_sim.model.world_model import WorldModel
from gwm_sim.training import distributed
from gwm_sim.training.config import PRESETS, TrainConfig
from gwm_sim.training.pipeline import LOCK_FILE
from gwm_sim.training.trainer import STATE_FILE

ALONE = {"ACCELERATE_USE_CPU", "TORCHELASTIC_USE_AGENT_STORE", *distributed.VARIABLES}


@pytest.fixture(autouse=True)
def unlaunched(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ALONE:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Makes this process one of several, with nobody to talk to."""

    def become(rank: int, processes: int) -> None:
        monkeypatch.setattr(distributed, "rank", lambda: rank)
        monkeypatch.setattr(distributed, "processes", lambda: processes)

    return become


# --- what each process does -------------------------------------------------------------------------------------------


def test_parts_are_the_whole_and_equal() -> None:
    for ranks_of in (1, 2, 3, 4, 6, 12):
        parts = [distributed.part(12, rank, ranks_of) for rank in range(ranks_of)]
        assert parts[0].start == 0 and parts[-1].stop == 12
        assert {part.stop - part.start for part in parts} == {12 // ranks_of}
        assert all(one.stop == other.start for one, other in pairwise(parts))
    with pytest.raises(AssertionError, match="12 rows for 5 processes"):
        distributed.part(12, 0, 5)


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize(
    "draw", [torch.rand, torch.randn, partial(torch.randint, 7, dtype=torch.uint8)], ids=["rand", "randn", "randint"]
)
def test_processes_draw_what_one_draws(
    draw: Callable[..., Tensor], dim: int, several: Callable[[int, int], None]
) -> None:
    whole = draw(size=(6, 6), generator=torch.Generator().manual_seed(0))
    for processes in (1, 2, 3):
        shape = [6, 6]
        shape[dim] //= processes
        for part in (distributed.drawn, None):
            found, after = [], set()
            for rank in range(processes):
                several(rank, processes)
                generator = torch.Generator().manual_seed(0)
                found.append(
                    distributed.mine(whole, dim) if part is None else part(draw, shape, dim=dim, generator=generator)
                )
                after.add(float(torch.rand((), generator=generator)))
            assert torch.equal(torch.cat(found, dim), whole)
            assert len(after) == 1, "what is drawn afterwards differs"


def test_parts_of_the_work_are_done_once(several: Callable[[int, int], None]) -> None:
    done = list[int]()
    for rank in range(3):
        several(rank, 3)
        done += distributed.own_parts(range(10))
    assert sorted(done) == list(range(10))


def test_a_batch_that_cannot_be_shared_is_refused_with_one_that_can(several: Callable[[int, int], None]) -> None:
    config = TrainConfig((Path("data"),), Path("out"), steps=1)
    for preset in PRESETS:
        for processes in (1, 2, 3, 5, 8, 24, 512):
            several(0, processes)
            for batch in (1, 2, 5):
                told = replace(config, preset=preset, batch=batch)
                try:
                    distributed.check_batches(told.sizes.rows, batch)
                except ConfigError as error:
                    assert f"--batch {batch} makes" in str(error) and f"which {processes} processes" in str(error)
                    better = int(str(error).partition("give --batch ")[2].partition(",")[0])
                    for factor in (1, 3):
                        enough = replace(told, batch=factor * better)
                        distributed.check_batches(enough.sizes.rows, enough.batch)
                    fewer = (replace(told, batch=b).sizes.rows for b in range(1, min(better, 20)))
                    assert all(any(count % processes for count in rows) for rows in fewer), "it is not the least"
                else:
                    assert not any(count % processes for count in told.sizes.rows)
    several(0, 8)
    with pytest.raises(
        ConfigError, match="batches of 4, 8, 64, which 8 processes cannot share equally: give --batch 2"
    ):
        distributed.check_batches(PRESETS["preview"].rows, 1)


def test_phases_draw_batches_that_can_be_shared() -> None:
    """All batches are multiples of those that are checked."""
    for preset in PRESETS.values():
        frames, windows, rollouts, postures = preset.rows
        drawn: dict[int, tuple[int, ...]] = {
            frames: (preset.frames_per_batch // 2, preset.frames_per_batch, 2 * preset.frames_per_batch),
            windows: (preset.windows_per_batch, preset.windows_per_batch * preset.frames_per_window // 2),
        }
        assert all(count % checked == 0 for checked, counts in drawn.items() for count in counts)
        assert (rollouts, postures) == (preset.rollouts_per_batch, preset.postures_per_batch)


# --- what launchers say -----------------------------------------------------------------------------------------------


def test_one_process_is_launched_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    assert distributed.launched() is None and distributed.is_first() and distributed.own_device("cpu").type == "cpu"
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert distributed.launched() is None
    assert distributed.processes() == 1 and distributed.rank() == 0


def test_what_a_launcher_says_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert distributed.launched() == distributed.Launched(rank=5, processes=8, local_rank=1)
    assert not distributed.is_first()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert distributed.own_device("auto") == distributed.own_device("cuda") == torch.device("cuda", 1)
    assert distributed.own_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="has 1 GPUs, too few for its process 2: .* or give --device cpu"):
        distributed.own_device("auto")
    monkeypatch.delenv("MASTER_PORT")
    monkeypatch.delenv("LOCAL_RANK")
    with pytest.raises(ConfigError, match=r"WORLD_SIZE is 8, .* but LOCAL_RANK, MASTER_PORT is not set: start them by"):
        distributed.launched()


def test_a_launcher_that_starts_one_process_in_place_of_several_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    assert distributed.launched() is None  # one was asked for
    monkeypatch.setenv("MASTER_PORT", "29500")
    with pytest.raises(ConfigError, match="accelerate launch --cpu starts one process, .* give it --multi_gpu"):
        distributed.launched()


def test_processes_that_do_not_find_each_other_say_where(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(distributed, "PROMPT", timedelta(seconds=1))
    with (
        pytest.raises(
            distributed.ProcessLost, match=f"the 2 processes did not find .* at 127.0.0.1:{told['MASTER_PORT']}"
        ),
        distributed.joined("cpu"),
    ):
        pass


def free_port() -> str:
    """A port at which nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


# --- trainings --------------------------------------------------------------------------------------------------------


def farthest(one: Path, other: Path) -> dict[str, float]:
    """Largest difference of weights and averages at the end of each phase of two trainings."""
    files = sorted(one.glob("*.noted.safetensors"))
    assert [file.name for file in files] == [file.name for file in sorted(other.glob("*.noted.safetensors"))]
    apart = {}
    for file in files:
        weights, others = load_file(file), load_file(other / file.name)
        assert weights.keys() == others.keys()
        apart[file.name] = max(float((weights[name] - others[name]).abs().max()) for name in weights)
    return apart


def losses(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "losses.json").read_text())
    return found


CASES = [("reference", False), ("reference", True), ("latents", False), ("video", False)]
IDS = ["reference", "tracked", "latents", "video"]


@pytest.mark.slow
@pytest.mark.parametrize(("route", "tracked"), CASES, ids=IDS)
@pytest.mark.parametrize("double", [True, False], ids=["double", "single"])
def test_two_processes_learn_what_one_learns(route: str, tracked: bool, double: bool, tmp_path: Path) -> None:
    data = ranks.record(tmp_path / "data.hdf5", tracked)
    options: dict[str, Any] = {"data": data, "route": route, "steps": 20, "double": double}
    one, two = (ranks.train(count, out=tmp_path / f"{count}", **options) for count in (1, 2))
    learned = {loss["phase"] for loss in losses(one)}
    assert learned == set(ranks.PHASES) - ({"locator", "reader", "painter"} if route == "video" else set())
    assert len(losses(one)) == 20 * len(learned)
    for alone, shared in zip(losses(one), losses(two), strict=True):
        assert shared.pop("phase") == alone.pop("phase")
        for told in (alone, shared):
            told.pop("psnr", None)  # of it the mean over processes is told, and it is the logarithm of an error
        assert shared == pytest.approx(alone, rel=1e-3)
    if double:
        assert max(farthest(one, two).values()) < 1e-7


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(tmp_path: Path) -> None:
    data = ranks.record(tmp_path / "data.hdf5")
    options: dict[str, Any] = {"data": data, "route": "video", "steps": 20, "double": True}
    whole = ranks.train(1, out=tmp_path / "whole", **options)
    parts = tmp_path / "parts"
    ranks.train(1, out=parts, until=["tokenizer", 12], **options)
    ranks.train(2, out=parts, until=["dynamics", 5], resume=True, **options)
    ranks.train(1, out=parts, until=["dynamics", 13], resume=True, **options)
    ranks.train(2, out=parts, resume=True, **options)
    assert max(farthest(whole, parts).values()) < 1e-7


def command(data: Path, out: Path, *more: str) -> list[str]:
    """A training as users start it."""
    options = ["--data", str(data), "--out", str(out), "--preset", "tiny", "--steps", "100", "--device", "cpu", *more]
    return ["-m", "gwm_sim", "train", *options]


def messages(said: list[str]) -> list[str]:
    """What commands said on the error stream beside their progress."""
    return [line for text in said for line in text.splitlines() if line and "%  " not in line]


def wait_for(path: Path, running: list[subprocess.Popen[str]]) -> None:
    until = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < until and all(process.poll() is None for process in running)
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["the first", "the second", "all are told"])
def test_a_killed_process_ends_all_and_one_goes_on(killed: str, tiny_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with ranks.started(2, command(tiny_data, out)) as running:
        wait_for(out / STATE_FILE, running)  # the first phase ended
        if killed == "all are told":
            for process in running:
                process.send_signal(signal.SIGTERM)
        else:
            running[killed == "the second"].kill()
        results = ranks.ended(running)
    (message,) = messages([said for _, said in results])
    assert message.startswith("gwm: another of the 2 processes ended")
    assert message.endswith(f"kept in {out}: the same command with --resume goes on, with any number of processes.")
    assert all(code != 0 for code, _ in results)
    load_file(out / STATE_FILE)  # whole
    assert not list(out.rglob("*.tmp")) and not (out / "model.safetensors").exists()

    again = command(tiny_data, out, "--resume")
    with exclusive(out / LOCK_FILE, "it"), ranks.started(2, again) as running:
        results = ranks.ended(running)
    (message,) = messages([said for _, said in results])
    assert message.startswith(f"gwm: another process works on the run in {out}")
    assert sorted(code for code, _ in results) == [1, 2]

    begun = json.loads((out / "run.json").read_text())["options"]
    main(replace(TrainConfig((tiny_data,), out, preset="tiny", steps=100, device="cpu", resume=True), name="run"))
    assert begun["steps"] == 100 and WorldModel.load(out, "cpu").config.name == "run"


@pytest.mark.slow
def test_torchrun_starts_lost_processes_anew_and_they_go_on(tiny_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    launcher = ["torch.distributed.run", "--standalone", "--max-restarts", "1", "--nproc-per-node", "2"]
    told = [sys.executable, "-m", *launcher, *command(tiny_data, out, "--resume")]
    with subprocess.Popen(told, stderr=subprocess.PIPE, text=True) as launched:
        children = Path(f"/proc/{launched.pid}/task/{launched.pid}/children")
        try:
            wait_for(out / STATE_FILE, [launched])
            if not children.exists():
                pytest.skip("this system does not tell which processes others started")
            os.kill(int(children.read_text().split()[-1]), signal.SIGKILL)
            said = launched.communicate(timeout=240)[1]
        finally:
            launched.terminate()
    assert launched.returncode == 0, said
    assert len([line for line in said.splitlines() if line.startswith("gwm: ")]) == 1
    assert WorldModel.load(out, "cpu").config.name == "run"


@pytest.mark.slow
def test_budgets_in_minutes_and_early_stops_hold_for_all(tiny_data: Path, tmp_path: Path) -> None:
    for minutes, patience in ((0.15, 1.0), (0.15, 0.06)):
        out = tmp_path / f"{patience}"
        options = ["--preset", "tiny", "--minutes", f"{minutes}", "--patience", f"{patience}", "--device", "cpu"]
        with ranks.started(2, ["-m", "gwm_sim", "train", "--data", str(tiny_data), "--out", str(out), *options]) as run:
            assert [code for code, _ in ranks.ended(run)] == [0, 0]
        with safe_open(out / STATE_FILE, framework="pt") as file:
            spent = sum(json.loads(file.metadata()["progress"])["spent"])
        ends = [phase["stopped_at"] for phase in json.loads((out / "report.json").read_text())["held_out"].values()]
        if patience == 1.0:
            assert 60 * minutes <= spent < 1.5 * 60 * minutes + 5 and not ends
        else:
            assert min(ends) < 1


@pytest.mark.slow
def test_launchers_start_the_same_training(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    data = ranks.record(tmp_path / "data.hdf5")
    launchers = {
        "torchrun": ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"],
        "accelerate": [
            *("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
            *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", free_port()),
        ],
    }
    found = []
    for name, launcher in launchers.items():
        told = {"data": data, "out": tmp_path / name, "route": "video", "steps": 20}
        arguments = [ranks.__file__, json.dumps(told, default=str)]
        subprocess.run([sys.executable, "-m", *launcher, *arguments], check=True, timeout=300)
        found.append(losses(tmp_path / name))
    assert len(found[0]) == 60
    assert found[0] == found[1]
    assert farthest(*(tmp_path / name for name in launchers)) == dict.fromkeys(
        farthest(tmp_path / "torchrun", tmp_path / "torchrun"), 0.0
    )
