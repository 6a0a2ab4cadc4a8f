"""The page on a static host, with a world that runs in the browser: nothing in it needs a server but `served.js`."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import WHY_NOT, chromium, hold, hosted, opened, pause, step_of

from gwm_sim.policies.serving.api.app import PAGE

pytestmark = [pytest.mark.slow, pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))]

WORLD = """
// A grey picture that gets lighter where the one action is above zero.
const about = {
  model: "lamp", rate: 20, cameras: [{ name: "front", width: 16, height: 8 }],
  actions: [{ name: "brightness", unit: "lx/s", low: -2, high: 2, target: null, switched: false }],
  telemetry: [{ name: "light", unit: "lx", low: 0, high: 255 }], objects: [], object_frame: "metres", effector: [],
  uncertainty: { unit: "grey levels", limit: 5 }, tasks: [], task: null, properties: [],
};

class Run {
  constructor(now) {
    this.past = [now];
  }
  get now() {
    return this.past.at(-1);
  }
  set now(moment) {
    this.past[this.past.length - 1] = moment;
  }
  async step(action) {
    const light = this.now.telemetry[0] + action[0];
    this.past.push(moment(this.now.step + 1, action, light));
    return this.now;
  }
  async branch(step) {
    return new Run(this.past.find((moment) => moment.step === step));
  }
  async close() {}
}

function moment(step, action, light) {
  const data = new Uint8Array(16 * 8 * 3).fill(light);
  const pictures = [{ width: 16, height: 8, data }];
  return { step, action, pictures, telemetry: [light], objects: [], uncertainty: step / 2, properties: {} };
}

export const open = async () => ({ about, begin: async ({ seed }) => new Run(moment(0, null, 100 + seed)) });
"""


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A static host of the page, whose world is the one above."""
    shutil.copytree(PAGE, tmp_path / "page")
    index = (tmp_path / "page/index.html").read_text(encoding="utf-8")
    (tmp_path / "index.html").write_text(index.replace("./served.js", "./lamp.js"), encoding="utf-8")
    (tmp_path / "page/lamp.js").write_text(WORLD, encoding="utf-8")
    for name in ("served.js", "wire.js"):
        (tmp_path / "page" / name).unlink()
    with hosted(tmp_path) as address:
        yield address


def test_a_world_that_runs_in_the_browser_is_played(address: str) -> None:
    with chromium() as browser, opened(browser, address) as page:
        assert page.locator("h1").inner_text() == "lamp"
        for lacking in ("#record", "#save-film", "#physics-card", "#view-card", "#success-row", "#takes", ".handle"):
            assert page.locator(lacking).count() == 0 or page.locator(lacking).is_hidden(), lacking
        assert page.get_by_label("brightness lx/s").get_attribute("type") == "range"
        hold(page, ["q"], 12)
        pause(page)
        assert page.locator("#learned.invents").count() == 1  # step 10 and later
        page.locator("summary").click()
        page.locator("#telemetry td:not(:empty)").first.wait_for()
        light = float(page.locator("#telemetry td").first.inner_text())
        assert light > 110
        page.locator("#scrub").focus()
        page.keyboard.press("Home")
        assert page.locator("#learned.invents").count() == 0
        page.keyboard.press("b")
        page.locator("#takes").wait_for(state="visible")
        assert step_of(page) == 0
        hold(page, ["a"], 6)
        assert float(page.locator("#telemetry td").first.inner_text()) < 100


def test_what_a_page_loads_is_its_own() -> None:
    for path in PAGE.iterdir():
        text = path.read_text(encoding="utf-8")
        assert set(re.findall(r"https?://[^\s\"'`]+", text)) <= {"http://www.w3.org/2000/svg"}, path.name
