"""A true world that is made up, in a process of its own as the others are."""

import sys
from pathlib import Path

import act
import pytest
from worlds import true_world
from worlds.true_world import TrueWorld

from gwm_sim.data.schema import Schema

STAGE = '''
import numpy as np
class Stage:
    """A point that is pushed along a line; the camera sees it as a grey level."""
    def play(self, seed):
        self.x = float(seed)
        for _ in range(30):
            yield None
            self.x += 1
    def step(self, action): print("packages print"); self.x += float(action[0])
    def frame(self): return np.full((32, 32, 3), self.x, np.uint8)
    def telemetry(self): return {"b": np.arange(P - 1.0), "a": self.x}
    def save(self): return self.x
    def restore(self, saved): self.x = saved
    def pose(self): return self.x
    def reached(self, pose): return abs(self.x - pose) < 0.5
    def displaced(self, start, goal): return {"px": abs(goal - start)}
    def counts(self, displaced): return displaced["px"] >= 5
'''


def made_up(folder: Path, monkeypatch: pytest.MonkeyPatch, schema: Schema) -> TrueWorld:
    """The true world of a stage that is written into a folder."""
    (folder / "recorders").mkdir()
    (folder / "recorders/pusht.py").write_text(STAGE.replace("P", str(len(schema.telemetry_names)), 1))
    (folder / "act.py").write_text(Path(act.__file__).read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(true_world, "HERE", folder)
    monkeypatch.setattr(true_world, "environment", lambda venvs, world: sys.executable)
    return TrueWorld("pusht", schema, "front", folder)
