"""Masks of robomimic go along, labels go by their own task, and files of one source that differ are told apart."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import layouts
import numpy as np
import pytest
from exporting import export
from importing import config, imported
from shared_data import ROOT, shared

from gwm_sim.commands.import_ import import_episodes
from gwm_sim.commands.label import LabelConfig, label_episodes
from gwm_sim.data.conversion.conversion import Conversion, Selection
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.formats import open_source
from gwm_sim.data.importers.source import Action, Column, Layout, Recording, Source, SourceOptions
from gwm_sim.data.inspection import summarize
from gwm_sim.errors import ConfigError, DataError

ROBOSUITE = ROOT / "tests/cases/robosuite"


def write(path: Path, masks: dict[str, Any], lengths: tuple[int, ...] = (6, 7, 8)) -> Path:
    layouts.write_robomimic(path, lengths)
    with h5py.File(path, "r+") as file:
        del file["mask"]
        for name, demos in masks.items():
            file[f"mask/{name}"] = demos
    return path


def names(*demos: int) -> Any:
    return np.array([f"demo_{k}" for k in demos], "S")


def change(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Change what a file says of its environment."""
    with h5py.File(path, "r+") as file:
        args = json.loads(file["data"].attrs["env_args"])
        edit(args)
        file["data"].attrs["env_args"] = json.dumps(args)


def masks_in(path: Path) -> dict[str, list[str]]:
    with h5py.File(path) as file:
        return {key: [name.decode() for name in file[f"mask/{key}"]] for key in file.get("mask", ())}


# --- masks ------------------------------------------------------------------------------------------------------------


def test_only_the_demos_of_the_mask_are_taken(tmp_path: Path) -> None:
    path = write(tmp_path / "a.hdf5", {"train": names(0, 2), "valid": names(1)})
    file, _ = imported("robomimic", path, mask="train")
    assert file.lengths == [6, 8]
    assert masks_in(file.path) == {"train": ["demo_0", "demo_1"]}  # numbered anew
    with pytest.raises(ConfigError, match="was made with other settings: .*settings.mask"):
        imported("robomimic", path)


def test_given_case_keeps_its_validation_demo_apart() -> None:
    case = shared("cases/robomimic-masks/ok.hdf5")
    with open_source("robomimic", case, SourceOptions(mask="valid")) as source:
        assert len(source) == 1 and source.recording(0).where.endswith("demo_1")
    with open_source("robomimic", case) as source:
        assert [source.recording(k).masks for k in range(3)] == [("train",), ("valid",), ("train",)]
        assert "train (2 demos), valid (1 demo), and all 3 demos are taken: --mask" in source.remarks[0]


def test_masks_go_into_the_file_and_out_again(tmp_path: Path) -> None:
    masks = {"20_percent": names(2), "empty": names(), "train": names(0, 2), "valid": names(1)}
    path = write(tmp_path / "a.hdf5", masks)
    file, episodes = imported("robomimic", path)
    assert [episode.masks for episode in episodes] == [("train",), ("valid",), ("20_percent", "train")]
    expected = {"20_percent": ["demo_2"], "train": ["demo_0", "demo_2"], "valid": ["demo_1"]}
    assert masks_in(file.path) == expected
    assert masks_in(export("robomimic", file.path, tmp_path / "back.hdf5")) == expected
    assert masks_in(export("robomimic", file.path, tmp_path / "short.hdf5", limit=2)) == {
        "train": ["demo_0"], "valid": ["demo_1"]
    }  # fmt: skip
    with pytest.raises(ConfigError, match=r"the episodes have train \(2 episodes\) and valid \(1 episodes\) already"):
        export("robomimic", file.path, tmp_path / "clash.hdf5", valid=0.4)
    with EpisodeFile(file.path) as own:
        assert summarize(own).masks == {"20_percent": 1, "train": 2, "valid": 1}


