"""A killed run loses little, and its optimiser goes on."""

import itertools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from gwm_sim.model.world_model import WorldModel
from gwm_sim.training import trainer


def test_an_optimiser_goes_on_where_its_weights_are() -> None:
    """A fused one counts its steps there, also on a GPU."""
    parameter = torch.nn.Parameter(torch.zeros(2, device="meta"))
    optimiser = torch.optim.AdamW([parameter], fused=False)
    saved = {f"{key}.w": torch.zeros(size) for key, size in (("step", ()), ("exp_avg", 2), ("exp_avg_sq", 2))}
    trainer.load_optimiser(optimiser, [("w", parameter)], saved)
    assert {value.device.type for value in optimiser.state[parameter].values()} == {"meta"}


SAVED_EVERY = 0.5  # [s], in the runs that are killed

ALOUD = f"""
import sys, time
from pathlib import Path
from typing import Any
from gwm_sim.commands.train import TrainConfig, main
from gwm_sim.training import pipeline, trainer

class Clock(trainer.PhaseClock):
    def tick(self):
        super().tick()
        tell(self.step)

class Trainer(trainer.Trainer):
    def run(self, phase, *budget):
        global name
        name = phase.name
        tell("begins")
        super().run(phase, *budget)

def tell(event):
    print(time.monotonic(), name, event, file=diary, flush=True)

data, out = map(Path, sys.argv[1:3])
trainer.SAVE_EVERY, trainer.PhaseClock, pipeline.Trainer = {SAVED_EVERY}, Clock, Trainer
with open(sys.argv[3], "w") as diary:
    config = TrainConfig((data,), out, preset="tiny", minutes=1, patience=1, resume=True, device="cpu")
    sys.exit(main(config))
"""
"""Trains, and writes into a diary when each phase begins and when each step ends [s]."""


def lost(state: Path, diary: Path) -> tuple[float, float]:
    """Seconds of training that a killed run has lost, and the longest time between two entries of its diary."""
    with safe_open(state, framework="pt") as file:
        saved = json.loads(file.metadata()["progress"])
    lines = [line.split() for line in diary.read_text(encoding="utf-8").splitlines()]
    times = [float(line[0]) for line in lines]
    last = [saved["phase"], str(saved["step"])]
    kept = max(i for i, line in enumerate(lines) if line[2] == "begins" or line[1:] == last)
    return times[-1] - times[kept], max((b - a for a, b in itertools.pairwise(times)), default=0.0)


@pytest.mark.slow
def test_twenty_kills_lose_no_more_than_one_checkpoint_interval(tiny_data: Path, tmp_path: Path) -> None:
    out, diary, rng = tmp_path / "run", tmp_path / "diary", np.random.default_rng(0)
    command = [sys.executable, "-c", ALOUD, str(tiny_data), str(out), str(diary)]
    for _ in range(20):
        diary.write_text("")
        with subprocess.Popen(command) as process:
            while process.poll() is None and not ((out / trainer.STATE_FILE).exists() and diary.read_text()):
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 4 * SAVED_EVERY))
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL, "the run ended before it was killed"
        seconds, slowest = lost(out / trainer.STATE_FILE, diary)
        assert seconds <= SAVED_EVERY + slowest
        load_file(out / trainer.STATE_FILE)  # whole
    assert subprocess.run(command).returncode == 0
    WorldModel.load(out, "cpu")
