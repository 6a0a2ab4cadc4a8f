"""`gwm demo`: the learned world beside the physics twin, with the same actions from the same starts.

With `--data` it is a world of one's own, beside what the camera saw.
"""

import warnings
from pathlib import Path
from typing import Final, NamedTuple

import gymnasium as gym
from rich.console import Console
from rich.table import Table

from gwm_sim.commands.eval import EvalConfig, evaluate, show_report
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.views import side_by_side
from gwm_sim.envs import WORLD_ID
from gwm_sim.envs.blocks import spec
from gwm_sim.envs.tabletop.paired import twin_options
from gwm_sim.errors import ConfigError
from gwm_sim.files import write_json
from gwm_sim.media.sheets import write_comparison
from gwm_sim.model.config import WorldModelConfig
from gwm_sim.model.world_model import WorldModel, check_fit
from gwm_sim.policies.blocks.side_by_side import TASKS, DemoConfig, Drive, drive, follow, record, steps_per_second
from gwm_sim.protocol import CONTEXT

HORIZONS: Final = (1, 10, 40, 80)
SHOWN: Final = 60  # steps in film and strip: the experts are done by then


def main(config: DemoConfig) -> int:
    """Run `gwm demo`."""
    console = Console()
    world = WorldModel.load(config.model).config
    shown = beside_recordings(config, world) if config.data is not None else beside_twin(config, world, console)

    film, strip = config.out / "rollout.mp4", config.out / "rollout.png"
    for path in (film, strip):
        beginnings = {name: (d.real[:SHOWN], d.predicted[:SHOWN]) for name, d in shown.drives.items()}
        write_comparison(path, beginnings, world.schema.rate)

    console.print("measuring")
    report = evaluate(EvalConfig(model=config.model, data=shown.recording, horizons=HORIZONS))
    speeds = {name: steps_per_second(shown.drives.values(), name) for name in shown.worlds}
    report["env_steps_per_second"] = speeds
    numbers = config.out / "demo.json"
    write_json(numbers, report)
    show_report(report, console)
    rates = ", ".join(f"{name} {speed:.0f}" for name, speed in speeds.items())
    console.print(f"env steps per second: {rates}", highlight=False)
    table = Table.grid(padding=(0, 2))
    for row in (
        ("film", film),
        ("strip of ten moments", strip),
        ("numbers", numbers),
        ("recording", shown.recording),
    ):
        table.add_row(*map(str, row))
    console.print(table)
    return 0


class Shown(NamedTuple):
    """What there is to look at and to measure."""

    drives: dict[str, Drive]
    recording: Path
    worlds: tuple[str, ...]
    """Those of which the speed is known."""


def beside_twin(config: DemoConfig, world: WorldModelConfig, console: Console) -> Shown:
    """Both worlds of the experts' tasks, along the same actions."""
    if world.schema.action_names != spec.ACTION_NAMES:
        raise ConfigError(f"{world.name} has no twin: give recordings of its world by --data FILE, to be shown beside")
    learned = gym.make("GWM-BlockStack-v0", max_episode_steps=-1, model=config.model)
    console.print(f"recording {len(TASKS) * config.episodes} episodes of {', '.join(TASKS)} in the physics twin")
    recording = record(config, world)
    twin = gym.make("MuJoCo-BlockStack-v0", max_episode_steps=-1, **twin_options(world))
    console.print("driving both worlds with the same actions")
    with EpisodeFile(recording) as file:
        drives = {task: drive(file[i * config.episodes], twin, learned, world.cameras) for i, task in enumerate(TASKS)}
    learned.close()
    twin.close()
    return Shown(drives, recording, ("learned", "twin"))


def beside_recordings(config: DemoConfig, world: WorldModelConfig) -> Shown:
    """A learned world along the actions of recorded episodes, beside what the camera saw."""
    assert config.data is not None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* lacks labels", UserWarning)  # nothing is to be done
        learned = gym.make(WORLD_ID, max_episode_steps=-1, model=config.model, time_limit=None)
    drives = {}
    with EpisodeFile(config.data) as file:
        check_fit(learned.unwrapped.world_model, file.schema, str(config.data))  # type: ignore[attr-defined]
        for number in [k for k, length in enumerate(file.lengths) if length >= CONTEXT][: config.episodes]:
            episode = file.read(number, cameras=world.cameras)
            learned.reset(options={"episode": f"{config.data}:{number}"})
            predicted, seconds = follow(learned, episode.actions[CONTEXT - 1 :], world.cameras)
            real = side_by_side(episode.frames, world.cameras)[CONTEXT:]
            drives[f"episode {number}"] = Drive(real, predicted, {"learned": seconds})
    learned.close()
    if not drives:
        raise ConfigError(f"no episode in {config.data} is longer than the {CONTEXT} frames that a world begins with")
    return Shown(drives, config.data, ("learned",))


__all__ = ["DemoConfig", "main"]
