"""Camera frames of the scene as a function of its generalised positions: any row of any simulation can be drawn."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal
from weakref import WeakSet

import mujoco
import numpy as np
from numpy.typing import NDArray

from gwm_sim.data.cameras import Camera
from gwm_sim.envs.gl import open_display
from gwm_sim.envs.spaces import MAX_DEPTH, depth_key, image_key
from gwm_sim.envs.tabletop.mujoco.physics import Array

Rendering = Literal["fast", "rich"]
RENDERINGS: Final = ("fast", "rich")

Size = tuple[int, int]
"""Height and width of a frame [px]."""


class FrameRenderer:
    """Frames from chosen cameras. The graphics contexts are made with the first frames and freed by `close`.

    Rows may have models of their own, with the same bodies, joints and cameras, which are then told with each frame.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        size: int | Mapping[str, Size],
        cameras: Sequence[str] = ("front",),
        depth: bool = False,
        rendering: Rendering = "rich",
    ) -> None:
        """Prepare.

        Args:
            model: The scene.
            size: Height and width of square frames [px], or those of each camera.
            cameras: Names of the cameras.
            depth: Whether each also gives depth.
            rendering: "rich" has shadows, "fast" has none.
        """
        known = tuple(model.camera(i).name for i in range(model.ncam))
        if not set(cameras) <= set(known):
            raise ValueError(f"cameras must be among {known}, got {tuple(cameras)}")
        self._sizes = {name: size[name] if isinstance(size, Mapping) else (size, size) for name in cameras}
        largest = model.vis.global_.offheight, model.vis.global_.offwidth
        for height, width in self._sizes.values():
            if height > largest[0] or width > largest[1]:
                raise ValueError(f"size must be at most {largest[0]} pixels, got {height}")
        self._model = model
        self._data = mujoco.MjData(model)
        self._cameras = tuple(cameras)
        self._depth = depth
        self._shadows = rendering == "rich"
        self._renderers: dict[Size, mujoco.Renderer] = {}
        _alive.add(self)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_renderers": {}}  # a copy makes graphics contexts of its own

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        _alive.add(self)

    def observe(self, qpos: Array, model: mujoco.MjModel | None = None) -> dict[str, NDArray[np.generic]]:
        """Frames (H, W, 3) uint8 by observation key, and depth (H, W, 1) [m] where asked for."""
        model = self._place(qpos, model)
        entries: dict[str, NDArray[np.generic]] = {}
        for camera in self._cameras:
            entries[image_key(camera)] = self._draw(camera, model)
            if self._depth:
                entries[depth_key(camera)] = self._draw_depth(camera, model)
        return entries

    def frame(self, qpos: Array, camera: str = "front", model: mujoco.MjModel | None = None) -> NDArray[np.uint8]:
        """One frame (H, W, 3)."""
        return self._draw(camera, self._place(qpos, model))

    def camera_info(self, qpos: Array) -> dict[str, Camera]:
        """Where the cameras are and how they project; the wrist camera moves with the arm."""
        self._place(qpos, None)
        return {
            name: Camera(
                position=self._data.camera(name).xpos.copy(),
                rotation=self._data.camera(name).xmat.reshape(3, 3).copy(),
                fovy=float(self._model.camera(name).fovy[0]),
                height=self._sizes[name][0],
                width=self._sizes[name][1],
                moving=bool(self._model.body_weldid[self._model.camera(name).bodyid[0]]),
            )
            for name in self._cameras
        }

    def close(self) -> None:
        """Free the graphics contexts; a later frame makes a new one."""
        while self._renderers:
            self._renderers.popitem()[1].close()

    def abandon(self) -> None:
        """Let go of the graphics contexts of a parent process, untouched; a later frame makes a new one."""
        _abandoned.extend(self._renderers.values())
        self._renderers = {}

    def _place(self, qpos: Array, model: mujoco.MjModel | None) -> mujoco.MjModel:
        model = model or self._model
        self._data.qpos[:] = qpos
        mujoco.mj_kinematics(model, self._data)
        mujoco.mj_camlight(model, self._data)
        return model

    def _draw(self, camera: str, model: mujoco.MjModel) -> NDArray[np.uint8]:
        renderer = self._aim(camera, model)
        frame: NDArray[np.uint8] = renderer.render().copy()
        return frame

    def _draw_depth(self, camera: str, model: mujoco.MjModel) -> NDArray[np.float32]:
        renderer = self._aim(camera, model)
        renderer.enable_depth_rendering()
        try:
            depth: NDArray[np.float32] = renderer.render()[..., None].clip(0.0, MAX_DEPTH)
            return depth
        finally:
            renderer.disable_depth_rendering()

    def _aim(self, camera: str, model: mujoco.MjModel) -> mujoco.Renderer:
        size = self._sizes[camera]
        if size not in self._renderers:
            open_display()
            renderer = mujoco.Renderer(self._model, *size)
            renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = self._shadows
            renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = self._shadows
            self._renderers[size] = renderer
        view = mujoco.MjvCamera()
        view.type, view.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, model.camera(camera).id
        option, everything, scene = mujoco.MjvOption(), mujoco.mjtCatBit.mjCAT_ALL.value, self._renderers[size].scene
        mujoco.mjv_updateScene(model, self._data, option, None, view, everything, scene)
        return self._renderers[size]


_alive: WeakSet[FrameRenderer] = WeakSet()
_abandoned: list[mujoco.Renderer] = []
"""Contexts that this process inherited by a fork: to free them is to draw with threads that it does not have."""


def _after_fork() -> None:
    for renderer in _alive:
        renderer.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
