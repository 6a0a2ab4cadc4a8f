"""Reach down, close the gripper and lift in a world that was learned from video.

python examples/quickstart.py
python examples/quickstart.py --model runs/mine --out out/mine.png
"""

from pathlib import Path

import gymnasium as gym
import numpy as np
import tyro

from gwm_sim.media.video import contact_sheet, write_png, write_video

# Change of the commanded end-effector in x, y and z (1 is 3 cm) and gripper rate (+1 closes); zeros hold still.
PHASES = {
    "reach down": ([0, 0, -1, 0], 5),
    "close": ([0, 0, 0, 1], 5),
    "lift": ([0, 0, 1, 0], 5),
}


def main(model: str = "gwm-mini", out: Path = Path("out/quickstart.png"), seed: int = 0) -> None:
    """Step a learned world and draw what it shows.

    Args:
        model: Name of a shipped model, or the folder of one.
        out: Picture to write; a film goes beside it.
        seed: Seed of the start.
    """
    env = gym.make("gwm_sim:GWM-BlockStack-v0", model=model)
    observation, info = env.reset(seed=seed)
    frames, rows = [observation["pixels"]], {}
    for phase, (action, steps) in PHASES.items():
        for _ in range(steps):
            observation, reward, terminated, truncated, info = env.step(np.array(action, np.float32))
            frames.append(observation["pixels"])
        rows[phase] = frames[-steps:]
        x, y, z = observation["agent_pos"][7:10]
        print(
            f"{phase:>10}: end-effector at ({x:.2f}, {y:.2f}, {z:.2f}) m, reward {reward:.2f}, "
            f"success {info['success']}, uncertainty {info['gwm/uncertainty']:.2f}"
        )
    write_png(out, contact_sheet(rows))
    write_video(out.with_suffix(".mp4"), frames, rate=env.metadata["render_fps"])
    print(f"wrote {out} and {out.with_suffix('.mp4')}")
    env.close()


if __name__ == "__main__":
    tyro.cli(main)
