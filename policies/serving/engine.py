"""One thread that imagines, and ticks in which all who step at the same time step together.

A tick takes everybody who waits. Those who came along in the last one usually ask again at once: they are waited for,
for a small part of what a tick takes, so that they do not fall apart into many small ticks.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from gwm_sim.policies.serving.worlds import Row, Shown, Worlds

PATIENCE: Final = 0.25  # of the last tick, for which companions are waited for

T = TypeVar("T")


@dataclass(eq=False)
class Turn:
    """Rows of one model that want to step."""

    worlds: Worlds
    rows: Sequence[Row]
    actions: NDArray[np.float64]  # (n, A), checked
    see: bool
    done: asyncio.Future[list[Shown]]


class Engine:
    """Does what sessions ask for, one thing after the other, and steps together."""

    def __init__(self) -> None:
        """Begin with nobody waiting; `run` does the work."""
        self._thread = ThreadPoolExecutor(1, "imagination")
        self._waiting: list[Turn] = []
        self._arrived = asyncio.Event()
        self._companions: set[int] = set()
        self._seconds = 0.0  # that the last tick took
        self.ticks = self.steps = 0
        """Ticks so far, and steps of rows in them."""

    async def call(self, work: Callable[..., T], *arguments: Any) -> T:
        """What a function returns that computes, between two ticks."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    async def step(self, worlds: Worlds, rows: Sequence[Row], actions: NDArray[np.float64], see: bool) -> list[Shown]:
        """Advance rows by one step of checked actions (n, A), together with all others who step now."""
        turn = Turn(worlds, rows, actions, see, asyncio.get_running_loop().create_future())
        self._waiting.append(turn)
        self._arrived.set()
        return await turn.done

    async def run(self) -> None:
        """Tick for ever."""
        while True:
            await self._arrived.wait()
            await self._gather()
            turns, self._waiting = self._waiting, []
            self._arrived.clear()
            self._companions = {id(row) for turn in turns for row in turn.rows}
            self.ticks, self.steps = self.ticks + 1, self.steps + len(self._companions)
            begun = time.monotonic()
            outcomes = await self.call(tick, turns)
            self._seconds = time.monotonic() - begun
            for turn, outcome in outcomes:
                tell(turn, outcome)

    async def _gather(self) -> None:
        """Wait for those who came along in the last tick, but not for long."""
        deadline = time.monotonic() + PATIENCE * self._seconds
        while self._companions - {id(row) for turn in self._waiting for row in turn.rows}:
            self._arrived.clear()
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    await self._arrived.wait()
            except TimeoutError:
                return

    def close(self) -> None:
        """End the thread; what it does is finished first."""
        self._thread.shutdown(cancel_futures=True)


def tick(turns: Sequence[Turn]) -> list[tuple[Turn, list[Shown] | Exception]]:
    """Step everybody who waits, each model's rows in one pass, and return what became of each turn."""
    outcomes: list[tuple[Turn, list[Shown] | Exception]] = []
    for worlds in dict.fromkeys(turn.worlds for turn in turns):
        some = [turn for turn in turns if turn.worlds is worlds]
        rows = [row for turn in some for row in turn.rows]
        see = [turn.see for turn in some for _ in turn.rows]
        try:
            shown = worlds.advance(rows, np.concatenate([turn.actions for turn in some]), see)
        except Exception as error:
            outcomes += [(turn, error) for turn in some]
            continue
        for turn in some:
            outcomes.append((turn, shown[: len(turn.rows)]))
            shown = shown[len(turn.rows) :]
    return outcomes


def tell(turn: Turn, outcome: list[Shown] | Exception) -> None:
    """Hand over what became of a turn, to whoever still waits."""
    if turn.done.cancelled():
        return
    if isinstance(outcome, Exception):
        turn.done.set_exception(outcome)
    else:
        turn.done.set_result(outcome)
