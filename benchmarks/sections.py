"""Measured tables, each from the results of one program. Knows only the numbers in `results/`."""

from collections.abc import Sequence
from typing import Any

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

UNITS = {"px": "px of the world", "degrees": "degrees", "cm": "cm"}


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
        f"cores of {machine['cpu']} ({machine['device']}) by `gwm eval`, definitions in "
        "`gwm_sim/evaluation/` and `envs/blocks/`.",
    ]
    return "\n".join(lines)


def horizon_lines(horizons: dict[str, Any], rows: Sequence[tuple[str, str, str]]) -> list[str]:
    """Lines of a table with horizons from left to right; a row is label, key and form of a number."""
    lines = ["| steps ahead | " + " | ".join(horizons) + " |", "|---|" + "---|" * len(horizons)]
    for label, key, form in rows:
        cells = [form.format(h[key]).rstrip("%") if h[key] is not None else "" for h in horizons.values()]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return [*lines, "| windows | " + " | ".join(str(h["n"]) for h in horizons.values()) + " |"]


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
    """Sustained success of experts and floors in the twin."""
    lines = [
        "| task / policy | sustained success in the twin | 95 % interval | steps, median | episodes |",
        "|---|---|---|---|---|",
    ]
    lines += [success_row(name, result) for name, result in report["results"].items()]
    return "\n".join(lines)


def planning_table(report: dict[str, Any]) -> str:
    """Sustained success of planners in the twin, from a goal picture."""
    lines = [
        "| goal picture / planner | sustained success in the twin | 95 % interval | steps, median | episodes |",
        "|---|---|---|---|---|",
    ]
    lines += [success_row(name, result) for name, result in report["results"].items()]
    times = ", ".join(f"{name} {t['p50']:.0f} ms ({t['p95']:.0f} ms)" for name, t in report["plan_ms"].items())
    lines += [
        "",
        "Full episodes of a task: the goal is the picture of a demonstration's last success from the same start, with "
        "at most 4 sub-goals from other demonstrations. `moment-N`: start and goal are N steps apart in a recording of "
        "mixed behaviour, and at the goal each cube rests or is in the hand; a run has 2 N steps. `search` has neither "
        "demonstrations nor a prior, `search-fast` 100 ms a plan; `prior` follows the cloned policy without a search; "
        "`icem-simulator` and `search-simulator` search in the true simulator. "
        f"Time of a plan, median and 95th percentile: {times}; {report['machine']}. "
        f"`benchmarks/planning.py`, hash `{report['model_hash']}`, seeds from {report['seed']}.",
    ]
    return "\n".join(lines)


