"""An agent that learns inside a world, scored in both worlds on the way.

The twin's steps are never learned from: it only says, now and then, what the policy is worth outside. Seeds from
300,000 belong to evaluations and are refused here.
"""

import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

import gymnasium as gym
import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecMonitor

import gwm_sim
from gwm_sim.envs import wrappers
from gwm_sim.envs.blocks.spec import is_twin, task_of
from gwm_sim.envs.learned.observations import LATENTS, OBJECTS, usual_keys
from gwm_sim.envs.learned.tasks import world_options
from gwm_sim.envs.tabletop.paired import PairedWorlds, twin_options
from gwm_sim.errors import ConfigError
from gwm_sim.files import exclusive, keeping
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.evaluation import evaluate
from gwm_sim.policies.own_world import OwnWorld, check_task, check_tasks, scored_worlds
from gwm_sim.policies.registry import make_policy
from gwm_sim.policies.rl.agents import (
    CONFIG_FILE,
    AgentConfig,
    algorithm,
    load_config,
    policy_kwargs,
    restore,
    save_agent,
)
from gwm_sim.policies.rl.cloning import DemonstrationReplay, clone, read_demonstrations, remember
from gwm_sim.policies.rl.curve import Score, read_curve, write_curve
from gwm_sim.policies.rl.recipes import Recipe, find_recipe
from gwm_sim.policies.rl.sb3_adapter import SB3VecEnv
from gwm_sim.progress import Show, progress
from gwm_sim.protocol import FIRST_EVALUATION_SEED

VALIDATION_SEED: Final = 200_000  # first start of the evaluations during training
CHECKPOINT_SECONDS: Final = 60.0  # what a killed run loses at most
LOCK_FILE: Final = "run.lock"
LEFT_OVER: Final = (LOCK_FILE, "tensorboard")  # of a run that wrote no checkpoint
CHECKPOINTS: Final = "checkpoints"


