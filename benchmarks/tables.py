"""Write the measured tables into the READMEs and the model cards, from results and for the shipped models only.

The page of numbers has them all, the project's README what one looks for first, a model card those of its model.

python benchmarks/tables.py            write
python benchmarks/tables.py --check    exit 1 if what is written is not what the results say
"""

import json
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import tyro
from peers.report import comparison_table

from gwm_sim.envs.blocks.spec import TASKS
from gwm_sim.errors import GwmError
from gwm_sim.model.checkpoint import find_checkpoint
from gwm_sim.model.world_model import WorldModel

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results"
README, NUMBERS = ROOT / "README.md", ROOT / "benchmarks/README.md"
MODEL_CARD, PREVIEW_CARD = (ROOT / f"gwm_sim/pretrained/{name}/README.md" for name in ("gwm-mini", "gwm-preview"))
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

OWN_ROBOT_ROWS = tuple(row for row in FIDELITY_ROWS if row[1].startswith(("telemetry", "psnr", "fg_psnr")))
"""What can be measured of a world whose objects nobody tracked."""

# What a horizon must reach to be trusted: median error of moved cubes, share of the visible ones that are there.
TRUSTED_ERROR_CM, TRUSTED_PERMANENCE = 2.0, 0.95

THROUGHPUT_KINDS = {
    "unwatched": "learned, no picture",
    "latent": "learned, latents of each picture",
    "decoded": "learned, decoded",
}
DEVICES = {"cpu": "CPU", "cuda": "GPU"}

RANKED = ("grasp", "stack")
"""Tasks of which there are policies of every quality."""

FIRST_PLANNERS = ("icem", "prior")
"""Those that users meet: the default, and what it leans on."""


class Section(NamedTuple):
    """A measured table under its heading."""

    title: str
    text: str
    brief: str | None = None
    """What the project's README says of it; None to leave it to the page of numbers."""

    def __str__(self) -> str:
        return f"### {self.title}\n\n{self.text}"


@dataclass(frozen=True)
class TablesConfig:
    """Write the measured tables into the READMEs."""

    check: bool = False
    """Write nothing; exit 1 if a table is out of date."""


def fidelity_table(report: dict[str, Any], minute: dict[str, Any]) -> str:
    """Table of `gwm eval`'s numbers, horizons from left to right; those that `report` lacks are of longer episodes."""
    horizons = minute["horizons"] | report["horizons"]
    horizons = {horizon: horizons[horizon] for horizon in sorted(horizons, key=int)}
    lines = horizon_lines(horizons, FIDELITY_ROWS)
    outcome, control, machine = report["outcome"], report["controllability"], report["machine"]
    first, last = report["data"]["seeds"]
    lines += [
        "",
        f"To be trusted for **{trusted_horizon(horizons)} steps**: the longest horizon at which moved cubes are "
        f"within {TRUSTED_ERROR_CM:g} cm on the median and {TRUSTED_PERMANENCE:.0%} of the visible ones are there.",
        "",
        f"Outcome of an episode (stacked, held, neither) open loop from its first 4 frames: balanced accuracy "
        f"{outcome['balanced_accuracy']:.2f}, kappa {outcome['kappa']:.2f} (n = {outcome['n']}). Errors grow "
        f"{control['action_shuffle_ratio']:.1f}-fold when the actions are swapped between windows.",
        "",
        f"Model `{report['model']}`, hash `{report['model_hash']}`; {report['episodes']} held-out episodes, "
        f"seeds {first} to {last}, and for 600 steps {minute['episodes']} of a minute; measured on {machine['cores']} "
        f"cores of {machine['cpu']} ({machine['device']}) by `gwm eval`, definitions in `gwm_sim/scores.py`.",
    ]
    return "\n".join(lines)


def horizon_lines(horizons: dict[str, Any], rows: Sequence[tuple[str, str, str]]) -> list[str]:
    """Lines of a table with horizons from left to right; a row is label, key and form of a number."""
    lines = ["| steps ahead | " + " | ".join(horizons) + " |", "|---|" + "---|" * len(horizons)]
    for label, key, form in rows:
        cells = [form.format(h[key]).rstrip("%") if h[key] is not None else "" for h in horizons.values()]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return [*lines, "| windows | " + " | ".join(str(h["n"]) for h in horizons.values()) + " |"]


