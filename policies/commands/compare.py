"""`gwm compare`: can the learned world be believed when it ranks policies? Without a twin: how does it rank them?"""

from typing import Any

from gwm_sim.files import write_json
from gwm_sim.policies.comparison import CompareConfig, compare, record_films, summarise
from gwm_sim.policies.registry import make_policy
from gwm_sim.policies.report import write_report


def main(config: CompareConfig) -> int:
    """Compare, print and write."""
    worlds = config.worlds(min(config.rows, config.episodes))
    for spec in config.policies:
        make_policy(spec, worlds.make("learned"), model=config.model)  # a wrong name is told before hours of work
    numbers = summarise(config, worlds, list(compare(config, worlds)))
    print(table(numbers))
    if config.json is not None:
        write_json(config.json, numbers)
    if config.report is not None:
        write_report(config.report, numbers, record_films(config), worlds.world_model.config.schema.rate)
    return 0


def table(numbers: dict[str, Any]) -> str:
    """The numbers in lines of text."""
    width, worlds = max(len(entry["policy"]) for entry in numbers["policies"]), numbers["worlds"]
    paired = "pearson" in numbers
    head = " ".join(f"{world:>22}" for world in worlds)
    lines = [f"{'':{width}}  {head}{'  agreement' if paired else ''}"]
    for entry in numbers["policies"]:
        cells = []
        for world in worlds:
            low, high = entry[world]["interval"]
            cells.append(f"{entry[world]['success_rate']:6.1%} [{low:6.1%},{high:6.1%}]")
        agreement = f"  {entry['agreement']:9.1%}" if paired else ""
        lines.append(f"{entry['policy']:{width}}  {' '.join(f'{cell:>22}' for cell in cells)}{agreement}")
    if not paired:
        return "\n".join(lines)
    statistics = (
        f"{name} {numbers[key]:.3f}" if numbers[key] is not None else f"{name} undefined"
        for name, key in (("Pearson r", "pearson"), ("Spearman rho", "spearman"), ("MMRV", "mmrv"))
    )
    return "\n".join([*lines, f"{', '.join(statistics)}, mean gap {100 * numbers['mean_gap']:.1f} points"])


__all__ = ["CompareConfig", "main"]
