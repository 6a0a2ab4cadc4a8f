"""A window that shows what the model sees beside the goal, and a keyboard that permits and stops."""

import os
import sys
from collections.abc import Callable
from typing import Final

import numpy as np
import pygame

from gwm_sim.envs.commands.play import show
from gwm_sim.envs.gl import has_display
from gwm_sim.errors import MissingDependency
from gwm_sim.media.video import enlarge
from gwm_sim.policies.live.camera import Picture
from gwm_sim.policies.live.loop import Status

HEIGHT: Final = 384  # of the window, about [px]


class Preview:
    """The window; call it from the main thread."""

    def __init__(self, goal: Callable[[], Picture], stop: Callable[[str], None], permit: Callable[[], None]) -> None:
        """Open the window.

        Args:
            goal: Gives the picture that is aimed at now.
            stop: Called with a reason when escape or return is pressed, or the window closed.
            permit: Called again and again while the space bar is held.

        Raises:
            MissingDependency: There is no display.
        """
        if sys.platform == "linux" and not has_display() and "SDL_VIDEODRIVER" not in os.environ:
            raise MissingDependency(
                "--preview opens a window, and there is no display: neither DISPLAY nor WAYLAND_DISPLAY is set."
            )
        pygame.display.init()
        self._goal = goal
        self._stop = stop
        self._permit = permit

    def __call__(self, status: Status) -> None:
        """Show the moment, then listen."""
        goal = self._goal()
        frame = np.zeros_like(goal) if status.frame is None else status.frame
        picture = enlarge(np.concatenate([frame, goal], axis=1), max(1, HEIGHT // goal.shape[0]))
        reason = f" | {status.stop.reason}" if status.stop else ""
        show(picture, f"camera and goal | {status.phase} | step {status.steps}{reason} | escape stops")
        for event in pygame.event.get():
            if event.type == pygame.QUIT:
                self._stop("the window was closed")
            elif event.type == pygame.KEYDOWN and event.key in (pygame.K_ESCAPE, pygame.K_RETURN):
                self._stop("stopped by key")
        if pygame.key.get_pressed()[pygame.K_SPACE]:
            self._permit()

    def close(self) -> None:
        """Close the window."""
        pygame.quit()
