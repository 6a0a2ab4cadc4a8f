"""Choose how MuJoCo renders on a machine without a display.

MuJoCo reads `MUJOCO_GL` once, when it is imported, and its default needs a window system. This module sets the variable
before that: EGL where a driver offers it (graphics card or Mesa's software renderer), then OSMesa. It uses the
standard library only, so that it can also run before anything is installed.
"""

import ctypes
import ctypes.util
import importlib
import os
import sys
from typing import Any

EGL_PACKAGES = ("libegl1", "libegl-mesa0", "libgl1", "libgl1-mesa-dri")
OSMESA_PACKAGES = ("libosmesa6",)

# Where MuJoCo keeps the class that it picked when it was imported, and the display that all its contexts share.
_CONTEXT_MODULE = "mujoco.rendering.classic.gl_context"
_EGL_MODULE = "mujoco.egl"
_SURFACELESS = 0x31DD  # EGL_PLATFORM_SURFACELESS_MESA

_drawing = False
"""Whether this process draws through `open_display`."""
_left_behind: list[Any] = []
"""Displays of the processes that this one descends from by forks; None where the back end has none."""


def choose_gl_backend() -> str | None:
    """Set `MUJOCO_GL` when nobody did and there is no display; call it before MuJoCo is used.

    Returns:
        The back end in force: the user's own choice, "egl" or "osmesa", or None where MuJoCo's default works (a
        display, or a system other than Linux).

    Raises:
        MissingDependency: Neither EGL nor OSMesa is installed; the message names the packages.
    """
    if chosen := os.environ.get("MUJOCO_GL"):
        return chosen
    if sys.platform != "linux" or has_display():
        return None
    if egl_has_device():
        backend = "egl"
    elif ctypes.util.find_library("OSMesa"):
        backend = "osmesa"
    else:
        from gwm_sim.errors import MissingDependency  # late: this file also runs before the package is installed

        raise MissingDependency(
            "MuJoCo cannot render: this machine has no display, no EGL device and no OSMesa. Install Mesa's: "
            f"`sudo apt-get install {' '.join(EGL_PACKAGES)}` (or {OSMESA_PACKAGES[0]})."
        )
    os.environ["MUJOCO_GL"] = backend
    if _CONTEXT_MODULE in sys.modules:  # the user imported mujoco first: let it read the variable again
        importlib.reload(sys.modules[_CONTEXT_MODULE])
    return backend


class ForkedGraphics(RuntimeError):
    """A forked process cannot draw because its parent has."""


def open_display() -> None:
    """Make sure that this process can draw; call it before a graphics context is made.

    Drivers draw with threads, and `fork` leaves those in the parent: a child that draws with what it inherits waits for
    ever. Mesa's software renderer knows a second platform beside the devices, which a child can open for itself.

    Raises:
        ForkedGraphics: The parent has drawn, and this driver knows no second way.
    """
    global _drawing
    egl = sys.modules.get(_EGL_MODULE)
    if _left_behind and getattr(egl, "EGL_DISPLAY", None) is None:
        display = _surfaceless_display(egl) if len(_left_behind) == 1 and egl is not None else None
        if display is None:
            raise ForkedGraphics(
                "This process was forked from one that had drawn pictures, which its graphics driver does not survive: "
                'draw nothing before, or start processes by "spawn", as in vector_kwargs={"context": "spawn"} of '
                "gymnasium.make_vec."
            )
        vars(egl)["EGL_DISPLAY"] = display
    _drawing = True


def _surfaceless_display(egl: Any) -> Any:
    """A display that the parent did not open, by the same vendor and so with the same pictures; None without one."""
    calls = egl.EGL
    try:
        display = calls.eglGetPlatformDisplayEXT(_SURFACELESS, None, None)
        if not display or not calls.eglInitialize(display, None, None):
            return None
        vendors = [calls.eglQueryString(shown, calls.EGL_VENDOR) for shown in (display, _left_behind[0])]
    except calls.error.Error:
        return None
    return display if vendors[0] == vendors[1] else None


def _after_fork() -> None:
    """Let go of the parent's display: ending it would wait for its threads, too."""
    global _drawing
    egl = sys.modules.get(_EGL_MODULE)
    display = getattr(egl, "EGL_DISPLAY", None)
    if display is not None:
        vars(egl)["EGL_DISPLAY"] = None
    if display is not None or _drawing:
        _left_behind.append(display)
    _drawing = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def has_display() -> bool:
    """Say whether a window system is reachable by the environment's word."""
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def egl_has_device() -> bool:
    """Ask EGL for its devices: the library alone is not enough, a driver must be behind it."""
    try:
        egl = ctypes.CDLL("libEGL.so.1")
    except OSError:
        return False
    egl.eglGetProcAddress.restype = ctypes.c_void_p
    egl.eglGetProcAddress.argtypes = [ctypes.c_char_p]
    address = egl.eglGetProcAddress(b"eglQueryDevicesEXT")
    if not address:
        return False
    query_devices = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(address)
    count = ctypes.c_int(0)
    return bool(query_devices(0, None, ctypes.byref(count))) and count.value > 0
