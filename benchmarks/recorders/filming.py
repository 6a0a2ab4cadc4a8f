"""A fixed camera before a scene of MuJoCo: its pictures, and what only a simulator can say of them.

How much of a thing is in sight is counted in two pictures of segments at `FINE` times the size: all of the thing there
is where nothing else is drawn, and what is left of it beside everything else.
"""

import copy
from typing import Any

import mujoco
import numpy as np

SIZE = 64
"""Pictures are square [px]."""
FINE = 4
SHADOW = 1024
"""Of the map of shadows; more costs seconds a picture without a graphics card, and is not seen in pictures so small."""
DRAWN = 0, 1, 2
"""The groups of geoms that MuJoCo draws unless told otherwise."""
WIDE = 2
"""How much wider the view is in which a thing is drawn alone: what is beyond the border belongs to its silhouette."""
APART = 5
"""The group of geoms that things are put into to be drawn alone; neither package uses it for geoms."""


def snapshot(data: Any) -> Any:
    """All of a simulation, what it has worked out included: positions lag behind joints by a step of its own."""
    return copy.copy(data)


def put_back(model: Any, data: Any, saved: Any) -> None:
    """Go back to what `snapshot` kept."""
    mujoco.mj_copyData(data, model, saved)


class Camera:
    """Looks at `things`, each of one geom, in the state that `data` is in."""

    def __init__(self, model: Any, data: Any, camera: Any, things: tuple[str, ...], shadows: bool = True) -> None:
        self._model, self._data, self._camera = model, data, camera
        self._geoms = [model.geom(name).id for name in things]
        model.vis.quality.shadowsize = SHADOW
        model.vis.global_.offwidth = model.vis.global_.offheight = FINE * SIZE
        self._pictures = mujoco.Renderer(model, SIZE, SIZE)
        self._pictures.scene.flags[int(mujoco.mjtRndFlag.mjRND_SHADOW)] = shadows
        self._segments = mujoco.Renderer(model, FINE * SIZE, FINE * SIZE)
        self._segments.enable_segmentation_rendering()

    def picture(self) -> Any:
        """Return what a user's camera would have seen, (H, W, 3) uint8: markers of goals are not drawn."""
        option = mujoco.MjvOption()
        option.sitegroup[:] = 0
        self._pictures.update_scene(self._data, self._camera, option)
        return self._pictures.render().copy()

    def centres(self) -> Any:
        """Project the middle of each thing into the picture that was drawn last, (K, 2) [px]."""
        left, right = self._pictures.scene.camera
        position, forward, up = ((getattr(left, name) + getattr(right, name)) / 2 for name in ("pos", "forward", "up"))
        offsets = self._data.geom_xpos[self._geoms] - position
        depth = offsets @ forward
        focal = SIZE * left.frustum_near / (left.frustum_top - left.frustum_bottom)
        middle = (SIZE - 1) / 2
        columns, rows = (
            middle + sign * focal * (offsets @ axis) / depth for sign, axis in ((1, np.cross(forward, up)), (-1, up))
        )
        return np.stack([columns, rows], axis=-1)

    def visible(self) -> Any:
        """Return the share of each thing's silhouette that is in the picture and not covered, (K,) in [0, 1]."""
        everything = self._areas(DRAWN)
        groups = self._model.geom_group[self._geoms].copy()
        alone = []
        for geom, group in zip(self._geoms, groups, strict=True):
            self._model.geom_group[geom] = APART
            alone.append(WIDE**2 * self._areas([APART], WIDE)[geom])
            self._model.geom_group[geom] = group
        return (everything[self._geoms] / np.maximum(alone, 1)).clip(0, 1)

    def _areas(self, groups: Any, wide: int = 1) -> Any:
        """Count the pixels of each geom where those of some groups are drawn, in a view that is wider by a factor."""
        option = mujoco.MjvOption()
        option.sitegroup[:], option.geomgroup[:] = 0, 0
        option.geomgroup[list(groups)] = 1
        self._segments.update_scene(self._data, self._camera, option)
        for eye in self._segments.scene.camera:
            eye.frustum_top, eye.frustum_bottom = wide * eye.frustum_top, wide * eye.frustum_bottom
        ids, kinds = np.moveaxis(self._segments.render(), -1, 0)
        return np.bincount(ids[kinds == int(mujoco.mjtObj.mjOBJ_GEOM)], minlength=self._model.ngeom)


class ArmStage:
    """What an arm's worlds of MuJoCo share: one thing is to be moved, and its place is all that counts."""

    least: float
    """How far the thing has to be moved for a goal to count [cm]."""
    scene: Any

    def step(self, action: Any) -> None:
        """Act for a step."""
        self.scene.step(action)

    @staticmethod
    def displaced(start: Any, goal: Any) -> dict[str, float]:
        """How far the thing is moved from one pose to another [cm]."""
        return {"cm": float(100 * np.linalg.norm(goal - start))}

    def counts(self, displaced: dict[str, float]) -> bool:
        """Whether that is far enough to be a goal."""
        return displaced["cm"] >= self.least