def goals_text(reports: dict[str, dict[str, Any]]) -> str:
    """Goals some steps ahead in the true worlds of others, by the names of the worlds."""
    lines = [
        "| world | steps ahead | acts | reached | 95 % interval | steps, median | a plan [ms] | pairs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for world, report in reports.items():
        for name, run in report["runs"].items():
            ahead, system = name.split("/")
            low, high = (100 * x for x in run["wilson"])
            steps, plan = ("" if run[key] is None else f"{run[key]:.0f}" for key in ("median_steps", "plan_ms"))
            lines.append(
                f"| {world} | {ahead} | {system} | {100 * run['reached']:.1f} % | {low:.1f} to {high:.1f} % | "
                f"{steps} | {plan} | {run['pairs']} |"
            )
    apart = "; ".join(
        f"{world} {ahead} steps ahead: " + ", ".join(f"{far:.0f} {UNITS[unit]}" for unit, far in moved.items())
        for world, report in reports.items()
        for ahead, moved in report["displacement"].items()
    )
    lines += [
        "",
        "Start and goal are moments of one held-out recording; twice as many steps to get there; what acts is the true "
        "simulator, and its own rule counts at any step. `search` is told what the robot reports at the goal beside "
        "its picture, `search-picture` is not; `clone` was cloned from the same recordings and is told as much. Median "
        "displacement of the thing, "
        f"{apart}. `benchmarks/goals.py`; models are those of `own_worlds.py`.",
    ]
    return "\n".join(lines)


def unlabelled_text(
    goals: dict[str, dict[str, Any]], learned: dict[str, dict[str, Any]], titles: dict[str, str]
) -> str:
    """What search reaches in worlds of others that were learned from raw recordings, in a sentence for each."""
    sentences = []
    for world, report in goals.items():
        search, clone = (report["runs"].get(f"25/{system}") for system in ("search", "clone"))
        if search and clone:
            sentences.append(
                f"In a world learned in {learned[world]['auto']['minutes']:.0f} minutes from raw recordings of "
                f"{titles[world].partition(',')[0]}, search reaches {100 * search['reached']:.1f} % of "
                f"{search['pairs']} goals 25 steps ahead in the true one, a policy cloned from the same recordings "
                f"{100 * clone['reached']:.1f} %."
            )
    return " ".join(sentences)


def live_text(reports: dict[str, dict[str, Any]]) -> str:
    """Goal pictures by the live loop in the true worlds of others, by the names of the worlds."""
    lines = [
        "| world | goals | reached | 95 % interval | late steps | steps without a plan | a plan, median / 95 % [ms] |",
        "|---|---|---|---|---|---|---|",
    ]
    for world, report in reports.items():
        run = report["summary"]
        low, high = (100 * x for x in run["wilson"])
        plan = f"{run['plan_ms_p50']:.0f} / {run['plan_ms_p95']:.0f}"
        lines.append(
            f"| {world} | {run['goals']} | {100 * run['reached']:.1f} % | {low:.1f} to {high:.1f} % | "
            f"{100 * run['late_steps']:.1f} % | {100 * run['steps_without_a_plan']:.0f} % | {plan} |"
        )
    how = "; ".join(
        f"{world}: {report['ahead']} steps ahead, {report['plan_seconds']:g} s for a plan"
        + (", told what the robot reports at the goal" if report["told"] else "")
        + (f", time {report['slower']:g} times as slow" if report["slower"] != 1 else "")
        for world, report in reports.items()
    )
    lines += [
        "",
        "The loop of `gwm run --move` with the true simulator as robot and camera: time goes on while it plans "
        f"towards a picture. {how}. `benchmarks/live_goals.py`.",
    ]
    return "\n".join(lines)


def policies_text(reports: dict[str, dict[str, Any]]) -> str:
    """Policies that learned in worlds of one's own, in the true worlds of others, by the names of the worlds."""
    lines = ["| world | policy | success in the true world | 95 % interval | episodes |", "|---|---|---|---|---|"]
    for world, report in reports.items():
        for system, run in report["true"].items():
            low, high = (100 * x for x in run["wilson"])
            success = f"{100 * run['success']:.1f} % | {low:.1f} to {high:.1f} %"
            lines.append(f"| {world} | {system} | {success} | {run['episodes']} |")
    lines += [
        "",
        "The goal is a picture of a held-out recording; `warm-start` is cloned from all recordings, `trained` went on "
        "from there in the learned world alone. Starts that satisfy the goal are left out. "
        "`benchmarks/rl_own_world.py`.",
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
    """One line of a table of sustained success."""
    low, high = result["wilson"]
    steps = "" if result["median_steps"] is None else f"{result['median_steps']:.0f}"
    rate = f"{100 * result['success_rate']:.1f} %"
    return f"| {name} | {rate} | {100 * low:.1f} to {100 * high:.1f} % | {steps} | {result['episodes']} |"


def uncertainty_text(report: dict[str, Any]) -> str:
    """What `gwm/uncertainty` is worth, in words."""
    error, unfamiliar = report["error"], report["unfamiliar"]
    ranks = error["error_pictures"]
    areas = ", ".join(f"{kind} {numbers['auroc_at'][0]:.2f}" for kind, numbers in unfamiliar["kinds"].items())
    steps = ", ".join(
        f"{numbers['expected_cm']:.1f} cm {horizon} steps ahead ({numbers['error_cm']:.1f} in truth, slope "
        f"{numbers['slope']:.2f}, {numbers['windows']} windows)"
        for horizon, numbers in report["scale"].items()
    )
    return (
        f"`gwm/uncertainty` after {error['steps']} steps and the true error then, of cubes that moved: rank correlation"
        f" {ranks['uncertainty_at']:.2f} ({ranks['windows']} windows; predicted motion alone "
        f"{ranks['motion_displacement']:.2f}). At reset it tells unfamiliar scenes from familiar ones, AUROC: {areas} "
        f"({unfamiliar['scenes']} scenes each). Of all cubes in view it expects {steps}; after a minute in which "
        f"nothing happens {report['still']['expected_cm']:.1f} cm. "
        f"`benchmarks/uncertainty.py`, hash `{report['model_hash']}`."
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


def throughput_table(report: dict[str, Any]) -> str:
    """Rates of the learned world, numbers of rows from left to right, and of the twin; with what the machine could."""
    batches = report["devices"]["cpu"]["batches"]
    lines = ["| env-steps per second, rows | " + " | ".join(batches) + " |", "|---|" + "---|" * len(batches)]
    for device, numbers in report["devices"].items():
        cells = numbers["batches"].values()
        for kind, words in THROUGHPUT_KINDS.items():
            rates = (f"{cell[kind]['steps_per_second']:,.0f}" for cell in cells)
            lines.append(f"| {words}, {DEVICES[device]} | " + " | ".join(rates) + " |")
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


def threads_table(report: dict[str, Any]) -> str:
    """Times of a step, numbers of rows from left to right, with one thread, two, all and the chosen ones."""
    models, machine = report["models"], report["machine"]
    rows = list(next(iter(models.values()))["decoded"])
    lines = ["| a step [ms], rows | " + " | ".join(rows) + " |", "|---|" + "---|" * len(rows)]
    for model, numbers in models.items():
        for form in ("decoded", "undrawn"):
            for way in next(iter(numbers[form].values()))["ms"]:
                words = "chosen" if way == "chosen" else f"{way} thread{'s' * (way != '1')}"
                times = (f"{cell['ms'][way]:.1f}" for cell in numbers[form].values())
                lines.append(f"| `{model}`, {form}, {words} | " + " | ".join(times) + " |")
    starts = {model: numbers["all_threads_from_rows"] for model, numbers in models.items()}
    from_rows = "; ".join(
        f"`{model}` "
        + (f"{rows['picture']} for pictures, " if "picture" in rows else "")
        + f"{rows['decoding']} to decode, {rows['step']} otherwise"
        for model, rows in starts.items()
    )
    lines += [
        "",
        "The number of threads follows the rows; one is a single environment. All threads are used from these rows: "
        f"{from_rows}. The choice takes at most {report['worst_chosen_over_best']:.2f} times as long as the best. "
        f"{machine['threads']} threads on {machine['cores']} cores of {machine['cpu']}, `GOMP_SPINCOUNT` "
        f"{machine['spin_count']} as `gwm` sets it; medians of short blocks in turns by `benchmarks/threads.py`.",
    ]
    return "\n".join(lines)


def rate(result: dict[str, Any]) -> str:
    """A rate of success with its interval [%]."""
    low, high = result["wilson"]
    return f"{100 * result['success_rate']:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def exported_table(report: dict[str, Any]) -> str:
    """How near a world in ONNX Runtime stays to the native one, a line for each policy."""
    lines = [
        "| who acts | steps | agree [%] | farthest apart [mm] | greatest difference of a pixel |",
        "|---|---|---|---|---|",
    ]
    for policy, horizons in report["policies"].items():
        for steps, row in horizons.items():
            lines.append(
                f"| {policy} | {steps} | {row['agree_percent']:.0f} | {row['millimetres_most']:.4f} | "
                f"{row['grey_levels_most']:.0f} |"
            )
    lines += [
        "",
        f"ONNX Runtime beside the environment, {report['starts']} starts each, the same actions in both "
        "(`benchmarks/exported.py`). They agree if until then no place was more than 1 mm and no pixel more than 3 "
        "grey levels apart. The native world decodes in bfloat16 where the processor has it.",
    ]
    return "\n".join(lines)