def models_table() -> str | None:
    """What the fine model has over the fast one, and what it costs; None while none is shipped.

    Raises:
        GwmError: A result is of other weights than the shipped ones.
    """
    if not PREVIEW_CARD.exists():
        return None
    columns = {name: model_column(name) for name in ("gwm-mini", "gwm-preview")}
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for label in next(iter(columns.values())):
        lines.append(f"| {label} | " + " | ".join(column[label] for column in columns.values()) + " |")
    hashes = " and ".join(f"`{WorldModel.load(name, 'cpu').digest()}`" for name in columns)
    lines += [
        "",
        "The same held-out episodes, seen by each model at its own size: `gwm eval`. A case is covered if one of 16 "
        "sampled futures has the cube within half a cube of where it truly is after 2 s (`benchmarks/futures.py`: "
        "cubes set down on an edge, lifts with hardly enough friction, which the models are told). "
        "Trained agents look through the eyes of the model that they learned in, so `gwm-preview` ranks only "
        "experts made clumsy and a random policy. A step is one of a single environment with "
        f"frames, in one run (`benchmarks/throughput.py --beside gwm-preview`). Hashes {hashes}.",
    ]
    return "\n".join(lines)


def model_column(name: str) -> dict[str, str]:
    """Numbers of a shipped model by label; empty where they were not measured."""
    folder = find_checkpoint(name)
    model = WorldModel.load(folder, "cpu")
    shipped, config = model.digest(), model.config
    report = read_result(folder / "evaluation.json", shipped, f"run gwm eval --model {name} on the test episodes")
    horizons = dict(report["horizons"])
    if (folder / "evaluation-long.json").exists():
        minute = read_result(folder / "evaluation-long.json", shipped, f"run gwm eval --model {name} on the long ones")
        horizons = minute["horizons"] | horizons
    futures, speed = (RESULTS / f"{result}.json" for result in ("futures", "throughput"))
    cases = json.loads(futures.read_text()).get(name) if futures.exists() else None
    if cases is not None:
        check_model(cases, futures, shipped, f"run python benchmarks/futures.py --model {name}")
    clock = json.loads(speed.read_text()) if speed.exists() else {"beside": {}}
    step = clock if clock.get("model") == name else clock.get("beside", {}).get(name)

    def at(steps: int, key: str, form: str) -> str:
        value = horizons.get(str(steps), {}).get(key)
        return "" if value is None else form.format(value).rstrip("%")

    views = report.get("views")
    depth = report.get("depth_error_mm", {})
    return {
        "pictures": f"{config.tokenizer.width} px, {' and '.join(config.cameras)}"
        + (", depth" if config.depth else ""),
        **{f"object error at {t} steps, median [cm]": at(t, "object_error_cm", "{:.2f}") for t in (10, 40, 80)},
        **{f"object permanence at {t} steps [%]": at(t, "object_permanence", "{:.1%}") for t in (10, 80, 600)},
        **{f"PSNR at {t} steps [dB]": at(t, "psnr", "{:.1f}") for t in (10, 80)},
        "outcome, balanced accuracy": f"{report['outcome']['balanced_accuracy']:.2f}",
        "views agree on a held cube [%]": "" if views is None else f"{100 * views['model']['agree']:.1f}",
        "both show it in the hand [%]": "" if views is None else f"{100 * views['model']['in_hand']:.1f}",
        "depth error at 10 / 80 steps [mm]": " / ".join(f"{depth[t]:.1f}" for t in ("10", "80") if t in depth),
        "open futures covered [%]": "" if cases is None else f"{100 * cases['all']['covered']:.0f}",
        "by futures of another case [%]": ""
        if cases is None
        else f"{100 * cases['all']['covered_by_futures_of_others']:.0f}",
        "of the sampled futures right [%]": "" if cases is None else f"{100 * cases['all']['samples_right']:.0f}",
        **use_of(name, shipped),
        "a step [ms]": "" if step is None else f"{step['single_step_ms_p50']:.1f}",
    }


def use_of(name: str, shipped: str) -> dict[str, str]:
    """What a shipped model is worth to planners and to those who rank policies, by label."""
    ending = "" if name == "gwm-mini" else f"-{name}"
    rows = {}
    reached, ranked = (RESULTS / f"{result}{ending}.json" for result in ("planning", "transfer"))
    planned = {}
    if reached.exists():
        command = f"run python benchmarks/planning.py --model {name} --json {reached.relative_to(ROOT)}"
        planned = read_result(reached, shipped, command)["results"]
    for task in TASKS:
        result = planned.get(f"{task}/icem")
        rows[f"{task} pictures reached by iCEM [%]"] = (
            "" if result is None else f"{100 * result['success_rate']:.1f} of {result['episodes']}"
        )
    compared = {}
    if ranked.exists():
        command = f"run python benchmarks/transfer.py --model {name} --json {ranked.relative_to(ROOT)}"
        compared = read_result(ranked, shipped, command)["tasks"]
    for task in RANKED:
        result = compared.get(task)
        rows[f"policies of {task} ranked, r / MMRV"] = (
            "" if result is None else f"{result['pearson']:.2f} / {result['mmrv']:.3f} of {len(result['policies'])}"
        )
    return rows


