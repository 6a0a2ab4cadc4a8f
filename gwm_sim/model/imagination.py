"""Imagined episodes: what a world model believes would have happened, as an ordinary episode file.

Of every recorded episode the model is shown the first frames; then it follows the recorded actions alone. Pictures,
telemetry, object positions and labels of the rest are its own, neither measured nor tracked. The settings of the file
say so, and whatever is made of the file carries that on. Seeds stay those of the recordings, so what began as an
evaluation episode is still refused as training data.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import gwm_sim
from gwm_sim.data.episode_file import Episode, EpisodeFile, EpisodeWriter, TaskLabels
from gwm_sim.data.schema import IMAGINED, RAW, TRACKER, Schema
from gwm_sim.data.views import apart, side_by_side
from gwm_sim.errors import ConfigError
from gwm_sim.model.world_model import WorldModel, check_fit
from gwm_sim.progress import Show
from gwm_sim.protocol import CONTEXT

UPRIGHT = (1.0, 0.0, 0.0, 0.0)
"""Quaternion wxyz of every imagined object: models track where objects are, not how they are turned."""


def imagine_episodes(
    model: WorldModel,
    file: EpisodeFile,
    out: Path,
    *,
    limit: int | None = None,
    show: Show = lambda share, text: None,
) -> int:
    """Imagine every episode of a file anew; the same call goes on where a killed one stopped.

    Args:
        model: The world model.
        file: Recorded episodes; those without an action after the first `CONTEXT` frames are left out.
        out: Episode file to write.
        limit: Use only the first recordings.
        show: Told about the progress.

    Returns:
        Number of episodes in `out` that come from these recordings.

    Raises:
        ConfigError: Recordings and model do not fit, all are too short, or `out` was made otherwise.
    """
    check_fit(model, file.schema, str(file.path))
    chosen = [k for k, length in enumerate(file.lengths[:limit]) if length >= CONTEXT]
    if not chosen:
        raise ConfigError(f"{file.path}: no episode has {CONTEXT} actions, so there is nothing to imagine")
    writer = EpisodeWriter(out, imagined_schema(model, file))
    with writer.finishing():
        for done, k in enumerate(chosen, start=1):
            if not writer.has(k):
                writer.write(k, imagine_episode(model, file.read(k, cameras=model.config.cameras)))
            show(done / len(chosen), f"{done} of {len(chosen)} episodes")
    return len(chosen)


@torch.inference_mode()
def imagine_episode(model: WorldModel, episode: Episode) -> Episode:
    """Follow the actions of an episode of at least `CONTEXT` actions, with frames of the model's cameras, open loop: an
    episode of the same length. Frames and telemetry of its first `CONTEXT` rows are the recorded ones."""
    cameras = model.config.cameras
    recorded = side_by_side(episode.frames, cameras)
    frames, telemetry, actions = (
        torch.from_numpy(values)[None] for values in (recorded, episode.telemetry, episode.actions)
    )
    properties = torch.tensor([[episode.properties.get(name, math.nan) for name in model.config.properties]])
    given = [
        model.encode(frames[:, :rows], telemetry[:, :rows], actions[:, : rows - 1], properties)
        for rows in range(1, CONTEXT + 1)
    ]
    rollout = model.imagine(given[-1], actions[:, CONTEXT - 1 :])
    rewards, successes = zip(*map(model.judge, given), strict=True)
    reward = torch.cat([*rewards, rollout.reward[0]]).float().cpu().numpy()  # (N+1, tasks)
    success = torch.cat([*successes, rollout.success[0]]).cpu().numpy() > 0.5
    positions = torch.cat([*(state.objects for state in given), rollout.objects[0]]).float().cpu()  # (N+1, K, 3)
    poses = torch.cat([positions, torch.tensor(UPRIGHT).expand(*positions.shape[:2], 4)], dim=-1).numpy()
    return Episode(
        frames=apart(np.concatenate([recorded[:CONTEXT], model.decode(rollout)[0].cpu().numpy()]), cameras),
        telemetry=np.concatenate([episode.telemetry[:CONTEXT], rollout.telemetry[0].float().cpu().numpy()]),
        actions=episode.actions,
        labels={task: TaskLabels(reward[:, i], success[:, i]) for i, task in enumerate(model.tasks)},
        objects=poses if model.config.dynamics.objects else None,
        properties=episode.properties,
        seed=episode.seed,
        policy=episode.policy,
    )


def imagined_schema(model: WorldModel, file: EpisodeFile) -> Schema:
    """The schema of what a model imagines from a file: the model's own, and who imagined what.

    Its objects are those of the model: no camera saw them, so nothing is said of sightings, but which tracker's things
    the model learned is.
    """
    trained, recorded = model.config.schema, file.schema
    if not model.config.dynamics.objects:
        trained = trained.without_objects()
    things = {key: trained.settings[key] for key in (TRACKER,) if key in trained.settings}
    return replace(
        trained,
        cameras={name: recorded.cameras[name] for name in model.config.cameras},
        depth=(),
        tracked=(),
        tasks=model.tasks,
        task=next((task for task in (recorded.task, trained.task, *model.tasks) if task in model.tasks), None),
        settings={key: value for key, value in recorded.settings.items() if key not in (RAW, TRACKER)}
        | things
        | {
            IMAGINED: {"model": model.config.name, "hash": model.digest()},
            "context": CONTEXT,
            "recordings": {"file": file.path.name, "digest": file.digest()},
        },
        versions={"gwm_sim": gwm_sim.__version__, "torch": torch.__version__},
    )
