"""Systems side by side: one table, and curves over the horizon. Knows only the numbers in `results/fidelity.json`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

Reports = Mapping[str, Mapping[str, Any]]

TITLES = {
    "model": "shipped model",
    "rssm": "recurrent state-space model",
    "copy": "last frame copied (floor)",
    "twin": "twin from a start shifted by 2 mm (ceiling)",
}
"""Systems in the order of the table."""

COLUMNS = (
    ("moved cubes [cm], 10 steps", "object_error_cm", 10, "{:.2f}"),
    ("40", "object_error_cm", 40, "{:.2f}"),
    ("80", "object_error_cm", 80, "{:.2f}"),
    ("still cubes [cm], 80", "static_drift_cm", 80, "{:.2f}"),
    ("600", "static_drift_cm", 600, "{:.2f}"),
    ("permanence [%], 80", "object_permanence", 80, "{:.1%}"),
    ("600", "object_permanence", 600, "{:.1%}"),
    ("end-effector [mm], 80", "telemetry_error_mm", 80, "{:.1f}"),
    ("600", "telemetry_error_mm", 600, "{:.1f}"),
    ("PSNR [dB], 40", "psnr", 40, "{:.1f}"),
)

CURVES = (
    ("object_error_cm", "error of moved cubes, median [cm]", 1.0),
    ("object_permanence", "object permanence [%]", 100.0),
    ("psnr", "PSNR [dB]", 1.0),
)

RATIO_STEPS = "40"


def comparison_table(reports: Reports) -> str:
    """Markdown table of all systems, with a line about each of those that were trained."""
    heads = [head for head, *_ in COLUMNS] + ["outcome, balanced accuracy", "error with swapped actions"]
    lines = ["| system | " + " | ".join(heads) + " |", "|---|" + "---|" * len(heads)]
    shown = [name for name in TITLES if name in reports]
    for name in shown:
        report = reports[name]
        columns = _columns(report)
        cells = [_cell(columns.get(horizon, {}).get(key), form) for _, key, horizon, form in COLUMNS]
        cells.append(_cell(report["outcome"]["balanced_accuracy"], "{:.2f}"))
        cells.append(_cell(report["controllability"]["action_shuffle_ratio"], "{:.1f} times"))
        lines.append(f"| {TITLES[name]} | " + " | ".join(cells) + " |")
    lines += ["", *(_training(name, reports[name]) for name in shown if reports[name]["parameters"])]
    ratio = peer_over_model(reports)
    if ratio is not None:
        lines += ["", f"At {RATIO_STEPS} steps the peer's error of moved cubes is {ratio:.1f} times the model's."]
    return "\n".join(lines)


def peer_over_model(reports: Reports) -> float | None:
    """Median error of moved cubes, that of the recurrent peer over ours; None where one of them was not measured."""
    errors = [
        reports.get(name, {}).get("horizons", {}).get(RATIO_STEPS, {}).get("object_error_cm")
        for name in ("rssm", "model")
    ]
    return errors[0] / errors[1] if errors[0] is not None and errors[1] else None


def plot(reports: Reports, path: Path) -> None:
    """Draw cube error, permanence and PSNR against the horizon, a line per system."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (key, title, scale) in zip(figure.subplots(1, len(CURVES)), CURVES, strict=True):
        for name in (name for name in TITLES if name in reports):
            points = [(h, scale * value) for h, value in _course(reports[name], key)]
            axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=TITLES[name])
        axes.set_xscale("log")
        axes.set_xlabel("steps ahead")
        axes.set_title(title, fontsize=10)
        axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=len(TITLES), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _columns(report: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    """Numbers by horizon: of the short episodes as far as they reach, beyond that of the long ones."""
    long = report.get("long", {}).get("horizons", {})
    return {int(horizon): column for horizon, column in (long | report["horizons"]).items()}


def _course(report: Mapping[str, Any], key: str) -> list[tuple[int, float]]:
    """Values over the horizon, where there are any."""
    return [(h, column[key]) for h, column in sorted(_columns(report).items()) if column[key] is not None]


def _training(name: str, report: Mapping[str, Any]) -> str:
    minutes, steps, success = (report.get(key) for key in ("training_minutes", "training_steps", "success_auroc"))
    learned = "training time unknown" if steps is None else f"trained for {steps:,} updates"
    if minutes is not None:
        learned = f"trained for {minutes:g} minutes"
    told = ", ".join(f"{task} {value:.3f}" for task, value in (success or {}).items() if value is not None)
    size = f"{report['parameters'] / 1e6:.1f} million parameters"
    identity = f"{TITLES[name]}: {size}, {learned}, hash `{report['model_hash']}`"
    return f"- {identity}; success on imagined states, AUROC: {told or 'unknown'}."


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value).rstrip("%")