def own_robot_table(report: dict[str, Any]) -> str:
    """Table of a world that is not ours, learned from imported recordings."""
    control, machine = report["controllability"], report["machine"]
    lines = [
        "A world that is not ours: Gymnasium-Robotics' `FetchPickAndPlace-v4` at 25 Hz, filmed, imported and learned "
        "from nothing by `benchmarks/own_robot.sh`:",
        "",
        *horizon_lines(report["horizons"], OWN_ROBOT_ROWS),
        "",
        f"{report['episodes']} held-out episodes; the errors of the end-effector after {control['steps']} steps grow "
        f"{control['action_shuffle_ratio']:.1f}-fold when the actions are swapped between windows. Not shipped, hash "
        f"`{report['model_hash']}`; measured on {machine['cores']} cores of {machine['cpu']} ({machine['device']}) by "
        "`gwm eval`.",
    ]
    return "\n".join(lines)


def trusted_horizon(horizons: dict[str, Any]) -> int:
    """The longest horizon up to which all are good enough; 0 if none is."""
    trusted = 0
    for horizon, numbers in horizons.items():
        if numbers["object_error_cm"] > TRUSTED_ERROR_CM or numbers["object_permanence"] < TRUSTED_PERMANENCE:
            break
        trusted = int(horizon)
    return trusted


def experts_table(report: dict[str, Any]) -> str:
    """Held success of experts and floors in the twin."""
    lines = [
        "| task / policy | held success in the twin | 95 % interval | steps, median | episodes |",
        "|---|---|---|---|---|",
    ]
    lines += [success_row(name, result) for name, result in report["results"].items()]
    return "\n".join(lines)


def planning_table(report: dict[str, Any], planners: Collection[str] | None = None) -> str:
    """Held success of planners in the twin, from a goal picture; of all, or of some."""
    shown = {k: v for k, v in report["results"].items() if planners is None or k.split("/")[-1] in planners}
    lines = [
        "| goal picture / planner | held success in the twin | 95 % interval | steps, median | episodes |",
        "|---|---|---|---|---|",
    ]
    lines += [success_row(name, result) for name, result in shown.items()]
    clock = {name: t for name, t in report["plan_ms"].items() if planners is None or name in planners}
    times = ", ".join(f"{name} {t['p50']:.0f} ms ({t['p95']:.0f} ms)" for name, t in clock.items())
    lines += [
        "",
        "Full episodes of a task: the goal is the picture of a demonstration's last success from the same start, with "
        "at most 4 sub-goals from other demonstrations. `offset-N`: start and goal are N steps apart in a recording of "
        "mixed behaviour; a run has 2 N steps, with 50 only the 80 of a task. `prior` follows the cloned policy "
        "without a search"
        + ("; `icem-simulator` searches as `icem` does but in the true simulator" if planners is None else "")
        + f". Time of a plan, median and 95th percentile: {times}; {report['machine']}. "
        f"`benchmarks/planning.py`, hash `{report['model_hash']}`, seeds from {report['seed']}.",
    ]
    return "\n".join(lines)


