"""Open futures: does what truly comes lie among the futures that a model samples?

Half of the cases are cubes set down near the edge of the other one, where they may stand or tip over; half are cubes
lifted with hardly enough friction, which may hold or slip. The model is told friction and gravity. A case is covered if
one of the samples has the red cube within half a cube of where it truly is at the end. Beside that, what makes the
number mean something: how often the most likely future alone is right, the share of all samples that are, and how often
the futures sampled for another case would have covered it.

python benchmarks/futures.py --model gwm-preview --json benchmarks/results/futures.json
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from program import circumstances, launch

from gwm_sim.envs.blocks import spec
from gwm_sim.envs.blocks.tasks import BLUE, RED
from gwm_sim.envs.spaces import picture
from gwm_sim.envs.tabletop.paired import twin_options
from gwm_sim.errors import ConfigError
from gwm_sim.evaluation.statistics import wilson_interval
from gwm_sim.files import write_json
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.blocks.experts import ScriptedPolicy
from gwm_sim.policies.blocks.motions import Bench, Script, hold, lift, pick, place, release
from gwm_sim.policies.tabletop.motions import aside
from gwm_sim.progress import progress
from gwm_sim.protocol import CONTEXT, FIRST_EVALUATION_SEED

Array = NDArray[Any]

HORIZON = 20  # steps that are foreseen
NEAR = spec.CUBE_SIZE / 2  # [m]
EDGE = (0.020, 0.030)  # offset of a cube from the middle of the one below [m]; beyond half a cube it falls
FRICTION = (0.10, 0.22)  # about the least that holds a cube
LONGEST = 70  # steps until the moment that matters


@dataclass(frozen=True)
class FuturesConfig:
    """Sample futures of cases that may go either way."""

    model: str = "gwm-preview"
    """Name of a shipped model, or the folder of one."""
    cases: int = 100
    """Cases, half of either kind."""
    samples: int = 16
    """Futures per case."""
    seed: int = 350_000
    """Seed of the first case, above those of training."""
    json: Path | None = None
    """Write the numbers here, beside those of other models."""


class Case(NamedTuple):
    """A moment from which things may go either way, and what truly comes."""

    frames: Array  # (C, H, V*W, 3)
    telemetry: Array  # (C, P)
    past: Array  # (C-1, A)
    actions: Array  # (HORIZON, A)
    properties: dict[str, float]
    before: Array  # (3,) red cube at the moment [m]
    after: Array  # (3,) red cube at the end [m]


def edge(bench: Bench, rng: np.random.Generator, decide: Callable[[], None]) -> Script:
    """Set the red cube down on the edge of the blue one."""
    while not (yield from pick(bench, RED)):
        yield from lift(bench, bench.command[2] + 0.05)
    yield from place(bench, RED, BLUE, aside(rng, *EDGE))
    decide()
    yield from release(bench, retreat=0.06)
    yield from hold(2 * HORIZON)


def slip(bench: Bench, rng: np.random.Generator, decide: Callable[[], None]) -> Script:
    """Lift the red cube with hardly enough friction."""
    yield from pick(bench, RED)
    decide()
    yield from lift(bench, rng.uniform(0.16, 0.22), rng.uniform(0.5, 1.0))
    yield from hold(2 * HORIZON)


KINDS = {"edge": edge, "slip": slip}


def record(
    env: gym.Env[Any, Any], eyes: gym.Env[Any, Any], kind: str, seed: int, cameras: tuple[str, ...]
) -> Case | None:
    """Act one case out in the twin; None if the moment never came.

    Args:
        env: A twin that acts, and draws as little as it can.
        eyes: Another one that draws what the model is shown.
        kind: Of `KINDS`.
        seed: Of the start and of what is done.
        cameras: Those of the model.
    """
    rng = np.random.default_rng(seed)
    properties = {"friction": float(rng.uniform(*FRICTION))} if kind == "slip" else {}
    observation, _ = env.reset(seed=seed, options={"properties": properties})
    decided: list[bool] = []
    policy = ScriptedPolicy(env, lambda bench, r: KINDS[kind](bench, r, lambda: decided.append(True)), kind, seed)
    twin: Any = env.unwrapped
    painter: Any = eyes.unwrapped
    actions: list[Array] = []
    states, reported = [twin.get_state()], [observation["agent_pos"]]
    places, memory = [twin.objects()[RED, :3].copy()], None
    moment = None
    while moment is None or len(actions) < moment + HORIZON:
        action, memory = policy.predict(observation, memory)
        if decided and moment is None:
            moment = len(actions)
        if moment is None and len(actions) == LONGEST:
            return None
        observation, *_ = env.step(action)
        states.append(twin.get_state())
        reported.append(observation["agent_pos"])
        actions.append(action)
        places.append(twin.objects()[RED, :3].copy())
    first = moment + 1 - CONTEXT
    eyes.reset(seed=seed)
    return Case(
        frames=np.stack([picture(painter.set_state(s), cameras) for s in states[first : moment + 1]]),
        telemetry=np.stack(reported[first : moment + 1]),
        past=np.stack(actions[first:moment]),
        actions=np.stack(actions[moment : moment + HORIZON]),
        properties=dict(twin.properties),
        before=places[moment],
        after=places[moment + HORIZON],
    )


@torch.no_grad()
def foresee(model: WorldModel, case: Case, samples: int) -> tuple[Array, Array]:
    """Where the red cube ends in the most likely future (3,) and in each of the sampled ones (samples, 3) [m]."""
    told = np.array([case.properties.get(name, np.nan) for name in model.config.properties], np.float32)
    given = (torch.from_numpy(x)[None] for x in (case.frames, case.telemetry, case.past, told))
    state = model.encode(*given).select([0] * (samples + 1))
    state.future[1:] = torch.arange(samples)
    actions = torch.from_numpy(case.actions).expand(samples + 1, -1, -1)
    ends = model.imagine(state, actions, judged=False, draw=False).objects[:, -1, RED].cpu().numpy()
    return ends[0], ends[1:]


def summarize(ends: list[tuple[Array, Array]], cases: list[Case]) -> dict[str, Any]:
    """Numbers of some cases, from the likely end of each (3,) and the sampled ones (S, 3)."""
    likely, sampled = (np.stack(x) for x in zip(*ends, strict=True))
    after, before = (np.stack([getattr(case, name) for case in cases]) for name in ("after", "before"))
    near = np.linalg.norm(sampled - after[:, None], axis=-1) < NEAR  # (N, S)
    moved = sampled - before[:, None]
    foreign = np.linalg.norm(np.roll(moved, 1, axis=0) + (before - after)[:, None], axis=-1) < NEAR
    covered = near.any(axis=1)
    spread = np.linalg.norm(sampled - sampled.mean(axis=1, keepdims=True), axis=-1).mean()
    low, high = wilson_interval(int(covered.sum()), len(cases))
    return {
        "cases": len(cases),
        "covered": float(covered.mean()),
        "covered_low": low,
        "covered_high": high,
        "most_likely_right": float((np.linalg.norm(likely - after, axis=-1) < NEAR).mean()),
        "samples_right": float(near.mean()),
        "covered_by_futures_of_others": float(foreign.any(axis=1).mean()),
        "spread_cm": 100 * float(spread),
    }


def main(config: FuturesConfig) -> None:
    """Act the cases out, sample their futures, compare and write."""
    if config.seed < FIRST_EVALUATION_SEED and config.json is not None:
        raise ConfigError(f"numbers to keep are of seeds from {FIRST_EVALUATION_SEED}, not {config.seed}")
    model = WorldModel.load(config.model)
    name: dict[str, Any] = {"id": "MuJoCo-BlockStack-v0", "max_episode_steps": -1}
    env, eyes = gym.make(**name, size=16, rendering="fast"), gym.make(**name, **twin_options(model.config))
    cases: dict[str, list[Case]] = {kind: [] for kind in KINDS}
    ends: dict[str, list[tuple[Array, Array]]] = {kind: [] for kind in KINDS}
    wanted, seed = config.cases // len(KINDS), config.seed
    with progress("futures") as show:
        for kind in KINDS:
            while len(cases[kind]) < wanted:
                case = record(env, eyes, kind, seed, model.config.cameras)
                seed += 1
                if case is None:
                    continue
                cases[kind].append(case)
                ends[kind].append(foresee(model, case, config.samples))
                done = sum(map(len, cases.values()))
                show(done / (wanted * len(KINDS)), f"{done} of {wanted * len(KINDS)} cases")
    env.close()
    eyes.close()
    numbers = {kind: summarize(ends[kind], cases[kind]) for kind in KINDS}
    numbers["all"] = summarize([e for kind in KINDS for e in ends[kind]], [c for kind in KINDS for c in cases[kind]])
    report = {
        "model": model.config.name,
        "model_hash": model.digest(),
        "samples": config.samples,
        "horizon": HORIZON,
        "seeds": [config.seed, seed - 1],
        **numbers,
        **circumstances(model.device),
    }
    for kind, values in numbers.items():
        share = {name: f"{100 * value:.0f} %" for name, value in values.items() if name != "spread_cm"}
        print(
            f"{kind}: {share['covered']} of {values['cases']} cases covered by {config.samples} futures, "
            f"{share['covered_by_futures_of_others']} by those of another case; right are {share['samples_right']} of "
            f"the futures and {share['most_likely_right']} of the most likely ones; spread {values['spread_cm']:.1f} cm"
        )
    if config.json is not None:
        others = json.loads(config.json.read_text(encoding="utf-8")) if config.json.exists() else {}
        both = others | {model.config.name: report}
        write_json(config.json, both)


if __name__ == "__main__":
    launch(main, FuturesConfig)
