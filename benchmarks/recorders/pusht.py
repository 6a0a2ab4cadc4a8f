"""PushT as in `stable-worldmodel`, at 10 Hz, 80 steps an episode.

Environment: one of its own, which `pip install stable-worldmodel pymunk pygame shapely opencv-python-headless imageio`
fills (with torch and lancedb, too; nothing of it needs a display), and h5py and tyro. Who acts, by seed: a third of the
episodes each are the package's WeakPolicy (a random aim within 100 px of the block at each step), the same with aims
kept for 5 steps, and a pusher that goes behind the block and drives it to the goal, with noise of 0.2 of the largest
action. The package has no better expert. The agent is kept within the walls, which the package leaves to the policy.

Pictures are drawn at the world's 512 px and averaged down to 64, as `gwm import` does. The green goal, which is
painted on the floor, is at the same place in all episodes.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
import stable_worldmodel  # noqa: E402, F401  (registers its environments; SDL reads the line above)
from pymunk.space_debug_draw_options import SpaceDebugColor  # noqa: E402
from stable_worldmodel.envs.pusht import WeakPolicy  # noqa: E402
from stable_worldmodel.envs.utils import light_color  # noqa: E402

from recorders.recording import Take, World  # noqa: E402

STEPS = 80
SIDE, SIZE = 512, 64
"""Of the world and of the pictures [px]."""
WORLD = World("stable-worldmodel-PushT-v1", 10, None, ("T",))
WALLS = 25, SIDE - 25
"""Where the agent may be [px of the world]."""
BEHIND = 95
"""How far behind the middle of the block the pusher begins [px]."""
BEHAVIOURS = ("weak", "weak, aims of 5 steps", "pusher, noise 0.2")

Act = Callable[[], Any]


class Stage:
    """The T and the disc that pushes it."""

    def __init__(self) -> None:
        self._env = gym.make("swm/PushT-v1", STEPS, resolution=SIDE, disable_env_checker=True)
        self._scene: Any = self._env.unwrapped
        self.succeeded = False

    def play(self, seed: int) -> Iterator[Any]:
        """Act an episode out, and stop at each moment to say what is done next, (2,)."""
        self._env.reset(seed=seed)
        act, self.succeeded = _actor(BEHAVIOURS[seed % 3], self._env, seed), False
        for step in range(STEPS + 1):
            agent = self.telemetry()["agent_pos"]
            action = (np.clip(agent + self._scene.action_scale * act(), *WALLS) - agent) / self._scene.action_scale
            yield action
            if step < STEPS:
                self.succeeded = bool(self._scene.step(action.astype(np.float32))[2]) or self.succeeded

    def step(self, action: Any) -> None:
        """Act for a step, within the walls."""
        agent, scale = self.telemetry()["agent_pos"], self._scene.action_scale
        self._scene.step((np.clip(agent + scale * action, *WALLS) - agent) / scale)

    def frame(self) -> Any:
        """What the camera sees, (H, W, 3) uint8."""
        return _shrunk(self._scene.render())

    def telemetry(self) -> dict[str, Any]:
        """What the disc reports of itself [px of the world]."""
        return {"agent_pos": np.array(self._scene.agent.position)}

    def save(self) -> Any:
        """Agent and block as they are."""
        agent, block = self._scene.agent, self._scene.block
        return agent.position, agent.velocity, block.position, block.angle, block.velocity, block.angular_velocity

    def restore(self, saved: Any) -> None:
        """Put agent and block back to where they were."""
        agent, block = self._scene.agent, self._scene.block
        agent.position, agent.velocity, _, block.angle, block.velocity, block.angular_velocity = saved
        block.position = saved[2]
        for body in (agent, block):
            self._scene.space.reindex_shapes_for_body(body)

    def pose(self) -> Any:
        """Agent, block [px of the world] and the turn of the block, as the package's rule wants them, (7,)."""
        return self._scene._get_obs()

    def reached(self, pose: Any) -> bool:
        """Whether agent and block together are within 20 px of a pose, and the block within 20 degrees."""
        return bool(self._scene.eval_state(pose, self.pose())[0])

    @staticmethod
    def displaced(start: Any, goal: Any) -> dict[str, float]:
        """How far the block is moved [px of the world] and turned [degrees] from one pose to another."""
        turn = abs((goal[4] - start[4] + np.pi) % (2 * np.pi) - np.pi)
        return {"px": float(np.linalg.norm(goal[2:4] - start[2:4])), "degrees": float(np.degrees(turn))}

    @staticmethod
    def counts(displaced: dict[str, float]) -> bool:
        """Whether that is far enough to be a goal."""
        return displaced["px"] >= 20 or displaced["degrees"] >= 15


