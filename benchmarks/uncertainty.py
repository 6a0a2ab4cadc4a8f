"""Does the learned world know what it does not know? Its uncertainty against its true error, and in unfamiliar scenes.

python benchmarks/uncertainty.py --data TEST.hdf5 --long LONG.hdf5 --json benchmarks/results/uncertainty.json

Scale: the expected error of the cubes in view beside the true one, 1 to 600 steps ahead, and after a minute in which
the robot holds still and nothing happens. Error: in windows of test episodes in which a cube moves, uncertainty is
ranked against the error of the cubes after 20 steps, beside a trivial guess: the more something moves in the
prediction, the more can be wrong. Scenes: moments of the same episodes are drawn anew in a scene with cubes of other
colours, from another camera, or with a third cube.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import mujoco
import numpy as np
import torch
from expected_errors import HORIZONS, MINUTE, encode, scale, still
from numpy.typing import NDArray
from program import circumstances, launch

from gwm_sim.commands.eval import provenance
from gwm_sim.data.episode_file import Episode, EpisodeFile
from gwm_sim.envs.blocks.initial_state import CUBE_DISTANCE, CUBE_HIGH, CUBE_LOW
from gwm_sim.envs.blocks.metrics import Objects
from gwm_sim.envs.blocks.mujoco.scene import scene_xml
from gwm_sim.envs.blocks.spec import CUBE_SIZE, EE, JOINTS, OBJECT_NAMES, OPENING
from gwm_sim.envs.tabletop.mujoco.rendering import FrameRenderer
from gwm_sim.errors import ConfigError
from gwm_sim.evaluation.open_loop import OpenLoopTest, Slot, Window
from gwm_sim.evaluation.statistics import auroc, spearman
from gwm_sim.files import write_json
from gwm_sim.model.world_model import WorldModel, check_fit
from gwm_sim.progress import Show, progress

Array = NDArray[Any]

HORIZON: Final = 20  # after which uncertainty is held against the error [steps]
MOMENTS: Final = (0, 1, 5, 10, 20)  # steps after the reset at which scenes are told apart
SCENE_SEED: Final = 0  # of which moments are drawn anew, and how they are changed

NEW_COLOURS: Final = np.array(  # neither saturated red nor blue
    [[0.05, 0.60, 0.10], [0.85, 0.75, 0.05], [0.55, 0.05, 0.65], [0.05, 0.65, 0.70], [0.90, 0.45, 0.05]]
)
CAMERA_TURN: Final = (10.0, 20.0)  # how far the front camera is turned about the bench's middle, to either side [deg]
BENCH_MIDDLE: Final = np.array([0.51, 0.0, 0.0])  # [m]
THIRD: Final = "third"


@dataclass(frozen=True)
class UncertaintyConfig:
    """Hold uncertainty against true error, and familiar against unfamiliar scenes."""

    data: Path
    """Episode file of the physics twin, collected with seeds from 300000."""
    long: Path | None = None
    """Episode file of the same kind with episodes of a minute; without, long horizons are left out."""
    model: str = "gwm-mini"
    """Name of a shipped model, or the folder of one."""
    limit: int | None = None
    """Use only the first episodes of the file."""
    scenes: int = 200
    """Moments that are drawn anew in each kind of scene."""
    batch: int = 64
    """Windows that are rolled out at once."""
    json: Path | None = None
    """Write the numbers here."""

    def __post_init__(self) -> None:
        if self.scenes < 1 or self.batch < 1:
            raise ConfigError(f"--scenes and --batch must be at least 1, got {self.scenes} and {self.batch}")


# --- against the true error -------------------------------------------------------------------------------------------


class Course(NamedTuple):
    """What the model says of B windows from the last real frame on: S + 1 instants."""

    uncertainty: Array  # (B, S+1)
    objects: Array  # (B, S+1, K, 3) [m]
    frames: Array  # (B, H, W, 3) uint8, of the last instant


def imagine(model: WorldModel, frames: Array, windows: Window, steps: int) -> Course:
    """Roll windows out from frames (B, C, H, W, 3), which need not be their own."""
    state = encode(model, frames, windows)
    uncertainty, objects = [model.uncertainty(state)], [model.objects(state)]
    for action in torch.from_numpy(windows.actions[:, :steps]).unbind(dim=1):
        state = model.step(state, action)
        uncertainty.append(model.uncertainty(state))
        objects.append(model.objects(state))
    return Course(
        uncertainty=torch.stack(uncertainty, dim=1).double().cpu().numpy(),
        objects=torch.stack(objects, dim=1).double().cpu().numpy(),
        frames=model.decode(state).cpu().numpy(),
    )


def cases(metric: Objects, windows: Window, index: int, course: Course) -> dict[str, Array]:
    """Errors of the cubes that moved, and guesses of them, one number per window, (B,); NaN where none is known."""
    scores = metric.score(windows, index, course.frames)
    moved = np.zeros(windows.last_objects.shape[:2], bool)
    moved[:, list(metric.scene.coloured)] = scores.moved
    tracked_cm = 100 * np.linalg.norm(course.objects[:, -1] - windows.true_objects[:, index, :, :3], axis=-1)
    moves = np.linalg.norm(np.diff(course.objects, axis=1), axis=-1)  # (B, S, K)
    return {
        "error_pictures": mean_of(scores.error_cm, scores.moved),
        "error_tracked": mean_of(tracked_cm, moved),
        "uncertainty_accumulated": course.uncertainty.sum(axis=1),
        "uncertainty_at": course.uncertainty[:, -1],
        "motion_way": moves.sum(axis=(1, 2)),
        "motion_displacement": np.linalg.norm(course.objects[:, -1] - course.objects[:, 0], axis=-1).sum(axis=-1),
    }


def mean_of(values: Array, chosen: Array) -> Array:
    """Mean of the chosen known values in each row, (B, K) -> (B,); NaN without any."""
    chosen = chosen & ~np.isnan(values)
    count = chosen.sum(axis=1)
    mean: Array = np.where(count > 0, np.where(chosen, values, 0).sum(axis=1) / count.clip(1), np.nan)
    return mean


def against_error(model: WorldModel, test: OpenLoopTest, batch: int, show: Show) -> dict[str, Any]:
    """Rank correlations of every guess with both errors over the windows in which a cube moved."""
    metric = Objects(test)
    parts: list[dict[str, Array]] = []
    done = 0
    for windows in test.batches(batch):
        done += len(windows.number)
        show(done / len(test.slots), f"error: {done} of {len(test.slots)} windows")
        asked = test.reached(windows.actions.shape[1])
        if HORIZON in asked:
            course = imagine(model, windows.frames, windows, HORIZON)
            parts.append(cases(metric, windows, asked.index(HORIZON), course))
    together = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}
    guesses = [name for name in together if not name.startswith("error")]
    report: dict[str, Any] = {"steps": HORIZON}
    for error in ("error_pictures", "error_tracked"):
        known = ~np.isnan(together.get(error, np.zeros(0)))
        report[error] = {
            "windows": int(known.sum()),
            **{name: spearman(together[name][known], together[error][known]) for name in guesses},
        }
    return report


# --- unfamiliar scenes ------------------------------------------------------------------------------------------------


class View:
    """A scene that can be changed, and drawn from joint angles, gripper openings and cube poses alone."""

    def __init__(self, file: EpisodeFile, camera: str) -> None:
        """Make the scene that a file was recorded in."""
        rendering = file.schema.env_kwargs["rendering"]
        spec = mujoco.MjSpec.from_string(scene_xml(rendering))
        # The third cube lies where cubes lie, so that the scene's extent stays, and is invisible until it is wanted.
        half = CUBE_SIZE / 2
        spec.worldbody.add_geom(
            name=THIRD,
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=[half] * 3,
            pos=[*BENCH_MIDDLE[:2], half],
            rgba=[0, 0, 0, 0],
            contype=0,
            conaffinity=0,
        )
        self.model = spec.compile()
        self.camera = self.model.camera(camera).id
        self._renderer = FrameRenderer(self.model, file.schema.cameras[camera].height, (camera,), rendering=rendering)
        self._name = camera
        changing = ("geom_rgba", "geom_pos", "cam_pos", "cam_quat")
        self._original = {name: getattr(self.model, name).copy() for name in changing}

    def restore(self) -> None:
        """Undo all changes."""
        for name, value in self._original.items():
            getattr(self.model, name)[:] = value

    def draw(self, moment: Episode) -> Array:
        """Frames (C, H, W, 3) of the instants of a piece of an episode, which needs no frames itself."""
        assert moment.objects is not None
        joints, opening = moment.telemetry[:, JOINTS], moment.telemetry[:, OPENING, None]
        cubes = moment.objects.reshape(len(joints), -1)
        qpos = np.concatenate([joints, opening / 2, opening / 2, cubes], axis=1)
        return np.stack([self._renderer.frame(row.astype(np.float64), self._name) for row in qpos])

    def close(self) -> None:
        """Free the graphics context."""
        self._renderer.close()


def leave(view: View, moment: Episode, rng: np.random.Generator) -> None:
    """The scene as the model knows it."""


def recolour(view: View, moment: Episode, rng: np.random.Generator) -> None:
    """Give both cubes colours that no cube had."""
    for name, colour in zip(OBJECT_NAMES, rng.permutation(NEW_COLOURS), strict=False):
        view.model.geom_rgba[view.model.geom(name).id, :3] = colour


def turn_camera(view: View, moment: Episode, rng: np.random.Generator) -> None:
    """Turn the camera about a vertical axis through the bench's middle, to either side."""
    angle = np.deg2rad(rng.uniform(*CAMERA_TURN) * rng.choice([-1, 1]))
    turn = np.array([np.cos(angle / 2), 0.0, 0.0, np.sin(angle / 2)])
    quaternion, position = view.model.cam_quat[view.camera], view.model.cam_pos[view.camera]
    turned = np.empty(4)
    mujoco.mju_mulQuat(turned, turn, quaternion)
    offset = np.empty(3)
    mujoco.mju_rotVecQuat(offset, position - BENCH_MIDDLE, turn)
    view.model.cam_quat[view.camera], view.model.cam_pos[view.camera] = turned, BENCH_MIDDLE + offset


