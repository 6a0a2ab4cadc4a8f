"""The page of `gwm serve` in a browser: driven by hand, with the world behind it."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
from browsing import WHY_NOT, centre, chromium, hold, opened, pause, served, step_of, wait_for_step
from recordings import make_episode, make_schema

from gwm_sim import cli
from gwm_sim.data.episode_file import EpisodeFile, EpisodeWriter
from gwm_sim.data.schema import Command
from gwm_sim.training.config import PRESETS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.slow, pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))]

RED = "#handles button:has-text('red')"


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served("--twin", "--sessions", "64") as address:
        yield address


@pytest.fixture
def page(browser: "Browser", address: str) -> Iterator["Page"]:
    with opened(browser, address) as page:
        yield page


def picture(page: "Page", pane: str = "#learned") -> Any:
    """Bytes of a picture as it is shown."""
    return page.evaluate(
        "pane => { const c = document.querySelector(pane + ' canvas');"
        " return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data] }",
        pane,
    )


def drag(page: "Page", selector: str, by: tuple[float, float]) -> None:
    """Drag a handle so far."""
    x, y = centre(page, selector)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + by[0] / 2, y + by[1] / 2, steps=3)
    page.mouse.move(x + by[0], y + by[1], steps=3)
    page.mouse.up()


def do_the_plan(page: "Page") -> None:
    """Wait for a plan, do it, and wait until it is done."""
    page.locator("#plan-do:not([disabled])").wait_for()
    page.locator("#plan-do").click()
    page.locator("#play.playing").wait_for()
    page.locator("#play:not(.playing)").wait_for()


def test_keys_drive_the_arm_for_a_hundred_steps(page: "Page") -> None:
    before = picture(page)
    hold(page, ["ArrowDown", "d", "PageUp", "ArrowLeft", "w"], 100)
    assert step_of(page) >= 100
    assert picture(page) != before
    assert page.locator("#apart").inner_text().endswith("cm apart")


def test_a_dragged_cube_gets_there(page: "Page") -> None:
    before = centre(page, RED)
    drag(page, RED, (90, -60))
    page.locator("#badge").wait_for(state="visible")  # a film, before anything is done
    assert page.locator("#at-time").is_visible()
    do_the_plan(page)
    after = centre(page, RED)
    assert after[0] - before[0] == pytest.approx(90, abs=20)
    assert after[1] - before[1] == pytest.approx(-60, abs=20)
    assert page.locator("#badge").is_hidden()


def test_a_plan_that_is_discarded_changes_nothing(page: "Page") -> None:
    before = picture(page)
    drag(page, RED, (90, -60))
    page.locator("#plan-do:not([disabled])").wait_for()
    page.keyboard.press("Escape")
    page.locator("#plan").wait_for(state="hidden")
    assert step_of(page) == 0
    assert picture(page) == before


def test_the_hand_goes_where_keys_alone_say(page: "Page") -> None:
    hand = page.get_by_role("button", name="gripper: drag")
    hand.focus()
    before = centre(page, "#handles button:has-text('gripper')")
    for _ in range(6):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.locator("#plan-do:not([disabled])").wait_for()
    assert page.evaluate("document.activeElement.id") == "plan-do"
    page.keyboard.press("Enter")
    page.locator("#play.playing").wait_for()
    page.locator("#play:not(.playing)").wait_for()
    after = centre(page, "#handles button:has-text('gripper')")
    assert after[1] > before[1] + 30


def test_friction_is_edited(page: "Page") -> None:
    slider = page.get_by_label("friction")
    assert float(slider.input_value()) == pytest.approx(1.0, abs=0.01)
    slider.focus()
    page.keyboard.press("Home")
    page.wait_for_function("document.querySelector('output[for=property-friction]').textContent === '0.10'")
    hold(page, ["s"], 3)
    assert float(slider.input_value()) == pytest.approx(0.1, abs=0.01)


def test_an_earlier_moment_is_seen_and_branched_from(page: "Page") -> None:
    hold(page, ["d", "s"], 20)
    pause(page)
    present, last = picture(page), step_of(page)
    page.locator("#scrub").focus()
    page.keyboard.press("Home")
    assert step_of(page) == 0
    for _ in range(8):
        page.keyboard.press("ArrowRight")
    assert step_of(page) == 8
    past = picture(page)
    assert past != present
    page.get_by_role("button", name="Branch here").click()
    page.locator("#takes").get_by_role("button", name="Take 2").wait_for()
    assert step_of(page) == 8
    assert picture(page) == past
    hold(page, ["a"], 14)
    page.locator("#takes").get_by_role("button", name="Take 1").click()
    assert step_of(page) == last
    assert picture(page) == present


def test_what_is_recorded_is_an_episode_and_a_film(page: "Page", tmp_path: Path) -> None:
    hold(page, ["d"], 6)
    pause(page)
    first = step_of(page)
    page.get_by_role("button", name="Record").click()
    page.get_by_role("button", name="Stop").wait_for()
    hold(page, ["w"], first + 12)
    pause(page)
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Record").wait_for()
    last = step_of(page)
    with page.expect_download() as file:
        page.get_by_role("button", name="Episode").click()
    file.value.save_as(tmp_path / "session.hdf5")
    with EpisodeFile(tmp_path / "session.hdf5") as episodes:
        assert episodes.lengths == [last - first]
        actions = episodes.read(0).actions
        assert actions[:, 0].min() == -1
        assert abs(actions[:, 1]).max() == 0
    with page.expect_download() as file:
        page.get_by_role("button", name="Film").click()
    file.value.save_as(tmp_path / "session.mp4")
    with av.open(str(tmp_path / "session.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) == last - first + 1


def test_a_world_that_was_put_away_is_begun_anew(browser: "Browser") -> None:
    with served("--idle", "1") as address, opened(browser, address) as page:
        page.wait_for_timeout(4000)
        page.keyboard.press("p")
        page.get_by_text("This world was put away").wait_for()
        page.get_by_role("button", name="New start").click()
        page.get_by_text("Start 1").wait_for()
        hold(page, ["d"], 4)


def test_a_page_that_goes_leaves_no_session_behind(browser: "Browser") -> None:
    with served("--sessions", "2") as address, opened(browser, address) as page:
        for _ in range(4):
            page.reload()
            page.locator("#main").wait_for(state="visible")


def test_the_difference_is_shown_on_demand(page: "Page") -> None:
    hold(page, ["d"], 5)
    assert page.locator("#difference").is_hidden()
    page.locator("#with-difference").check()
    assert page.locator("#difference").is_visible()
    assert len(set(picture(page, "#difference"))) > 10
    page.locator("#with-twin").uncheck()
    page.locator("#twin").wait_for(state="hidden")
    assert page.locator("#difference").is_hidden()


def test_a_lost_connection_is_opened_again(browser: "Browser", address: str) -> None:
    sockets: list[Any] = []

    def between(socket: Any) -> None:
        sockets.append(socket)
        socket.connect_to_server()

    context = browser.new_context()
    page = context.new_page()
    page.route_web_socket("**/socket", between)
    page.goto(address)
    page.locator("#main").wait_for(state="visible")
    page.keyboard.press("p")
    wait_for_step(page, 5)
    sockets[-1].close()
    wait_for_step(page, step_of(page) + 10)
    assert len(sockets) == 2
    anew = {"error": {"code": "no_token", "message": "who are you?"}}
    page.route("**/v1/info", lambda route: route.fulfill(status=401, json=anew))
    sockets[-1].close()
    page.get_by_text("The server was started anew").wait_for()
    context.close()


NAMELESS = """
() => [...document.querySelectorAll("button, input, select, a[href], canvas, dialog")]
  .filter((e) => e.checkVisibility() && !e.ariaHidden)
  .filter((e) => !(e.ariaLabel || e.innerText?.trim() || e.labels?.length || e.getAttribute("aria-labelledby")))
  .map((e) => e.outerHTML)
