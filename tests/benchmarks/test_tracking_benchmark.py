"""`benchmarks/tracking.py`: the edge of every definition on made-up sightings, recordings, the sheet and the tables."""

import json
from collections.abc import Sequence
from pathlib import Path
from subprocess import CalledProcessError, CompletedProcess
from typing import Any

import numpy as np
import pytest
import tracking
from numpy.typing import NDArray
from tracked import tracked_episode, write_tracked
from worlds import blocks, by_eye, metres, scoring, truth
from worlds.blocks import LOOKS, Look
from worlds.scoring import Compared, assigned, compare, false_claims, score, switches
from worlds.tracking_table import tracking_text
from worlds.truth import Places

from gwm_sim.data.episode_file import EpisodeFile, parts_folder
from gwm_sim.errors import ConfigError, DataError

Array = NDArray[Any]

LEFT, RIGHT = (10.0, 10.0), (30.0, 10.0)
SIZE = 0.05
HALF_WIDTH = 4.0


def sightings(*frames: Sequence[tuple[float, float]], confidence: float = 1.0) -> Array:
    """Places of M things in T frames as sightings, (T, M, 6)."""
    seen = np.zeros((len(frames), len(frames[0]), 6))
    seen[..., :2], seen[..., 5] = frames, confidence
    return seen


def places(frames: int, visible: float = 1.0, middles: Sequence[tuple[float, float]] = (LEFT, RIGHT)) -> Places:
    return Places(np.tile(np.array(middles), (frames, 1, 1)), np.full((frames, len(middles)), visible))


def shifted(px: float, visible: float = 1.0, confidence: float = 1.0) -> Compared:
    """One frame in which the left thing is off by so much, and the right one is not."""
    seen = sightings([(LEFT[0], LEFT[1] + px), RIGHT], confidence=confidence)
    return compare(seen, places(1, visible), (0, 1))


@pytest.mark.parametrize(
    ("px", "recalled"), [(2.0, (1.0, 1.0)), (2.01, (0.5, 1.0)), (3.0, (0.5, 1.0)), (3.01, (0.5,) * 2)]
)
def test_recall_counts_what_is_near(px: float, recalled: tuple[float, float]) -> None:
    told = score([shifted(px)], HALF_WIDTH)
    assert (told["recall_2px"], told["recall_3px"]) == recalled
    assert told["recall_2px_interval"][0] < recalled[0] <= told["recall_2px_interval"][1]


def test_a_place_that_is_not_claimed_is_not_recalled() -> None:
    told = score([shifted(0, confidence=0.0)], HALF_WIDTH)
    assert told["recall_2px"] == 0 and told["in_sight"] == 2
    assert told["error_px_median"] is None and told["false_claims_per_1000"] == 0


@pytest.mark.parametrize(("visible", "in_sight", "partly"), [(0.5, 2, 0), (0.49, 0, 2), (0.001, 0, 2), (0.0, 0, 0)])
def test_half_of_the_silhouette_is_in_sight(visible: float, in_sight: int, partly: int) -> None:
    told = score([shifted(2.5, visible)], HALF_WIDTH)
    assert (told["in_sight"], told["partly"]) == (in_sight, partly)
    assert told["partly_3px"] == (1.0 if partly else None)
    assert (told["recall_2px"] is None) == (in_sight == 0)


@pytest.mark.parametrize(
    ("px", "visible", "confidence", "count"),
    [(4.0, 1.0, 0.01, 0), (4.01, 1.0, 0.01, 1), (4.01, 1.0, 0.0, 0), (0.0, 0.0, 1.0, 2), (0.0, 0.001, 1.0, 0)],
)
def test_a_claim_elsewhere_or_of_what_is_hidden_is_false(
    px: float, visible: float, confidence: float, count: int
) -> None:
    assert false_claims(shifted(px, visible, confidence), HALF_WIDTH) == count


def test_every_claim_of_a_thing_that_is_none_is_false() -> None:
    seen = sightings([RIGHT, LEFT, (50.0, 50.0)], [RIGHT, LEFT, (50.0, 50.0)])
    seen[1, 2, 5] = 0
    (order,) = assigned([seen], [places(2)], alike=False)
    compared = compare(seen, places(2), order)
    assert order == (1, 0)
    assert false_claims(compared, HALF_WIDTH) == 1
    assert score([compared], HALF_WIDTH)["false_claims_per_1000"] == 500


def test_a_thing_that_was_not_found_is_missed_and_claims_nothing() -> None:
    seen = sightings([RIGHT])
    (order,) = assigned([seen], [places(1)], alike=False)
    told = score([compare(seen, places(1), order)], HALF_WIDTH)
    assert (
        told["recall_3px"] == 0.5
        and told["found_things"] == 1
        and told["false_claims_per_1000"] == 0
        and told["error_px_p90"] == 0
    )


