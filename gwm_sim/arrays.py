"""What an array is to a type checker, which cannot say more of its shape and type than words do."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
