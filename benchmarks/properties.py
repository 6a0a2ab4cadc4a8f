"""Does the learned world obey the friction and gravity that it is told? A struck cube slides, a released one falls.

python benchmarks/properties.py --json benchmarks/results/properties.json

An episode's actions are found once, under default physics, by a script that sees the twin's state. The same start and
the same actions then run under every level of a property, in both worlds: nothing but the property tells levels apart.
The twin stands behind the cube, or holds it up, and waits; the learned world is given those last four frames. What
happens then is read from the positions that each world knows, and from its pictures alone.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from program import circumstances, launch

from gwm_sim.data.cameras import Camera
from gwm_sim.data.views import main_view
from gwm_sim.envs.blocks.detector import detect
from gwm_sim.envs.blocks.spec import (
    ACTION_SCALE,
    COMMAND,
    CUBE_SIZE,
    OBJECT_NAMES,
    PROPERTY_RANGES,
    WORKSPACE_HIGH,
    WORKSPACE_LOW,
)
from gwm_sim.envs.blocks.tasks import BLUE, RED
from gwm_sim.envs.spaces import image_key
from gwm_sim.envs.tabletop.paired import hold_still, start_pair, twin_options
from gwm_sim.errors import ConfigError
from gwm_sim.evaluation.statistics import spearman
from gwm_sim.files import write_json
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.blocks.motions import CLOSE, OPEN, Bench, Script, lift, move, pick
from gwm_sim.progress import Show, progress

Array = NDArray[Any]

LEVELS: Final = 8
FIRST_SEED: Final = 320_000

# A strike: the closed fingers cover one free step to come up to speed and meet the cube in the second, the last one.
# The next step would push it again, since the arm rests at the end of each.
STRIKE_STEPS: Final = 2
STRIKE_GAP: Final = 0.01  # between fingers and cube at the beginning of the last step [m]
STRIKE_HEIGHT: Final = 0.022  # below the cube's middle, so that it does not topple [m]
FINGERS: Final = np.array([0.010, 0.016])  # half width of the closed fingers along x and y [m]
WAYS: Final = np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, -1.0, 0.0]])

DROP_HEIGHTS: Final = (0.2, 0.3)  # of the end-effector that holds the cube [m]
LANDED: Final = CUBE_SIZE / 2 + 0.015  # a cube whose middle is lower has landed [m]


@dataclass(frozen=True)
class PropertiesConfig:
    """Compare sliding against friction and falling against gravity in both worlds."""

    model: str = "gwm-mini"
    """Name of a shipped model, or the folder of one."""
    episodes: int = 20
    """Episodes of each level."""
    levels: int = LEVELS
    """Levels of each property."""
    seed: int = FIRST_SEED
    """Seed of the first episode; every level has the same starts."""
    json: Path | None = None
    """Write the numbers here, and a plot beside it."""

    def __post_init__(self) -> None:
        if self.episodes < 1 or self.levels < 2:
            raise ConfigError(
                f"--episodes must be at least 1 and --levels at least 2, got {self.episodes} and {self.levels}"
            )


@dataclass(frozen=True)
class Manoeuvre:
    """Something to do with the red cube in which one property decides."""

    name: str
    property: str
    unit: str
    prepare: Callable[[Bench, np.random.Generator], Script]
    """Goes where it begins and waits there, in the twin alone."""
    act: Callable[[Bench], Array]
    """From there on the actions (T, A), chosen once for all levels."""
    measure: Callable[[Array, Array], float]
    """What happened, from the cube's T + 1 positions (T+1, 3) [m] and the actions (T, A)."""
    locate: Callable[[Array, Camera, Array], Array]
    """Positions (N, 3) of the cube from pixels (N, 2), the camera and where it was at first (3,)."""

    def levels(self, count: int) -> Array:
        """Levels (count,) of the property, each the same multiple of the one before."""
        return np.geomspace(*PROPERTY_RANGES[self.property], count)


# --- striking ---------------------------------------------------------------------------------------------------------


