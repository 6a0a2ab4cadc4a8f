"""A film of a learned world, of any length, from one start.

A start of the model's bank, a moment of a recorded episode or a single picture; then the actions of the recording, of a
file or of a policy. Each frame is written when it is imagined, so an hour takes no more memory than a second.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.images import shrink
from gwm_sim.envs.learned.goal_pictures import read_picture
from gwm_sim.envs.learned.starts import split_place
from gwm_sim.envs.learned.vector import LearnedVectorEnv
from gwm_sim.errors import ConfigError, check_at_least_one
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.picture_start import picture_start
from gwm_sim.policies.planning import Guide
from gwm_sim.policies.policy import Actions
from gwm_sim.policies.registry import PolicySpec
from gwm_sim.policies.rollout import rollout
from gwm_sim.progress import progress
from gwm_sim.protocol import CONTEXT
from gwm_sim.storage import reason

SECONDS = 60.0
FILMS = (".mp4", ".mkv", ".mov")


@dataclass(frozen=True)
class GenerateConfig:
    """Write a film of a learned world."""

    out: Path
    """Film to write: .mp4, .mkv or .mov."""
    model: str = "gwm-mini"
    """Name of a shipped model, or the folder of one."""
    bank: int | None = None
    """Begin at this start state of the model; without any start one is drawn by --seed."""
    episode: str | None = None
    """FILE:K, begin in a recorded episode and follow its actions, unless --actions or --policy says otherwise."""
    step: int | None = None
    """Frame of the episode to begin at; by default the first that has a whole context before it."""
    image: Path | None = None
    """Begin at this picture of the model's (main) camera. What the robot reports is read from it, by the guide of the
    model or of a shipped one that looks through the same camera."""
    actions: Path | None = None
    """Actions to follow, .npy of shape (T, A)."""
    policy: str | None = None
    """Who acts: a policy as `gwm compare` knows them; by default uniform, where there are no actions to follow."""
    seconds: float | None = None
    """Length of the film; by default that of the actions, or a minute."""
    seed: int = 0
    """Of the start, where none is given, and of what the policy draws."""
    scale: int | None = None
    """Enlargement of the frames; by default to about 400 pixels of height."""
    json: Path | None = None
    """Write the printed numbers here."""

    def __post_init__(self) -> None:
        starts = [name for name in ("bank", "episode", "image") if getattr(self, name) is not None]
        if len(starts) > 1:
            raise ConfigError(f"--{' and --'.join(starts)} exclude each other: give one start")
        if self.actions is not None and self.policy is not None:
            raise ConfigError("--actions and --policy exclude each other")
        if self.out.suffix.lower() not in FILMS:
            raise ConfigError(f"--out must end in {', '.join(FILMS)}, got {self.out}")
        if self.step is not None and self.episode is None:
            raise ConfigError("--step says where in an episode to begin: give --episode FILE:K beside it")
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            raise ConfigError(f"--seconds must be positive and finite, got {self.seconds:g}")
        check_at_least_one(scale=self.scale)


@dataclass
class Film:
    """A world that is filmed: frames while it is imagined, and what is known of it at the end."""

    world: LearnedVectorEnv  # of one row
    actor: PolicySpec
    options: dict[str, Any]
    seed: int
    steps: int
    uncertainty: float = 0.0

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """The frame that the world begins with, and one for each step, (H, W, 3)."""
        policy, env = self.actor
        try:
            observation, _ = env.reset(seed=self.seed, options=self.options)
        except ValueError as error:
            raise ConfigError(f"no start: {error}") from error
        yield self.world.frames()[0]
        with progress("generate") as show:
            for number, step in enumerate(islice(rollout(policy, env, observation), self.steps), start=1):
                self.uncertainty = float(step.info["gwm/uncertainty"][0])
                show(number / self.steps, f"{number} of {self.steps} steps")
                yield self.world.frames()[0]


def start(config: GenerateConfig, model: WorldModel) -> dict[str, Any]:
    """Reset options of the start; a ConfigError says why a picture cannot be one."""
    if config.bank is not None:
        return {"bank": config.bank}
    if config.episode is not None:
        return {"episode": config.episode} | ({} if config.step is None else {"step": config.step})
    if config.image is None:
        return {}
    height, width = model.config.tokenizer.height, model.config.tokenizer.width
    if height != width:
        raise ConfigError(f"--image is for models of square pictures, {config.model} has {width} x {height}")
    picture = shrink(read_picture(config.image, "--image"), height)
    guide = Guide.beside(model, config.model, borrow=True)
    return picture_start(model, guide, picture, f"--image {config.image}")


def follow(config: GenerateConfig, model: WorldModel) -> Actions | None:
    """Actions (T, A) of the file or of the recording, checked to be those of the model's robot; None: a policy acts."""
    expected = model.config.dynamics.actions
    if config.actions is not None:
        try:
            actions = np.asarray(np.load(config.actions, allow_pickle=False), np.float32)
        except (OSError, EOFError, TypeError, ValueError) as error:
            why = reason(error) or error
            raise ConfigError(f"--actions {config.actions} is no .npy file of numbers: {why}") from error
        if actions.ndim != 2 or actions.shape[1] != expected or not np.isfinite(actions).all() or not len(actions):
            raise ConfigError(
                f"--actions {config.actions} must hold finite numbers of shape (T, {expected}), got {actions.shape}"
            )
        return actions
    if config.episode is None or config.policy is not None:
        return None
    try:
        path, k = split_place(config.episode)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    with EpisodeFile(path) as file:
        if k >= len(file):
            raise ConfigError(f"{path} has {len(file)} episodes, number {k} is not among them")
        first = CONTEXT - 1 if config.step is None else config.step
        actions = file.read(k, cameras=()).actions[first:]
    if not len(actions):
        raise ConfigError(f"--episode {config.episode} has no action after frame {first}")
    return actions


def length(config: GenerateConfig, rate: float, actions: Actions | None) -> int:
    """Steps of the film, as many as there are actions or fewer."""
    if actions is not None and config.seconds is None:
        return len(actions)
    steps = max(1, round(rate * (config.seconds or SECONDS)))
    if actions is not None and steps > len(actions):
        raise ConfigError(
            f"there are {len(actions)} actions to follow, {len(actions) / rate:g} s of them: "
            "give fewer --seconds, or a --policy"
        )
    return steps