def test_other_masks_do_not_forbid_a_split(tmp_path: Path) -> None:
    file, _ = imported("robomimic", write(tmp_path / "a.hdf5", {"good": names(1, 2)}))
    found = masks_in(export("robomimic", file.path, tmp_path / "back.hdf5", valid=0.34))
    assert found["good"] == ["demo_1", "demo_2"]
    assert len(found["valid"]) == 1 and sorted(found["valid"] + found["train"]) == ["demo_0", "demo_1", "demo_2"]


def test_names_as_text_and_of_demos_that_do_not_exist(tmp_path: Path) -> None:
    text = np.array(["demo_0", "demo_7", "demo_0"], dtype=h5py.string_dtype())
    path = write(tmp_path / "a.hdf5", {"train": text, "none": names(8)})
    with open_source("robomimic", path, SourceOptions(mask="train")) as source:
        assert len(source) == 1
        assert "mask train of a.hdf5 names demos that do not exist: demo_7." in source.remarks
    with pytest.raises(ConfigError, match=r"--mask none: no episode has this mask; there are train"):
        open_source("robomimic", path, SourceOptions(mask="none"))
    with pytest.raises(ConfigError, match=r"--mask test: no episode has this mask; there are .*train \(1 demo\)"):
        open_source("robomimic", path, SourceOptions(mask="test"))


def test_files_without_masks_and_damaged_masks(tmp_path: Path) -> None:
    plain = write(tmp_path / "a.hdf5", {})
    with pytest.raises(ConfigError, match="no episode has this mask; there are none"):
        open_source("robomimic", plain, SourceOptions(mask="train"))
    with open_source("robomimic", plain) as source:
        assert not any("mask" in remark for remark in source.remarks)
    assert masks_in(imported("robomimic", plain)[0].path) == {}
    with pytest.raises(DataError, match="mask/train is int64 .*, expected a list of names of demos"):
        open_source("robomimic", write(tmp_path / "b.hdf5", {"train": np.arange(3)}))
    with pytest.raises(ConfigError, match="--mask means nothing for folder; it is for robomimic, libero"):
        open_source("folder", tmp_path, SourceOptions(mask="train"))


def test_masks_of_libero_and_of_several_files(tmp_path: Path) -> None:
    for name, masks in (("a", {"train": names(0, 1)}), ("b", {"train": names(2)}), ("c", {})):
        layouts.write_libero(tmp_path / f"suite/{name}.hdf5", (6, 7, 8))
        with h5py.File(tmp_path / f"suite/{name}.hdf5", "r+") as file:
            for key, demos in masks.items():
                file[f"mask/{key}"] = demos
    file, episodes = imported("libero", tmp_path / "suite", mask="train")
    assert file.lengths == [5, 6, 7]  # the first action of each has no picture before it
    assert {episode.masks for episode in episodes} == {("train",)}
    with open_source("libero", tmp_path / "suite", SourceOptions(mask="train")) as source:
        assert "c.hdf5 has no mask train: nothing is taken of it." in source.remarks


class Interrupted(Source):
    """One recording of twelve rows with a gap in time after the sixth."""

    def __init__(self) -> None:
        self.layout = Layout("arm", 10.0, (Column("x"),), (Action("dx", "", "delta"),), ("front",))

    def __len__(self) -> int:
        return 1

    def _recording(self, k: int) -> Recording:
        times = np.arange(12) / 10 + (np.arange(12) >= 6)
        numbers = np.zeros((12, 1), np.float32)
        return Recording("memory", numbers, numbers[1:], times, masks=("train", "good"))

    def _frames(self, k: int, camera: str, rows: Any) -> Iterator[Any]:
        return (np.zeros((8, 8, 3), np.uint8) for _ in rows)


def test_both_parts_of_a_recording_that_was_cut_belong_to_its_masks() -> None:
    conversion = Conversion(Interrupted(), Selection(size=8), "memory", lambda share, text: None)
    assert [conversion.episode(clip).masks for clip in conversion.clips.values()] == [("train", "good")] * 2


