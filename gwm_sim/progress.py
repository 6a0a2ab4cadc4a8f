"""Progress of long work: a bar on a terminal, plain lines now and then elsewhere. Always on the error stream."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

SECONDS_BETWEEN_LINES = 10.0

Show = Callable[[float, str], None]
"""Takes the share that is done, in [0, 1], and a few words beside it."""


@contextmanager
def progress(name: str) -> Iterator[Show]:
    """Show how far the work `name` is, each time the function that this gives is called."""
    console = Console(stderr=True)
    columns = (
        TextColumn(name),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
    )
    printed = time.monotonic() - SECONDS_BETWEEN_LINES
    with Bar(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=1.0, text="")

        def show(share: float, text: str = "") -> None:
            nonlocal printed
            bar.update(task, completed=share, text=text)
            now = time.monotonic()
            if not console.is_terminal and (now - printed > SECONDS_BETWEEN_LINES or share >= 1):
                printed = now
                console.print(f"{name} {share:6.1%}  {text}", highlight=False, soft_wrap=True)

        yield show
