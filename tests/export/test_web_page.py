"""A world as a page, in a browser: it is driven, planned in, branched and saved, and nobody serves it."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
from browsing import CHROMIUM, WHY_NOT, centre, chromium, hold, hosted, opened, pause, step_of
from web_page import OPEN, STEP, WebPageConfig, agreement

from gwm_sim import cli
from gwm_sim.commands.export import ExportConfig, export_model
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.errors import ConfigError
from gwm_sim.export import runtime
from gwm_sim.model.world_model import WorldModel

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.slow, pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))]

RED = "#handles button:has-text('red')"
SOFTWARE_GPU = "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """gwm-mini as a page."""
    package = tmp_path_factory.mktemp("runtime") / "runtime.tgz"
    try:
        package.write_bytes(runtime.fetch())
    except ConfigError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("mini") / "page"
    written = export_model(ExportConfig("web", Path("gwm-mini"), folder, runtime=package))
    assert written["starts"] == 16
    assert written["transferred"] < 20e6 and sum(written["files"].values()) < 50e6
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: "Browser", folder: Path) -> Iterator["Page"]:
    with hosted(folder) as address, opened(browser, address) as page:
        yield page


def test_keys_drive_the_arm_for_a_hundred_steps(page: "Page") -> None:
    hold(page, ["ArrowDown", "d", "PageUp", "ArrowLeft", "w"], 100)
    pause(page)
    assert step_of(page) >= 100
    page.locator("summary").click()
    assert "ee_x" in page.locator("#telemetry").inner_text()


def test_a_dragged_cube_gets_there(page: "Page") -> None:
    before = x, y = centre(page, RED)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 45, y - 30, steps=3)
    page.mouse.move(x + 90, y - 60, steps=3)
    page.mouse.up()
    page.locator("#plan-do:not([disabled])").wait_for()
    assert page.locator("#badge").is_visible() and step_of(page) > 0  # a film, before anything is done
    page.locator("#plan-do").click()
    page.locator("#play.playing").wait_for()
    page.locator("#play:not(.playing)").wait_for()
    after = centre(page, RED)
    assert after[0] - before[0] == pytest.approx(90, abs=20)
    assert after[1] - before[1] == pytest.approx(-60, abs=20)


def test_friction_is_edited_and_a_branch_has_a_past_of_its_own(page: "Page") -> None:
    slider = page.get_by_label("friction")
    slider.focus()
    page.keyboard.press("Home")
    page.wait_for_function("document.querySelector('output[for=property-friction]').textContent === '0.10'")
    hold(page, ["d"], 12)
    pause(page)
    assert float(slider.input_value()) == pytest.approx(0.1, abs=0.01)
    page.locator("#scrub").focus()
    page.keyboard.press("Home")
    page.keyboard.press("b")
    page.locator("#takes").wait_for(state="visible")
    assert step_of(page) == 0
    hold(page, ["d"], 5)
    pause(page)
    assert page.locator("#takes button").count() == 2


def test_what_was_recorded_is_an_episode_to_import_and_a_film(page: "Page", tmp_path: Path) -> None:
    hold(page, ["d"], 5)
    pause(page)
    page.keyboard.press("z")
    first = step_of(page)
    hold(page, ["ArrowDown"], 10)
    pause(page)
    page.keyboard.press("z")
    last = step_of(page)
    saved = {}
    for what in ("episode", "film"):
        with page.expect_download() as download:
            page.locator(f"#save-{what}").click()
        saved[what] = tmp_path / download.value.suggested_filename
        download.value.save_as(saved[what])
    with av.open(str(saved["film"])) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    with zipfile.ZipFile(saved["episode"]) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path)
    source, out = str(tmp_path / "gwm-mini"), tmp_path / "own.hdf5"
    assert cli.main(["import", "folder", source, "--out", str(out)]) == 0
    with EpisodeFile(out) as file:
        (episode,) = (file.read(k) for k in range(len(file.lengths)))
    assert len(episode) == last - first and len(frames) == last - first + 1
    np.testing.assert_array_equal(episode.actions[0], [1, 0, 0, 0])
    for seen, filmed in zip(episode.frames["front"], frames, strict=True):
        small = filmed.reshape(64, 8, 64, 8, 3).mean(axis=(1, 3))
        assert 10 * np.log10(255**2 / np.square(small - seen).mean()) > 35  # [dB], after its compression


def test_a_narrow_window_shows_everything(browser: "Browser", folder: Path) -> None:
    with hosted(folder) as address, opened(browser, address, width=400) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        page.get_by_role("button", name="Film").wait_for()


def test_a_world_in_the_browser_goes_the_way_of_the_native_one(browser: "Browser", folder: Path) -> None:
    config = WebPageConfig(starts=4, steps=10)
    found = agreement(browser, folder, config, WorldModel.load("gwm-mini", "cpu"))
    assert [rows["10"]["agree_percent"] for rows in found["policies"].values()] == [100, 100]


def test_a_gpu_goes_the_way_of_the_processor(browser: "Browser", folder: Path) -> None:
    made = {}
    with (
        hosted(folder) as address,
        browser.browser_type.launch(executable_path=CHROMIUM, args=["--no-sandbox", *SOFTWARE_GPU]) as equipped,
    ):
        for backend in ("webgpu", "wasm"):
            page = equipped.new_page()
            page.goto(f"{address}world/world.json?backend={backend}")
            if page.evaluate(OPEN)["backend"] != backend:
                pytest.skip("this browser has no software adapter for WebGPU")
            page.evaluate("async () => void (globalThis.run = await world.begin({ seed: 1 }))")
            made[backend] = [page.evaluate(STEP, [0.5, -0.5, 0.2, 1.0]) for _ in range(3)]
            page.close()
    for gpu, processor in zip(made["webgpu"], made["wasm"], strict=True):
        np.testing.assert_allclose(gpu["telemetry"], processor["telemetry"], atol=1e-5)
        pixels = [np.frombuffer(x["pictures"][0].encode("latin-1"), np.uint8).astype(int) for x in (gpu, processor)]
        assert np.abs(pixels[0] - pixels[1]).max() <= 3
