"""What a session remembers: the moments of its world, the last ones whole, so that it can go on from any of them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gwm_sim.model.state import WorldState
from gwm_sim.policies.serving.twin import TwinMoment

STATES: Final = 32_000_000  # bytes of states that a session keeps, to go on from
FRAMES: Final = 32_000_000  # bytes of pictures that it keeps of moments before those

Frame = NDArray[np.uint8]


@dataclass
class Moment:
    """One instant of a world, and what led to it."""

    step: int  # since the reset
    action: NDArray[np.float32] | None  # (A,), None for the first
    telemetry: NDArray[np.float32]  # (P,)
    objects: NDArray[np.float32]  # (K, 3) [m], or in the image frame, NaN of what is absent
    reward: float
    success: bool
    truncated: bool
    uncertainty: float
    properties: dict[str, float]  # of which the model was told
    state: WorldState | None  # one row; None where it was let go
    frame: Frame | None = None  # (H, V*W, 3), of the first moment and of those without a state
    twin: TwinMoment | None = None

    @property
    def bytes_of_state(self) -> int:
        """Bytes of what is needed to go on from here."""
        twin = 0 if self.twin is None else self.twin.nbytes
        if self.state is None:
            return 0
        return twin + sum(value.numel() * value.element_size() for _, value in self.state.tensors())


class Moments:
    """The moments of a session, in order.

    Of old ones the state is let go first, after a picture was made of it, and then the whole moment is forgotten.
    """

    def __init__(self, draw: Callable[[WorldState], Frame], earlier: Iterable[Moment] = ()) -> None:
        """Begin with none, or with copies of earlier ones.

        Args:
            draw: Makes the picture (H, V*W, 3) of a state of one row.
            earlier: What another session remembers.
        """
        self._draw = draw
        self._kept: deque[Moment] = deque()
        self._whole: deque[Moment] = deque()
        self._bytes_of_states = self._bytes_of_frames = 0
        for moment in earlier:
            self.add(replace(moment))

    def __len__(self) -> int:
        """Return the number of moments that are remembered."""
        return len(self._kept)

    def __iter__(self) -> Iterator[Moment]:
        """Iterate from the earliest one."""
        return iter(self._kept)

    @property
    def first(self) -> int:
        """Step of the earliest moment that is remembered."""
        return self._kept[0].step

    @property
    def whole(self) -> int:
        """Step of the earliest moment to go on from."""
        return self._whole[0].step

    @property
    def now(self) -> Moment:
        """The present."""
        return self._kept[-1]

    def at(self, step: int) -> Moment:
        """The moment of a step.

        Raises:
            KeyError: It was forgotten, or has not come.
        """
        if not self._kept or not self.first <= step <= self.now.step:
            raise KeyError(step)
        return self._kept[step - self.first]

    def frame(self, moment: Moment) -> Frame:
        """The picture (H, V*W, 3) of a moment."""
        if moment.frame is not None:
            return moment.frame
        assert moment.state is not None
        return self._draw(moment.state)

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._whole.clear()
        self._bytes_of_states = self._bytes_of_frames = 0

    def rewind(self, step: int) -> None:
        """Forget what came after a moment, which is then the present.

        Raises:
            KeyError: There is no such moment to go on from.
        """
        if not self.whole <= step <= self.now.step:
            raise KeyError(step)
        while self.now.step > step:  # those after a whole moment are whole
            self._kept.pop()
            self._bytes_of_states -= self._whole.pop().bytes_of_state

    def add(self, moment: Moment) -> None:
        """Remember one more, and forget what there is no place for."""
        self._kept.append(moment)
        if moment.state is None:
            self._bytes_of_frames += 0 if moment.frame is None else moment.frame.nbytes
        else:
            self._whole.append(moment)
            self._bytes_of_states += moment.bytes_of_state
        while self._bytes_of_states > STATES and len(self._whole) > 1:
            oldest = self._whole.popleft()
            oldest.frame = self.frame(oldest)
            self._bytes_of_states -= oldest.bytes_of_state
            self._bytes_of_frames += oldest.frame.nbytes
            oldest.state = None
        while self._bytes_of_frames > FRAMES:
            oldest = self._kept.popleft()
            assert oldest.frame is not None
            self._bytes_of_frames -= oldest.frame.nbytes
