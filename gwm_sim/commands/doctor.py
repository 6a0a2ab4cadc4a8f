"""`gwm doctor`: what this machine has for gwm_sim, and a remedy for what it lacks.

Everything outside the core is probed by name, and rendering in a process of its own, because a broken graphics driver
ends the process that touches it.
"""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module, metadata, util
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from gwm_sim import __version__
from gwm_sim.errors import CheckpointError
from gwm_sim.extras import EXTRA_OF_PACKAGE, install_command
from gwm_sim.files import write_json
from gwm_sim.model.threads import rows_for_all, spins

CORE_PACKAGES = ("torch", "numpy", "gymnasium", "h5py", "safetensors", "einops", "tyro", "rich", "av")

ROOT = Path(__file__).parents[1]
"""Folder of the package."""

CHECKPOINT = "gwm-mini"
CHECKPOINT_FILES = ("config.json", "model.safetensors", "README.md", "evaluation.json")

RENDER_PROGRAM = """
from gwm_sim.envs.gl import choose_gl_backend
backend = choose_gl_backend() or "the default of MuJoCo"
import mujoco
scene = '<mujoco><worldbody><light pos="0 0 2"/><geom size=".3" rgba="1 0 0 1"/></worldbody></mujoco>'
model = mujoco.MjModel.from_xml_string(scene)
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 64, 64) as renderer:
    renderer.update_scene(data)
    if not renderer.render().any():
        raise SystemExit(f"{backend} rendered a black image")
print(backend)
"""
RENDER_TIMEOUT = 60.0
"""Longest wait for one 64x64 image, in [s]; software rendering on a busy machine takes a few."""


@dataclass(frozen=True)
class DoctorConfig:
    """Options of `gwm doctor`."""

    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the findings to this file as well."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for."""

    name: str
    value: str
    """What was found, in words."""
    found: bool = True
    required: bool = False
    """Whether gwm_sim cannot work without it."""
    remedy: str = ""
    """What to do when it was not found."""


def main(config: DoctorConfig) -> int:
    """Print the findings; the exit code is 1 when something is missing that gwm_sim cannot work without."""
    findings = list(examine())
    _print(findings)
    if config.json is not None:
        write_json(config.json, {finding.name: asdict(finding) for finding in findings})
    return int(any(finding.required and not finding.found for finding in findings))


def examine() -> Iterator[Finding]:
    """Look at everything that gwm_sim uses, in the order in which it is printed."""
    yield Finding("gwm_sim", f"{__version__} in {ROOT}")
    yield Finding("python", f"{platform.python_version()} in {sys.prefix}")
    yield Finding("system", platform.platform())
    for package in CORE_PACKAGES:
        yield _core_package(package)
    distributions = metadata.packages_distributions()
    for package in EXTRA_OF_PACKAGE:
        yield _optional_package(package, distributions.get(package, []))
    # In a container a process may use fewer cores than the machine has.
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    yield Finding("cores", f"{cores} usable, torch uses {torch.get_num_threads()}")
    yield _threads()
    yield _bfloat16()
    yield _gpu()
    yield _rendering()
    yield _cameras()
    yield _checkpoint()


def _core_package(package: str) -> Finding:
    try:
        return Finding(package, metadata.version(package), required=True)
    except metadata.PackageNotFoundError:
        return Finding(package, "missing", found=False, required=True, remedy=f"pip install {package}")


def _optional_package(package: str, distributions: Sequence[str]) -> Finding:
    """Look for a package by the name under which it is imported, and which several distributions may bring."""
    if util.find_spec(package) is None:
        return Finding(package, "missing", found=False, remedy=install_command(package))
    return Finding(package, metadata.version(distributions[0]) if distributions else "of unknown version")


def _threads() -> Finding:
    """Say with how many threads a shipped model computes, as it does in environments and planners."""
    given = torch.get_num_threads()
    if given == 1:
        return Finding("threads", "1: torch is given no more")
    try:
        from gwm_sim.model.world_model import WorldModel  # late: what it needs may be missing, as is said above

        work = WorldModel.load(CHECKPOINT, "cpu").work
    except (CheckpointError, ModuleNotFoundError):
        return Finding("threads", f"1 for a few rows, {given} for many")
    rows = {part: rows_for_all(of_row) for part, of_row in work.items()}
    between = "spin" if spins(os.environ) else "sleep"
    return Finding(
        "threads",
        f"{CHECKPOINT} computes with 1, and with all {given} from {rows['picture']} rows for pictures, "
        f"{rows['decoding']} to decode them, {rows['step']} for the rest; they {between} between operations",
    )


