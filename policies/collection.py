"""Episodes recorded in the physics twins, in parallel and in spite of being killed.

Neither the number of worker processes nor the order in which they finish changes the content. Every finished episode is
a part file at once; the same command goes on where a killed one stopped.
"""

import time
from functools import partial
from typing import NamedTuple

from gwm_sim.data.episode_file import EpisodeFile, EpisodeWriter, resumable
from gwm_sim.data.inspection import Summary, summarize
from gwm_sim.envs.table.spec import TWIN_ID
from gwm_sim.errors import ConfigError, check_at_least_one
from gwm_sim.policies.blocks.recording import BlockRecorder
from gwm_sim.policies.table.recording import TableRecorder
from gwm_sim.policies.tabletop.recording import CollectConfig, Recorder
from gwm_sim.policies.worker_pool import Job
from gwm_sim.progress import progress


def recorder_of(env_id: str) -> type[Recorder]:
    """Who records the world of an environment."""
    return TableRecorder if env_id.rpartition(":")[2] == TWIN_ID else BlockRecorder


class Collection(NamedTuple):
    """What a call of `collect` did."""

    summary: Summary  # what the file holds now
    recorded: int  # episodes
    seconds: float  # that it took, start of the workers included
    steps_per_second: float


def collect(config: CollectConfig) -> Collection:
    """Record what is missing in `config.out` and finish the file.

    Raises:
        ConfigError: The options are impossible, or `config.out` was made with others.
    """
    check_at_least_one(episodes=config.episodes, steps=config.steps)
    if config.seed < 0:
        raise ConfigError(f"--seed must not be negative, got {config.seed}")
    begin = time.perf_counter()
    with resumable(config.out), config.pool(partial(recorder_of(config.env), config)) as pool:
        (schema,) = pool.run([Recorder.schema])  # of a worker, so that nothing is written if there can be none
        writer = EpisodeWriter(config.out, schema)
        with writer.finishing():
            missing = [index for index in range(config.episodes) if not writer.has(index)]
            jobs = [Job(f"episode {index}", partial(Recorder.part, index=index)) for index in missing]
            steps = schema.settings["steps"]
            with progress("collect") as show:
                for done, part in enumerate(pool.run(jobs), start=1):
                    writer.add(*part)
                    speed = done * steps / (time.perf_counter() - begin)
                    show(done / len(missing), f"{done} of {len(missing)} episodes, {speed:,.0f} steps/s")
    seconds = time.perf_counter() - begin
    with EpisodeFile(config.out) as file:
        return Collection(summarize(file), len(missing), seconds, len(missing) * steps / seconds)


__all__ = ["CollectConfig", "Collection", "collect", "recorder_of"]
