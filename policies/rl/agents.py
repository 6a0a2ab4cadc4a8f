"""Agents of stable-baselines3 as folders: `config.json` and weights as safetensors, never pickle.

SB3's own archives run code when they are loaded. Here a folder says what to build and holds only tensors. Weights carry
the number of steps in their names and `config.json`, which names them, is replaced last: whenever a process is killed,
the folder holds one whole checkpoint.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
from gymnasium import spaces
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor

from gwm_sim.envs.learned.observations import MISREAD, read_frames
from gwm_sim.envs.wrappers import ternary
from gwm_sim.errors import CheckpointError, ConfigError
from gwm_sim.extras import missing
from gwm_sim.files import replacing, write_json
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.policy import Actions, Observation, Starts, State
from gwm_sim.policies.rl.features import NormalisedReLU, StateExtractor
from gwm_sim.storage import trouble

FORMAT: Final = 1
CONFIG_FILE: Final = "config.json"
ALGORITHMS: Final = {"ppo": "stable_baselines3", "sac": "stable_baselines3", "tqc": "sb3_contrib"}
OFF_POLICY: Final = ("sac", "tqc")
TRAINING_ONLY: Final = "critic"  # beginning of the weights of a policy that acting does not need


@dataclass(frozen=True)
class AgentConfig:
    """What a folder of weights is."""

    algo: str
    """ppo, sac or tqc."""
    env: str
    """Id of the environment it was trained in."""
    readings: tuple[str, ...]
    """What it observes beside `agent_pos`, see `gwm_sim.envs.learned.observations`."""
    model: str
    """World model that reads for it: a shipped one, or a folder."""
    model_hash: str
    """That model's hash."""
    net_arch: tuple[int, ...]
    """Widths of the hidden layers."""
    effector: tuple[int, ...]
    """Where in `agent_pos` the end-effector is."""
    ternary: tuple[int, ...] = ()
    """Places of the action that are lowest, middle or highest, see `gwm_sim.envs.wrappers.TernaryAction`."""
    steps: int = 0
    """Environment steps it has learned from."""
    seconds: float = 0.0
    """Time it was trained for [s]."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Command, options and versions of the run."""


def algorithm(name: str) -> type[BaseAlgorithm]:
    """Class of an algorithm; a ConfigError if there is none of that name, MissingDependency if it is not installed."""
    if name not in ALGORITHMS:
        raise ConfigError(f"--algo must be one of {', '.join(ALGORITHMS)}, got {name!r}")
    try:
        return getattr(import_module(ALGORITHMS[name]), name.upper())
    except ModuleNotFoundError as error:
        raise missing(ALGORITHMS[name], f"--algo {name}") from error