def add_cube(view: View, moment: Episode, rng: np.random.Generator) -> None:
    """Put a third cube where the other two and the gripper leave room."""
    assert moment.objects is not None
    taken = np.concatenate([moment.objects[..., :2].reshape(-1, 2), moment.telemetry[:, EE][:, :2]])
    while True:
        place = rng.uniform(CUBE_LOW, CUBE_HIGH)
        if np.linalg.norm(taken - place, axis=-1).min() > CUBE_DISTANCE:
            break
    third = view.model.geom(THIRD).id
    view.model.geom_pos[third] = [*place, CUBE_SIZE / 2]
    view.model.geom_rgba[third] = [*rng.choice(NEW_COLOURS), 1.0]


FAMILIAR: Final = "familiar"
CHANGES: Final[Mapping[str, Callable[[View, Episode, np.random.Generator], None]]] = {
    FAMILIAR: leave,
    "colours": recolour,
    "camera": turn_camera,
    "third-cube": add_cube,
}


def draw_scenes(test: OpenLoopTest, slots: Sequence[Slot]) -> dict[str, Array]:
    """Draw the context of windows in every kind of scene, each (N, C, H, W, 3) uint8."""
    view, rng = View(test.file, test.cameras[0]), np.random.default_rng(SCENE_SEED)
    drawn: dict[str, list[Array]] = {kind: [] for kind in CHANGES}
    for slot in slots:
        moment = test.file.read(slot.episode, slot.start, slot.start + test.context, cameras=())
        for kind, change in CHANGES.items():
            view.restore()
            change(view, moment, rng)
            drawn[kind].append(view.draw(moment))
    view.close()
    return {kind: np.stack(frames) for kind, frames in drawn.items()}


