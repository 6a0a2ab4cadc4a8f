"""The table of the shipped models side by side: what each shows, how far it strays, what it is worth and costs."""

import json

from shipped_results import RESULTS, ROOT, check_model, read_result

from gwm_sim.envs.blocks.spec import TASKS
from gwm_sim.model.checkpoint import find_checkpoint
from gwm_sim.model.world_model import WorldModel

RANKED = ("grasp", "stack")
"""Tasks of which there are policies of every quality."""


def models_table() -> str:
    """What the fine model has over the fast one, and what it costs.

    Raises:
        GwmError: A result is of other weights than the shipped ones.
    """
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
    cases = json.loads(futures.read_text(encoding="utf-8")).get(name) if futures.exists() else None
    if cases is not None:
        check_model(cases, futures, shipped, f"run python benchmarks/futures.py --model {name}")
    clock = json.loads(speed.read_text(encoding="utf-8")) if speed.exists() else {"beside": {}}
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