SORTED, TRADED, TOGETHER = [LEFT, RIGHT], [RIGHT, LEFT], [(20.0, 10.0), (20.0, 10.0)]


@pytest.mark.parametrize(
    ("course", "count", "count_alike"),
    [
        ([SORTED, SORTED], 0, 0),
        ([SORTED, TRADED, TRADED], 1, 1),
        ([SORTED, TRADED, SORTED], 2, 2),
        ([TRADED, TRADED], 1, 0),  # of things that look alike one may begin either way
        ([TRADED, SORTED], 2, 1),
        ([SORTED, TOGETHER, SORTED], 0, 0),  # a frame that says nothing is no change
        ([SORTED, TOGETHER, TRADED], 1, 1),
        ([TOGETHER], 0, 0),
    ],
)
def test_switches_are_counted_at_changes(course: list[Any], count: int, count_alike: int) -> None:
    compared = compare(sightings(*course), places(len(course)), (0, 1))
    assert (switches(compared), switches(compared, alike=True)) == (count, count_alike)


@pytest.mark.parametrize(("lead", "count"), [(1.0, 0), (1.01, 1)])
def test_things_are_traded_where_each_is_nearer_to_the_other_by_a_pixel(lead: float, count: int) -> None:
    middle = (LEFT[0] + RIGHT[0]) / 2
    seen = sightings([(middle + lead / 2, 10.0), (middle - lead / 2, 10.0)])
    assert switches(compare(seen, places(1), (0, 1))) == count


def test_one_thing_that_goes_astray_or_is_not_claimed_trades_with_none() -> None:
    astray = compare(sightings(SORTED, [RIGHT, RIGHT]), places(2), (0, 1))
    seen = sightings(SORTED, TRADED)
    seen[1, 0, 5] = 0
    assert switches(astray) == switches(compare(seen, places(2), (0, 1))) == 0


def test_who_is_who_is_chosen_once_unless_things_look_alike() -> None:
    episodes = [sightings(*[SORTED] * 3), sightings(*[TRADED] * 2)]
    true = [places(3), places(2)]
    assert assigned(episodes, true, alike=False) == [(0, 1), (0, 1)]
    assert assigned(episodes, true, alike=True) == [(0, 1), (1, 0)]


def pose(x: float, z: float, quaternion: tuple[float, ...] = (1, 0, 0, 0)) -> list[float]:
    return [x, 0, z, *quaternion]


def situation(*poses: list[float], grasped: bool = False) -> list[str]:
    numbers = metres.situations(np.array([poses]), np.full((1, len(poses)), grasped), SIZE)
    return [metres.SITUATIONS[number] for number in numbers[0]]


FAR = pose(1.0, 0.025)


@pytest.mark.parametrize(("aside", "above", "what"), [
    (0.0, 0.05, "stacked"), (0.0249, 0.05, "stacked"), (0.0251, 0.05, "elsewhere"),
    (0.0, 0.0649, "stacked"), (0.0, 0.0651, "elsewhere"), (0.0, 0.0351, "stacked"), (0.0, 0.0349, "elsewhere"),
])  # fmt: skip
def test_a_thing_is_stacked_where_it_rests_on_another(aside: float, above: float, what: str) -> None:
    assert situation(pose(aside, 0.025 + above), pose(0, 0.025)) == [what, "table"]


def test_what_is_in_the_hand_is_not_stacked() -> None:
    assert situation(pose(0, 0.075), pose(0, 0.025), grasped=True) == ["hand", "hand"]


@pytest.mark.parametrize(("gap", "what"), [(0.0049, "table"), (0.0051, "elsewhere")])
def test_a_thing_is_on_the_table_by_its_lowest_corner(gap: float, what: str) -> None:
    on_edge = (np.cos(np.pi / 8), np.sin(np.pi / 8), 0.0, 0.0)  # turned by 45 degrees about x
    assert situation(pose(0, 0.025 + gap), FAR)[0] == what
    assert situation(pose(0, np.sqrt(2) * 0.025 + gap, on_edge), FAR)[0] == what


