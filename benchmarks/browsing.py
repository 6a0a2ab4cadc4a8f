"""A served page in headless Chromium, for tests and benchmarks of it."""

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WHY_NOT = (
    "Chromium is not installed (apt-get install chromium)"
    if CHROMIUM is None
    else "playwright is not installed (pip install playwright)"
    if find_spec("playwright") is None
    else None
)
"""Why no browser can be driven here; None where one can."""
LONGEST = 60_000  # milliseconds that anything on a page may take


@contextmanager
def served(*options: str) -> Iterator[str]:
    """The address of a server in a process of its own, `gwm serve` with some options."""
    command = [sys.executable, "-m", "gwm_sim", "serve", "--port", "0", "--until-eof", *options]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/#token=\S+", address), address
            yield address
        finally:
            server.terminate()


class Files(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def __init__(self, *args: Any, isolated: bool, **kwargs: Any) -> None:
        """Serve, and let pages have threads that share memory, if they are `isolated` from other origins."""
        self._isolated = isolated
        super().__init__(*args, **kwargs)

    def log_message(self, format: str, *args: object) -> None: ...

    def end_headers(self) -> None:
        if self._isolated:
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()


@contextmanager
def hosted(folder: Path, isolated: bool = False) -> Iterator[str]:
    """The address of a static host of a folder."""
    handler = partial(Files, directory=str(folder), isolated=isolated)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def chromium() -> Iterator["Browser"]:
    """A browser without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(
    browser: "Browser", address: str, width: int = 1280, height: int = 800, script: str = "", **options: Any
) -> Iterator["Page"]:
    """The page, ready to play, in a window of some size, with a script of ours before its own; what it complains of is
    an error."""
    context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True, **options)
    try:
        page = context.new_page()
        page.add_init_script(script)
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda told: complaints.append(told.text) if told.type == "error" else None)
        page.set_default_timeout(LONGEST)
        page.goto(address)
        page.locator("#main").wait_for(state="visible")
        yield page
        assert complaints == []
    finally:
        context.close()


def step_of(page: "Page") -> int:
    """The step in view."""
    return int(page.locator("#at-step").inner_text())


def wait_for_step(page: "Page", step: int) -> None:
    """Wait until so many steps are done."""
    page.wait_for_function("step => Number(document.getElementById('at-step').textContent) >= step", arg=step)


def pause(page: "Page") -> None:
    """Pause a world that plays, and wait for the step that is being done."""
    page.keyboard.press("p")
    page.locator("#play:not(.playing)").wait_for()
    before = -1
    while (now := step_of(page)) != before:
        before = now
        page.wait_for_timeout(500)


def hold(page: "Page", keys: Sequence[str], until: int) -> None:
    """Hold keys one after the other, until a step is reached."""
    begun = step_of(page)
    for number, key in enumerate(keys, 1):
        page.keyboard.down(key)
        wait_for_step(page, begun + (until - begun) * number // len(keys))
        page.keyboard.up(key)


def centre(page: "Page", selector: str) -> tuple[float, float]:
    """Where an element is in the window."""
    box = page.locator(selector).bounding_box()
    assert box is not None, selector
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
