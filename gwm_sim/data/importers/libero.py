"""LIBERO's demonstrations: robomimic's layout with four differences that would train a model wrongly.

- Pictures are stored upside-down, as OpenGL draws them, unless `macros_image_convention` says "opencv".
- obs[t] was taken *after* action t: LIBERO steps, then stores what it sees. So action t+1 leads from obs[t] to
  obs[t+1], and the first action has no picture before it.
- A task is told by `problem_info` in /data, since all tasks of a scene have one environment.
- `ee_ori` is an axis-angle of a gripper that points down, which jumps between +pi and -pi.
"""

from collections.abc import Iterator

import h5py
import numpy as np

from gwm_sim.data.importers.hdf5 import json_attribute, text_attribute
from gwm_sim.data.importers.robomimic import RobomimicSource
from gwm_sim.data.importers.robomimic_files import LIBERO_PICTURES, observed
from gwm_sim.data.importers.source import ImportFormat
from gwm_sim.data.reading.checks import Array
from gwm_sim.errors import DataError


class LiberoSource(RobomimicSource):
    """Demos of one task file, or of a suite in one folder."""

    camera_suffix = "_rgb"
    axis_angles = ("ee_ori",)
    default_controller = "OSC_POSE"

    def _instruction(self, data: h5py.Group) -> str | None:
        """Tasks of one scene share the name of their environment; their instruction tells them apart."""
        words = json_attribute(data, "problem_info").get("language_instruction")
        words = "".join(words) if isinstance(words, list) and all(isinstance(word, str) for word in words) else words
        return words.strip() or None if isinstance(words, str) else None

    def _aligned(self, where: str, rows: int, actions: Array, rewards: Array | None) -> tuple[Array, Array | None]:
        if rows != len(actions):
            raise DataError(f"{where} has next_obs, which LIBERO does not write. Import it as robomimic.")
        return actions[1:], rewards

    def _frames(self, k: int, camera: str, rows: Array) -> Iterator[Array]:
        return self._upright(k, super()._frames(k, camera, rows))

    def _depth(self, k: int, camera: str, rows: Array) -> Iterator[Array]:
        return self._upright(k, super()._depth(k, camera, rows))

    def _upright(self, k: int, images: Iterator[Array]) -> Iterator[Array]:
        upside_down = text_attribute(self._demo(k).parent, "macros_image_convention") != "opencv"
        for image in images:
            yield np.flipud(image) if upside_down else image


FORMAT = ImportFormat(
    "libero",
    LiberoSource,
    lambda path: LIBERO_PICTURES in (observed(path) or ()),
    rank=2,
    options=("mask",),
    looks_for=f"the same as robomimic, with /data/demo_0/obs/{LIBERO_PICTURES}",
)