def policy_kwargs(config: AgentConfig, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Arguments that build the policy network of an agent."""
    has_critic = config.algo in OFF_POLICY
    return {
        **(more or {}),
        **({"activation_fn": NormalisedReLU} if has_critic else {}),
        "net_arch": list(config.net_arch),
        "optimizer_kwargs": {"fused": True},  # of small networks the optimiser takes a fifth of the time
        "features_extractor_class": StateExtractor,
        "features_extractor_kwargs": {"effector": config.effector, "misread": MISREAD if has_critic else 0.0},
    }


def save_agent(agent: BaseAlgorithm, config: AgentConfig, folder: Path, resumable: bool = True) -> None:
    """Write a checkpoint that acts, and beside it what training needs to go on; each appears whole or not at all.

    Args:
        agent: The agent as it is.
        config: What it is.
        folder: Where to write; an older checkpoint there is replaced.
        resumable: Whether to write what training needs.
    """
    weights = agent.policy.state_dict()
    acting = {name: value for name, value in weights.items() if not name.startswith(TRAINING_ONLY)}
    parts = {"policy": acting} | ({"training": _training_tensors(agent)} if resumable else {})
    files = {part: f"{part}-{config.steps:08d}.safetensors" for part in parts}
    try:
        for part, tensors in parts.items():
            stored = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
            with replacing(folder / files[part]) as temporary:
                save_file(stored, temporary)
        observed: Any = agent.observation_space
        acts: Any = agent.action_space
        value = {
            "format": FORMAT,
            **asdict(config),
            "files": {part: {"name": name, "sha256": _digest(folder / name)} for part, name in files.items()},
            "observation_space": {
                key: {"low": box.low.tolist(), "high": box.high.tolist()} for key, box in observed.items()
            },
            "action_space": {"low": acts.low.tolist(), "high": acts.high.tolist()},
        }
        write_json(folder / CONFIG_FILE, value)
    finally:  # what the configuration does not name, the new one or still the old one, is of no use
        named = _named(folder)
        for path in folder.glob("*.safetensors*"):
            if path.name not in named:
                path.unlink(missing_ok=True)


def _named(folder: Path) -> set[str]:
    """Names of the files of weights that the configuration in a folder speaks of."""
    path = folder / CONFIG_FILE
    files = json.loads(path.read_text(encoding="utf-8"))["files"] if path.is_file() else {}
    return {file["name"] for file in files.values()}


def load_config(folder: Path) -> AgentConfig:
    """Read what a folder is; a CheckpointError if it is no agent."""
    return _read(folder)[0]


def restore(agent: BaseAlgorithm, folder: Path) -> None:
    """Put the weights and the optimisers of a checkpoint into an agent built alike, to go on training it."""
    config, value = _read(folder)
    training = _load(folder, value, "training")
    parameters: dict[str, Any] = agent.get_parameters()
    parameters["policy"] = {**_load(folder, value, "policy"), **_part(training, "policy/")}
    for name in _optimisers(agent):
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in _part(training, f"{name}/").items():
            index, _, entry = key.partition("/")
            state.setdefault(int(index), {})[entry] = tensor
        parameters[name] = {**parameters[name], "state": state}
    try:
        agent.set_parameters(parameters)
    except (RuntimeError, KeyError, ValueError) as error:
        raise CheckpointError(f"{folder} was trained with other options, it cannot be resumed: {error}") from error
    if (entropy := training.get("log_ent_coef")) is not None:
        agent.log_ent_coef.data.copy_(entropy)  # type: ignore[attr-defined]
    agent.num_timesteps = config.steps


class AgentPolicy:
    """A trained agent as a policy; it observes `agent_pos` and the keys that its `config` names."""

    def __init__(self, folder: str | Path) -> None:
        """Build the network and load its weights; a CheckpointError if the folder holds no whole agent."""
        folder = Path(folder)
        self.config, value = _read(folder)
        self.name = folder.name
        self.observation_space = spaces.Dict({key: _box(bounds) for key, bounds in value["observation_space"].items()})
        weights = _load(folder, value, "policy")
        aliases: dict[str, type[BasePolicy]] = algorithm(self.config.algo).policy_aliases
        bias = next(weights[name] for name in ("action_net.bias", "actor.mu.bias") if name in weights)
        unit = {"low": [-1.0] * len(bias), "high": [1.0] * len(bias)}  # of agents that do not say theirs
        self.action_space = _box(value.get("action_space", unit))
        self._network = aliases["MultiInputPolicy"](
            self.observation_space, self.action_space, lambda _: 0.0, **policy_kwargs(self.config)
        )
        absent, unexpected = self._network.load_state_dict(weights, strict=False)
        absent = [name for name in absent if not name.startswith(TRAINING_ONLY)]
        if absent or unexpected:
            raise CheckpointError(f"{folder}: weights do not fit the configuration ({[*absent, *unexpected][:3]} ...)")
        self._network.set_training_mode(False)

    def predict(
        self, observation: Observation, state: State = None, episode_start: Starts = None, deterministic: bool = False
    ) -> tuple[Actions, State]:
        """Act on one observation or on a batch."""
        seen = {key: observation[key] for key in self.observation_space}
        actions, _ = self._network.predict(seen, deterministic=deterministic)
        return np.asarray(actions, np.float32), None


def _box(bounds: Mapping[str, list[float]]) -> spaces.Box:
    low, high = (np.array(bounds[side], np.float32) for side in ("low", "high"))
    return spaces.Box(low, high, dtype=np.float32)


class SeeingAgent:
    """A trained agent that reads frames by itself, where nobody wraps the environment for it."""

    def __init__(self, folder: str | Path) -> None:
        """Load the agent and the world model that reads for it."""
        self._agent = AgentPolicy(folder)
        self._model = WorldModel.load(self._agent.config.model)
        self.name = self._agent.name

    def predict(
        self, observation: Observation, state: State = None, episode_start: Starts = None, deterministic: bool = False
    ) -> tuple[Actions, State]:
        """Act on what one environment or a batch shows."""
        batched = np.ndim(observation["agent_pos"]) == 2
        frames = observation if batched else {key: value[None] for key, value in observation.items()}
        config = self._agent.config
        actions, _ = self._agent.predict(read_frames(self._model, frames, config.readings), deterministic=deterministic)
        actions = ternary(actions, config.ternary, self._agent.action_space)
        return (actions if batched else actions[0]), None


def _training_tensors(agent: BaseAlgorithm) -> dict[str, Tensor]:
    weights = agent.policy.state_dict()
    tensors = {f"policy/{name}": value for name, value in weights.items() if name.startswith(TRAINING_ONLY)}
    if (entropy := getattr(agent, "log_ent_coef", None)) is not None:
        tensors["log_ent_coef"] = entropy
    for name in _optimisers(agent):
        for i, state in agent.get_parameters()[name]["state"].items():
            tensors |= {f"{name}/{i}/{key}": value for key, value in state.items()}
    return tensors


def _optimisers(agent: BaseAlgorithm) -> list[str]:
    return [name for name in agent.get_parameters() if name.endswith("optimizer")]


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _read(folder: Path) -> tuple[AgentConfig, dict[str, Any]]:
    path = folder / CONFIG_FILE
    if folder.is_file():
        raise CheckpointError(
            f"{folder} is a file: give a folder as `gwm rl train` makes it (archives of SB3 hold code and are not read)"
        )
    if not path.is_file():
        raise CheckpointError(
            f"no agent in {folder}: it has no {CONFIG_FILE}; make one with `gwm rl train --out {folder}`"
        )
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if value["format"] > FORMAT:
            raise CheckpointError(
                f"{folder} has format {value['format']}, this version reads {FORMAT}: upgrade gwm_sim"
            )
        given = {key: value[key] for key in AgentConfig.__dataclass_fields__}
        tuples = {key: tuple(given[key]) for key in ("readings", "net_arch", "effector", "ternary")}
        return AgentConfig(**{**given, **tuples}), value
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} does not describe an agent: {error!r}") from error


def _load(folder: Path, value: Mapping[str, Any], part: str) -> dict[str, Tensor]:
    try:
        entry = value["files"][part]
        path = folder / entry["name"]
        if path.is_file() and _digest(path) != entry["sha256"]:
            raise CheckpointError(f"{path} is not the file that was written: copy the folder again")
        return load_file(path)
    except (OSError, KeyError, SafetensorError) as error:
        needed = "acting" if part == "policy" else "training on"
        raise CheckpointError(f"{folder} lacks weights that {needed} needs: {trouble(error) or error}") from error


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()
