"""`gwm compare`: can the learned world be believed when it ranks policies? Without a twin: how does it rank them?"""

from dataclasses import replace
from typing import Any

from gwm_sim.files import write_json
from gwm_sim.policies.comparison import CompareConfig, compare, record_films, summarise
from gwm_sim.policies.outcomes import read_outcomes
from gwm_sim.policies.registry import make_policy
from gwm_sim.policies.report import write_report


def main(config: CompareConfig) -> int:
    """Compare, print and write."""
    outcomes = None
    if config.real is not None:
        outcomes = read_outcomes(config.real, tuple(config.specs), config.unpaired)
        for column in outcomes.left_out:
            print(f"{config.real}: the column {column} says neither 0 nor 1 and is left out")
        if outcomes.paired:
            config = replace(config, episodes=len(outcomes.starts))
    worlds = config.worlds(min(config.rows, config.episodes), outcomes)
    for spec in config.specs.values():
        make_policy(spec, worlds.make("learned"), model=config.model)  # a wrong name is told before hours of work
    numbers = summarise(config, worlds, list(compare(config, worlds, outcomes)), outcomes)
    print(table(numbers))
    if config.json is not None:
        write_json(config.json, numbers)
    if config.report is not None:
        write_report(config.report, numbers, record_films(config, outcomes), worlds.world_model.config.schema.rate)
    return 0


def table(numbers: dict[str, Any]) -> str:
    """The numbers in lines of text."""
    width, worlds = max(len(entry["policy"]) for entry in numbers["policies"]), numbers["worlds"]
    head = " ".join(f"{world:>22}" for world in worlds)
    lines = [f"{'':{width}}  {head}{'  agreement' if 'starts' in numbers else ''}"]
    for entry in numbers["policies"]:
        cells = " ".join(f"{rate(entry[world], 'success_rate'):>22}" for world in worlds)
        agreement = f"  {entry['agreement']:9.1%}" if "agreement" in entry else ""
        lines.append(f"{entry['policy']:{width}}  {cells}{agreement}")
    for stage in numbers.get("stages", ()):
        lines.append(f"{stage['stage']}:")
        for entry in stage["policies"]:
            cells = " ".join(f"{rate(entry[world], 'rate') if world in entry else '':>22}" for world in worlds)
            lines.append(f"{entry['policy']:{width}}  {cells}".rstrip())
    if "pearson" not in numbers:
        return "\n".join(lines)
    statistics = ", ".join(
        f"{name} {interval(numbers[key], numbers['intervals'][key])}"
        for name, key in (("Pearson r", "pearson"), ("Spearman rho", "spearman"), ("MMRV", "mmrv"))
    )
    return "\n".join([*lines, f"{statistics}, mean gap {100 * numbers['mean_gap']:.1f} points"])


def rate(entry: dict[str, Any], key: str) -> str:
    """A share and its interval."""
    low, high = entry["interval"]
    return f"{entry[key]:6.1%} [{low:6.1%},{high:6.1%}]"


def interval(value: float | None, ends: list[float] | None) -> str:
    """A measure and its interval."""
    if value is None:
        return "undefined"
    return f"{value:.3f}" if ends is None else f"{value:.3f} [{ends[0]:.3f}, {ends[1]:.3f}]"


__all__ = ["CompareConfig", "main"]
