"""What a model can do on the episodes that it was not trained on: pictures while it trains, then words.

The words sum up a short open-loop test. Its numbers are those of `gwm eval`, of fewer windows and shorter horizons.
They tell whether a training was worth it; numbers to publish come from episodes that were collected for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.views import main_view
from gwm_sim.evaluation.open_loop import ModelPredictor, OpenLoopTest, Predictor, Slot
from gwm_sim.evaluation.reconstruction import kept_of, reconstruct, reconstruction_report
from gwm_sim.evaluation.report import MIN_WINDOWS, SHUFFLE_STEPS, open_loop_report
from gwm_sim.evaluation.scene import find_scene
from gwm_sim.media.video import contact_sheet, write_png
from gwm_sim.model.residual import NEEDED
from gwm_sim.model.world_model import WorldModel
from gwm_sim.progress import progress
from gwm_sim.protocol import CONTEXT
from gwm_sim.training.dataset import TrainingData

if TYPE_CHECKING:  # a tracker needs an extra
    from gwm_sim.data.tracking.tracker import Tracker

HORIZONS = (1, 5, 10, 25, 50)  # [steps]
FILES = 16  # at most, spread over all that there are
WINDOWS = 256  # at most, shared between the files,
FEWEST = 40  # but not less of each
LISTENS, HARDLY_LISTENS = 1.5, 1.1  # times the error, when the actions are those of other windows
KEEPS = 0.9  # share of the objects
RECONSTRUCTED = 0.98  # share of the things that reconstructions should keep
FEWEST_THINGS = 10  # that moved, or nothing is said of them
SAMPLED = (1, 2, 5, 10, 20, 30, 40)  # horizons of rollouts that are drawn [steps]

OTHER_ACTIONS = {"shuffled": "those of other windows", "zero": "zeros", "repeated": "the last one repeated"}

Numbers = Mapping[str, Any]


def sample_tokenizer(model: WorldModel, data: TrainingData, folder: Path, step: int) -> None:
    """Write frames beside their reconstructions."""
    first = data.windows(1, validation=True, seen=True)
    frames = data.frames[first[torch.linspace(0, len(first) - 1, 10).long()]]
    decoded = model.reconstruct(frames).cpu()
    write_png(
        folder / f"tokenizer-{step:06d}.png",
        contact_sheet({"real": list(frames.numpy()), "decoded": list(decoded.numpy())}),
    )


def sample_rollouts(model: WorldModel, data: TrainingData, folder: Path, step: int) -> None:
    """Write open-loop rollouts beside what really happened."""
    longest = int(data.lengths[data.validation() & data.seen()].max()) - CONTEXT
    horizons = [h for h in SAMPLED if h <= longest] or [longest]
    first = data.windows(CONTEXT + horizons[-1], validation=True, seen=True)
    first = first[torch.linspace(0, len(first) - 1, 4).long()]
    true, _, _ = data.batch(None, first, CONTEXT + horizons[-1])
    pictures = data.frames[first[:, None] + torch.arange(CONTEXT + horizons[-1])]
    given = pictures[:, :CONTEXT], true.telemetry[:, :CONTEXT], true.actions[:, : CONTEXT - 1], true.properties
    rollout = model.imagine(model.encode(*given), true.actions[:, CONTEXT - 1 : -1].to(model.device))
    decoded = model.decode(rollout).cpu().numpy()
    rows = {}
    for i in range(len(first)):
        rows[f"real {i}"] = [pictures[i, CONTEXT - 1 + h].numpy() for h in horizons]
        rows[f"model {i}"] = [decoded[i, h - 1] for h in horizons]
    write_png(folder / f"rollouts-{step:06d}.png", contact_sheet(rows, [str(h) for h in horizons]))


def share_kept(model: WorldModel, data: TrainingData, tracker: Tracker) -> float:
    """Share of the things in frames of validation episodes that reconstructions keep, 1 where none are seen."""
    first = data.windows(1, validation=True, seen=True)
    views = data.frames[first[torch.linspace(0, len(first) - 1, min(WINDOWS, len(first))).long()]].numpy()
    true, shown = (main_view(frames, data.cameras) for frames in (views, reconstruct(model, views)))
    kept = kept_of(tracker, true, shown)
    return float(kept.mean()) if len(kept) else 1.0


def closing_report(model: WorldModel, files: Sequence[EpisodeFile], validation: Sequence[bool]) -> dict[str, Any]:
    """Test a model on the `validation` episodes of its data, file after file, of at most `FILES` of them.

    Returns:
        files: The numbers of each file that was looked at.
        words: What they mean, in lines.
    """
    ends = np.cumsum([len(file) for file in files]).tolist()
    chosen = looked_at(files, validation)
    words = (
        [] if len(chosen) == len(files) else [f"{len(chosen)} of {len(files)} files were looked at, spread over them."]
    )
    reports = []
    most = max(FEWEST, WINDOWS // len(chosen))
    with progress("test") as show:
        for done, number in enumerate(chosen):
            file, end = files[number], ends[number]
            show(done / len(chosen), file.path.name)
            spared = validation[end - len(file) : end]
            with file:
                numbers = measure_file(model, file, [k for k in range(len(file)) if spared[k]], most)
            reports.append({"file": file.path.name, **numbers})
            about = f"{file.path.name}: " if len(files) > 1 else ""
            words += [f"{about}{sentence}" for sentence in describe(numbers, model)]
        show(1, f"{len(chosen)} files")
    return {"words": words, "files": reports}


def looked_at(files: Sequence[EpisodeFile], validation: Sequence[bool]) -> list[int]:
    """Places of the files that are looked at: all, or `FILES` of those that hold `validation` episodes."""
    if len(files) <= FILES:
        return list(range(len(files)))
    owners = np.repeat(np.arange(len(files)), [len(file) for file in files])
    holding = np.unique(owners[np.array(validation[: len(owners)])])
    return np.unique(holding[np.linspace(0, len(holding) - 1, FILES).round().astype(int)]).tolist()


def measure_file(model: WorldModel, file: EpisodeFile, episodes: Sequence[int], most: int) -> dict[str, Any]:
    """Numbers of some episodes of one file, at most so many windows; `horizons` is empty where there are too few."""
    slots = choose(file.lengths, episodes, most)
    if not slots:
        nothing: dict[str, Any] = {"horizons": {}, "controllability": None, "reconstruction": None}
        return {"episodes": len(episodes), "windows": 0, **nothing}
    config = model.config
    trained = sorted(set(range(len(file))) - set(episodes))
    # Where positions were measured they say more than a tracker could, and finding things takes its time.
    found = not file.schema.object_names or bool(file.schema.tracked)
    scene = find_scene(file, config.cameras[0], file if trained else None, trained, track=found)
    test = OpenLoopTest(
        file, [*HORIZONS, SHUFFLE_STEPS], cameras=config.cameras, properties=config.properties, scene=scene
    )
    test.slots = slots
    predict = ModelPredictor(model)
    measured = open_loop_report(predict, test, HORIZONS)
    control = measured["controllability"] | {"measured": "end-effector and moved objects"}
    if control["action_shuffle_ratio"] is None:
        ratio = telemetry_ratio(predict, test, model.dynamics.telemetry_std.cpu().numpy())
        told = {"steps": SHUFFLE_STEPS, "pictures": control["pictures"]}
        control = {"action_shuffle_ratio": ratio, **told, "measured": "telemetry"}
    return {
        "episodes": len({slot.episode for slot in slots}),
        "windows": len(slots),
        "horizons": measured["horizons"],
        "controllability": control,
        "reconstruction": reconstruction_report(model, test),
        "rollouts": measured["rollouts"],
        "untracked": scene.untracked,
    }


def choose(lengths: Sequence[int], episodes: Sequence[int], most: int) -> list[Slot]:
    """At most so many windows spread over some episodes, each as long as the farthest horizon that it reaches."""
    slots = []
    for episode in episodes:
        for start in range(lengths[episode] - CONTEXT + 1):
            rest = lengths[episode] - (start + CONTEXT - 1)
            slots.append(Slot(episode, start, max(horizon for horizon in HORIZONS if horizon <= rest)))
    if len(slots) <= most:
        return slots
    return [slots[i] for i in np.linspace(0, len(slots) - 1, most).round().astype(int)]


def telemetry_ratio(predict: Predictor, test: OpenLoopTest, scale: np.ndarray[Any, Any]) -> float | None:
    """Error of the telemetry with the actions of other windows, over that with the right ones.

    For robots of which the data does not say where the end-effector is, in units of `scale` (P,) per column.
    """
    foreign = test.foreign_actions(SHUFFLE_STEPS)
    if len(foreign) < MIN_WINDOWS:
        return None
    right = wrong = 0.0
    for windows in test.batches(64):
        if windows.actions.shape[1] < SHUFFLE_STEPS:
            continue
        true = windows.course_telemetry[:, SHUFFLE_STEPS - 1]
        others = np.stack([foreign[number] for number in windows.number.tolist()])
        own, strange = (
            np.abs((predict(windows, actions, [SHUFFLE_STEPS]).telemetry[:, 0] - true) / scale).sum()
            for actions in (windows.actions[:, :SHUFFLE_STEPS], others)
        )
        right, wrong = right + float(own), wrong + float(strange)
    return wrong / right if right else None


def describe(numbers: Numbers, model: WorldModel) -> list[str]:
    """Say what the numbers of one file mean."""
    horizons = {int(steps): column for steps, column in numbers["horizons"].items()}
    if not horizons:
        return [
            f"too little was left for validation to say how good the model is: {numbers['windows']} windows in "
            f"{numbers['episodes']} episodes, {MIN_WINDOWS} are needed. Record more or longer episodes."
        ]
    schema, control = model.config.schema, numbers["controllability"]
    measured = () if schema.tracked else schema.object_names
    reported = bool(schema.telemetry_names)
    ratio = control["action_shuffle_ratio"] if reported else control["pictures"]["shuffled"]
    moved = {steps: column for steps, column in horizons.items() if column["moved_things"] >= FEWEST_THINGS}
    return [
        listening(ratio, reported, control["pictures"]),
        moving(moved) if moved else keeping(horizons, measured, numbers["untracked"]),
        *reconstructing(numbers["reconstruction"]),
        *explaining(model),
        *(() if measured else standing(horizons)),
        copying(horizons, schema.rate),
        *looking_up(horizons, schema.rate),
    ]


def listening(ratio: float | None, reported: bool = True, pictures: Numbers | None = None) -> str:
    """Does the model listen to the actions? Telemetry tells, if the robot reported any, else the `pictures` alone."""
    if ratio is None:
        why = f"too few windows reach {SHUFFLE_STEPS} steps" if reported else "the robot reports nothing to tell it by"
        return f"whether it listens to the actions is not known: {why}."
    verdict = "it listens" if ratio >= LISTENS else "it hardly listens" if ratio >= HARDLY_LISTENS else "it is deaf"
    told = [(value, words) for key, words in OTHER_ACTIONS.items() if (value := (pictures or {}).get(key)) is not None]
    beside = f" In the pictures: {', '.join(f'{value:.2f} with {words}' for value, words in told)}." if told else ""
    return (
        f"{verdict} to the actions: with those of other windows, the error after {SHUFFLE_STEPS} steps is {ratio:.2f} "
        f"times as large.{beside}"
    )


def keeping(horizons: Mapping[int, Numbers], names: Sequence[str], untracked: str = "") -> str:
    """Does it keep objects of which the positions are known?"""
    if not names:
        return f"whether it keeps things is not known: {untracked or 'hardly any that was found moved'}."
    shares = {steps: column["object_permanence"] for steps, column in horizons.items() if column["visible_objects"]}
    if not shares:
        return f"whether it keeps objects is not known: no colour in their names ({', '.join(names)}), or out of sight."
    last = max(shares)
    verdict = "keeps" if shares[last] >= KEEPS else "loses"
    return f"it {verdict} objects: after {last} steps, {shares[last]:.0%} of those in sight have kept their size."


def moving(horizons: Mapping[int, Numbers]) -> str:
    """How far off are things that moved, as a tracker sees them, and how many are kept, at the last horizon?"""
    steps, column = max(horizons.items())
    way, copied = column["moved_error_widths"], column["moved_error_widths_floor"]
    verdict = "follows" if way < copied else "does not follow"
    return (
        f"it {verdict} things that move: after {steps} steps they are {way:.1f} of their widths off "
        f"({column['moved_error_px']:.1f} px), {copied:.1f} where the last frame is copied; "
        f"{column['kept']:.0%} are kept, {column['kept_floor']:.0%} by copying."
    )


def reconstructing(numbers: Numbers) -> list[str]:
    """Does the tokenizer keep things? Nothing is said where nobody looked for any."""
    if numbers["kept"] is None:
        return []
    share = f"reconstructions keep {numbers['kept']:.0%} of the things"
    if numbers["kept"] >= RECONSTRUCTED:
        return [f"{share} (foreground {numbers['fg_psnr']:.1f} dB)."]
    return [f"{share}: the others are lost before anything is predicted. Train longer, or on more pictures of them."]


def explaining(model: WorldModel) -> list[str]:
    """Was a residual needed? Nothing is said where pictures are drawn without one, or nobody measured it."""
    if model.residual_encoder is None or model.residual_encoder.worth == 1:
        return []
    worth, count = float(model.residual_encoder.worth), model.config.dynamics.of_scene
    nearer = f"pictures are {max(0.0, worth):.0%} nearer"
    if worth <= NEEDED:
        return [f"robot and things explain the pictures, so a residual was left out: with one, {nearer}."]
    return [f"{count} numbers of a residual tell what robot and things do not: with them, {nearer}."]


def standing(horizons: Mapping[int, Numbers]) -> list[str]:
    """Does the robot stand where it should? Nothing is said where it was never seen to move."""
    known = {steps: column for steps, column in horizons.items() if column["robot_overlap"] is not None}
    if not known:
        return []
    steps, column = max(known.items())
    floors = [
        f"{column[f'robot_overlap{end}']:.0%} {words}"
        for end, words in (("_floor", "where the last frame is copied"), ("_scene_floor", "looked up by telemetry"))
        if column[f"robot_overlap{end}"] is not None
    ]
    return [
        f"imagined and true robot overlap by {column['robot_overlap']:.0%} after {steps} steps ({', '.join(floors)})."
    ]


def copying(horizons: Mapping[int, Numbers], rate: float) -> str:
    """At which horizons is it better than copying the last frame?"""
    doubt = ": a picture of the empty scene may do as much"
    known = any(column["psnr_scene_floor"] is not None for column in horizons.values())
    return beating(horizons, rate, "_floor", "copying the last frame", "" if known else doubt)


def looking_up(horizons: Mapping[int, Numbers], rate: float) -> list[str]:
    """At which horizons is it better than the empty scene with the robot looked up by telemetry, if that is known?"""
    known = {steps: column for steps, column in horizons.items() if column["psnr_scene_floor"] is not None}
    what = "the empty scene with the robot looked up by telemetry"
    return [beating(known, rate, "_scene_floor", what)] if known else []


def beating(horizons: Mapping[int, Numbers], rate: float, end: str, what: str, doubt: str = "") -> str:
    """At which horizons is it better than a floor, whose keys have this end?"""
    better = {}
    for steps, column in sorted(horizons.items()):
        kind = "psnr" if column["fg_psnr"] is None else "fg_psnr"
        better[steps] = column[kind] > column[f"{kind}{end}"]
    if not any(better.values()):
        return f"it is no better than {what}, from {min(better)} to {max(better)} steps."
    first = next(steps for steps in better if better[steps])
    until = next((steps for steps in better if steps > first and not better[steps]), max(better) + 1)
    farthest = max(steps for steps in better if steps < until)
    tried = ", the farthest that was tried" if farthest == max(better) else ""
    if first == min(better):
        return f"it is better than {what} up to {farthest} steps ({farthest / rate:.1f} s){tried}."
    span = f"at {first} steps" if first == farthest else f"from {first} to {farthest} steps"
    return f"it is better than {what} {span} ({farthest / rate:.1f} s){tried}, and worse before{doubt}."