@dataclass(frozen=True)
class RlTrainConfig:
    """Train a policy inside a world."""

    env: str
    """Where to learn, such as GWM-BlockGrasp-v0, or GWM-World-v0 for the world of --model."""
    out: Path
    """Folder of the run and of the policy."""
    task: str | None = None
    """In GWM-World-v0, what is to be done: a label of the model's data, or a function FILE.py:NAME."""
    goal: Path | None = None
    """In GWM-World-v0, a picture of what is to be reached, instead of a task."""
    algo: str = "sac"
    """ppo, sac, or tqc (needs sb3-contrib)."""
    minutes: float | None = None
    """Budget in minutes, evaluations on the way included."""
    steps: int | None = None
    """Budget in environment steps; by default, without --minutes, that of the hyper-parameters. 0 is cloning alone."""
    warm_start: Path | None = None
    """Episode file of demonstrations to clone before learning begins, in a world of one's own simply its recordings.
    With sac and tqc they also are half of every batch, so give them again with --resume."""
    resume: bool = False
    """Go on with the run in `out`; budgets count from its beginning. The replay buffer of off-policy algorithms starts
    empty."""
    model: str = "gwm-mini"
    """World model: a shipped one, or a folder."""
    hyperparams: Path | None = None
    """File of hyper-parameters in rl_zoo3's form, instead of the shipped one."""
    penalty: float = 0.0
    """Reward to take away for every centimetre by which the uncertainty grows; 0 for none."""
    truncate: float = 0.0
    """Uncertainty at which an episode ends [cm]; 0 for never."""
    eval_minutes: float = 5.0
    """Time between evaluations in both worlds; 0 for one at the end only, negative for none at all."""
    eval_episodes: int = 20
    """Episodes of each."""
    keep: bool = False
    """Keep the policy of every evaluation, in `checkpoints` of the folder: policies of graded skill to compare."""
    tensorboard: bool = True
    """Write logs for TensorBoard into the folder."""
    seed: int = 0
    """Seed of the weights and of the starts; below 300000."""
    json: Path | None = None
    """Write the closing numbers here."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed < FIRST_EVALUATION_SEED:
            raise ConfigError(
                f"--seed must be from 0 to {FIRST_EVALUATION_SEED - 1}, got {self.seed}: "
                f"seeds from {FIRST_EVALUATION_SEED} are for evaluation only"
            )
        least = 0 if self.warm_start else 1
        if self.steps is not None and self.steps < least:
            raise ConfigError(f"--steps must be at least {least} here, got {self.steps}; 0 needs a --warm_start")
        if self.minutes is not None and self.minutes <= 0:
            raise ConfigError(f"--minutes must be positive, got {self.minutes}")


def train(config: RlTrainConfig) -> tuple[AgentConfig, Score | None]:
    """Train, leave the policy in `config.out`, and return what it is and how it was scored last."""
    check_task(config.env, config.task, config.goal)
    recipe = find_recipe(config.algo, config.env, config.hyperparams)
    algorithm(config.algo)
    env = make_env(config, recipe)
    worlds = scored_worlds(config.env, config.model, min(20, config.eval_episodes), config.task, config.goal)
    prepare_folder(config)
    with exclusive(config.out / LOCK_FILE, f"the run in {config.out}"):
        return _train(config, recipe, env, worlds)


def make_env(config: RlTrainConfig, recipe: Recipe) -> VecEnv:
    """The rows to learn in, as SB3 sees them."""
    model = WorldModel.load(config.model)
    own = task_of(config.env) is None
    if not own and not is_twin(config.env):
        check_tasks(model, str(task_of(config.env)))
    options = world_options(model, config.model, config.task, config.goal) if own else {"model": config.model}
    if is_twin(config.env):
        options = twin_options(model.config)
    try:
        env: Any = gym.make_vec(config.env, num_envs=recipe.num_envs, **options)
    except gym.error.Error as error:
        raise ConfigError(f"--env {config.env} cannot be made: {error}") from error
    env = wrappers.VectorLatentObservation(env, readings(config, recipe, model), config.model)
    if recipe.ternary:
        env = wrappers.VectorTernaryAction(env, recipe.ternary)
    if config.truncate > 0:
        env = wrappers.VectorTruncateOnUncertainty(env, config.truncate)
    if config.penalty > 0:
        env = wrappers.VectorUncertaintyPenalty(env, config.penalty)
    return VecMonitor(SB3VecEnv(env), info_keywords=("is_success",))


def readings(config: RlTrainConfig, recipe: Recipe, model: WorldModel) -> tuple[str, ...]:
    """What is observed beside `agent_pos`: what the recipe says, else in the block world objects and latents, and in
    any other what its model knows."""
    return recipe.readings or (usual_keys(model) if task_of(config.env) is None else (OBJECTS, LATENTS))


def prepare_folder(config: RlTrainConfig) -> None:
    """Refuse to write over what is there, and to resume what is not or is another run."""
    if config.resume:
        found = load_config(config.out)
        before = found.notes.get("options", {})
        for name in ("task", "goal"):
            asked = getattr(config, name)
            if name in before and before[name] != (None if asked is None else str(asked)):
                raise ConfigError(f"the run in {config.out} has --{name} {before[name]}, not {asked}")
        for name in ("algo", "env", "model"):
            if getattr(found, name) != getattr(config, name):
                raise ConfigError(
                    f"the run in {config.out} has --{name} {getattr(found, name)}, not {getattr(config, name)}"
                )
    elif config.out.exists() and any(path.name not in LEFT_OVER for path in config.out.iterdir()):
        raise ConfigError(f"{config.out} is not empty: resume its run with --resume, or give another --out")
    config.out.mkdir(parents=True, exist_ok=True)


def build_agent(config: RlTrainConfig, recipe: Recipe, env: VecEnv, about: AgentConfig) -> BaseAlgorithm:
    """A fresh agent of SB3."""
    make: Any = algorithm(config.algo)
    return make(
        "MultiInputPolicy",
        env,
        policy_kwargs=policy_kwargs(about, recipe.policy_kwargs),
        seed=config.seed,
        device="cpu",
        **({"replay_buffer_class": DemonstrationReplay} if issubclass(make, OffPolicyAlgorithm) else {}),
        tensorboard_log=str(config.out / "tensorboard") if config.tensorboard else None,
        **recipe.arguments,
    )


def _train(
    config: RlTrainConfig, recipe: Recipe, env: VecEnv, worlds: PairedWorlds | OwnWorld
) -> tuple[AgentConfig, Score | None]:
    world = worlds.world_model
    about = AgentConfig(
        algo=config.algo,
        env=config.env,
        readings=readings(config, recipe, world),
        model=config.model,
        model_hash=world.digest(),
        net_arch=recipe.net_arch,
        effector=world.config.dynamics.effector,
        ternary=recipe.ternary,
        notes={
            "command": ["gwm", *sys.argv[1:]],
            "options": json.loads(json.dumps(asdict(config), default=str)),
            "hyperparameters": recipe.arguments,
            "versions": {name: version(name) for name in ("stable-baselines3", "torch", "gymnasium")}
            | {"gwm_sim": gwm_sim.__version__},
        },
    )
    agent = build_agent(config, recipe, env, about)
    env.seed(config.seed)
    if config.resume:
        about = replace(load_config(config.out), notes=about.notes)
    steps = recipe.timesteps if config.steps is None and config.minutes is None else config.steps
    budget = Budget(config.minutes, steps, time.monotonic() - about.seconds)
    if config.warm_start is not None:
        task = task_of(config.env) or config.task
        goal = None if task else world_options(world, config.model, None, config.goal)["goal"]
        demonstrations = read_demonstrations(config.warm_start, world, about.readings, task, goal)
        remember(agent, demonstrations)
        if not config.resume:
            clone(agent, demonstrations, config.seed)
    if config.resume:
        restore(agent, config.out)

    def kept() -> str:
        if (config.out / CONFIG_FILE).exists():
            return f"The agent of the last checkpoint is kept in {config.out}: the same command with --resume goes on."
        return "No checkpoint was written: the same command begins anew."

    with progress(f"{config.algo} in {config.env}") as show, keeping(kept):
        keeper = Keeper(config, about, worlds, budget, show)
        try:
            agent.learn(
                total_timesteps=(2**40 if budget.steps is None else budget.steps) - agent.num_timesteps,
                callback=keeper,
                reset_num_timesteps=not config.resume,
                tb_log_name=config.algo,
            )
        except KeyboardInterrupt:
            keeper.checkpoint()
            raise
        score = keeper.finish()
    env.close()
    return keeper.about, score


class Budget(NamedTuple):
    """How much of the allowed time or steps is used."""

    minutes: float | None
    steps: int | None
    begun: float  # reading of `time.monotonic()`, earlier by what was spent before

    @property
    def seconds(self) -> float:
        """Time spent [s]."""
        return time.monotonic() - self.begun

    def share(self, steps: int) -> float:
        """Part of the budget that is used after `steps`, by whichever of the two is nearer to its end."""
        return max(
            0.0 if self.minutes is None else self.seconds / (60 * self.minutes),
            0.0 if self.steps is None else steps / self.steps,
        )


class Keeper(BaseCallback):
    """Ends the training in time, keeps checkpoints, scores them in both worlds and draws the gap."""

    def __init__(
        self, config: RlTrainConfig, about: AgentConfig, worlds: PairedWorlds | OwnWorld, budget: Budget, show: Show
    ) -> None:
        """Prepare."""
        super().__init__()
        self.about = about
        self._config, self._worlds, self._budget, self._show = config, worlds, budget, show
        self._scores: list[Score] = read_curve(config.out) if config.resume else []
        self._scored_at = self._written_at = budget.seconds
        self._envs: dict[str, Any] = {}

    def _on_training_start(self) -> None:
        self.checkpoint()  # so that a run can be resumed whenever it is killed

    def _on_step(self) -> bool:
        share = self._budget.share(self.num_timesteps)
        self._show(min(share, 1.0), self._words())
        every = 60 * self._config.eval_minutes
        if every > 0 and self._budget.seconds - self._scored_at > every and share < 1:
            self.checkpoint()
            self.score()
        elif self._budget.seconds - self._written_at > CHECKPOINT_SECONDS:
            self.checkpoint()
        return share < 1

    def finish(self) -> Score | None:
        """Keep and score what training ended with."""
        self.checkpoint()
        if self._config.eval_minutes >= 0:
            self.score()
        self._show(1.0, self._words())
        return self._scores[-1] if self._scores else None

    def checkpoint(self) -> None:
        """Write the agent as it is."""
        self.about = replace(self.about, steps=self.num_timesteps, seconds=self._budget.seconds)
        save_agent(self.model, self.about, self._config.out)
        self._written_at = self._budget.seconds

    def score(self) -> None:
        """Evaluate the written checkpoint in both worlds, from the same starts."""
        successes = {}
        for world in self._worlds.names:
            env = self._envs.get(world) or self._worlds.make(world)
            policy, self._envs[world] = make_policy(str(self._config.out), env)
            evaluation = evaluate(policy, self._envs[world], self._config.eval_episodes, VALIDATION_SEED)
            successes[world] = evaluation.successes
            self.logger.record(f"eval/success_{world}", evaluation.success_rate)
        if self._config.keep:
            kept = self._config.out / CHECKPOINTS / f"{self.about.steps:08d}"
            save_agent(self.model, self.about, kept, resumable=False)
        self._scores.append(Score(self.num_timesteps, self._budget.seconds, self._config.eval_episodes, **successes))
        self.logger.dump(self.num_timesteps)
        write_curve(self._scores, self._config.out, self._config.env)
        self._scored_at = self._budget.seconds

    def _words(self) -> str:
        recent = self.model.ep_info_buffer or ()
        words = f"{self.num_timesteps} steps"
        if recent:
            words += f", return {np.mean([episode['r'] for episode in recent]):.1f}"
        if self._scores:
            words += f", success {self._scores[-1]}"
        return words