# --- tasks ------------------------------------------------------------------------------------------------------------


def test_labels_of_a_folder_of_tasks_go_by_their_own_name(tmp_path: Path) -> None:
    out = tmp_path / "a.hdf5"
    result = import_episodes(config("robomimic", ROBOSUITE, out))
    assert any("environment, Lift (2 demos), Stack (2 demos)" in note for note in result.notes)
    with EpisodeFile(out) as file:
        assert (file.schema.env_id, file.schema.tasks, file.schema.task) == ("Lift, Stack", ("lift", "stack"), "lift")
        assert [list(episode.labels) for episode in file] == [["lift"], ["lift"], ["stack"], ["stack"]]
        ends = [next(iter(episode.labels.values())).success.tolist() for episode in file]
    succeeds = [False] * 10 + [True] * 3
    assert ends == [succeeds, [False] * 13, succeeds, [False] * 13]
    with h5py.File(out) as stored:
        assert "labels/lift" not in stored["data/demo_2"] and "labels/stack" not in stored["data/demo_0"]
        assert [stored[f"data/demo_{k}/rewards"][:].sum() for k in range(4)] == [3, 0, 3, 0]
    shares = {task: (success.episodes, success.end) for task, success in result.summary.success.items()}
    assert shares == {"lift": (2, 0.5), "stack": (2, 0.5)}


def test_file_of_one_task_is_as_before(tmp_path: Path) -> None:
    for task in ("Lift", "Stack"):
        out = tmp_path / f"{task}.hdf5"
        result = import_episodes(config("robomimic", ROBOSUITE / f"{task}.hdf5", out))
        assert not any("differ" in note for note in result.notes)
        with EpisodeFile(out) as file:
            assert (file.schema.env_id, file.schema.tasks) == (task, (task.lower(),))
            assert all("labelled" not in file._open(out)[f"data/demo_{k}"].attrs for k in range(2))


def test_recordings_of_robosuite_1_5_name_what_a_panda_is_told() -> None:
    assert sum(path.stat().st_size for path in ROBOSUITE.iterdir()) <= 200_000
    with open_source("robomimic", ROBOSUITE) as source:
        layout = source.layout
        pictures = [np.stack(list(source.frames(k, "agentview", range(13)))).astype(int) for k in range(4)]
    assert [action.name for action in layout.actions] == ["dx", "dy", "dz", "dax", "day", "daz", "gripper"]
    assert [action.kind for action in layout.actions] == ["delta"] * 6 + ["target"]
    assert {(action.low, action.high) for action in layout.actions} == {(-1.0, 1.0)}
    assert layout.rate == 20
    top, bottom = (pictures[1][0, rows].mean() for rows in (slice(0, 6), slice(-6, None)))
    assert bottom > top + 50  # the bright table lies below
    assert max(np.abs(np.diff(shown, axis=0)).mean(axis=(1, 2, 3)).max() for shown in pictures) < 10


def test_labels_of_mixed_tasks_survive_every_export(tmp_path: Path) -> None:
    import_episodes(config("robomimic", ROBOSUITE, tmp_path / "a.hdf5", size=64))
    back = tmp_path / "back.hdf5"
    import_episodes(config("robomimic", export("robomimic", tmp_path / "a.hdf5", tmp_path / "r.hdf5"), back, size=64))
    with EpisodeFile(tmp_path / "a.hdf5") as ours, EpisodeFile(back) as theirs:
        assert theirs.labelled == ours.labelled
        for own, other in zip(ours, theirs, strict=True):
            for task, labels in own.labels.items():
                np.testing.assert_array_equal(other.labels[task].success, labels.success)
    with h5py.File(export("minari", tmp_path / "a.hdf5", tmp_path / "m-v0") / "data/main_data.hdf5") as file:
        assert [list(file[f"episode_{k}/infos/labels"]) for k in (0, 2)] == [["lift"], ["stack"]]
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = export("lerobot", tmp_path / "a.hdf5", tmp_path / "l")
    records = parquet.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pydict()
    assert records["tasks"] == [["lift"], ["lift"], ["stack"], ["stack"]]
    rows = parquet.read_table(folder / "data/chunk-000/file-000.parquet").to_pydict()
    assert [rows["task_index"][13 * k] for k in range(4)] == [0, 0, 1, 1]
    assert sum(rows["next.success"]) == 8  # six, and those of the last rows again


