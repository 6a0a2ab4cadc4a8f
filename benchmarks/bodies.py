"""Robot and cubes open loop, without pictures: many episodes in seconds, to tell one training of them from another.

Of 100 episodes the outcome is foreseen 3 points more or less often by chance, and moved cubes differ by a tenth. Fast
recordings are cheap, and nothing is drawn here, so there can be 600 of them. Rollouts begin where the cubes truly are
but for an error like the locator's; how well it does, and the painter, is what `gwm eval` measures.

gwm collect --out runs/validation.hdf5 --seed 206200 --episodes 600 --steps 100 --rendering fast --size 16
python benchmarks/bodies.py --data runs/validation.hdf5 --models gwm-mini runs/bodies
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from program import circumstances, launch
from rich.console import Console
from rich.table import Table

from gwm_sim.data.episode_file import Episode, EpisodeFile
from gwm_sim.envs.blocks.metrics import MOVED_CM, OUTCOME_TASKS, OUTCOMES, STAYED_CM, outcomes
from gwm_sim.envs.blocks.sight import cubes_among, success_at_the_end
from gwm_sim.errors import ConfigError
from gwm_sim.evaluation.statistics import balanced_accuracy, confusion
from gwm_sim.files import write_json
from gwm_sim.model.state import Segment
from gwm_sim.model.world_model import WorldModel, check_fit
from gwm_sim.protocol import CONTEXT

Array = NDArray[Any]

HORIZONS: Final = (10, 40, 80)  # steps
OFFSET: Final = 0.001  # of where a cube begins, for all of the context, standard deviation per coordinate [m]
JITTER: Final = 0.0005  # of each frame of it


@dataclass(frozen=True)
class BodiesConfig:
    """Measure how robot and cubes are foreseen."""

    data: Path
    """Episodes of one length; their pictures are not looked at."""
    models: tuple[str, ...]
    """Names of shipped models, or folders."""
    by_sight: bool = False
    """Judge outcomes by where cubes are, even where a model learned to judge them; others are judged so anyway."""
    stride: int = 20
    """Steps between the starts of neighbouring rollouts of an episode."""
    json: Path | None = None
    """File to write the numbers to."""


def positions(episodes: list[Episode]) -> Array:
    """Where objects truly are, (B, N+1, K, 3) [m]."""
    return np.stack([episode.objects[..., :3] for episode in episodes if episode.objects is not None])


def ordered(episode: Episode, names: Sequence[str], wanted: Sequence[str]) -> Episode:
    """An episode with its objects in another order."""
    assert episode.objects is not None
    return replace(episode, objects=episode.objects[:, [names.index(name) for name in wanted]])


def begin(model: WorldModel, episodes: list[Episode], start: int) -> Segment:
    """The context of all episodes at a start: true telemetry, and cubes as a locator might see them."""
    given = slice(start, start + CONTEXT)
    telemetry = torch.from_numpy(np.stack([episode.telemetry[given] for episode in episodes]))
    objects = positions(episodes)[:, given]
    b, _, k, _ = objects.shape
    rng = np.random.default_rng(start)
    off = rng.normal(0, OFFSET, (b, 1, k, 3)) + rng.normal(0, JITTER, objects.shape)
    seen = torch.from_numpy(objects + off).float()
    actions = torch.from_numpy(np.stack([episode.actions[given] for episode in episodes]))
    names = model.config.properties
    c = model.config.dynamics
    codes = torch.zeros(b, CONTEXT, c.tokens, c.token_numbers, dtype=torch.uint8)
    known = [[episode.properties.get(name, torch.nan) for name in names] for episode in episodes]
    unseen = torch.zeros(b, CONTEXT, c.residual)
    return Segment.of(codes, telemetry, seen, actions, torch.tensor(known), residual=unseen)


def measure(model: WorldModel, episodes: list[Episode], stride: int, by_sight: bool = False) -> dict[str, Any]:
    """Errors of cubes that moved, drift of those that stayed, and outcome at the episodes' end.

    Args:
        model: The world model.
        episodes: Episodes of N actions each, with poses.
        stride: Steps between the starts of neighbouring rollouts; the first goes on to the end.
        by_sight: Whether outcomes are judged by where cubes are, not by what the model learned of tasks.
    """
    length = len(episodes[0])
    true, cubes = positions(episodes), cubes_among(model.config.schema)
    actions = torch.from_numpy(np.stack([episode.actions for episode in episodes]))
    moved: dict[int, list[Array]] = {horizon: [] for horizon in HORIZONS}
    drift: list[Array] = []
    matrix = np.zeros((0, 0))
    for start in range(0, length - HORIZONS[-1] - CONTEXT + 2, stride):
        last = start + CONTEXT - 1
        steps = HORIZONS[-1] if start else length - last
        state = model.begin(begin(model, episodes, start))
        rollout = model.imagine(state, actions[:, last : last + steps], judged=start == 0 and not by_sight, draw=False)
        for horizon in HORIZONS:
            there = true[:, last + horizon]
            error = 100 * np.linalg.norm(rollout.objects[:, horizon - 1].numpy() - there, axis=-1)
            travelled = 100 * np.linalg.norm(there - true[:, last], axis=-1)
            moved[horizon].append(error[travelled > MOVED_CM])
            if horizon == HORIZONS[-1]:
                drift.append(error[travelled < STAYED_CM])
        if start == 0:
            if by_sight:
                seen = success_at_the_end(rollout.objects[:, :, cubes].numpy(), rollout.telemetry.numpy())
                guess = outcomes(*(seen[task] for task in OUTCOME_TASKS))
            else:
                fulfilled = rollout.success[:, -1].numpy() > 0.5
                guess = outcomes(*(fulfilled[:, model.tasks.index(task)] for task in OUTCOME_TASKS))
            labels = (np.array([e.labels[task].success[-1] for e in episodes]) for task in OUTCOME_TASKS)
            matrix = confusion(outcomes(*labels), guess, len(OUTCOMES))
    errors = {horizon: np.concatenate(parts) for horizon, parts in moved.items()}
    return {
        "moved_cm": {str(horizon): summary(np.median, part) for horizon, part in errors.items()},
        "moved_cm_mean": {str(horizon): summary(np.mean, part) for horizon, part in errors.items()},
        "drift_cm": summary(np.median, np.concatenate(drift)),
        "outcome": balanced_accuracy(matrix),
        "confusion": matrix.tolist(),
        "rollouts_moved": {str(horizon): len(part) for horizon, part in errors.items()},
    }


def summary(function: Callable[[Array], Any], errors: Array) -> float | None:
    """A number for all errors, None where there are none."""
    return float(function(errors)) if len(errors) else None


def shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def main(config: BodiesConfig) -> int:
    """Measure all models on the same rollouts and print them side by side."""
    with EpisodeFile(config.data) as file:
        if not file.schema.object_names or not set(OUTCOME_TASKS) <= set(file.schema.tasks):
            raise ConfigError(f"{config.data} has no poses, or no labels of {' and '.join(OUTCOME_TASKS)}")
        if len(set(file.lengths)) > 1 or file.lengths[0] < HORIZONS[-1] + CONTEXT - 1:
            raise ConfigError(
                f"{config.data} must have episodes of one length, at least {HORIZONS[-1] + CONTEXT - 1} steps; "
                f"they have {min(file.lengths)} to {max(file.lengths)}"
            )
        episodes = [file.read(k, cameras=()) for k in range(len(file))]
        found: dict[str, dict[str, Any]] = {}
        for name in config.models:
            model = WorldModel.load(name, "cpu")
            schema, judges = model.config.schema, set(OUTCOME_TASKS) <= set(model.tasks)
            if model.config.dynamics.from_pixels or cubes_among(schema) is None:
                raise ConfigError(f"{name} does not say in metres where the cubes are")
            names = file.schema.object_names
            if not set(schema.object_names) <= set(names):
                raise ConfigError(f"{name} knows the objects {schema.object_names}, not {names}")
            check_fit(model, replace(file.schema, cameras=schema.cameras), str(config.data))
            own = [ordered(episode, names, schema.object_names) for episode in episodes]
            by_sight = config.by_sight or not judges
            found[name] = {"hash": model.digest(), "by_sight": by_sight}
            found[name] |= measure(model, own, config.stride, by_sight)
        digest = file.digest()
    table = Table(title=f"{len(episodes)} episodes of {config.data}")
    table.add_column("model", overflow="fold")
    for title in (*(f"moved, {h}" for h in HORIZONS), "drift", "outcome"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, row in found.items():
        errors = (f"{shown(row['moved_cm'][str(h)])} ({shown(row['moved_cm_mean'][str(h)])})" for h in HORIZONS)
        table.add_row(name, *errors, shown(row["drift_cm"]), f"{row['outcome']:.3f}")
    Console().print(table, "errors [cm] after so many steps: median, and mean in brackets; outcome: balanced accuracy")
    if config.json is not None:
        report = {"data": digest, "episodes": len(episodes), "models": found, **circumstances()}
        write_json(config.json, report)
    return 0


if __name__ == "__main__":
    launch(main, BodiesConfig)
