"""Put a model together of parts that learned apart, and calibrate it as after training.

No phase of training looks at what the others learn, so that they may learn at the same time, each on a core of its own:
locator and painter from one run, say, and what happens to robot and objects from another.

python benchmarks/join.py --base runs/bodies --parts locator painter --of runs/painted --data SEE... --out runs/joined
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from program import launch

from gwm_sim.errors import ConfigError
from gwm_sim.model.checkpoint import BANK_FILE
from gwm_sim.model.world_model import WorldModel
from gwm_sim.training.dataset import load_training_data
from gwm_sim.training.fitting.calibration import calibrate
from gwm_sim.training.phases.phase import RENDERS, SEES_FRAMES

Part = Literal["tokenizer", "locator", "depth", "dynamics", "painter"]
BEGINNINGS: Final[dict[Part, tuple[str, ...]]] = {
    "tokenizer": SEES_FRAMES,
    "locator": ("locator.",),
    "depth": ("depth_head.",),
    "dynamics": ("dynamics.", "task_head."),
    "painter": (RENDERS, "renderer.", "turn_reader."),
}


@dataclass(frozen=True)
class JoinConfig:
    """Take parts of one model, and all else of another."""

    base: str
    """Name of a shipped model, or the folder of one; its configuration and its start states are kept."""
    of: str
    """The model whose parts are taken."""
    parts: tuple[Part, ...]
    """What is taken: weights that a phase of `gwm train` learns."""
    data: tuple[Path, ...]
    """Training data with pictures, to calibrate uncertainty on their validation episodes."""
    out: Path
    """Folder of the new model."""


def takes(parts: tuple[Part, ...], name: str) -> bool:
    """Whether a weight belongs to the parts."""
    if name.startswith(RENDERS):
        return "painter" in parts  # though it is a part of the dynamics
    return any(name.startswith(BEGINNINGS[part]) for part in parts)


def main(config: JoinConfig) -> int:
    """Join, calibrate, save."""
    if (config.out / "config.json").exists():
        raise ConfigError(f"{config.out} holds a model already: give another --out")
    base, other = (WorldModel.load(name, "cpu") for name in (config.base, config.of))
    assert base.folder is not None
    starts = base.folder / BANK_FILE
    weights, theirs = base.state_dict(), other.state_dict()
    taken = [name for name in weights if takes(config.parts, name)]
    strange = [name for name in taken if name not in theirs or theirs[name].shape != weights[name].shape]
    if strange or not taken:
        raise ConfigError(f"{config.of} has no {' and '.join(config.parts)} as {config.base} has: {strange[:3]}")
    base.load_state_dict(weights | {name: theirs[name] for name in taken})
    base.eval()
    config.out.mkdir(parents=True, exist_ok=True)
    data = load_training_data(config.data, base.config.cameras)
    calibrate(base, data, familiar="tokenizer" not in config.parts)
    base.save(config.out)
    if starts.exists():
        shutil.copyfile(starts, config.out / BANK_FILE)
    print(f"{config.out}: model {base.digest()}, {len(taken)} of {len(weights)} tensors of {config.of}")
    return 0


if __name__ == "__main__":
    launch(main, JoinConfig)
