"""Training that is killed, for tests of what goes on afterwards."""

from collections.abc import Collection

import pytest
import torch

from gwm_sim.training import trainer


def kill_training(monkeypatch: pytest.MonkeyPatch, steps: Collection[int]) -> None:
    """Save after every step, and interrupt these before they are saved, counted over all runs from here on."""
    monkeypatch.setattr(trainer, "SAVE_EVERY", 0.0)
    tick = trainer.PhaseClock.tick
    ticks = 0

    def tick_or_die(self: trainer.PhaseClock) -> None:
        nonlocal ticks
        ticks += 1
        if ticks in steps:
            raise KeyboardInterrupt
        tick(self)

    monkeypatch.setattr(trainer.PhaseClock, "tick", tick_or_die)


def compute_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two runs compute alike on a busy machine, too."""
    monkeypatch.setattr(trainer, "faster_precision", lambda device: torch.float32)


__all__ = ["compute_alike", "kill_training"]
