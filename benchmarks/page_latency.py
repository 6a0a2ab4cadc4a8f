"""How soon a key is seen on the page of `gwm serve`: from the press to the first picture that it led to.

python benchmarks/page_latency.py --json benchmarks/results/page_latency.json

A server, headless Chromium and one player share this machine. Keys are pressed at random times while the world plays at
its own rate. A press counts from the event in the browser until the frame of the screen after the picture was drawn.
Then the world plays four times as fast, to see how many steps with pictures there are in a second.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from browsing import WHY_NOT, chromium, opened, served, step_of, wait_for_step
from program import circumstances, launch

from gwm_sim.errors import ConfigError, MissingDependency
from gwm_sim.files import write_json
from gwm_sim.model.world_model import WorldModel
from gwm_sim.progress import progress

if TYPE_CHECKING:
    from playwright.sync_api import Page

KEYS: Final = {"d": (1, 1), "a": (1, -1), "s": (0, 1), "w": (0, -1), "r": (2, 1), "f": (2, -1)}
"""Keys of the block world: the action that each moves, and which way."""
HELD: Final = (0.12, 0.3)  # seconds for which a key is held
APART: Final = (0.25, 0.7)  # seconds until the next one
FASTEST: Final = "4"  # speed at which steps are counted

WATCH: Final = """
window.seen = [];
let pressed = null;
const keys = KEYS;
document.addEventListener("keydown", (event) => {
  if (!event.repeat && keys[event.key]) pressed = { key: event.key, at: event.timeStamp };
}, true);
document.addEventListener("gwm:shown", ({ detail }) => {
  if (!pressed || !detail.action) return;
  const [axis, way] = keys[pressed.key];
  if (Math.sign(detail.action[axis]) !== way) return;
  const { at } = pressed;
  pressed = null;
  requestAnimationFrame(() => setTimeout(() => window.seen.push(performance.now() - at)));
});
"""


@dataclass(frozen=True)
class PageLatencyConfig:
    """Measure the time from a key to its picture in a browser."""

    model: str = "gwm-mini"
    """Name of a shipped model of the block world, or a folder."""
    presses: int = 200
    """Keys that are pressed."""
    seconds: float = 10.0
    """For how long steps are counted [s]."""
    seed: int = 0
    """Seed of keys and times."""
    json: Path | None = None
    """Write the numbers here."""

    def __post_init__(self) -> None:
        if self.presses < 1:
            raise ConfigError(f"--presses must be at least 1, got {self.presses}")


def press_keys(page: "Page", count: int, seed: int) -> list[float]:
    """Milliseconds from each of so many presses to its picture."""
    rng = np.random.default_rng(seed)
    page.keyboard.press("p")
    wait_for_step(page, 10)
    with progress("press") as show:
        for number in range(count):
            key = str(rng.choice(list(KEYS)))
            page.keyboard.down(key)
            time.sleep(rng.uniform(*HELD))
            page.keyboard.up(key)
            time.sleep(rng.uniform(*APART))
            show((number + 1) / count, f"{number + 1} of {count}")
    found: list[float] = page.evaluate("window.seen")
    return found


def count_steps(page: "Page", seconds: float) -> float:
    """Steps with pictures per second, at the highest speed of the page."""
    page.locator("#speed").select_option(FASTEST)
    before, begun = step_of(page), time.monotonic()
    time.sleep(seconds)
    return (step_of(page) - before) / (time.monotonic() - begun)


def measure(config: PageLatencyConfig, twin: bool) -> dict[str, Any]:
    """Latencies [ms] and rate [Hz], with or without the twin beside it."""
    options = ("--model", config.model, *(("--twin",) if twin else ()))
    with served(*options) as address, chromium() as browser, opened(browser, address, script=watch()) as page:
        found = press_keys(page, config.presses, config.seed)
        rate = count_steps(page, config.seconds)
    p50, p95 = np.percentile(found, (50, 95))
    row = {"seen": len(found), "ms_p50": p50, "ms_p95": p95, "ms_most": max(found), "steps_per_second": rate}
    return row | {"load": os.getloadavg()[1]}  # of the last five minutes: what else the machine does falls on all of it


def watch() -> str:
    """The script that watches keys and pictures."""
    keys = ", ".join(f'"{key}": [{axis}, {way}]' for key, (axis, way) in KEYS.items())
    return WATCH.replace("KEYS", f"{{ {keys} }}")


def main(config: PageLatencyConfig) -> int:
    """Measure, print and write."""
    if WHY_NOT is not None:
        raise MissingDependency(WHY_NOT)
    model = WorldModel.load(config.model, "cpu")
    result: dict[str, Any] = {"model": model.config.name, "model_hash": model.digest(), "presses": config.presses}
    for name, twin in (("alone", False), ("with_twin", True)):
        row = result[name] = measure(config, twin)
        print(
            f"{name}: {row['seen']} of {config.presses} presses seen, median {row['ms_p50']:.0f} ms, 95th percentile "
            f"{row['ms_p95']:.0f} ms, most {row['ms_most']:.0f} ms; {row['steps_per_second']:.0f} steps a second; "
            f"load {row['load']:.1f}",
            flush=True,
        )
    if config.json is not None:
        write_json(config.json, circumstances() | result)
    return 0


if __name__ == "__main__":
    launch(main, PageLatencyConfig)
