"""Worlds: the learned environments and their physics twin, registered with Gymnasium on import.

Entry points are strings, so that neither torch nor mujoco is imported before an environment is made.
"""

from gymnasium.envs.registration import register, registry

from gwm_sim.envs.blocks.spec import TASKS, TIME_LIMIT, env_id
from gwm_sim.envs.table.spec import TWIN_ID

_ENTRY_POINTS = {
    "learned": ("gwm_sim.envs.learned.vector:LearnedEnv", "gwm_sim.envs.learned.vector:LearnedVectorEnv"),
    "twin": ("gwm_sim.envs.blocks.mujoco.twin:MuJoCoEnv", "gwm_sim.envs.blocks.mujoco.twin:MuJoCoVectorEnv"),
}
DOMAINS = {"Block": "gwm_sim.envs.blocks.domain:BLOCKS"}
"""What is known of a world beside its data, by the word that the ids of its environments have after the dash."""
WORLD_ID = "GWM-World-v0"
REMOTE_ID = "GWM-Remote-v0"


def is_learned(env_id: str) -> bool:
    """Whether an id is of a learned world; False of one that is not registered."""
    spec = registry.get(env_id.rpartition(":")[2])
    return spec is not None and spec.entry_point == _ENTRY_POINTS["learned"][0]


def register_envs() -> None:
    """Register every environment id once; later calls change nothing."""
    if WORLD_ID in registry:
        return
    for world, (single, vector) in _ENTRY_POINTS.items():
        for task in TASKS:
            register(
                env_id(world, task),
                entry_point=single,
                vector_entry_point=vector,
                max_episode_steps=TIME_LIMIT[task],
                kwargs={"task": task},
            )
    register(
        TWIN_ID,
        entry_point="gwm_sim.envs.table.mujoco.twin:TableEnv",
        vector_entry_point="gwm_sim.envs.table.mujoco.twin:TableVectorEnv",
        kwargs={"time_limit": "task"},
    )
    single, vector = _ENTRY_POINTS["learned"]
    register(
        WORLD_ID,
        entry_point=single,
        vector_entry_point=vector,
        kwargs={"model": "gwm-mini", "time_limit": "checkpoint"},
    )
    register(
        REMOTE_ID,
        entry_point="gwm_sim.envs.remote.vector:RemoteEnv",
        vector_entry_point="gwm_sim.envs.remote.vector:RemoteVectorEnv",
        kwargs={"time_limit": "checkpoint"},
    )


register_envs()