def strike_start(bench: Bench, way: Array) -> Array:
    """Where the end-effector (3,) sets out to strike the cube along a way [m]."""
    distance = CUBE_SIZE / 2 + FINGERS @ np.abs(way[:2]) + STRIKE_GAP + (STRIKE_STEPS - 1) * ACTION_SCALE
    return np.append((bench.centre(RED) - distance * way)[:2], STRIKE_HEIGHT)


def strike_way(bench: Bench) -> Array:
    """Direction (3,) in which the cube can be struck and slides freely, toward the table's middle if possible."""

    def merit(way: Array) -> tuple[bool, float]:
        start, red = strike_start(bench, way), bench.centre(RED)
        inside = (start >= WORKSPACE_LOW).all() and (start <= WORKSPACE_HIGH).all()
        along = float((bench.centre(BLUE) - red) @ way)
        across = np.linalg.norm(bench.centre(BLUE) - red - along * way)
        free = across > 0.08 or along < -0.15
        middle = 0.5 * (WORKSPACE_LOW + WORKSPACE_HIGH)
        return bool(inside and free), -float(np.linalg.norm((red + 0.06 * way - middle)[:2]))

    return max(WAYS, key=merit)


def prepare_strike(bench: Bench, rng: np.random.Generator) -> Script:
    """Stand behind the cube with closed fingers."""
    start = strike_start(bench, strike_way(bench))
    yield from lift(bench, 0.14)
    yield from move(bench, lambda: np.append(start[:2], 0.10), CLOSE, tolerance=0.008, limit=15)
    yield from move(bench, lambda: start, CLOSE, tolerance=0.003, limit=10)


def strike(bench: Bench) -> Array:
    """Strike, stay, and rise out of the picture of what goes on."""
    blow, rise = np.append(strike_way(bench), 0.0), [0.0, 0.0, 1.0, 0.0]
    return np.array([blow] * STRIKE_STEPS + [np.zeros(4)] * 2 + [rise] * 4 + [np.zeros(4)] * 4)


def travel_cm(positions: Array, actions: Array) -> float:
    """How far the cube came in the direction of the blow, some 2 cm of it together with the fingers."""
    return float(100 * (positions[-1] - positions[0]) @ actions[0, :3])


def on_the_table(pixels: Array, camera: Camera, first: Array) -> Array:
    """Where the rays through pixels meet the height of a lying cube's middle."""
    right, up = pixels[:, 0] - 0.5 * (camera.width - 1), 0.5 * (camera.height - 1) - pixels[:, 1]
    rays = np.stack([right, up, np.full(len(pixels), -camera.focal_length)], axis=-1) @ camera.rotation.T
    return camera.position + rays * ((CUBE_SIZE / 2 - camera.position[2]) / rays[:, 2:])


# --- dropping ---------------------------------------------------------------------------------------------------------


def prepare_drop(bench: Bench, rng: np.random.Generator) -> Script:
    """Pick the cube and hold it up."""
    height = rng.uniform(*DROP_HEIGHTS)
    for _ in range(3):
        if (yield from pick(bench, RED)):
            break
        yield from lift(bench, bench.command[2] + 0.05)
    yield from lift(bench, height)


def drop(bench: Bench) -> Array:
    """Open, and wait."""
    return np.array([[0.0, 0.0, 0.0, OPEN]] * 2 + [[0.0] * 4] * 10)


def landing_steps(positions: Array, actions: Array) -> float:
    """When the cube has come down, counted in steps and fractions of them; all of them if it has not."""
    low = np.flatnonzero(positions[:, 2] < LANDED)
    if not low.size:
        return float(len(actions))
    after = int(low[0])
    if after == 0:
        return 0.0
    above, below = positions[after - 1 : after + 1, 2]
    return float(after - 1 + (above - LANDED) / (above - below))


def on_the_plumb_line(pixels: Array, camera: Camera, first: Array) -> Array:
    """Heights at which a vertical through the first position has the rows of the pixels."""
    low, high = (camera.project(np.append(first[:2], height))[1] for height in (0.0, DROP_HEIGHTS[1]))
    height = DROP_HEIGHTS[1] * (pixels[:, 1] - low) / (high - low)
    return np.column_stack([np.broadcast_to(first[:2], (len(pixels), 2)), height])