"""
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.mark.parametrize("width", [1280, 640, 400])  # 640 is 1280 at a zoom of 200 %
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_fits_and_has_a_name(browser: "Browser", address: str, width: int, scheme: str) -> None:
    with opened(browser, address, width, 800, color_scheme=scheme) as page:
        hold(page, ["d"], 5)
        page.locator("#with-difference").check()
        page.locator("summary").click()
        page.keyboard.press("p")
        page.keyboard.press("b")
        page.locator("#takes").wait_for(state="visible")
        assert page.evaluate(OVERFLOW) == 0
        assert page.evaluate(NAMELESS) == []
        box = page.locator("#learned canvas").bounding_box()
        assert box is not None and box["width"] >= 110


def test_what_is_focused_is_seen(page: "Page") -> None:
    seen = []
    for _ in range(30):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                "(() => { const e = document.activeElement; const s = (x) => getComputedStyle(x).outlineStyle;"
                " return [e.tagName + '#' + e.id, s(e) !== 'none' || s(e.parentElement) !== 'none'] })()"
            )
        )
    reached = {name for name, _ in seen}
    assert {"BUTTON#play", "INPUT#scrub", "BUTTON#branch", "INPUT#property-friction", "SUMMARY#"} <= reached
    assert [name for name, visible in seen if not visible and name != "BODY#"] == []


def test_a_wrong_token_is_told(browser: "Browser", address: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(address.partition("#")[0] + "#token=wrong")
    page.locator("#status.trouble").wait_for()
    assert "token" in page.locator("#status").inner_text()
    assert page.locator("#main").is_hidden()
    context.close()


def test_what_a_model_lacks_is_not_shown(browser: "Browser", tiny_checkpoint: Path) -> None:
    with served("--model", str(tiny_checkpoint)) as address, opened(browser, address) as page:
        assert page.locator("#view-card").is_hidden()  # no twin was asked for
        assert page.locator("#twin").is_hidden()
        hold(page, ["d"], 5)


def write_joints(path: Path, count: int) -> Path:
    """A robot that is told angles of many joints, of which nothing else is known."""
    names = tuple(f"joint_{i}" for i in range(count))
    schema = dataclasses.replace(
        make_schema().without_objects(),
        telemetry_names=names,
        telemetry_units=("rad",) * count,
        telemetry_low=(-1.0,) * count,
        telemetry_high=(3.0,) * count,
        action_names=tuple(f"{name}.pos" for name in names),
        action_low=(-1.0,) * count,
        action_high=(3.0,) * count,
        commands=tuple(Command(telemetry=i, action=i, scale=1.0, measured=i, absolute=True) for i in range(count)),
        tasks=(),
        task=None,
        settings={"action_kinds": ["target"] * count, "action_units": ["rad"] * count},
    )
    writer, rng = EpisodeWriter(path, schema), np.random.default_rng(0)
    for k in range(12):
        episode = make_episode(k)
        angles = 1 + rng.normal(0, 0.05, (len(episode) + 1, count)).cumsum(0).astype(np.float32)
        writer.write(
            k,
            dataclasses.replace(
                episode, objects=None, labels={}, properties={}, telemetry=angles, actions=angles[1:].copy()
            ),
        )
    writer.merge()
    return path


def test_many_joints_have_names_units_and_keys_in_turns(
    browser: "Browser", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "tiny", dataclasses.replace(PRESETS["tiny"], frames_per_window=4))
    data = write_joints(tmp_path / "joints.hdf5", 12)
    options = ["--preset", "tiny", "--steps", "8", "--device", "cpu", "--name", "arm", "--no-track"]
    assert cli.main(["train", "--data", str(data), "--out", str(tmp_path / "arm"), *options]) == 0
    with served("--model", str(tmp_path / "arm")) as address, opened(browser, address, 400) as page:
        assert page.evaluate(OVERFLOW) == 0
        for lacking in ("#physics-card", "#view-card", "#task-row", "#reward-row", "#success-row", "#twin"):
            assert page.locator(lacking).is_hidden(), lacking
        assert page.locator("#handles button").count() == 0
        joints = [page.get_by_label(f"joint_{i}.pos rad") for i in (0, 9)]
        first, tenth = (float(joint.input_value()) for joint in joints)
        hold(page, ["q"], 6)
        page.locator("#learned.invents").wait_for()  # after eight updates it knows nothing, and says so
        assert page.locator("#doubt").inner_text().endswith("grey levels, inventing")
        page.keyboard.press("m")  # the same keys move the rest now
        hold(page, ["a"], 12)
        page.keyboard.press("p")
        assert float(joints[0].input_value()) > first + 0.1
        assert float(joints[1].input_value()) < tenth - 0.1
