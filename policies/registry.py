"""Policies by name: the one place that says what `--policy` and `--policies` mean.

    scripted                  the task's expert, on where the world says its cubes are; what it holds it tells by
                              sight, which is the same in both worlds (`gwm collect` records experts that feel it)
    scripted:noise=0.1        the same with Gaussian noise on its movements, with scripted:lapse=0.2 a random action in
                              20 % of the steps, with scripted:offset=0.03 misjudging the cubes by 3 cm, with
                              scripted:press=1 closing or opening on where it would hold still; options add up:
                              scripted:lapse=0.2:offset=0.03
    uniform, hold             the floors
    cem, icem, mppi           planning in the world model, for the task without demonstrations, or for the goal picture
                              by the search of `gwm plan`; options are population, iterations and horizon
    sac-reach, sac-grasp, sac-stack
                              shipped agents that learned inside gwm-mini
    FOLDER                    an agent as `gwm rl train` makes it

A new kind is an entry of `KINDS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from gymnasium.vector import VectorEnv

from gwm_sim.data.schema import Schema
from gwm_sim.envs.learned.observations import LATENTS
from gwm_sim.envs.wrappers import LatentObservation, TernaryAction, VectorLatentObservation, VectorTernaryAction
from gwm_sim.errors import ConfigError
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.blocks.clumsy import DISTURBANCES, disturbed_expert
from gwm_sim.policies.planning import PLANNERS, Examples, Goal, MpcConfig, MpcPolicy, searching_config
from gwm_sim.policies.planning.optimizers import sized
from gwm_sim.policies.policy import Policy
from gwm_sim.policies.rollout import Env
from gwm_sim.policies.uniform import HoldPolicy, UniformPolicy

SHIPPED: Final = ("sac-reach", "sac-grasp", "sac-stack")
"""Agents that come with the package."""


class PolicySpec(NamedTuple):
    """A policy, and the environment as it wants to see it."""

    policy: Policy
    env: Env


def make_policy(spec: str, env: Env, seed: int = 0, model: str | Path | WorldModel = "gwm-mini") -> PolicySpec:
    """Make the policy that `spec` names for an environment, single or vector; see the module for the specs.

    Args:
        spec: Name with options, or folder.
        env: Where it will act.
        seed: Of what the policy draws; row i from seed + i where it draws by row.
        model: In which planners plan.

    Raises:
        ConfigError: The spec is unknown, or the policy is for other spaces.
        CheckpointError: The folder holds no agent.
    """
    name, *words = spec.split(":")
    if name in KINDS and not Path(spec).is_dir():
        kind = KINDS[name]
        return PolicySpec(kind.make(env, seed, model, **_options(spec, words, kind.options)), env)
    return _agent(spec, env)


def split_name(entry: str) -> tuple[str, str]:
    """Name and spec of a policy that is written NAME=SPEC, or as a spec alone, which then is its name."""
    name, equals, spec = entry.partition("=")
    if not equals or not spec or set(name) & set(":/") or Path(entry).exists():
        return entry, entry
    return name, spec


def needs_pixels(spec: str) -> bool:
    """Whether the policy of a spec looks at frames, so that they have to be drawn for it."""
    name = spec.partition(":")[0]
    return name in PLANNERS or name not in KINDS


def _plan(
    planner: str, env: Env, seed: int, model: Any, population: float = 24, iterations: float = 3, horizon: float = 0
) -> Policy:
    world = model if isinstance(model, WorldModel) else WorldModel.load(model)
    there: Any = env.unwrapped
    task, picture = getattr(there, "task", None), getattr(there, "goal", None)
    if task is None and picture is None:
        raise ConfigError(f"no task to plan for in {env.spec.id if env.spec else env}")
    settings = sized(planner, int(population), int(iterations))
    if picture is None:
        return MpcPolicy(world, Goal.solve(world, str(task)), config=MpcConfig(settings, int(horizon) or 3, seed=seed))
    examples = None if isinstance(model, WorldModel) else Examples.beside(world, model)
    config = searching_config(world, settings, examples, seed=seed)
    goal = Goal.image(world, picture)
    steps = int(horizon) or config.horizon
    config = replace(config, horizon=steps, execute=min(config.execute, steps))
    return MpcPolicy(world, goal, config=config, examples=examples)


def find_agent(spec: str) -> Path | None:
    """Folder of an agent: the one that is named, or the shipped one of that name; None if there is neither."""
    if Path(spec).exists():
        return Path(spec)
    return Path(str(resources.files("gwm_sim"))) / "pretrained/agents" / spec if spec in SHIPPED else None


def _agent(spec: str, env: Env) -> PolicySpec:
    folder = find_agent(spec)
    if folder is None:
        known = ", ".join((*KINDS, *SHIPPED))
        raise ConfigError(f"no policy {spec!r}: give {known} or a folder as `gwm rl train` makes it")
    from gwm_sim.policies.rl.agents import AgentPolicy  # late: the other policies need no stable-baselines3

    policy = AgentPolicy(folder)
    seen: Any = env
    config = policy.config
    many = isinstance(env, VectorEnv)
    if not set(config.readings) <= set(_one(env, "observation_space")):
        try:
            seen = (VectorLatentObservation if many else LatentObservation)(seen, config.readings, config.model)
        except ValueError as error:
            raise ConfigError(f"{spec} cannot see in this environment: {error}") from error
        if LATENTS in config.readings and (digest := seen.reader.digest()) != config.model_hash:
            raise ConfigError(
                f"{spec} reads latents of the model {config.model_hash}, here they are those of {digest} "
                "and mean something else: train a policy with this model"
            )
    given = {name: entry.shape for name, entry in _one(seen, "observation_space").items()}
    for key, box in policy.observation_space.items():
        if given.get(key) != box.shape:
            raise ConfigError(
                f"{spec} is a policy for other spaces: it needs {key!r} of shape {box.shape}, got {given}"
            )
    acts: Any = _one(seen, "action_space")
    if acts.shape != policy.action_space.shape or not np.allclose(
        (acts.low, acts.high), (policy.action_space.low, policy.action_space.high)
    ):
        raise ConfigError(f"{spec} is a policy for other actions: it acts in {policy.action_space}, here are {acts}")
    if config.ternary:
        seen = (VectorTernaryAction if many else TernaryAction)(seen, config.ternary)
    return PolicySpec(policy, seen)


class Kind(NamedTuple):
    """Policies of one name: what makes them of environment, seed, world model and options, and which options."""

    make: Callable[..., Policy]
    options: tuple[str, ...] = ()


KINDS: Final[Mapping[str, Kind]] = {
    "scripted": Kind(lambda env, seed, model, **options: disturbed_expert(env, seed, **options), DISTURBANCES),
    "uniform": Kind(lambda env, seed, model: UniformPolicy(_one(env, "action_space"), seed)),
    "hold": Kind(lambda env, seed, model: HoldPolicy(_one(env, "action_space"), _control(env))),
    **{name: Kind(partial(_plan, name), ("population", "iterations", "horizon")) for name in PLANNERS},
}


def _one(env: Env, space: str) -> Any:
    """A space of one row."""
    return getattr(env, f"single_{space}" if isinstance(env, VectorEnv) else space)


def _control(env: Env) -> Schema | None:
    """What the actions of a learned world mean, None for other environments."""
    world: WorldModel | None = getattr(env.unwrapped, "world_model", None)
    return None if world is None else world.config.control


def _options(spec: str, words: list[str], known: tuple[str, ...]) -> dict[str, float]:
    try:
        options = {name: float(value) for name, value in (word.split("=") for word in words)}
    except ValueError:
        raise ConfigError(f"options of a policy are name=number, separated by colons, got {spec!r}") from None
    if unknown := sorted(options.keys() - set(known)):
        raise ConfigError(f"unknown options {unknown} of a policy; it takes {', '.join(known) or 'none'}")
    return options
