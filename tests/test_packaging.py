"""What pyproject.toml says agrees with what is on disk and with what the code imports."""

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from test_imports import imported_modules, sources

ROOT = Path(__file__).parents[1]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())

# Names that differ between the index and the import.
DISTRIBUTION_OF = {
    "cv2": "opencv-python",
    "sb3_contrib": "sb3-contrib",
    "stable_baselines3": "stable-baselines3",
    "yaml": "pyyaml",
}


def distribution(requirement: str) -> str:
    """Reduce a requirement such as `Torch>=2` to the normalised name."""
    name = re.match(r"[\w.-]+", requirement)
    assert name, requirement
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def declared_requirements() -> set[str]:
    """Collect what the package and all of its extras ask for."""
    project = PYPROJECT["project"]
    requirements = [*project["dependencies"], *sum(project["optional-dependencies"].values(), [])]
    return {distribution(requirement) for requirement in requirements} - {"gwm-sim"}


def test_every_package_folder_is_listed() -> None:
    on_disk = set()
    for folder, package in (("gwm_sim", "gwm_sim"), ("envs", "gwm_sim.envs"), ("policies", "gwm_sim.policies")):
        for source in sources(folder):
            on_disk.add(".".join([package, *source.parent.relative_to(ROOT / folder).parts]))
    assert sorted(PYPROJECT["tool"]["setuptools"]["packages"]) == sorted(on_disk)


def test_every_package_folder_has_an_init() -> None:
    folders = {source.parent for folder in ("gwm_sim", "envs", "policies") for source in sources(folder)}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_links_lead_to_the_folders() -> None:
    for folder in ("envs", "policies"):
        assert (ROOT / "gwm_sim" / folder).resolve() == ROOT / folder


def test_every_imported_package_is_declared() -> None:
    first_party = {"gwm_sim", "test_imports"}
    imported = {
        module.partition(".")[0]
        for folder in ("gwm_sim", "envs", "policies")
        for source in sources(folder)
        for module in imported_modules(source)
    }
    third_party = imported - first_party - sys.stdlib_module_names
    assert {distribution(DISTRIBUTION_OF.get(name, name)) for name in third_party} <= declared_requirements()


def test_every_requirement_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {distribution(line): line for line in lines if line and not line.startswith("#")}
    assert declared_requirements() - set(pins) == set()
    # A local version such as 2.13.0+cpu would fit no other machine.
    assert [pin for pin in pins.values() if not re.search(r"==[\w.]+$", pin)] == []
