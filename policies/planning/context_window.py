"""What is remembered of the present: the last frames of a world, and what was done between them."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from gwm_sim.protocol import CONTEXT

Context = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]
"""Frames (C, H, V*W, 3), telemetry (C, P) and actions (C-1, A), as `WorldModel.encode` takes them in batches."""


class ContextWindow:
    """The last `CONTEXT` frames, their telemetry and the actions between them."""

    def __init__(self, actions: int) -> None:
        """Begin with nothing seen; an action has so many numbers."""
        self._frames: deque[NDArray[np.uint8]] = deque(maxlen=CONTEXT)
        self._telemetry: deque[NDArray[np.float32]] = deque(maxlen=CONTEXT)
        still = [np.zeros(actions, np.float32)] * (CONTEXT - 1)
        self._actions: deque[NDArray[np.float32]] = deque(still, maxlen=CONTEXT - 1)

    def see(self, frame: NDArray[np.uint8], telemetry: NDArray[np.float32]) -> None:
        """Add what is seen now; at first, as if the robot had held still before."""
        times = 1 if self._frames else CONTEXT
        self._frames.extend([frame] * times)
        self._telemetry.extend([telemetry] * times)

    def act(self, action: NDArray[np.float32]) -> None:
        """Add what is done until the next frame."""
        self._actions.append(action)

    def arrays(self) -> Context:
        """The window as it is now."""
        return np.stack(self._frames), np.stack(self._telemetry), np.stack(self._actions)
