"""Check the wheel and the sdist in a folder: nothing is missing from them, and each works in an empty environment.

Usage: python scripts/check_distributions.py DIST
"""

import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Folder in the checkout -> where its content goes in the installed package.
SOURCES = {"gwm_sim": "gwm_sim", "envs": "gwm_sim/envs", "policies": "gwm_sim/policies"}


def package_files() -> Iterator[tuple[str, str]]:
    """Yield the path of every file of the package, in the checkout and as installed."""
    for folder, target in SOURCES.items():
        for path in sorted((ROOT / folder).rglob("*")):
            inner = path.relative_to(ROOT / folder)
            if path.is_file() and "__pycache__" not in inner.parts and path.resolve() == path:
                yield f"{folder}/{inner}", f"{target}/{inner}"


def check_contents(wheel: Path, sdist: Path) -> None:
    """Compare the archives with the files in the checkout."""
    in_wheel = set(zipfile.ZipFile(wheel).namelist())
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    missing = [f"{wheel.name}: {installed}" for _, installed in package_files() if installed not in in_wheel]
    missing += [f"{sdist.name}: {source}" for source, _ in package_files() if source not in in_sdist]
    if missing:
        raise SystemExit("\n".join(["missing files (see [tool.setuptools] in pyproject.toml):", *missing]))
    print(f"{wheel.name} and {sdist.name} hold every file of the package", flush=True)


def smoke_test(distribution: Path) -> None:
    """Install a distribution with its core dependencies in a new environment and run the smoke test there."""
    print(f"installing {distribution.name} in an empty environment", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        pip = f"{python} -m pip install --quiet --disable-pip-version-check".split()
        subprocess.run([*pip, str(distribution), "-c", str(ROOT / "constraints.txt")], check=True, cwd=folder)
        subprocess.run([python, ROOT / "scripts" / "smoke_test.py"], check=True, cwd=folder)


def only_file(folder: Path, pattern: str) -> Path:
    """Return the one file that matches."""
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise SystemExit(f"expected one {pattern} in {folder}, found {len(found)}: run `make build`")
    return found[0].resolve()


if __name__ == "__main__":
    dist = Path(sys.argv[1])
    distributions = only_file(dist, "*.whl"), only_file(dist, "*.tar.gz")
    check_contents(*distributions)
    for distribution in distributions:
        smoke_test(distribution)
