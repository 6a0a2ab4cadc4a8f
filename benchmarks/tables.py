"""Write the measured tables into the READMEs and the model cards, from results and for the shipped models only.

The page of numbers has them all, the project's README ten of them, a model card those of its model, and pages of
`docs/` have those that they are about.

python benchmarks/tables.py            write
python benchmarks/tables.py --check    exit 1 if what is written is not what the results say
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from models_table import models_table
from peers.report import comparison_table
from program import launch
from scaling_table import paper_text, scaling_text
from sections import (
    experts_table,
    exported_table,
    fidelity_table,
    goals_text,
    live_text,
    own_robot_table,
    planning_table,
    policies_text,
    properties_text,
    rate,
    share,
    threads_table,
    throughput_table,
    transfer_table,
    uncertainty_text,
    unlabelled_text,
)
from serving_table import latency_text, serving_text, web_text
from shipped_results import RESULTS, ROOT, check_model, read_result
from streaming_table import streaming_text
from table_twin_table import table_twin_text
from worlds import by_eye
from worlds.rows import WORLDS
from worlds.table import own_worlds_text
from worlds.tracking_table import tracking_text

from gwm_sim.model.checkpoint import find_checkpoint
from gwm_sim.model.world_model import WorldModel

README, NUMBERS, SCALE = ROOT / "README.md", ROOT / "benchmarks/README.md", ROOT / "docs/scale.md"
MODEL_CARD, PREVIEW_CARD = (ROOT / f"gwm_sim/pretrained/{name}/README.md" for name in ("gwm-mini", "gwm-preview"))
BEGIN, END = "<!-- tables: made by benchmarks/tables.py -->", "<!-- /tables -->"

OF_THE_MODEL = ("uncertainty", "properties", "planning", "transfer", "throughput", "exported")
"""Results of programs here that are of the shipped gwm-mini."""

OF_ONE_PAGE = {
    "table_twin": ("table.md", table_twin_text),
    "streaming": ("scale.md", streaming_text),
    "serving": ("serve.md", serving_text),
    "page_latency": ("page.md", latency_text),
    "exported-gwm-preview": ("web.md", exported_table),
    "web_page": ("web.md", web_text),
}
"""Results that one page of `docs/` tells, and how."""

OF_NO_MODEL = ("own robot", "own worlds", "goals", "live", "rl", "tracking", "scaling", "paper")
"""Sections that no model card has: they are of worlds that are not ours, and of no shipped model."""

REPEAT = "run python benchmarks/{0}.py --json benchmarks/results/{0}.json"


class Section(NamedTuple):
    """A measured table under its heading."""

    title: str
    text: str

    def __str__(self) -> str:
        return f"### {self.title}\n\n{self.text}"


@dataclass(frozen=True)
class TablesConfig:
    """Write the measured tables into the READMEs."""

    check: bool = False
    """Write nothing; exit 1 if a table is out of date."""


def sections() -> dict[str, Section]:
    """All measured tables, by a short name, in the order of the page of numbers.

    Raises:
        GwmError: A result is of another model than the shipped one.
    """
    folder = find_checkpoint("gwm-mini")
    shipped = WorldModel.load(folder, "cpu").digest()
    report = read_result(folder / "evaluation.json", shipped, "run gwm eval on the test episodes")
    minute = read_result(folder / "evaluation-long.json", shipped, "run gwm eval on the long test episodes")
    results = {name: read_result(RESULTS / f"{name}.json", shipped, REPEAT.format(name)) for name in OF_THE_MODEL}
    comparison = json.loads((RESULTS / "fidelity.json").read_text(encoding="utf-8"))
    check_model(comparison["model"], RESULTS / "fidelity.json", shipped, "run python benchmarks/fidelity.py measure")
    experts, own_robot = (
        json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")) for name in ("experts", "own_robot")
    )
    own_worlds, goals = world_results("own_worlds"), world_results("goals")
    live, policies = world_results("live"), world_results("rl")
    unlabelled = unlabelled_text(goals, own_worlds, {name: world.title for name, world in WORLDS.items()})
    return {
        "ten": Section("Ten numbers", f"{ten_numbers(report, minute, comparison, results)}\n\n{unlabelled}".rstrip()),
        "models": Section("`gwm-mini` and `gwm-preview`", models_table()),
        "fidelity": Section("How far it strays", fidelity_table(report, minute)),
        "uncertainty": Section("Whether it knows", uncertainty_text(results["uncertainty"])),
        "properties": Section("Friction and gravity", properties_text(results["properties"])),
        "comparison": Section("Beside floor, ceiling and a recurrent peer", comparison_table(comparison)),
        "planning": Section("Planning to goal pictures", planning_table(results["planning"])),
        "transfer": Section("Policies from imagination", transfer_table(results["transfer"])),
        "throughput": Section("Speed", speed_text(results["throughput"], steps_by_threads(shipped))),
        "exported": Section("Without torch", exported_table(results["exported"])),
        "experts": Section("Experts and floors", experts_table(experts)),
        "own robot": Section("A robot that is not ours", own_robot_table(own_robot)),
        **({"own worlds": Section("Worlds of one's own", own_worlds_text(own_worlds))} if own_worlds else {}),
        **({"goals": Section("Goals some steps ahead in others' worlds", goals_text(goals))} if goals else {}),
        **({"live": Section("Goal pictures in real time", live_text(live))} if live else {}),
        **({"rl": Section("Policies from imagination in others' worlds", policies_text(policies))} if policies else {}),
        **({"tracking": Section("Things found in raw recordings", tracking)} if (tracking := tracked_text()) else {}),
        **scaling_sections(shipped),
    }


def scaling_sections(shipped: str) -> dict[str, Section]:
    """What `scaling.py` measured, and what follows from it on paper."""
    report = read_result(RESULTS / "scaling.json", shipped, REPEAT.format("scaling"))
    return {
        "scaling": Section("Training on several processes", scaling_text(report)),
        "paper": Section("The same on more machines, on paper", paper_text(report)),
    }


def world_results(folder: str) -> dict[str, dict[str, Any]]:
    """What `own_worlds.py` and its like wrote, by the names of the worlds and in their order; no such model is
    shipped."""
    paths = {name: RESULTS / folder / f"{name}.json" for name in WORLDS}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.exists()}


def tracked_text() -> str:
    """What `tracking.py` wrote and a person counted; empty where it was not run.

    Raises:
        GwmError: The person looked at the tracks of another tracker.
    """
    path = RESULTS / "tracking.json"
    if not path.exists():
        return ""
    report = json.loads(path.read_text(encoding="utf-8"))
    count = by_eye.counted(report["sheet"]["tracking"]["tracker"]) if "sheet" in report else None
    return tracking_text(report, count)


def speed_text(report: dict[str, Any], steps: dict[str, Any] | None) -> str:
    """Rates beside the twin, and steps by threads where these were measured, which may be on another machine."""
    steps = steps or report.get("threads")
    return "\n\n".join([throughput_table(report), *([threads_table(steps)] if steps else [])])


def steps_by_threads(shipped: str) -> dict[str, Any] | None:
    """What `threads.py` wrote, if anything."""
    path = RESULTS / "threads.json"
    if not path.exists():
        return None
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    check_model(report["models"]["gwm-mini"], path, shipped, REPEAT.format("threads"))
    return report


def ten_numbers(
    report: dict[str, Any], minute: dict[str, Any], comparison: dict[str, Any], results: dict[str, dict[str, Any]]
) -> str:
    """Ten numbers of gwm-mini, each beside what one has without a model or with perfect physics."""
    far, copied, twin = (numbers["horizons"]["80"] for numbers in (report, comparison["copy"], comparison["twin"]))
    long = minute["horizons"]["600"]
    ranks, stack = results["uncertainty"]["error"]["error_pictures"], results["transfer"]["tasks"]["stack"]
    planned, speed = results["planning"]["results"], results["throughput"]
    fastest = speed["devices"]["cpu"]["batches"]["256"]["unwatched"]["steps_per_second"]
    shifted = "the twin begun 2 mm off"
    rows = {
        "where a cube is that moved, 80 steps ahead, median error [cm]": (
            f"{far['object_error_cm']:.2f}",
            f"{copied['object_error_cm']:.2f} last frame copied, {twin['object_error_cm']:.2f} {shifted}",
        ),
        "cubes that are still whole after a minute [%]": (
            f"{100 * long['object_permanence']:.1f}",
            f"{100 * far['object_permanence']:.1f} after 8 s, {100 * twin['object_permanence']:.1f} then {shifted}",
        ),
        "how an episode ends, balanced accuracy": (
            f"{report['outcome']['balanced_accuracy']:.2f}",
            f"{comparison['twin']['outcome']['balanced_accuracy']:.2f} {shifted}",
        ),
        "where the hand is, 80 steps ahead [mm]": (
            f"{far['telemetry_error_mm']:.1f}",
            f"{copied['telemetry_error_mm']:.0f} last frame copied",
        ),
        "`gwm/uncertainty` against the true error, rank correlation": (
            f"{ranks['uncertainty_at']:.2f}",
            f"{ranks['motion_displacement']:.2f} predicted motion alone",
        ),
        "pictures of a stack reached by planning [%]": (
            rate(planned["stack/icem"]),
            f"{rate(planned['stack/prior'])} the cloned policy without a search",
        ),
        "pictures 25 steps away reached by planning [%]": (
            rate(planned["moment-25/search"]),
            f"{rate(planned['moment-25/prior'])} the cloned policy, which has demonstrations",
        ),
        "a stacking agent that learned there, in the twin": (
            share(stack["twin_success"]),
            f"{share(stack['learned_success'])} in its own world",
        ),
        "policies of stack ranked, Pearson's r / MMRV": (
            f"{stack['pearson']:.2f} / {stack['mmrv']:.3f}",
            f"{len(stack['policies'])} policies, 200 starts each",
        ),
        "steps a second of 256 worlds that nobody looks at": (
            f"{fastest:,.0f}",
            f"{speed['twin']['rich']['steps_per_second']:,.0f} the twin with pictures; one world with pictures takes "
            f"{speed['single_step_ms_p50']:.1f} ms a step",
        ),
    }
    lines = ["| `gwm-mini` | | beside it |", "|---|---|---|"]
    lines += [f"| {name} | {value} | {beside} |" for name, (value, beside) in rows.items()]
    machine = report["machine"]
    lines += [
        "",
        f"Hash `{report['model_hash']}`, two CPU cores ({machine['cpu']}); brackets are 95 % intervals. Definitions, "
        "intervals, `gwm-preview` and a robot that is not ours: [the page of numbers](benchmarks/README.md).",
    ]
    return "\n".join(lines)


def with_tables(text: str, content: str, begin: str = BEGIN, end: str = END) -> str:
    """The text with everything between its markers replaced; a fresh model card has none yet."""
    if begin not in text:
        text = f"{text.rstrip()}\n\n## Measured\n\n{begin}\n{end}\n"
    before, rest = text.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n{content}\n{end}{after}"


def markers_of(name: str) -> tuple[str, str]:
    """Between which a table that stands on one page alone is written."""
    return f"<!-- {name}: made by benchmarks/tables.py -->", f"<!-- /{name} -->"


def of_pages() -> list[tuple[Path, str, str, str]]:
    """Page, content and markers of tables that stand on one page of `docs/` alone."""
    shipped = {name: WorldModel.load(name, "cpu").digest() for name in ("gwm-mini", "gwm-preview")}
    found = []
    for name, (page, text) in OF_ONE_PAGE.items():
        path = RESULTS / f"{name}.json"
        report = json.loads(path.read_text(encoding="utf-8"))
        if "model_hash" in report:
            check_model(report, path, shipped[report.get("model", "gwm-mini")], f"run {report['command']}")
        found.append((ROOT / "docs" / page, text(report), *markers_of(name)))
    return found


def main(config: TablesConfig) -> int:
    """Write or check."""
    parts = sections()
    ten, both, *rest = parts.values()
    of_mini = [section for section in rest if section not in [parts.get(name) for name in OF_NO_MODEL]]
    pages = {README: [ten], NUMBERS: [both, *rest], MODEL_CARD: of_mini, PREVIEW_CARD: [both]}
    pages[SCALE] = [parts[name] for name in ("scaling", "paper")]
    written = [(path, "\n\n".join(map(str, shown)), BEGIN, END) for path, shown in pages.items()]
    outdated = []
    for path, content, begin, end in written + of_pages():
        text = path.read_text(encoding="utf-8")
        new = with_tables(text, content, begin, end)
        if new != text:
            outdated.append(path.name)
            if not config.check:
                path.write_text(new, encoding="utf-8")
    if config.check and outdated:
        print(f"out of date: {', '.join(outdated)}; run python benchmarks/tables.py")
        return 1
    return 0


if __name__ == "__main__":
    launch(main, TablesConfig)