def test_errors_in_metres_are_told_by_situation() -> None:
    error = np.array([0.01, 0.03, 0.0201, 0.0199, 0.5, 0.7])
    what = np.array(
        [metres.SITUATIONS.index(name) for name in ("table", "hand", "stacked", "stacked", "table", "hand")]
    )
    told = metres.score(error, what, np.array([1, 1, 1, 1, 0, 0], bool), np.array([1, 1, 1, 1, 1, 0], bool))
    assert told["settled"] == {"n": 2, "median_cm": 2.0, "p90_cm": pytest.approx(2.8), "wrong": 0.5}
    assert told["stacked"]["wrong"] == 0.5
    assert told["elsewhere"] == {"n": 0}
    assert told["partly"]["n"] == 1 and told["partly"]["median_cm"] == 50


def test_a_worn_picture_dims_to_the_end_or_from_the_beginning() -> None:
    frames = np.full((50, 64, 64, 3), (200, 100, 50), np.uint8)
    for seed, dark, light in ((1000, -1, 0), (1001, 0, -1)):
        drawn = blocks.worn(frames, seed)
        assert drawn.dtype == np.uint8 and drawn.shape == frames.shape
        np.testing.assert_allclose(drawn[light].mean(axis=(0, 1)), (200, 100, 50), atol=2)
        np.testing.assert_allclose(drawn[dark].mean(axis=(0, 1)), (140, 70, 35), atol=2)
        np.testing.assert_array_equal(drawn, blocks.worn(frames, seed))


def test_a_motion_is_drawn_in_another_look(tiny_data: Path) -> None:
    with EpisodeFile(tiny_data) as file:
        episode, rendering = file.read(0), file.schema.env_kwargs["rendering"]
    frames = episode.frames["front"].astype(int)
    blue = (frames[..., 2] > 100) & (frames[..., 0] < 60)
    same, reds = (
        blocks.artist(Look("", rendering, paint=paint))(episode).astype(int)
        for paint in ({"red": blocks.RED}, LOOKS["reds"].paint)
    )
    assert (np.abs(same - frames).max(axis=-1) > 8).mean() < 0.005
    assert blue.sum() > 100
    assert (reds[blue][:, 0] > reds[blue][:, 2]).mean() > 0.95
    np.testing.assert_array_equal(reds[:, :8], same[:, :8])  # where no cube is


def test_what_is_in_sight_is_written_as_recorders_do(tiny_data: Path, tmp_path: Path) -> None:
    blocks.write_truth(tiny_data, tmp_path / "truth.npz")
    written = list(truth.recorded(tmp_path / "truth.npz"))
    by_colour = list(truth.of_blocks(tiny_data))
    assert len(written) == len(by_colour)
    for told, other in zip(written, by_colour, strict=True):
        np.testing.assert_allclose(told.centres, other.centres)
        assert np.abs(told.visible - other.visible).mean() < 0.2  # the other one counts pixels of 64 by 64
        assert (told.visible >= 0).all() and (told.visible <= 1).all()


