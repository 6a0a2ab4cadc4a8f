"""Write the measured tables into README.md and benchmarks/README.md, from results and for the shipped model only.

python benchmarks/tables.py            write
python benchmarks/tables.py --check    exit 1 if what is written is not what the results say
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from gwm_sim.errors import GwmError
from gwm_sim.world_model import WorldModel, find_checkpoint

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results"
DOCUMENTS = (ROOT / "README.md", ROOT / "benchmarks/README.md")
BEGIN, END = "<!-- tables: made by benchmarks/tables.py -->", "<!-- /tables -->"

FIDELITY_ROWS = (
    ("object error, median [cm]", "object_error_cm", "{:.2f}"),
    ("same, last frame copied [cm]", "object_error_cm_floor", "{:.2f}"),
    ("object error, 90th percentile [cm]", "object_error_cm_p90", "{:.2f}"),
    ("drift of cubes that stay [cm]", "static_drift_cm", "{:.2f}"),
    ("object permanence [%]", "object_permanence", "{:.1%}"),
    ("end-effector error [mm]", "telemetry_error_mm", "{:.1f}"),
    ("PSNR [dB]", "psnr", "{:.1f}"),
    ("same, last frame copied [dB]", "psnr_floor", "{:.1f}"),
    ("foreground PSNR [dB]", "fg_psnr", "{:.1f}"),
    ("same, last frame copied [dB]", "fg_psnr_floor", "{:.1f}"),
)


@dataclass(frozen=True)
class TablesConfig:
    """Write the measured tables into the READMEs."""

    check: bool = False
    """Write nothing; exit 1 if a table is out of date."""


def fidelity_table(report: dict[str, Any]) -> str:
    """Table of `gwm eval`'s numbers, horizons from left to right."""
    horizons = report["horizons"]
    lines = ["| steps ahead | " + " | ".join(horizons) + " |", "|---|" + "---|" * len(horizons)]
    for label, key, form in FIDELITY_ROWS:
        cells = [form.format(h[key]).rstrip("%") if h[key] is not None else "" for h in horizons.values()]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    lines.append("| windows | " + " | ".join(str(h["n"]) for h in horizons.values()) + " |")
    outcome, control, machine = report["outcome"], report["controllability"], report["machine"]
    first, last = report["data"]["seeds"]
    lines += [
        "",
        f"Outcome of an episode (stacked, held, neither) open loop from its first 4 frames: balanced accuracy "
        f"{outcome['balanced_accuracy']:.2f}, kappa {outcome['kappa']:.2f} (n = {outcome['n']}). Errors grow "
        f"{control['action_shuffle_ratio']:.1f}-fold when the actions are swapped between windows.",
        "",
        f"Model `{report['model']}`, hash `{report['model_hash']}`; {report['episodes']} held-out episodes, "
        f"seeds {first} to {last}; measured on {machine['cores']} cores of {machine['cpu']} ({machine['device']}) by "
        "`gwm eval`, definitions in `gwm_sim/scores.py`.",
    ]
    return "\n".join(lines)


def experts_table(report: dict[str, Any]) -> str:
    """Held success of experts and floors in the twin."""
    lines = [
        "| task / policy | held success in the twin | 95 % interval | steps, median | episodes |",
        "|---|---|---|---|---|",
    ]
    for name, result in report["results"].items():
        low, high = result["wilson"]
        steps = "" if result["median_steps"] is None else f"{result['median_steps']:.0f}"
        rate = f"{100 * result['success_rate']:.1f} %"
        lines.append(f"| {name} | {rate} | {100 * low:.1f} to {100 * high:.1f} % | {steps} | {result['episodes']} |")
    return "\n".join(lines)


def tables() -> str:
    """All tables.

    Raises:
        GwmError: The shipped evaluation is of another model than the shipped one.
    """
    folder = find_checkpoint("gwm-mini")
    report = json.loads((folder / "evaluation.json").read_text())
    shipped = WorldModel.load(folder, "cpu").digest()
    if report["model_hash"] != shipped:
        raise GwmError(
            f"evaluation.json is of model {report['model_hash']}, but {shipped} is shipped: "
            "run gwm eval on the test episodes"
        )
    experts = json.loads((RESULTS / "experts.json").read_text())
    return f"{fidelity_table(report)}\n\n{experts_table(experts)}"


def with_tables(text: str, content: str) -> str:
    """The text with everything between its markers replaced."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{content}\n{END}{after}"


def main(config: TablesConfig) -> int:
    """Write or check."""
    content = tables()
    outdated = []
    for path in DOCUMENTS:
        text = path.read_text()
        new = with_tables(text, content)
        if new != text:
            outdated.append(path.name)
            if not config.check:
                path.write_text(new)
    if config.check and outdated:
        print(f"out of date: {', '.join(outdated)}; run python benchmarks/tables.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(TablesConfig)))
