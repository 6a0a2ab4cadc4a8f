"""Camera frames of the scene as a function of its generalised positions: any row of any simulation can be drawn."""

import os
from collections.abc import Sequence
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


class FrameRenderer:
    """Square frames from chosen cameras. The graphics context is made with the first frame and freed by `close`."""

    def __init__(
        self,
        model: mujoco.MjModel,
        size: int,
        cameras: Sequence[str] = ("front",),
        depth: bool = False,
        rendering: Rendering = "rich",
    ) -> None:
        known = tuple(model.camera(i).name for i in range(model.ncam))
        if not set(cameras) <= set(known):
            raise ValueError(f"cameras must be among {known}, got {tuple(cameras)}")
        if size > (largest := min(model.vis.global_.offheight, model.vis.global_.offwidth)):
            raise ValueError(f"size must be at most {largest} pixels, got {size}")
        self._model = model
        self._data = mujoco.MjData(model)
        self._size = size
        self._cameras = tuple(cameras)
        self._depth = depth
        self._shadows = rendering == "rich"
        self._renderer: mujoco.Renderer | None = None
        _alive.add(self)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_renderer": None}  # a copy makes a graphics context of its own

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        _alive.add(self)

    def observe(self, qpos: Array) -> dict[str, NDArray[np.generic]]:
        """Frames (H, W, 3) uint8 by observation key, and depth (H, W, 1) [m] where asked for."""
        self._place(qpos)
        entries: dict[str, NDArray[np.generic]] = {}
        for camera in self._cameras:
            entries[image_key(camera)] = self._draw(camera)
            if self._depth:
                entries[depth_key(camera)] = self._draw_depth(camera)
        return entries

    def frame(self, qpos: Array, camera: str = "front") -> NDArray[np.uint8]:
        """One frame (H, W, 3)."""
        self._place(qpos)
        return self._draw(camera)

    def camera_info(self, qpos: Array) -> dict[str, Camera]:
        """Where the cameras are and how they project; the wrist camera moves with the arm."""
        self._place(qpos)
        return {
            name: Camera(
                position=self._data.camera(name).xpos.copy(),
                rotation=self._data.camera(name).xmat.reshape(3, 3).copy(),
                fovy=float(self._model.camera(name).fovy[0]),
                height=self._size,
                width=self._size,
                moving=bool(self._model.body_weldid[self._model.camera(name).bodyid[0]]),
            )
            for name in self._cameras
        }

    def close(self) -> None:
        """Free the graphics context; a later frame makes a new one."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def abandon(self) -> None:
        """Let go of the graphics context of a parent process, untouched; a later frame makes a new one."""
        if self._renderer is not None:
            _abandoned.append(self._renderer)
            self._renderer = None

    def _place(self, qpos: Array) -> None:
        self._data.qpos[:] = qpos
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)

    def _draw(self, camera: str) -> NDArray[np.uint8]:
        renderer = self._aim(camera)
        frame: NDArray[np.uint8] = renderer.render().copy()
        return frame

    def _draw_depth(self, camera: str) -> NDArray[np.float32]:
        renderer = self._aim(camera)
        renderer.enable_depth_rendering()
        try:
            depth: NDArray[np.float32] = renderer.render()[..., None].clip(0.0, MAX_DEPTH)
            return depth
        finally:
            renderer.disable_depth_rendering()

    def _aim(self, camera: str) -> mujoco.Renderer:
        if self._renderer is None:
            open_display()
            self._renderer = mujoco.Renderer(self._model, self._size, self._size)
            self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = self._shadows
            self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = self._shadows
        self._renderer.update_scene(self._data, camera=camera)
        return self._renderer


_alive: WeakSet[FrameRenderer] = WeakSet()
_abandoned: list[mujoco.Renderer] = []
"""Contexts that this process inherited by a fork: to free them is to draw with threads that it does not have."""


def _after_fork() -> None:
    for renderer in _alive:
        renderer.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