def unfamiliar(
    model: WorldModel, test: OpenLoopTest, count: int, batch: int, show: Show
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Tell unfamiliar scenes from familiar ones by uncertainty alone; also the first frames that were drawn."""
    steps = max(MOMENTS)
    long_enough = [number for number, slot in enumerate(test.slots) if slot.steps >= steps]
    if not long_enough:
        raise ConfigError(f"{test.file.path} has no episode of {test.context - 1 + steps} steps. Collect longer ones.")
    rng = np.random.default_rng(SCENE_SEED)
    chosen = sorted(rng.choice(long_enough, min(count, len(long_enough)), replace=False).tolist())
    drawn = draw_scenes(test, [test.slots[number] for number in chosen])
    place = {number: i for i, number in enumerate(chosen)}
    found: dict[str, list[Array]] = {kind: [] for kind in CHANGES}
    done = 0
    for windows in test.batches(batch):
        rows = [row for row, number in enumerate(windows.number.tolist()) if number in place]
        if rows:
            own = Window(*(value[rows] for value in windows))
            where = [place[number] for number in own.number.tolist()]
            for kind, frames in drawn.items():
                found[kind].append(imagine(model, frames[where], own, steps).uncertainty)
            done += len(rows)
            show(done / len(chosen), f"scenes: {done} of {len(chosen)}")
    uncertainty = {kind: np.concatenate(parts) for kind, parts in found.items()}
    report = {
        "scenes": len(chosen),
        "steps": list(MOMENTS),
        "kinds": {
            kind: told_apart(uncertainty[FAMILIAR], values) for kind, values in uncertainty.items() if kind != FAMILIAR
        },
        "mean_uncertainty": {
            kind: values[:, list(MOMENTS)].mean(axis=0).tolist() for kind, values in uncertainty.items()
        },
    }
    return report, {kind: frames[0, -1] for kind, frames in drawn.items()}


def told_apart(familiar: Array, values: Array) -> dict[str, list[float | None]]:
    """AUROC of uncertainty (N, S+1) at `MOMENTS`, and summed up to them."""
    return {
        "auroc_at": [auroc(familiar[:, k], values[:, k]) for k in MOMENTS],
        "auroc_accumulated": [auroc(familiar[:, : k + 1].sum(axis=1), values[:, : k + 1].sum(axis=1)) for k in MOMENTS],
    }


def measure(
    config: UncertaintyConfig, show: Show = lambda share, text: None
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Measure both parts; the report, and one frame of each kind of scene."""
    begin = time.perf_counter()
    model = WorldModel.load(config.model)
    with EpisodeFile(config.data) as file:
        check_fit(model, file.schema, str(config.data))
        if not set(OBJECT_NAMES) <= set(file.schema.object_names) or "rendering" not in file.schema.env_kwargs:
            raise ConfigError(f"{config.data} is no recording of the physics twin, whose scenes are drawn anew")
        test = OpenLoopTest(
            file,
            sorted({HORIZON, max(MOMENTS)}),
            cameras=model.config.cameras,
            properties=model.config.properties,
            limit=config.limit,
        )
        error = against_error(model, test, config.batch, show)
        scenes, examples = unfamiliar(model, test, config.scenes, config.batch, show)
        scales = scale(model, config.data, HORIZONS, config.batch, config.limit)
        if config.long is not None:
            scales |= scale(model, config.long, [MINUTE], config.batch, config.limit)
        report = {
            "model": model.config.name,
            "model_hash": model.digest(),
            "scale": scales,
            "still": still(model, config.data, config.limit),
            "error": error,
            "unfamiliar": scenes,
            "episodes": test.episodes,
            "data": provenance(file),
            **circumstances(model.device),
            "seconds": round(time.perf_counter() - begin, 1),
        }
    return report, examples


def rounded(value: float | None) -> str:
    """A share or correlation for people."""
    return "-" if value is None else f"{value:.2f}"


def main(config: UncertaintyConfig) -> None:
    """Measure, print and write."""
    with progress("uncertainty") as show:
        report, _ = measure(config, show)
    for horizon, numbers in report["scale"].items():
        print(
            "{} steps: expected {expected_cm:.2f}, true {error_cm:.2f} cm, slope {slope:.2f}".format(horizon, **numbers)
        )
    print("after {steps} steps in which nothing happens: expected {expected_cm:.2f} cm".format(**report["still"]))
    for error in ("error_pictures", "error_tracked"):
        numbers = dict(report["error"][error])
        print(f"rank correlation with {error} after {HORIZON} steps, {numbers.pop('windows')} windows:")
        for name, value in numbers.items():
            print(f"  {name:24} {rounded(value)}")
    print(f"AUROC of {report['unfamiliar']['scenes']} unfamiliar scenes after {MOMENTS} steps:")
    for kind, numbers in report["unfamiliar"]["kinds"].items():
        for name, values in numbers.items():
            print(f"  {kind:12} {name:18}" + "".join(f"{rounded(value):>6}" for value in values))
    if config.json is not None:
        write_json(config.json, report)


if __name__ == "__main__":
    launch(main, UncertaintyConfig)
