"""Print the Debian packages behind the system libraries that this machine lacks, nothing when it has them all.

MuJoCo renders through EGL or OSMesa, OpenCV links to libGL and GLib. Libraries are loaded rather than looked up in the
package database, so that ones installed by other means count. Needs only the standard library.
"""

import ctypes
import ctypes.util
import runpy
import sys
from pathlib import Path

OPENCV_LIBRARIES = {"libGL.so.1": "libgl1", "libgthread-2.0.so.0": "libglib2.0-0"}


def can_load(library: str) -> bool:
    """Say whether the dynamic linker finds a library."""
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def missing_packages() -> list[str]:
    """List the packages to install, each once."""
    gl = runpy.run_path(str(Path(__file__).parents[1] / "envs" / "gl.py"))
    packages = [package for library, package in OPENCV_LIBRARIES.items() if not can_load(library)]
    if not (gl["has_display"]() or gl["egl_has_device"]() or ctypes.util.find_library("OSMesa")):
        packages += gl["EGL_PACKAGES"]
    return sorted(set(packages))


if __name__ == "__main__":
    print(*(missing_packages() if sys.platform == "linux" else []))
