"""`gwm collect`: record episodes in the physics twin."""

import sys

from rich.console import Console

from gwm_sim.commands.inspect import success_table
from gwm_sim.data.episode_file import parts_folder
from gwm_sim.files import write_json
from gwm_sim.policies.blocks.collection import CollectConfig, collect

INTERRUPTED = 130


def main(config: CollectConfig) -> int:
    """Run `gwm collect`."""
    try:
        collection = collect(config)
    except KeyboardInterrupt:
        print(
            f"\nInterrupted. Finished episodes are kept in {parts_folder(config.out)}: the same command goes on.",
            file=sys.stderr,
        )
        return INTERRUPTED
    summary = collection.summary
    Console().print(success_table(summary.success))
    if collection.recorded:
        speed = collection.steps / collection.seconds
        print(f"recorded {collection.recorded} episodes in {collection.seconds:.1f} s, {speed:,.0f} steps/s")
    else:
        print("nothing to record: the file is complete")
    print(f"{config.out}: {summary.episodes} episodes, {summary.frames:,} frames, {summary.bytes / 1e6:.1f} MB")
    print(f"digest {summary.digest}")
    if config.json is not None:
        write_json(config.json, collection.to_json())
    return 0


__all__ = ["CollectConfig", "main"]
