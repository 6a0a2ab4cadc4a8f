"""Whether a world that was exported goes the way of the native one: ONNX Runtime beside the environment, step by step.

python benchmarks/exported.py --json benchmarks/results/exported.json

Both begin with the same real frames, each by its own encoder, and take the same actions, which a policy chose in the
native world; of a world with several futures both get the same random numbers. A start agrees up to a horizon if all
places, of objects and of the telemetry that is in metres, are never more than `MILLIMETRES` apart and no pixel more
than `GREY_LEVELS`. The native world decodes pictures in bfloat16 where the processor has that.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Protocol

import gymnasium as gym
import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from program import circumstances, launch
from safetensors.numpy import load_file

from gwm_sim.envs import WORLD_ID
from gwm_sim.envs.spaces import image_key
from gwm_sim.errors import ConfigError
from gwm_sim.export.onnx import beside, export_onnx
from gwm_sim.files import write_json
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.registry import make_policy
from gwm_sim.progress import progress

MILLIMETRES: Final = 1.0
GREY_LEVELS: Final = 3
HORIZONS: Final = (10, 80)
Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class ExportedConfig:
    """Compare rollouts of an exported world with those of the native one."""

    model: str = "gwm-mini"
    """Name of a shipped model, or a folder."""
    policies: tuple[str, ...] = ("scripted", "uniform")
    """Who acts."""
    starts: int = 100
    """Initial states, each for every policy."""
    steps: int = HORIZONS[-1]
    """Steps of a rollout."""
    json: Path | None = None
    """Write the numbers here."""

    def __post_init__(self) -> None:
        if min(self.starts, self.steps) < 1:
            raise ConfigError(f"--starts and --steps must be at least 1, got {self.starts} and {self.steps}")


class Exported(Protocol):
    """One exported world, wherever it runs."""

    starts: Tensors

    def reset(self, start: int) -> None:
        """Begin with a start."""

    def step(self, action: NDArray[np.float32], noise: NDArray[np.float32] | None) -> Tensors:
        """Advance by one action (A,), with random numbers (1, 1 + K, noise) where the world has several futures."""
        ...


class OnnxWorld:
    """One world in ONNX Runtime, of the files that `gwm export onnx` writes."""

    def __init__(self, file: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        world, encoder, starts = beside(file)
        providers = ["CPUExecutionProvider"]
        self._world = onnxruntime.InferenceSession(world, options, providers)
        self._encoder = onnxruntime.InferenceSession(encoder, options, providers)
        self.inputs = [entry.name for entry in self._world.get_inputs()]
        self.starts: Tensors = load_file(starts)
        self.state: Tensors = {}

    def reset(self, start: int) -> None:
        """Begin with a start."""
        given = {entry.name: self.starts[entry.name][start : start + 1] for entry in self._encoder.get_inputs()}
        self.state = run(self._encoder, given) | {"properties": self.starts["properties"][start : start + 1]}

    def step(self, action: NDArray[np.float32], noise: NDArray[np.float32] | None) -> Tensors:
        """Advance by one action (A,), with random numbers (1, 1 + K, noise) where the world has several futures."""
        given = self.state | {"action": action[None]} | ({} if noise is None else {"noise": noise})
        out = run(self._world, {name: given[name] for name in self.inputs})
        self.state |= {f"state.{name.removeprefix('next.')}": value for name, value in out.items() if "next." in name}
        return out


def run(session: onnxruntime.InferenceSession, given: Tensors) -> Tensors:
    """All outputs by name."""
    names = [entry.name for entry in session.get_outputs()]
    return dict(zip(names, session.run(names, given), strict=True))


def differences(
    env: gym.Env[Any, Any], exported: Exported, policy_name: str, start: int, steps: int
) -> Iterator[tuple[float, float]]:
    """How far apart the worlds are after each step: of places [mm], and of pixels [grey levels]."""
    learned: Any = env.unwrapped
    model: WorldModel = learned.world_model
    config = model.config
    metres = [i for i, unit in enumerate(config.schema.telemetry_units) if unit == "m"]
    exported.reset(start)
    given = {name: value[start] for name, value in exported.starts.items()}
    told = dict(zip(config.properties, given.pop("properties").tolist(), strict=True))
    known = {name: value for name, value in told.items() if np.isfinite(value)}
    observation, _ = env.reset(seed=start, options=given | ({"properties": known} if known else {}))
    policy, _ = make_policy(policy_name, env, start, model)
    for _ in range(steps):
        action = policy.predict(observation)[0]
        noise = model.noise(learned.get_state()[0], None)
        observation = env.step(action)[0]
        out = exported.step(action, None if noise is None else noise[:, 0].numpy())
        state = learned.get_state()[0]
        places = [np.abs(out["next.telemetry"] - state.telemetry.numpy())[:, metres]]
        if config.schema.object_frame == "metres" and config.dynamics.objects:
            places.append(np.abs(out["next.objects"] - state.objects.numpy())[0])
        frame = np.concatenate([observation[image_key(camera)] for camera in config.cameras], axis=1)
        pixels = np.abs(out["frame"][0].astype(int) - frame.astype(int)).max()
        yield 1000 * max(float(np.nanmax(x)) for x in places if x.size), float(pixels)


def compare(config: ExportedConfig, file: Path) -> dict[str, Any]:
    """Shares of starts that agree up to each horizon, and how far apart worlds are at most."""
    model = WorldModel.load(config.model, "cpu")
    with progress("export") as show:
        count = export_onnx(model, file, config.starts, show)
    exported, rows = OnnxWorld(file), {}
    with gym.make(WORLD_ID, model=config.model, device="cpu", time_limit=None) as env, progress("compare") as show:
        for i, policy in enumerate(config.policies):
            found = []
            for start in range(count):
                show((i + start / count) / len(config.policies), f"{policy} {start}")
                found.append(list(differences(env, exported, policy, start, config.steps)))
            rows[policy] = table(np.maximum.accumulate(np.array(found), axis=1))
    return {"model": model.config.name, "model_hash": model.digest(), "starts": count, "policies": rows}


def table(apart: NDArray[np.float64]) -> dict[str, dict[str, float]]:
    """Numbers by horizon, of the greatest differences until each step (starts, steps, 2)."""
    numbers = {}
    for horizon in sorted({min(h, apart.shape[1]) for h in HORIZONS}):
        millimetres, levels = apart[:, horizon - 1].T
        numbers[str(horizon)] = {
            "agree_percent": 100 * float(((millimetres <= MILLIMETRES) & (levels <= GREY_LEVELS)).mean()),
            "places_agree_percent": 100 * float((millimetres <= MILLIMETRES).mean()),
            "millimetres_median": float(np.median(millimetres)),
            "millimetres_most": float(millimetres.max()),
            "grey_levels_median": float(np.median(levels)),
            "grey_levels_most": float(levels.max()),
        }
    return numbers


def main(config: ExportedConfig) -> int:
    """Measure, print and write."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        result = compare(config, Path(folder) / "world.onnx")
    for policy, horizons in result["policies"].items():
        for horizon, row in horizons.items():
            print(
                f"{policy}, {horizon} steps: {row['agree_percent']:.0f} % of {result['starts']} starts agree; at most "
                f"{row['millimetres_most']:.3f} mm and {row['grey_levels_most']:.0f} grey levels apart"
            )
    if config.json is not None:
        write_json(config.json, circumstances() | result)
    return 0


if __name__ == "__main__":
    launch(main, ExportedConfig)
