"""Step a world that was exported to ONNX, with onnxruntime, numpy and safetensors alone: neither torch nor gwm_sim.

gwm export onnx gwm-mini world.onnx
python examples/onnx_rollout.py world.onnx
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime
from safetensors.numpy import load_file, save_file


class OnnxWorld:
    """One world in ONNX Runtime. Its state is a few arrays by name, which go into a step and come out of it."""

    def __init__(self, file: Path) -> None:
        """Read what `gwm export onnx` wrote as `file`, and beside it."""
        self._encoder = onnxruntime.InferenceSession(file.with_suffix(".encoder.onnx"))
        self._world = onnxruntime.InferenceSession(file)
        self._starts = load_file(file.with_suffix(".starts.safetensors"))
        self._inputs = {item.name: item.shape[1:] for item in self._world.get_inputs()}
        self._state: dict[str, np.ndarray] = {}
        self.about = json.loads(self._world.get_modelmeta().custom_metadata_map["gwm_sim"])
        """What the numbers mean: names, units and bounds of actions and telemetry, rate [Hz], objects, tasks."""

    def reset(self, start: int) -> np.ndarray:
        """Begin with one of the initial states; returns the frame (H, V*W, 3) that it shows."""
        given = {name: values[start : start + 1] for name, values in self._starts.items()}
        names = {item.name for item in self._encoder.get_inputs()}
        self._state = run(self._encoder, {name: given[name] for name in names})
        self._state["properties"] = given["properties"]
        return given["frames"][0, -1]

    def step(self, action: np.ndarray, noise: np.random.Generator | None = None) -> dict[str, np.ndarray]:
        """Advance by an action (A,). Without `noise` it is the most likely future of a world that has several."""
        given = self._state | {"action": action[None].astype(np.float32)}
        if "noise" in self._inputs:
            shape = 1, *self._inputs["noise"]
            given["noise"] = (np.zeros(shape) if noise is None else noise.normal(size=shape)).astype(np.float32)
        made = run(self._world, {name: given[name] for name in self._inputs})
        self._state |= {name.replace("next.", "state."): made[name] for name in made if name.startswith("next.")}
        return made


def run(session: onnxruntime.InferenceSession, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All outputs by name."""
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(names, given), strict=True))


def main() -> None:
    """Hold one action, and write what follows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", type=Path, help="what `gwm export onnx` wrote")
    parser.add_argument("--start", type=int, default=0, help="which initial state")
    parser.add_argument("--steps", type=int, default=20, help="how many")
    parser.add_argument("--action", type=float, nargs="+", help="the action of each step; by default zeros")
    parser.add_argument("--out", type=Path, default=Path("rollout.safetensors"), help="file for frames and telemetry")
    options = parser.parse_args()

    world = OnnxWorld(options.world)
    low, high = (np.array([action[end] for action in world.about["actions"]]) for end in ("low", "high"))
    action = np.zeros(len(low)) if options.action is None else np.array(options.action)
    if action.shape != low.shape:
        parser.error(f"--action needs {len(low)} numbers: {', '.join(a['name'] for a in world.about['actions'])}")
    frames, telemetry = [world.reset(options.start)], []
    for _ in range(options.steps):
        made = world.step(action.clip(low, high))
        frames.append(made["frame"][0])
        telemetry.append(made["next.telemetry"][0])
    save_file({"frames": np.stack(frames), "telemetry": np.stack(telemetry)}, options.out)
    last = ", ".join(
        f"{column['name']} {value:.3f} {column['unit']}".rstrip()
        for column, value in zip(world.about["telemetry"], telemetry[-1], strict=True)
    )
    print(f"{world.about['model']} after {options.steps} steps: {last}")
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