def test_what_is_labelled_by_hand_joins_what_is_known(tmp_path: Path) -> None:
    import_episodes(config("robomimic", ROBOSUITE, tmp_path / "a.hdf5"))
    label_episodes(LabelConfig(tmp_path / "a.hdf5", tmp_path / "b.hdf5", success=("1@3",), task="near"))
    with EpisodeFile(tmp_path / "b.hdf5") as file:
        assert file.labelled == [("lift", "near")] * 2 + [("stack", "near")] * 2
        assert file[1].labels["near"].success.sum() == 10 and not file[2].labels["near"].success.any()
        file.check()
        assert file.digest() != EpisodeFile(tmp_path / "a.hdf5").digest()


def test_a_label_that_should_be_there_is_missed(tmp_path: Path) -> None:
    import_episodes(config("robomimic", ROBOSUITE, tmp_path / "a.hdf5"))
    for name, value, message in (
        ("labelled", None, "labels/stack/reward is missing"),
        ("labelled", "[1]", "damaged labelled: expected a list of names"),
        ("labelled", "[", "damaged labelled"),
        ("labelled", '["fly"]', "has labels for 'fly', which the schema lacks"),
        ("masks", "{}", "damaged masks"),
    ):
        damaged = Path(shutil.copy(tmp_path / "a.hdf5", tmp_path / "damaged.hdf5"))
        with h5py.File(damaged, "r+") as file:
            del file["data/demo_0"].attrs[name]
            if value is not None:
                file["data/demo_0"].attrs[name] = value
        with pytest.raises(DataError, match=message):
            EpisodeFile(damaged)


def test_tasks_of_libero_are_told_by_their_instruction(tmp_path: Path) -> None:
    words = {"a": "Close the top drawer.", "b": list("open the stove")}
    for name, instruction in words.items():
        layouts.write_libero(tmp_path / f"suite/{name}.hdf5", (6, 7))
        with h5py.File(tmp_path / f"suite/{name}.hdf5", "r+") as file:
            file["data"].attrs["problem_info"] = json.dumps({"language_instruction": instruction})
    file, episodes = imported("libero", tmp_path / "suite")
    assert file.schema.tasks == ("close-the-top-drawer", "open-the-stove")
    assert file.schema.env_id == "Libero_Kitchen"
    assert [list(episode.labels) for episode in episodes] == [[task] for task in file.schema.tasks for _ in range(2)]
    assert episodes[3].instruction == "open the stove"


def test_one_task_without_rewards_does_not_cost_the_other_its_labels(tmp_path: Path) -> None:
    for path in ROBOSUITE.glob("*.hdf5"):
        shutil.copy(path, tmp_path)
    with h5py.File(tmp_path / "Stack.hdf5", "r+") as file:
        del file["data/demo_0/rewards"]
    result = import_episodes(config("robomimic", tmp_path, tmp_path.parent / "a.hdf5"))
    assert any("rewards of stack from 0 to 0 were left out" in note for note in result.notes)
    with EpisodeFile(tmp_path.parent / "a.hdf5") as file:
        assert file.schema.tasks == ("lift",)
        assert file.labelled == [("lift",), ("lift",), (), ()]
        assert export("lerobot", file.path, tmp_path.parent / "l", codec="h264").is_dir()


# --- files that differ ------------------------------------------------------------------------------------------------