def takes(seeds: Iterable[int]) -> Iterator[Take]:
    """Act and film, one episode per seed."""
    stage = Stage()
    scene = stage._scene
    for seed in seeds:
        rows = []
        for action in stage.play(seed):
            drawn = scene.render()
            rows.append(
                (_shrunk(drawn), *stage.telemetry().values(), action, _middle(scene.block), _area(drawn, scene))
            )
        frames, agents, actions, middles, areas = map(np.stack, zip(*rows, strict=True))
        centres = ((middles + 0.5) * SIZE / SIDE - 0.5)[:, None]
        visible = (areas / areas.max())[:, None]
        told = {"agent_pos": agents}
        yield Take(seed, BEHAVIOURS[seed % 3], frames, told, actions[:-1], centres, visible, stage.succeeded)


def _actor(behaviour: str, env: Any, seed: int) -> Act:
    """Return who acts in an episode."""
    scene, rng = env.unwrapped, np.random.default_rng([seed, 1])
    if behaviour.startswith("pusher"):
        return lambda: np.clip(_push(scene) + rng.normal(0, 0.2, 2), -1, 1)
    policy = WeakPolicy(seed=seed)
    policy.set_env(gym.vector.SyncVectorEnv([lambda: env]))  # it knows vectors of environments only
    if behaviour == "weak":
        return lambda: policy.get_action({})[0]
    return _steady(policy, scene)


def _steady(policy: Any, scene: Any) -> Act:
    """Return the policy with aims that it keeps for 5 steps."""
    aims = [np.zeros(2)] * 5

    def act() -> Any:
        aims.append(aims[-1])
        if len(aims) % 5 == 1:
            aims[-1] = np.array(scene.agent.position) + 2 * scene.action_scale * policy.get_action({})[0]
        return np.clip((aims[-1] - scene.agent.position) / scene.action_scale, -0.5, 0.5)

    return act


def _push(scene: Any) -> Any:
    """Go to the side of the block that is away from the goal, around it if need be, and push; (2,)."""
    agent, block = np.array(scene.agent.position), _middle(scene.block)
    way = scene.goal_pose[:2] - block
    way = way / max(np.linalg.norm(way), 1e-6)
    along, across = (agent - block) @ way, (agent - block) @ (-way[1], way[0])
    if along < 0 and abs(across) < 20:
        aim = block + 20 * way
    elif along > -BEHIND / 2 and abs(across) < BEHIND:
        aim = agent + np.sign(across or 1) * 60 * np.array([-way[1], way[0]])
    else:
        aim = block - BEHIND * way
    return np.clip((aim - agent) / scene.action_scale, -0.5, 0.5)


def _middle(block: Any) -> Any:
    """Return the centroid of the area of the block, (2,) [px of the world]."""
    areas = np.array([shape.area for shape in block.shapes])
    centres = np.array([block.local_to_world(shape.center_of_gravity) for shape in block.shapes])
    return areas @ centres / areas.sum()


def _area(drawn: Any, scene: Any) -> int:
    """Count the pixels that show the block, edges and inside, which is lighter."""
    edge = SpaceDebugColor(*scene.variation_space["block"]["color"].value, 255)
    return sum(int((drawn == color.as_int()[:3]).all(-1).sum()) for color in (edge, light_color(edge)))


def _shrunk(drawn: Any) -> Any:
    """Average a picture of the world down to (SIZE, SIZE, 3) uint8."""
    cell = SIDE // SIZE
    return drawn.reshape(SIZE, cell, SIZE, cell, 3).mean((1, 3)).round().astype(np.uint8)
