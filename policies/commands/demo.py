"""`gwm demo`: the learned world beside the physics twin, with the same actions from the same starts."""

from typing import Final

import gymnasium as gym
from rich.console import Console
from rich.table import Table

import gwm_sim.envs  # noqa: F401  # registers the ids
from gwm_sim.commands.eval import EvalConfig, evaluate, show_report
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.envs.blocks import spec
from gwm_sim.envs.tabletop.paired import twin_options
from gwm_sim.files import write_json
from gwm_sim.media.comparison import write_comparison
from gwm_sim.model.config import WorldModelConfig
from gwm_sim.policies.blocks.side_by_side import TASKS, DemoConfig, drive, record, steps_per_second

HORIZONS: Final = (1, 10, 40, 80)
SHOWN: Final = 60  # steps in film and strip: the experts are done by then


def main(config: DemoConfig) -> int:
    """Run `gwm demo`."""
    console = Console()
    learned = gym.make("GWM-BlockStack-v0", max_episode_steps=-1, model=config.model)
    world: WorldModelConfig = learned.unwrapped.world_model.config  # type: ignore[attr-defined]
    console.print(f"recording {len(TASKS) * config.episodes} episodes of {', '.join(TASKS)} in the physics twin")
    recording = record(config, world)
    twin = gym.make("MuJoCo-BlockStack-v0", max_episode_steps=-1, **twin_options(world))

    console.print("driving both worlds with the same actions")
    with EpisodeFile(recording) as file:
        drives = {task: drive(file[i * config.episodes], twin, learned, world.cameras) for i, task in enumerate(TASKS)}
    film, strip = config.out / "rollout.mp4", config.out / "rollout.png"
    for path in (film, strip):
        shown = {task: (d.real[:SHOWN], d.predicted[:SHOWN]) for task, d in drives.items()}
        write_comparison(path, shown, spec.CONTROL_RATE)

    console.print("measuring")
    report = evaluate(EvalConfig(model=config.model, data=recording, horizons=HORIZONS))
    speeds = {name: steps_per_second(drives.values(), name) for name in ("learned", "twin")}
    report["env_steps_per_second"] = speeds
    numbers = config.out / "demo.json"
    write_json(numbers, report)
    show_report(report, console)
    rates = ", ".join(f"{name} {speed:.0f}" for name, speed in speeds.items())
    console.print(f"env steps per second: {rates}", highlight=False)
    table = Table.grid(padding=(0, 2))
    for row in (("film", film), ("strip of ten moments", strip), ("numbers", numbers), ("recording", recording)):
        table.add_row(*map(str, row))
    console.print(table)
    learned.close()
    twin.close()
    return 0


__all__ = ["DemoConfig", "main"]