def test_frames_of_the_sheet_are_drawn_by_their_seed(tmp_path: Path) -> None:
    path = write_tracked(tmp_path / "tracked.hdf5", range(4))
    drawn = by_eye.moments(path, 0, 7)
    assert len({tuple(moment) for moment in drawn}) == 7 and drawn == sorted(drawn)
    assert drawn == by_eye.moments(path, 0, 7) != by_eye.moments(path, 1, 7)
    by_eye.write_sheet(path, "front", drawn, tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_a_box_holds_the_thing_and_a_guess_is_dotted() -> None:
    boxes = []
    for confidence in (1.0, 0.0):
        picture = np.zeros((64 * by_eye.SCALE, 64 * by_eye.SCALE, 3), np.uint8)
        by_eye._draw_box(picture, None, np.array([20.0, 30.0, 8.0, 6.0, 1.0, confidence]))
        boxes.append(picture.any(axis=-1))
    rows, columns = np.nonzero(boxes[0])
    assert rows.min() <= 27 * by_eye.SCALE and rows.max() >= 33 * by_eye.SCALE
    assert columns.min() <= 16 * by_eye.SCALE and columns.max() >= 24 * by_eye.SCALE
    assert 0 < boxes[1].sum() < boxes[0].sum()


COUNT: dict[str, Any] = {"tracker": "ab", "frames": 3, "right": 2, "wrong": {"1": "no box"}, "by": "me", "on": "today"}


def test_a_count_is_of_the_tracker_that_the_sheet_shows(tmp_path: Path) -> None:
    path = tmp_path / "count.json"
    assert by_eye.counted("ab", path) is None
    path.write_text(json.dumps(COUNT), encoding="utf-8")
    assert by_eye.counted("ab", path) == COUNT
    with pytest.raises(DataError, match="look again"):
        by_eye.counted("cd", path)
    path.write_text(json.dumps(COUNT | {"right": 3}), encoding="utf-8")
    with pytest.raises(DataError, match="3 right and 1 wrong are not 3 frames"):
        by_eye.counted("ab", path)


def row(**more: Any) -> dict[str, Any]:
    known = {"episodes": 60, "seed": 1000}
    return {"title": "plain rendering", "training": known, "tests": known | {"seed": 300000}} | more


def test_the_tables_show_what_was_measured() -> None:
    took = {"found": 2, "frames": 6060, "seconds_per_1000_frames": 1.74, "seconds_per_1000_frames_whole": 2.5}
    pixels = score([shifted(2.5)], HALF_WIDTH)
    placed = {"tests": {"settled": {"n": 1000, "median_cm": 0.25, "p90_cm": 1, "wrong": 0.05}, "stacked": {"n": 0}}}
    report = {"plain": row(tracking=took, pixels=pixels, metres=placed), "reds": row(tracking={"refused": "no."})}
    report |= {"grey": row(tracking=took | {"found": 3}, pixels=pixels | {"found_things": 1})}
    text = tracking_text(report | {"sheet": {"moments": [[0, 0]] * 3, "title": "G1", "seed": 0}}, COUNT)
    assert "| plain rendering | 2 of 2 | 50.0 | 9.5 to 90.5 | 100.0 | 2 | 1.25 |" in text
    assert "| plain rendering | on the table and in the hand | 1,000 | 0.25 | 1.00 | 5.0 |" in text
    assert "| plain rendering | stacked | 0 |  |  |  |" in text
    assert (
        "| plain rendering | none |" in text
        and "- plain rendering: no." in text
        and "| 1 of 2, 2 more |" in text
        and "1.7 s per 1,000 frames of 6,060" in text
    )
    assert "**2 of 3** right by eye (me, today); wrong: 1 no box." in text
    assert "60 training episodes from seed 1000 and 60 test episodes from seed 300000" in text


def test_a_sheet_that_nobody_looked_at_says_so() -> None:
    assert "nobody has counted yet" in tracking_text({"sheet": {"moments": [], "title": "G1", "seed": 0}}, None)


def test_tracking_is_done_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracked = write_tracked(tmp_path / "tracked.hdf5", range(1))
    parts_folder(tracked).mkdir()
    (parts_folder(tracked) / "0.hdf5").touch()

    def run(words: list[str], **options: Any) -> CompletedProcess[str]:
        assert not tracked.exists() and not parts_folder(tracked).exists()
        assert options["env"]["OMP_NUM_THREADS"] == "1"
        told = {"things": [{}, {}], "tracker": "ab", "frames": 10, "seconds_per_1000_frames": 1.0}
        told |= {"object_frame": "image", "places": "none"}
        Path(words[words.index("--json") + 1]).write_text(json.dumps(told), encoding="utf-8")
        return CompletedProcess(words, 0, stderr="")

    monkeypatch.setattr("tracking.subprocess.run", run)
    told = tracking.find(tmp_path / "raw.hdf5", tracked, "front")
    assert told["found"] == 2 and told["seconds_per_1000_frames_whole"] > 0


def test_a_refusal_is_a_result_and_a_fault_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ends(code: int, words: str) -> None:
        done = CompletedProcess(["gwm"], code, stderr=words)
        monkeypatch.setattr("tracking.subprocess.run", lambda *given, **options: done)

    ends(2, f"note\ngwm: {tmp_path / 'raw.hdf5'}: nothing moves.\n")
    assert tracking.find(tmp_path / "raw.hdf5", tmp_path / "out.hdf5", "front") == {"refused": "nothing moves."}
    ends(1, "Traceback: a fault")
    with pytest.raises(CalledProcessError):
        tracking.find(tmp_path / "raw.hdf5", tmp_path / "out.hdf5", "front")


def test_results_of_other_rows_stay(tmp_path: Path) -> None:
    config = tracking.TrackingConfig(json=tmp_path / "tracking.json")
    tracking.store(config, plain={"title": "a"})
    tracking.store(config, rich={"title": "b"})
    report = json.loads(config.json.read_text(encoding="utf-8"))
    assert {name: part["title"] for name, part in report.items()} == {"plain": "a", "rich": "b"}
    assert "versions" in report["plain"]


def test_a_row_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ConfigError, match="--rows knows plain, rich, reds, grey, worn, got mars"):
        tracking.TrackingConfig(rows=("mars",))


def test_sightings_are_read_from_the_file(tmp_path: Path) -> None:
    path = write_tracked(tmp_path / "tracked.hdf5", range(2))
    np.testing.assert_array_equal(tracking.sightings(path)[1], tracked_episode(1).sightings["front"])
    assert scoring.IN_SIGHT == 0.5
