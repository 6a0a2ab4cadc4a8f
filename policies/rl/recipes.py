"""Hyper-parameters by algorithm and environment, in the file form of rl_zoo3, and what is made of them here."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from gwm_sim.envs.wrappers.ternary_action import COLUMNS
from gwm_sim.errors import ConfigError

# Entries that are not arguments of an algorithm.
OF_THE_RUN = ("env_wrapper", "n_envs", "n_timesteps", "policy", "policy_kwargs")
LATENT_OBSERVATION = "gwm_sim.envs.wrappers.LatentObservation"
TERNARY_ACTION = "gwm_sim.envs.wrappers.TernaryAction"


class Recipe:
    """The hyper-parameters of one algorithm in one environment."""

    def __init__(self, entries: Mapping[str, Any]) -> None:
        """Take them apart."""
        self.num_envs = int(entries["n_envs"])
        self.timesteps = int(float(entries["n_timesteps"]))
        self.policy_kwargs: dict[str, Any] = dict(entries.get("policy_kwargs", {}))
        self.net_arch = tuple(self.policy_kwargs.pop("net_arch", (256, 256)))
        # Each is a name, or a name with its arguments.
        named = [entry if isinstance(entry, dict) else {entry: None} for entry in entries.get("env_wrapper") or []]
        wrappers = {name: arguments or {} for entry in named for name, arguments in entry.items()}
        if LATENT_OBSERVATION not in wrappers:
            raise ConfigError(f"the policies made here see no pictures: add {LATENT_OBSERVATION} to env_wrapper")
        self.readings: tuple[str, ...] = tuple(wrappers[LATENT_OBSERVATION].get("keys", ()))
        """What is observed beside `agent_pos`; empty where the recipe does not say."""
        self.ternary: tuple[int, ...] = ()
        if TERNARY_ACTION in wrappers:
            self.ternary = tuple(wrappers[TERNARY_ACTION].get("columns", COLUMNS))
        self.arguments = {key: value for key, value in entries.items() if key not in OF_THE_RUN}


def find_recipe(algo: str, env: str, file: Path | None = None) -> Recipe:
    """Recipe of an algorithm for an environment id, from the shipped files or another one.

    Raises:
        ConfigError: There is none, or the file is not in rl_zoo3's form.
    """
    source = Path(str(resources.files("gwm_sim.policies.rl"))) / "recipes" / f"{algo}.yml" if file is None else file
    if not source.is_file():
        raise ConfigError(f"no file of hyper-parameters {source}")
    try:
        recipes: dict[str, Any] = yaml.safe_load(source.read_text(encoding="utf-8"))
        name = env.rpartition(":")[2]
        if name not in recipes:
            raise ConfigError(
                f"{source.name} has hyper-parameters for {', '.join(recipes)}, not for {name}: "
                "add them in a file of your own and give it by --hyperparams"
            )
        return Recipe(recipes[name])
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{source} is not in the form of rl_zoo3's hyper-parameters: {error!r}") from error
