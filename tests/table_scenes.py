"""Scenes of the table world, for the tests."""

from typing import Any

import numpy as np

STILL = np.zeros(4, np.float32)
RED_CUBE: dict[str, Any] = {"kind": "cube", "colour": "red", "size": 0.05, "position": (0.50, 0.0)}
BLUE_BALL: dict[str, Any] = {"kind": "ball", "colour": "blue", "size": 0.05, "position": (0.45, 0.1)}
GREEN_CYLINDER: dict[str, Any] = {"kind": "cylinder", "colour": "green", "size": 0.05, "position": (0.55, -0.1)}
THREE = [RED_CUBE, BLUE_BALL, GREEN_CYLINDER]
