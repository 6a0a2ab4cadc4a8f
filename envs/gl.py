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

EGL_PACKAGES = ("libegl1", "libegl-mesa0", "libgl1", "libgl1-mesa-dri")
OSMESA_PACKAGES = ("libosmesa6",)

# Where MuJoCo keeps the class that it picked when it was imported.
_CONTEXT_MODULE = "mujoco.rendering.classic.gl_context"


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