def transfer_table(report: dict[str, Any]) -> str:
    """Success of policies that were trained in the learned world, and how rightly it ranks policies."""
    lines = [
        "| trained in the learned world | success there | in the twin | warm start alone | policies | r | MMRV |",
        "|---|---|---|---|---|---|---|",
    ]
    ratios = []
    for task, result in report["tasks"].items():
        cells = [share(result[key]) for key in ("learned_success", "twin_success", "warm_start_success")]
        ranked = [f"{result[key]:.3f}" if result[key] is not None else "" for key in ("pearson", "mmrv")]
        lines.append(f"| {task} | " + " | ".join([*cells, str(len(result["policies"])), *ranked]) + " |")
        if (clock := result["wall_clock_ratio"]) is not None:
            bound = "at most " if clock["bound"] else ""
            ratios.append(
                f"Training time until {task} succeeds in 80 % of the twin's starts, in the learned world over the same "
                f"algorithm on the twin's rendered pictures with the same cores: {bound}{clock['without_model']:.2f}, "
                f"and {bound}{clock['with_model']:.2f} with the training of the world model itself."
            )
    lines += [
        "",
        f"{report['episodes']} episodes each from the same starts in both worlds, 95 % intervals; the ranking is over "
        "trained policies, their checkpoints and experts made clumsy (Pearson's r, MMRV). The agents learned in "
        "earlier weights of the model than these where their `config.json` has another hash. " + " ".join(ratios),
        "",
        f"`benchmarks/transfer.py`, hash `{report['model_hash']}`, seeds from {report['seed']}; {report['machine']}.",
    ]
    return "\n".join(lines)


def share(success: dict[str, Any] | None) -> str:
    """A rate of success with its interval."""
    if success is None:
        return ""
    low, high = success["wilson"]
    return f"{100 * success['rate']:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def success_row(name: str, result: dict[str, Any]) -> str:
    """One line of a table of held success."""
    low, high = result["wilson"]
    steps = "" if result["median_steps"] is None else f"{result['median_steps']:.0f}"
    rate = f"{100 * result['success_rate']:.1f} %"
    return f"| {name} | {rate} | {100 * low:.1f} to {100 * high:.1f} % | {steps} | {result['episodes']} |"


def uncertainty_text(report: dict[str, Any]) -> str:
    """What `gwm/uncertainty` is worth, in words."""
    error, unfamiliar = report["error"], report["unfamiliar"]
    ranks = error["error_pictures"]
    areas = ", ".join(f"{kind} {numbers['auroc_at'][0]:.2f}" for kind, numbers in unfamiliar["kinds"].items())
    return (
        f"`gwm/uncertainty` after {error['steps']} steps and the true error then, of cubes that moved: rank correlation"
        f" {ranks['uncertainty_at']:.2f} ({ranks['windows']} windows; predicted motion alone "
        f"{ranks['motion_displacement']:.2f}). At reset it tells unfamiliar scenes from familiar ones, AUROC: {areas} "
        f"({unfamiliar['scenes']} scenes each). `benchmarks/uncertainty.py`, hash `{report['model_hash']}`."
    )


def properties_text(report: dict[str, Any]) -> str:
    """How well the world obeys friction and gravity, in words."""
    obeys = "; ".join(
        f"{numbers['measure']} against {name} {numbers['spearman']:.2f} "
        f"({numbers['spearman_pictures']:.2f} from pictures)"
        for name, numbers in report["properties"].items()
    )
    levels = {len(numbers["levels"]) for numbers in report["properties"].values()}.pop()
    return (
        f"Told other properties, it follows the twin, rank correlation of the means of {levels} levels with "
        f"{report['episodes']} episodes each: {obeys}. `benchmarks/properties.py`, hash `{report['model_hash']}`."
    )


def throughput_table(report: dict[str, Any], shares: bool = True) -> str:
    """Rates of the learned world, numbers of rows from left to right, and of the twin; with what the machine could."""
    batches = report["devices"]["cpu"]["batches"]
    lines = ["| env-steps per second, rows | " + " | ".join(batches) + " |", "|---|" + "---|" * len(batches)]
    for device, numbers in report["devices"].items():
        cells = numbers["batches"].values()
        for kind, words in THROUGHPUT_KINDS.items():
            rates = (f"{cell[kind]['steps_per_second']:,.0f}" for cell in cells)
            lines.append(f"| {words}, {DEVICES[device]} | " + " | ".join(rates) + " |")
            if shares:
                parts = (f"{100 * cell[kind]['matmul_share']:.0f}" for cell in cells)
                lines.append("| share of the rate of matrix products [%] | " + " | ".join(parts) + " |")
    twin, machine, versions = report["twin"], report["machine"], report["versions"]
    twins = " and ".join(f"{twin[key]['steps_per_second']:,.0f} with `{key}`" for key in ("fast", "rich"))
    gpu = f" and {machine['gpu']}" if machine["gpu"] is not None else ""
    lines += [
        "",
        f"The twin on {twin['processes']} worker processes, in the same run: {twins} rendering. Over `rich`, the "
        f"learned world on the CPU is {report['unwatched_over_rich']:.1f} times as fast when no picture is drawn, "
        f"{report['latent_over_rich']:.1f} times with latents and {report['decoded_over_rich']:.1f} times decoded. "
        "A step of the single learned environment, decoded, takes "
        f"{report['single_step_ms_p50']:.1f} ms (99th percentile {report['single_step_ms_p99']:.1f} ms).",
        "",
        f"Model `{report['model']}`, hash `{report['model_hash']}`; frames of {report['size']} px; {machine['cores']} "
        f"cores of {machine['cpu']}{gpu}, torch {versions['torch']}, MuJoCo {versions['mujoco']}; medians of "
        f"{report['rounds']} rounds by `benchmarks/throughput.py`.",
    ]
    return "\n".join(lines)


