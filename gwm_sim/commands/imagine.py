"""`gwm imagine`: recorded episodes as a world model believes that they would have gone, as an episode file."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.inspection import summarize
from gwm_sim.errors import ConfigError, check_at_least_one
from gwm_sim.files import write_json
from gwm_sim.model.imagination import imagine_episodes
from gwm_sim.model.world_model import WorldModel
from gwm_sim.progress import progress


@dataclass(frozen=True)
class ImagineConfig:
    """Show a world model the first frames of recorded episodes and let it follow their actions alone; the same command
    resumes an interrupted one."""

    data: Path
    """Episode file to begin from; it is never changed."""
    out: Path
    """Episode file to write."""
    model: str = "gwm-mini"
    """Name of a shipped model, or the folder of one."""
    limit: int | None = None
    """Take only the first episodes."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto takes a GPU if there is one."""
    json: Path | None = None
    """Write the printed numbers here."""

    def __post_init__(self) -> None:
        check_at_least_one(limit=self.limit)
        if self.out.resolve() == self.data.resolve():
            raise ConfigError(f"--out {self.out} is the recording, which is never changed. Write elsewhere.")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("--device cuda: torch finds no GPU here. Leave it out, or see gwm doctor.")


def main(config: ImagineConfig) -> int:
    """Run `gwm imagine`."""
    model = WorldModel.load(config.model, None if config.device == "auto" else config.device)
    with EpisodeFile(config.data) as file, progress("imagine") as show:
        left_out = len(file.lengths[: config.limit]) - imagine_episodes(
            model, file, config.out, limit=config.limit, show=show
        )
    with EpisodeFile(config.out) as file:
        summary = summarize(file)
    who = summary.settings["imagined"]
    print(f"imagined by {who['model']} ({who['hash']})")
    if left_out:
        print(f"note: {left_out} episodes are too short and were left out")
    print(summary)
    if config.json is not None:
        write_json(config.json, asdict(summary) | {"left_out": left_out})
    return 0