MANOEUVRES: Final = (
    Manoeuvre("sliding distance", "friction", "cm", prepare_strike, strike, travel_cm, on_the_table),
    Manoeuvre("fall time", "gravity", "steps", prepare_drop, drop, landing_steps, on_the_plumb_line),
)


# --- both worlds ------------------------------------------------------------------------------------------------------


class Take(NamedTuple):
    """An episode's actions: up to the moment at which the learned world begins, and from there on."""

    before: Array  # (N, A) float32
    after: Array  # (T, A) float32


def plan(manoeuvre: Manoeuvre, twin: gym.Env[Any, Any], seed: int) -> Take:
    """Find the actions of an episode in the twin, under default physics."""
    observation, _ = twin.reset(seed=seed)
    world: Any = twin.unwrapped
    bench = Bench(world.task_state(), observation["agent_pos"][COMMAND].astype(np.float64))
    before = []
    for proposal in manoeuvre.prepare(bench, np.random.default_rng([seed, len(MANOEUVRES)])):
        action = proposal.clip(-1, 1).astype(np.float32)
        observation, *_ = twin.step(action)
        bench.state = world.task_state()
        bench.command = observation["agent_pos"][COMMAND].astype(np.float64)
        before.append(action)
    # Twice: once for the arm to come to rest, once for the frames that the learned world is given.
    still = hold_still(twin.action_space)
    return Take(np.concatenate([before, still, still]), manoeuvre.act(bench).astype(np.float32))


class Values(NamedTuple):
    """One episode's measure, from the positions that both worlds know and from their pictures."""

    twin: float
    model: float
    twin_pictures: float
    model_pictures: float


def run(manoeuvre: Manoeuvre, twin: Any, learned: Any, seed: int, take: Take, level: float) -> Values:
    """Run an episode under one level of the property in both worlds."""
    start = start_pair(twin, learned, seed, take.before, {manoeuvre.property: level})
    world: WorldModel = learned.unwrapped.world_model
    red = world.config.schema.object_names.index(OBJECT_NAMES[RED])
    key, camera = image_key(world.config.camera), twin.unwrapped.camera_info()[world.config.camera]

    def twin_position() -> Array:
        return np.asarray(twin.unwrapped.objects()[RED, :3], np.float64)

    def model_position() -> Array:
        return world.objects(learned.unwrapped.get_state()[0])[0, red].double().cpu().numpy()

    values = []
    first = twin_position()
    for env, position in ((twin, twin_position), (learned, model_position)):
        frames: list[Array] = [main_view(start.frames[-1], world.config.cameras)]
        positions = [position()]
        for action in take.after:
            frames.append(env.step(action)[0][key])
            positions.append(position())
        seen = located(manoeuvre, np.stack(frames), camera, first)
        values.append([manoeuvre.measure(where, take.after) for where in (np.stack(positions), seen)])
    (twin_value, twin_seen), (model_value, model_seen) = values
    return Values(twin_value, model_value, twin_seen, model_seen)


def located(manoeuvre: Manoeuvre, frames: Array, camera: Camera, first: Array) -> Array:
    """Positions (N, 3) of the red cube read from frames (N, H, W, 3); one that is lost stays where it was."""
    pixels = detect(frames, [OBJECT_NAMES[RED]]).centroid[:, 0]
    if np.isnan(pixels[0]).any():
        pixels[0] = camera.project(first)
    found = np.where(np.isnan(pixels[:, 0]), 0, np.arange(len(pixels)))
    return manoeuvre.locate(pixels[np.maximum.accumulate(found)], camera, first)


def compare(manoeuvre: Manoeuvre, config: PropertiesConfig, twin: Any, learned: Any) -> Iterator[Array]:
    """Yield the values (levels, 4) of one episode after the other."""
    for seed in range(config.seed, config.seed + config.episodes):
        take = plan(manoeuvre, twin, seed)
        yield np.array(
            [run(manoeuvre, twin, learned, seed, take, level) for level in manoeuvre.levels(config.levels).tolist()]
        )