def two_files(folder: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    for name in "ab":
        layouts.write_robomimic(folder / f"{name}.hdf5", (6,))
    change(folder / "b.hdf5", edit)
    return folder


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda args: args["env_kwargs"].update(control_freq=10), r"a\.hdf5 was recorded at 20 Hz, .*b\.hdf5 at 10 Hz"),
        (lambda args: args["env_kwargs"].pop("control_freq"), r"b\.hdf5 at a rate that it does not say"),
        (
            lambda args: args["env_kwargs"]["controller_configs"].update(control_delta=False),
            r"a\.hdf5 has actions dx \(delta \[-1\.0, 1\.0\]\).*b\.hdf5 has x \(target\)",
        ),
        (
            lambda args: args["env_kwargs"]["controller_configs"].update(type="JOINT_VELOCITY"),
            r"b\.hdf5 has action_0 \(unknown kind\)",  # seven columns are one too few
        ),
    ],
)
def test_files_that_no_schema_fits_together_are_refused(
    edit: Callable[[dict[str, Any]], None], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        open_source("robomimic", two_files(tmp_path / "both", edit))


def test_a_link_among_the_files_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere.hdf5", {})
    write(tmp_path / "all/a.hdf5", {})
    (tmp_path / "all/b.hdf5").symlink_to(tmp_path / "elsewhere.hdf5")
    with pytest.raises(DataError, match=r"b\.hdf5 is a symbolic link, which is not followed"):
        open_source("robomimic", tmp_path / "all")


def test_other_differences_are_named(tmp_path: Path) -> None:
    def edit(args: dict[str, Any]) -> None:
        args["env_version"] = "1.4.1"
        args["env_kwargs"]["robots"] = ["Sawyer"]

    folder = two_files(tmp_path / "both", edit)
    with h5py.File(folder / "b.hdf5", "r+") as file:
        for view in ("obs", "next_obs"):
            group = file[f"data/demo_0/{view}"]
            small = group["agentview_image"][:, ::2, ::2]
            del group["agentview_image"]
            group["agentview_image"] = small
    notes = import_episodes(config("robomimic", folder, tmp_path / "a.hdf5")).notes
    assert "the files differ in their robot, 'unsaid' (1 demo), ['Sawyer'] (1 demo)." in notes
    assert "the files differ in their version, 'unsaid' (1 demo), '1.4.1' (1 demo)." in notes
    assert "camera agentview has pictures of 64x80 and 32x40 pixels: all become one size (episode 1)." in notes


def test_controllers_that_do_not_fit_are_named(tmp_path: Path) -> None:
    layouts.write_robomimic(tmp_path / "a.hdf5", (6,))
    change(tmp_path / "a.hdf5", lambda args: args["env_kwargs"]["controller_configs"].update(type="OSC_POSITION"))
    with open_source("robomimic", tmp_path / "a.hdf5") as source:
        assert [action.name for action in source.layout.actions] == [f"action_{i}" for i in range(7)]
        (remark,) = (remark for remark in source.remarks if "columns" in remark)
    assert remark.startswith(
        "the actions have 7 columns, but the controllers of env_args take others: right OSC_POSITI"
    )
    assert remark.endswith("they are numbered, and only --actions can say how they add up.")


def test_extra_cameras_and_tasks_of_other_layouts_are_named(tmp_path: Path) -> None:
    layouts.write_roboturk(tmp_path / "turk")
    first = tmp_path / "turk/SawyerTowerCreation_aligned_dataset.hdf5"
    shutil.copy(first, tmp_path / "turk/SawyerLaundryLayout_aligned_dataset.hdf5")
    with h5py.File(tmp_path / "turk/SawyerLaundryLayout_aligned_dataset.hdf5", "r+") as file:
        del file["data/user_0/demo_1"].attrs["top_rgb_video_file"]
    notes = import_episodes(config("roboturk", tmp_path / "turk", tmp_path / "a.hdf5")).notes
    assert any("several tasks: SawyerLaundryLayout_aligned_dataset (2 demos), SawyerTower" in note for note in notes)
    assert any(note.startswith("camera top, which the first demo lacks, is left out") for note in notes)
