"""A world in the browser beside the native one: how large its page is, how fast it goes, and whether it goes its way.

python benchmarks/web_page.py --json benchmarks/results/web_page.json

The page of `gwm export web` is opened in headless Chromium, which computes with WebAssembly. `steps_per_second` counts
steps with pictures as fast as they go, with one thread and, on a page that is isolated from other origins, with more;
`page_steps_per_second` those that the page shows at four times the rate of the data, which is the most that it asks
for. Agreement is that of `exported.py`, from every initial state that comes with the page.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import gymnasium as gym
import numpy as np
import torch
from browsing import WHY_NOT, chromium, hold, hosted, opened, pause
from exported import HORIZONS, Tensors, differences, table
from numpy.typing import NDArray
from program import circumstances, launch

from gwm_sim.commands.export import ExportConfig, export_model
from gwm_sim.envs import WORLD_ID
from gwm_sim.errors import ConfigError
from gwm_sim.export.description import describe
from gwm_sim.export.starts import STARTS, contexts
from gwm_sim.files import write_json
from gwm_sim.model.world_model import WorldModel
from gwm_sim.progress import progress

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

OPEN: Final = """async () => {
  const { open } = await import("/page/onnx_world.js");
  globalThis.world = await open();
  return world.about.runtime;
}"""
BEGIN: Final = "async (seed) => void (globalThis.run = await world.begin({ seed }))"
STEP: Final = """async (action) => {
  const { telemetry, objects, pictures } = await run.step(action);
  return { telemetry, objects, pictures: pictures.map(({ data }) => String.fromCharCode(...data)) };
}"""
RACE: Final = """async (steps) => {
  const still = world.about.actions.map(() => 0);
  const begun = performance.now();
  for (let step = 0; step < steps; step++) await run.step(still);
  return (1000 * steps) / (performance.now() - begun);
}"""
WARM_UP: Final = 10  # steps
THREADS: Final = (1, 2)


@dataclass(frozen=True)
class WebPageConfig:
    """Measure a world that runs in the browser."""

    model: str = "gwm-mini"
    """Name of a shipped model, or a folder, of a world that has one future."""
    policies: tuple[str, ...] = ("scripted", "uniform")
    """Who acts."""
    starts: int = STARTS
    """Initial states, each for every policy."""
    steps: int = HORIZONS[-1]
    """Steps of a rollout."""
    race: int = 100
    """Steps over which speed is measured."""
    runtime: Path | None = None
    """Package of ONNX Runtime Web; by default it is fetched."""
    json: Path | None = None
    """Write the numbers here."""

    def __post_init__(self) -> None:
        if min(self.starts, self.steps, self.race) < 1:
            raise ConfigError(
                f"--starts, --steps and --race must be at least 1, got {self.starts}, {self.steps} and {self.race}"
            )


class BrowserWorld:
    """The world of a page that is open, as `exported.differences` steps it."""

    def __init__(self, page: "Page", model: WorldModel, starts: Tensors) -> None:
        self._page, self._model, self.starts = page, model, starts

    def reset(self, start: int) -> None:
        """Begin with a start."""
        self._page.evaluate(BEGIN, start)

    def step(self, action: NDArray[np.float32], noise: NDArray[np.float32] | None) -> Tensors:
        """Advance by one action (A,)."""
        assert noise is None, "a page draws its own futures"
        made = self._page.evaluate(STEP, action.tolist())
        height, width = self._model.config.tokenizer.height, self._model.config.tokenizer.width
        views = [np.frombuffer(v.encode("latin-1"), np.uint8).reshape(height, width, 3) for v in made["pictures"]]
        return {
            "next.telemetry": np.array([made["telemetry"]], np.float32),
            "next.objects": np.array([made["objects"]], np.float32),
            "frame": np.concatenate(views, axis=1)[None],
        }


@contextmanager
def bare(browser: "Browser", address: str, threads: int = 1) -> Iterator["Page"]:
    """A page from which a world can be opened that is no page of its own."""
    page = browser.new_page()
    page.goto(f"{address}world/world.json?backend=wasm&threads={threads}")
    try:
        yield page
    finally:
        page.close()


def opened_world(page: "Page") -> dict[str, Any]:
    """Load the world, and say what computes it and how long that took [s]."""
    begun = time.perf_counter()
    runtime = page.evaluate(OPEN)
    page.evaluate(BEGIN, 0)
    return {**runtime, "load_seconds": time.perf_counter() - begun}


def speeds(browser: "Browser", folder: Path, steps: int) -> dict[str, Any]:
    """Steps a second with one thread and with more, and on the page."""
    found: dict[str, Any] = {}
    for threads in THREADS:
        with hosted(folder, isolated=threads > 1) as address, bare(browser, address, threads) as page:
            row = opened_world(page)
            page.evaluate(RACE, WARM_UP)
            row["steps_per_second"] = page.evaluate(RACE, steps)
            found[f"threads_{threads}"] = row
    with hosted(folder) as address, opened(browser, f"{address}?backend=wasm") as page:
        page.locator("#speed").select_option("4")
        hold(page, ["ArrowDown"], WARM_UP)
        begun = time.perf_counter()
        hold(page, ["ArrowLeft", "ArrowUp"], steps)
        found["page_steps_per_second"] = steps / (time.perf_counter() - begun)
        pause(page)
    return found


def agreement(browser: "Browser", folder: Path, config: WebPageConfig, model: WorldModel) -> dict[str, Any]:
    """Shares of starts that go the way of the native world, by policy and horizon."""
    starts = contexts(model, describe(model)["properties"], config.starts)
    count, rows = len(starts["frames"]), {}
    with (
        hosted(folder) as address,
        bare(browser, address) as page,
        gym.make(WORLD_ID, model=config.model, device="cpu", time_limit=None) as env,
        progress("compare") as show,
    ):
        opened_world(page)
        world = BrowserWorld(page, model, starts)
        for i, policy in enumerate(config.policies):
            found = []
            for start in range(count):
                show((i + start / count) / len(config.policies), f"{policy} {start}")
                found.append(list(differences(env, world, policy, start, config.steps)))
            rows[policy] = table(np.maximum.accumulate(np.array(found), axis=1))
    return {"starts": count, "policies": rows}


def measure(config: WebPageConfig, folder: Path) -> dict[str, Any]:
    """Everything of one model."""
    written = export_model(
        ExportConfig("web", Path(config.model), folder, starts=config.starts, runtime=config.runtime)
    )
    model = WorldModel.load(config.model, "cpu")
    with chromium() as browser:
        return {
            "model": model.config.name,
            "model_hash": model.digest(),
            "chromium": browser.version,
            "megabytes": {
                "on_disk": sum(written["files"].values()) / 1e6,
                "transferred": written["transferred"] / 1e6,
            },
            **speeds(browser, folder, config.race),
            **agreement(browser, folder, config, model),
        }


def main(config: WebPageConfig) -> int:
    """Measure, print and write."""
    if WHY_NOT is not None:
        raise ConfigError(WHY_NOT)
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        result = measure(config, Path(folder) / "page")
    print(
        f"{result['megabytes']['transferred']:.1f} MB transferred, {result['megabytes']['on_disk']:.1f} MB on disk; "
        f"{result['threads_1']['steps_per_second']:.0f} steps/s with one thread, "
        f"{result['page_steps_per_second']:.0f} on the page"
    )
    for policy, horizons in result["policies"].items():
        for horizon, row in horizons.items():
            print(
                f"{policy}, {horizon} steps: {row['agree_percent']:.0f} % of {result['starts']} starts agree; at most "
                f"{row['millimetres_most']:.3f} mm and {row['grey_levels_most']:.0f} grey levels apart"
            )
    if config.json is not None:
        write_json(config.json, circumstances() | result)
    return 0


if __name__ == "__main__":
    launch(main, WebPageConfig)