def sections() -> tuple[list[Section], Section | None, Section | None]:
    """What is measured of gwm-mini, of both models side by side, and of a robot that is not ours.

    Raises:
        GwmError: A result is of another model than the shipped one.
    """
    folder = find_checkpoint("gwm-mini")
    shipped = WorldModel.load(folder, "cpu").digest()

    def result(name: str) -> dict[str, Any] | None:
        path = RESULTS / f"{name}.json"
        remedy = f"run python benchmarks/{name}.py --json {path.relative_to(ROOT)}"
        return read_result(path, shipped, remedy) if path.exists() else None

    report = read_result(folder / "evaluation.json", shipped, "run gwm eval on the test episodes")
    minute = read_result(folder / "evaluation-long.json", shipped, "run gwm eval on the long test episodes")
    table = fidelity_table(report, minute)
    parts = [Section("How far it strays", table, table)]
    if (uncertainty := result("uncertainty")) is not None:
        text = uncertainty_text(uncertainty)
        parts.append(Section("Whether it knows", text, text))
    if (properties := result("properties")) is not None:
        text = properties_text(properties)
        parts.append(Section("Friction and gravity", text, text))
    fidelity = RESULTS / "fidelity.json"
    if fidelity.exists():
        comparison = json.loads(fidelity.read_text())
        check_model(comparison["model"], fidelity, shipped, "run python benchmarks/fidelity.py measure")
        table = comparison_table(comparison)
        parts.append(Section("Beside floor, ceiling and a recurrent peer", table, table))
    if (planning := result("planning")) is not None:
        brief = planning_table(planning, FIRST_PLANNERS)
        parts.append(Section("Planning to goal pictures", planning_table(planning), brief))
    if (transfer := result("transfer")) is not None:
        table = transfer_table(transfer)
        parts.append(Section("Policies from imagination", table, table))
    if (throughput := result("throughput")) is not None:
        parts.append(Section("Speed", throughput_table(throughput), throughput_table(throughput, shares=False)))
    parts.append(Section("Experts and floors", experts_table(json.loads((RESULTS / "experts.json").read_text()))))
    both, own_robot = models_table(), RESULTS / "own_robot.json"
    return (
        parts,
        None if both is None else Section("`gwm-mini` and `gwm-preview`", both, both),
        Section("A robot that is not ours", own_robot_table(json.loads(own_robot.read_text())))
        if own_robot.exists()
        else None,
    )


def read_result(path: Path, shipped: str, remedy: str) -> dict[str, Any]:
    """Read a result of the shipped model.

    Raises:
        GwmError: It is of another model.
    """
    report: dict[str, Any] = json.loads(path.read_text())
    check_model(report, path, shipped, remedy)
    return report


def check_model(report: dict[str, Any], path: Path, shipped: str, remedy: str) -> None:
    """Refuse a report of another model."""
    if report["model_hash"] != shipped:
        raise GwmError(f"{path.name} is of model {report['model_hash']}, but {shipped} is shipped: {remedy}")


def with_tables(text: str, content: str) -> str:
    """The text with everything between its markers replaced; a fresh model card has none yet."""
    if BEGIN not in text:
        text = f"{text.rstrip()}\n\n## Measured\n\n{BEGIN}\n{END}\n"
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{content}\n{END}{after}"


def main(config: TablesConfig) -> int:
    """Write or check."""
    mini, both, own_robot = sections()
    everything = [section for section in (both, *mini, own_robot) if section is not None]
    briefly = [section._replace(text=section.brief) for section in everything if section.brief is not None]
    pages = {README: briefly, NUMBERS: everything, MODEL_CARD: mini}
    if both is not None:
        pages[PREVIEW_CARD] = [both]
    outdated = []
    for path, shown in pages.items():
        text = path.read_text()
        new = with_tables(text, "\n\n".join(map(str, shown)))
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
