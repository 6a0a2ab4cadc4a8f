"""Learn a guide from recordings: waypoints of what succeeded, a goal policy, and a reader of pictures.

Recordings that look as the model's own data do (same rendering, same size) teach the reader, and imagined states stand
in for some real ones, so that policy and distance know both. All others, of any quality, teach the policy only.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.schema import Schema
from gwm_sim.envs.learned.observations import MISREAD
from gwm_sim.errors import ConfigError
from gwm_sim.model.config import WorldModelConfig
from gwm_sim.model.heads import PictureReader
from gwm_sim.model.state import PhysicalState
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.planning.prior.demonstrations import Demonstrations, turning_points
from gwm_sim.policies.planning.prior.goal_policy import GoalPolicy, GoalPolicyConfig
from gwm_sim.policies.planning.prior.guide import Guide, reader_of
from gwm_sim.progress import progress
from gwm_sim.protocol import CONTEXT, FIRST_EVALUATION_SEED, SUSTAINED_STEPS

BATCH: Final = 512
RATE: Final = 1e-3
IMAGINED_STEPS: Final = 10  # of each rollout whose states are learned from
FAR: Final = 15  # steps; how far away a goal is that is no waypoint
GOAL_SHARES: Final = (0.85, 0.95)  # cumulated shares of goals: the next waypoint, the one after it, else any frame


@dataclass(frozen=True)
class LearnConfig:
    """How a guide is learned."""

    policy: GoalPolicyConfig = GoalPolicyConfig()
    """Shape of the goal policy."""
    policy_steps: int = 6000
    """Updates of the goal policy."""
    reader_steps: int = 5000
    """Updates of the reader of pictures."""
    seed: int = 0
    """Seed of weights and batches."""


@dataclass
class Experience:
    """F frames of all recordings, one after the other."""

    telemetry: Tensor  # (F, P)
    before: Tensor  # (F, P), one step earlier
    objects: Tensor  # (F, K, 3) [m]
    actions: Tensor  # (F, A), zero at the last frame of an episode
    waypoint: Tensor  # (F,) frame of the next waypoint
    end: Tensor  # (F,) last frame of the episode
    demonstrations: list[PhysicalState]  # what succeeded, from its first frame to its last success
    pictures: list[tuple[Tensor, Tensor]]  # frames (T, H, W, 3) that look familiar, and their numbers (T,)


def learn_guide(model: WorldModel, paths: Sequence[Path], config: LearnConfig | None = None) -> Guide:
    """Learn a guide for a model.

    Args:
        model: The world that will be planned in.
        paths: Episode files of its robot.
        config: How to learn.

    Raises:
        ConfigError: No files, episodes reserved for evaluation, or none that succeeded.
    """
    config = LearnConfig() if config is None else config
    torch.manual_seed(config.seed)
    experience = gather(model, paths)
    policy = GoalPolicy(config.policy, model).to(model.device)
    reader = reader_of(model).to(model.device)
    demonstrations = Demonstrations.of(model.config.dynamics, experience.demonstrations)
    generator = torch.Generator().manual_seed(config.seed)
    clone = policy_loss(policy, experience, imagined(model, experience), generator)
    fit("goal policy", policy, config.policy_steps, clone)
    fit("picture reader", reader, config.reader_steps, reader_loss(model, reader, experience, generator))
    return Guide(model, policy.eval(), reader.eval(), demonstrations)


def gather(model: WorldModel, paths: Sequence[Path]) -> Experience:
    """Read recordings."""
    if not paths:
        raise ConfigError("no recordings to learn from: give episode files, as made by `gwm collect`")
    dynamics, statistics, camera = model.config.dynamics, model.statistics, model.config.camera
    rows: list[tuple[Tensor, ...]] = []
    demonstrations: list[PhysicalState] = []
    pictures: list[tuple[Tensor, Tensor]] = []
    at = 0
    for path in paths:
        with EpisodeFile(path) as file:
            if dynamics.objects and (other := file.schema.other_things(model.config.schema)):
                raise ConfigError(f"{path} does not show the things of {model.config.name}: {'; '.join(other)}")
            familiar = looks_familiar(file.schema, model.config)
            for k in range(len(file)):
                if (seed := file.seeds[k]) is not None and seed >= FIRST_EVALUATION_SEED:
                    raise ConfigError(
                        f"{path} holds episodes with seeds from {FIRST_EVALUATION_SEED}, for evaluation only"
                    )
                episode = file.read(k, cameras=(camera,) if familiar else ())
                telemetry, n = torch.from_numpy(episode.telemetry), len(episode.telemetry)
                known = torch.zeros(n, 0, 7) if episode.objects is None else torch.from_numpy(episode.objects)
                places = known[:, : dynamics.objects, :3]
                objects = places.float().clamp(statistics.objects_low.cpu(), statistics.objects_high.cpu())
                turns = torch.tensor(turning_points(telemetry, dynamics))
                upcoming = turns[torch.searchsorted(turns, torch.arange(n), right=True).clamp_max(len(turns) - 1)]
                before = torch.cat((telemetry[:1], telemetry[:-1]))
                actions = torch.cat((torch.from_numpy(episode.actions), torch.zeros(1, dynamics.actions)))
                rows.append((telemetry, before, objects, actions, upcoming + at, torch.full((n,), at + n - 1)))
                task = file.schema.task
                success = episode.labels[task].success if task in episode.labels else np.zeros(n, bool)
                if success[-SUSTAINED_STEPS:].all():
                    demonstrations.append(PhysicalState(telemetry, objects))
                if familiar:
                    pictures.append((torch.from_numpy(episode.frames[camera]), torch.arange(at, at + n)))
                at += n
    if not demonstrations:
        raise ConfigError("no recording ends with its task fulfilled: sub-goals need demonstrations that succeed")
    if not pictures:
        raise ConfigError(f"no recording looks like the data of {model.config.name}: goal pictures cannot be learned")
    telemetry, before, objects, actions, waypoint, end = (torch.cat(values) for values in zip(*rows, strict=True))
    return Experience(telemetry, before, objects, actions, waypoint, end, demonstrations, pictures)


def looks_familiar(schema: Schema, world: WorldModelConfig) -> bool:
    """Whether the main camera of a model sees in some data what it saw in its own."""
    theirs, own = schema.cameras.get(world.camera), world.schema.cameras[world.camera]
    drawn = [made.env_kwargs.get("rendering") for made in (schema, world.schema)]
    return theirs is not None and theirs.looks_as(own) and drawn[0] == drawn[1]


@torch.no_grad()
def imagined(model: WorldModel, experience: Experience) -> tuple[PhysicalState, Tensor, Tensor]:
    """States imagined along recordings, their telemetry one step before, and the frames that they stand for."""
    now = [(experience.telemetry[:0], experience.objects[:0], experience.before[:0], experience.end[:0])]
    windows = [
        (frames[t : t + CONTEXT], numbers[t : t + CONTEXT + IMAGINED_STEPS])
        for frames, numbers in experience.pictures
        for t in range(0, len(frames) - CONTEXT - IMAGINED_STEPS, IMAGINED_STEPS)
    ]
    for i in range(0, len(windows), 64):
        frames = torch.stack([w[0] for w in windows[i : i + 64]])
        numbers = torch.stack([w[1] for w in windows[i : i + 64]])
        past, ahead = numbers[:, :CONTEXT], numbers[:, CONTEXT:]
        state = model.encode(frames, experience.telemetry[past], experience.actions[past[:, :-1]])
        rollout = model.imagine(state, experience.actions[numbers[:, CONTEXT - 1 : -1]], draw=False)
        before = torch.cat((state.telemetry[:, None], rollout.telemetry[:, :-1]), dim=1)
        now.append(tuple(x.flatten(0, 1).cpu() for x in (rollout.telemetry, rollout.objects, before, ahead)))  # type: ignore[arg-type]
    telemetry, objects, before, ahead = (torch.cat(x) for x in zip(*now, strict=True))
    return PhysicalState(telemetry, objects), before, ahead


Loss = Callable[[], tuple[Tensor, dict[str, float]]]


def policy_loss(
    policy: GoalPolicy, experience: Experience, dreams: tuple[PhysicalState, Tensor, Tensor], generator: torch.Generator
) -> Loss:
    """Loss of one batch of the goal policy."""
    states, states_before, origin = dreams
    everything = torch.arange(len(experience.end))
    frame = torch.cat((everything, origin))
    telemetry = torch.cat((experience.telemetry, states.telemetry))
    before = torch.cat((experience.before, states_before))
    objects = torch.cat((experience.objects, states.objects))
    usable = torch.nonzero(frame < experience.end[frame]).flatten()

    def draw(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    def misread(places: Tensor) -> Tensor:
        return places + MISREAD * torch.randn(places.shape, generator=generator)

    def loss() -> tuple[Tensor, dict[str, float]]:
        row = usable[torch.randint(len(usable), (BATCH,), generator=generator)]
        t = frame[row]
        kind, first = draw(BATCH), experience.waypoint[t]
        anywhere = torch.minimum(t + 1 + (draw(BATCH) * FAR).long(), experience.end[t])
        second = experience.waypoint[first]
        goal = torch.where(kind < GOAL_SHARES[0], first, torch.where(kind < GOAL_SHARES[1], second, anywhere))
        goal = torch.maximum(goal, t + 1)
        when = t[:, None] + torch.arange(policy.config.chunk)
        actions = experience.actions[when.clamp_max(len(experience.actions) - 1)]
        actions = actions * (when < goal[:, None])[..., None]  # at the goal it holds
        wanted = PhysicalState(experience.telemetry[goal], misread(experience.objects[goal]))
        wanted = PhysicalState(  # a goal need not say everything
            wanted.telemetry.masked_fill(draw(BATCH, 1) < 0.1, torch.nan),
            wanted.objects.masked_fill(draw(BATCH, 1, 1) < 0.1, torch.nan),
        )
        now = PhysicalState(telemetry[row], misread(objects[row]))
        device = policy.low.device
        here, there = (PhysicalState(*(x.to(device) for x in state)) for state in (now, wanted))
        steps = (goal - t).float().to(device)
        acting, counting = policy.loss(here, before[row].to(device), there, actions.to(device), steps)
        return acting + 0.1 * counting, {"actions": float(acting.detach()), "log steps": float(counting.detach())}

    return loss


def reader_loss(model: WorldModel, reader: PictureReader, experience: Experience, generator: torch.Generator) -> Loss:
    """Loss of one batch of the reader of pictures."""
    frames, numbers = (torch.cat(x) for x in zip(*experience.pictures, strict=True))
    columns = model.config.dynamics.effector or tuple(range(model.config.dynamics.telemetry))

    def loss() -> tuple[Tensor, dict[str, float]]:
        chosen = torch.randint(len(frames), (BATCH // 8,), generator=generator)
        with torch.no_grad():
            features = model.features(frames[chosen])
        read, truth = reader(features), experience.telemetry[numbers[chosen]].to(model.device)
        error = ((read - truth) / reader.std).abs().mean()
        place = float((read - truth)[:, list(columns)].detach().norm(dim=-1).median())
        return error, {"error": float(error.detach()), "effector": place}

    return loss


def fit(name: str, module: nn.Module, steps: int, loss: Loss) -> None:
    """Minimise a loss in so many steps."""
    optimiser = torch.optim.AdamW(module.parameters(), RATE, weight_decay=0.01)
    with progress(name) as show:
        for step in range(steps):
            warm, cold = min(1.0, step / 100 + 0.01), 0.02 + 0.49 * (1 + math.cos(math.pi * step / steps))
            for group in optimiser.param_groups:
                group["lr"] = RATE * warm * cold
            value, parts = loss()
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimiser.step()
            if step % 50 == 0 or step + 1 == steps:
                show((step + 1) / steps, "  ".join(f"{key} {number:.4g}" for key, number in parts.items()))