def _bfloat16() -> Finding:
    """Measure matrix products: whether bfloat16 pays off on a CPU shows in the numbers, not in its name."""
    full, half = (_matrix_speed(dtype) for dtype in (torch.float32, torch.bfloat16))
    speeds = f"{half:.0f} GFLOP/s in bfloat16, {full:.0f} in float32"
    if half > full:
        return Finding("bfloat16", f"{speeds}: training on this CPU gains from it")
    return Finding("bfloat16", speeds, found=False, remedy="none needed: this CPU trains faster in float32")


def _matrix_speed(dtype: torch.dtype, size: int = 512, repeats: int = 20) -> float:
    """Measure the best of a few square matrix products in [GFLOP/s]."""
    matrix = torch.ones(size, size, dtype=dtype)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - start)
    return float(2 * size**3 / min(seconds) / 1e9)


def _gpu() -> Finding:
    if not torch.cuda.is_available():
        return Finding("gpu", "none that torch can use", found=False, remedy="none needed: everything runs on the CPU")
    devices = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    names = ", ".join(f"{device.name} ({device.total_memory / 2**30:.0f} GiB)" for device in devices)
    return Finding("gpu", f"{names}; bfloat16 {'yes' if torch.cuda.is_bf16_supported() else 'no'}")


def _rendering() -> Finding:
    """Render a 64x64 image of a ball in another process."""
    if util.find_spec("mujoco") is None:
        return Finding("rendering", "not tried: MuJoCo is missing", found=False, remedy=install_command("mujoco"))
    start = time.perf_counter()
    command = [sys.executable, "-c", RENDER_PROGRAM]
    try:
        talk: dict[str, Any] = {"capture_output": True, "encoding": "utf-8", "errors": "replace"}
        probe = subprocess.run(command, **talk, timeout=RENDER_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return _broken_rendering(f"no image after {RENDER_TIMEOUT:.0f} s")
    if probe.returncode != 0:
        last_line = (probe.stderr.strip().splitlines() or ["no message"])[-1]
        return _broken_rendering(f"failed with exit code {probe.returncode}: {last_line}")
    seconds = time.perf_counter() - start
    return Finding("rendering", f"{probe.stdout.strip()}: a 64x64 image rendered in {seconds:.1f} s from a cold start")


def _broken_rendering(value: str) -> Finding:
    packages = " ".join(import_module("gwm_sim.envs.gl").EGL_PACKAGES)
    remedy = f"sudo apt-get install {packages}; then try MUJOCO_GL=egl or MUJOCO_GL=osmesa"
    return Finding("rendering", value, found=False, remedy=remedy)


def _cameras() -> Finding:
    nodes = sorted(Path("/dev").glob("video*"))
    if not nodes:
        return Finding("cameras", "none in /dev/video*", found=False, remedy="needed for live use only: plug one in")
    names = ", ".join(map(str, nodes))
    if util.find_spec("cv2") is None:
        return Finding("cameras", f"{names}, not tried", found=False, remedy=install_command("cv2"))
    readable = [str(node) for node in nodes if _gives_frames(node)]
    if not readable:
        remedy = "close the program that holds it, or join its group: sudo usermod -aG video $USER"
        return Finding("cameras", f"{names}, none gives frames", found=False, remedy=remedy)
    return Finding("cameras", ", ".join(readable))


def _gives_frames(node: Path) -> bool:
    capture = import_module("cv2").VideoCapture(str(node))
    try:
        return bool(capture.isOpened() and capture.read()[0])
    finally:
        capture.release()


def _checkpoint() -> Finding:
    folder = ROOT / "pretrained" / CHECKPOINT
    missing = [name for name in CHECKPOINT_FILES if not (folder / name).is_file()]
    if missing:
        remedy = "reinstall gwm-sim, or train one: gwm train --data FILE --out FOLDER"
        return Finding(CHECKPOINT, f"{folder} lacks {', '.join(missing)}", found=False, required=True, remedy=remedy)
    megabytes = sum((folder / name).stat().st_size for name in CHECKPOINT_FILES) / 1e6
    return Finding(CHECKPOINT, f"{folder} ({megabytes:.0f} MB)", required=True)


def _print(findings: list[Finding]) -> None:
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        mark = "ok" if finding.found else "MISSING" if finding.required else "-"
        print(f"{mark:<8}{finding.name:<{width}}  {finding.value}")
        if not finding.found:
            print(f"{'':<8}{'':<{width}}  -> {finding.remedy}")
