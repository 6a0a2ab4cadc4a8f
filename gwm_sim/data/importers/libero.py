"""LIBERO's demonstrations: robomimic's layout with three differences that would train a model wrongly.

- Pictures are stored upside-down, as OpenGL draws them, unless `macros_image_convention` says "opencv".
- obs[t] was taken *after* action t: LIBERO steps, then stores what it sees. So action t+1 leads from obs[t] to
  obs[t+1], and the first action has no picture before it.
- `ee_ori` is an axis-angle of a gripper that points down, which jumps between +pi and -pi.
"""

from collections.abc import Iterator

import numpy as np

from gwm_sim.data.importers.hdf5 import text_attribute
from gwm_sim.data.importers.robomimic import LIBERO_PICTURES, RobomimicSource, observed
from gwm_sim.data.importers.source import ImportFormat
from gwm_sim.data.reading.checks import Array
from gwm_sim.errors import DataError


class LiberoSource(RobomimicSource):
    """Demos of one task file, or of a suite in one folder."""

    camera_suffix = "_rgb"
    axis_angles = ("ee_ori",)
    default_controller = "OSC_POSE"

    def _aligned(self, where: str, rows: int, actions: Array, rewards: Array | None) -> tuple[Array, Array | None]:
        if rows != len(actions):
            raise DataError(f"{where} has next_obs, which LIBERO does not write. Import it as robomimic.")
        return actions[1:], rewards

    def _frames(self, k: int, camera: str, rows: Array) -> Iterator[Array]:
        upside_down = text_attribute(self._demo(k).parent, "macros_image_convention") != "opencv"
        for picture in super()._frames(k, camera, rows):
            yield np.flipud(picture) if upside_down else picture


FORMAT = ImportFormat(
    "libero",
    LiberoSource,
    lambda path: LIBERO_PICTURES in (observed(path) or ()),
    rank=2,
    looks_for=f"the same as robomimic, with /data/demo_0/obs/{LIBERO_PICTURES}",
)
