"""The picture of the page in the README: driven, dragged, planned, scrubbed and branched in headless Chromium.

python benchmarks/page_gif.py --out docs/page.gif

Pictures are taken as fast as the browser gives them, and the film is as long as that took.
"""

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Final

import av
from av.filter import Graph
from browsing import WHY_NOT, centre, chromium, opened, served
from program import launch

from gwm_sim.errors import MissingDependency
from gwm_sim.files import replacing

if TYPE_CHECKING:
    from playwright.sync_api import Page

SIZE: Final = (1000, 620)  # of the window [px]
RED: Final = "#handles button:has-text('red')"
POINTER: Final = """
addEventListener("DOMContentLoaded", () => {
  const dot = document.createElement("div");
  dot.style = "position:fixed;z-index:9;width:14px;height:14px;margin:-7px;border-radius:50%;pointer-events:none;" +
    "background:#fffb;box-shadow:0 0 0 2px #0009;left:-50px";
  document.body.append(dot);
  addEventListener("pointermove", ({ clientX, clientY }) => {
    dot.style.left = `${clientX}px`;
    dot.style.top = `${clientY}px`;
  }, true);
});
"""


@dataclass(frozen=True)
class PageGifConfig:
    """Film the page of `gwm serve`."""

    out: Path
    """GIF to write."""
    width: int = 800
    """Width of the film [px]."""
    rate: int = 8
    """Most pictures a second."""
    colors: int = 96
    """Colours of the film."""
    twin: bool = True
    """Show the physics twin, too."""


class Film:
    """Pictures of a page, and when they were taken."""

    def __init__(self, page: "Page", rate: int) -> None:
        """Film a page with at most so many pictures a second."""
        self.page, self.rate = page, rate
        self.pictures: list[bytes] = []
        self.times: list[float] = []

    def take(self, seconds: float) -> None:
        """Film for so long."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            self.pictures.append(self.page.screenshot())
            self.times.append(now)
            time.sleep(max(0.0, now + 1 / self.rate - time.monotonic()))

    def move(self, to: tuple[float, float], begin: tuple[float, float], steps: int = 6) -> None:
        """Move the pointer while it is seen."""
        for step in range(1, steps + 1):
            share = step / steps
            self.page.mouse.move(*(a + share * (b - a) for a, b in zip(begin, to, strict=True)))
            self.take(1 / self.rate)


def play(film: Film) -> None:
    """What is shown."""
    page = film.page
    film.take(0.6)
    for key in ("d", "s"):
        page.keyboard.down(key)
        film.take(0.9)
        page.keyboard.up(key)
    page.keyboard.press("p")
    red = centre(page, RED)
    there = (red[0] + 85, red[1] - 45)
    film.move(red, (red[0] + 120, red[1] + 90))
    page.mouse.down()
    film.move(there, red)
    page.mouse.up()
    page.locator("#plan-do:not([disabled])").wait_for()
    film.take(2.4)
    film.move(centre(page, "#plan-do"), there)
    page.mouse.down()
    page.mouse.up()
    film.take(2.6)
    page.locator("#play:not(.playing)").wait_for()
    page.locator("#scrub").focus()
    for _ in range(14):
        page.keyboard.press("ArrowLeft")
        film.take(0.5 / film.rate)
    page.keyboard.press("b")
    film.take(0.6)
    page.keyboard.down("a")
    film.take(1.2)
    page.keyboard.up("a")
    page.keyboard.press("p")
    film.take(0.8)


def write_gif(path: Path, pictures: Sequence[bytes], times: Sequence[float], width: int, colors: int) -> None:
    """Write PNG pictures, each shown from its time [s] to the next one, with one palette for all."""
    frames = [frame for picture in pictures for frame in decoded(picture)]
    graph, unit = Graph(), Fraction(1, 100)
    first = frames[0]
    source = graph.add_buffer(width=first.width, height=first.height, format=first.format, time_base=unit)
    scale = graph.add("scale", f"{width}:-2:flags=area")
    split, palette = graph.add("split"), graph.add("palettegen", f"max_colors={colors}:stats_mode=full")
    use, sink = graph.add("paletteuse", "dither=none:diff_mode=rectangle"), graph.add("buffersink")
    source.link_to(scale)
    scale.link_to(split)
    split.link_to(use, 0, 0)
    split.link_to(palette, 1, 0)
    palette.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    for frame, moment in zip(frames, times, strict=True):
        frame.pts, frame.time_base = round((moment - times[0]) / unit), unit
        source.push(frame)
    source.push(None)
    with replacing(path) as temporary, av.open(str(temporary), "w", format="gif") as container:
        stream = container.add_stream("gif", rate=100)
        stream.width, stream.height, stream.pix_fmt, stream.time_base = width, 0, "pal8", unit
        for number in range(len(frames)):
            shown = sink.pull()
            assert isinstance(shown, av.VideoFrame)
            if not number:
                stream.height = shown.height
            container.mux(stream.encode(shown))
        container.mux(stream.encode(None))


def decoded(picture: bytes) -> list[av.VideoFrame]:
    """The frame of a PNG file."""
    with av.open(io.BytesIO(picture), "r") as container:
        return list(container.decode(video=0))


def main(config: PageGifConfig) -> int:
    """Film and write."""
    if WHY_NOT is not None:
        raise MissingDependency(WHY_NOT)
    width, height = SIZE
    options = ("--twin",) if config.twin else ()
    with (
        served(*options) as address,
        chromium() as browser,
        opened(browser, address, width, height, script=POINTER, color_scheme="light") as page,
    ):
        film = Film(page, config.rate)
        play(film)
    write_gif(config.out, film.pictures, film.times, config.width, config.colors)
    print(f"{config.out}: {len(film.pictures)} pictures, {config.out.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    launch(main, PageGifConfig)
