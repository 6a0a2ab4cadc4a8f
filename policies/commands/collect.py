"""`gwm collect`: record episodes in the physics twin."""

from dataclasses import asdict

from rich.console import Console

from gwm_sim.commands.inspect import success_table
from gwm_sim.files import write_json
from gwm_sim.policies.collection import CollectConfig, collect


def main(config: CollectConfig) -> int:
    """Run `gwm collect`."""
    summary, recorded, seconds, speed = collect(config)
    Console().print(success_table(summary.success))
    if recorded:
        print(f"recorded {recorded} episodes in {seconds:.1f} s, {speed:,.0f} steps/s")
    else:
        print("nothing to record: the file is complete")
    print(f"{config.out}: {summary.episodes} episodes, {summary.frames:,} frames, {summary.bytes / 1e6:.1f} MB")
    print(f"digest {summary.digest}")
    if config.json is not None:
        numbers = {"recorded": recorded, "seconds": seconds, "steps_per_second": speed}
        write_json(config.json, asdict(summary) | numbers)
    return 0


__all__ = ["CollectConfig", "main"]