def summarize(manoeuvre: Manoeuvre, values: Array) -> dict[str, Any]:
    """Group means and their rank correlations.

    Args:
        manoeuvre: What was done.
        values: (episodes, levels, 4), as in `Values`.
    """
    means = dict(zip(Values._fields, values.mean(axis=0).T.round(4).tolist(), strict=True))
    spread = dict(zip(Values._fields, values.std(axis=0).T.round(4).tolist(), strict=True))
    return {
        "measure": manoeuvre.name,
        "unit": manoeuvre.unit,
        "levels": manoeuvre.levels(values.shape[1]).round(4).tolist(),
        "means": means,
        "standard_deviations": spread,
        "spearman": spearman(means["twin"], means["model"]),
        "spearman_pictures": spearman(means["twin"], means["model_pictures"]),
    }


def measure(config: PropertiesConfig, show: Show = lambda share, text: None) -> dict[str, Any]:
    """Run everything and return the report."""
    begin = time.perf_counter()
    learned: Any = gym.make("GWM-BlockStack-v0", max_episode_steps=-1, model=config.model)
    model: WorldModel = learned.unwrapped.world_model
    untold = [m.property for m in MANOEUVRES if m.property not in model.config.properties]
    if untold:
        raise ConfigError(f"{model.config.name} cannot be told {', '.join(untold)}: train it on random properties")
    twin: Any = gym.make("MuJoCo-BlockStack-v0", max_episode_steps=-1, **twin_options(model.config))
    properties = {}
    for i, manoeuvre in enumerate(MANOEUVRES):
        values = []
        for episode in compare(manoeuvre, config, twin, learned):
            values.append(episode)
            done = i * config.episodes + len(values)
            show(done / (len(MANOEUVRES) * config.episodes), f"{manoeuvre.name}: {len(values)} episodes")
        properties[manoeuvre.property] = summarize(manoeuvre, np.stack(values))
    twin.close()
    learned.close()
    return {
        "model": model.config.name,
        "model_hash": model.digest(),
        "properties": properties,
        "episodes": config.episodes,
        "seeds": [config.seed, config.seed + config.episodes - 1],
        **circumstances(model.device),
        "seconds": round(time.perf_counter() - begin, 1),
    }


def draw(report: dict[str, Any], path: Path) -> None:
    """Plot group means against levels, one panel for each property."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(report["properties"]), figsize=(9, 3.6), layout="constrained")
    styles = {"twin": "k-o", "model": "C0-o", "twin_pictures": "k:x", "model_pictures": "C0:x"}
    for panel, (name, numbers) in zip(panels, report["properties"].items(), strict=True):
        for world, style in styles.items():
            panel.plot(numbers["levels"], numbers["means"][world], style, label=world.replace("_", ", "), markersize=4)
        panel.set(xscale="log", xlabel=name, ylabel=f"{numbers['measure']} [{numbers['unit']}]")
        panel.set_title("rank correlation " + rounded(numbers["spearman"]), fontsize=10)
        panel.set_xticks(numbers["levels"], [f"{level:.3g}" for level in numbers["levels"]], minor=False)
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    panels[0].legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def rounded(value: float | None) -> str:
    """A correlation for people."""
    return "-" if value is None else f"{value:.2f}"


def main(config: PropertiesConfig) -> None:
    """Measure, print and write."""
    with progress("properties") as show:
        report = measure(config, show)
    for name, numbers in report["properties"].items():
        print(f"{numbers['measure']} [{numbers['unit']}] against {name}:")
        for world, means in {name: numbers["levels"], **numbers["means"]}.items():
            print(f"  {world:15}" + "".join(f"{value:8.2f}" for value in means))
        correlation, pictures = map(rounded, (numbers["spearman"], numbers["spearman_pictures"]))
        print(f"  rank correlation with the twin {correlation}, from pictures {pictures}")
    if config.json is not None:
        write_json(config.json, report)
        draw(report, config.json.with_suffix(".png"))


if __name__ == "__main__":
    launch(main, PropertiesConfig)
