"""The package is light to import, and imports go one way: core <- envs <- policies."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gwm_sim

ROOT = Path(__file__).parents[1]

DOWNSTREAM = ("gymnasium", "mujoco", "stable_baselines3", "gwm_sim.envs", "gwm_sim.policies")
MAY_LOOK_DOWNSTREAM = {"gwm_sim/__init__.py", "gwm_sim/cli.py"}


def run_python(program: str) -> str:
    """Run a program in a fresh interpreter in the checkout and return what it printed."""
    command = [sys.executable, "-W", "error", "-c", program]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def sources(folder: str) -> list[Path]:
    """List the modules of a top-level folder, without those behind the links gwm_sim/envs and gwm_sim/policies."""
    return [path for path in sorted((ROOT / folder).rglob("*.py")) if path.resolve() == path]


def imported_modules(path: Path) -> Iterator[str]:
    """Yield every module that a source file imports, at the top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}:{node.lineno}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def forbidden_imports(folder: str, forbidden: tuple[str, ...]) -> list[str]:
    """List the imports in a folder that name one of the forbidden packages or something inside it."""
    return [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in sources(folder)
        if str(path.relative_to(ROOT)) not in MAY_LOOK_DOWNSTREAM
        for module in imported_modules(path)
        if any(f"{module}.".startswith(f"{package}.") for package in forbidden)
    ]


def test_core_imports_nothing_downstream() -> None:
    assert forbidden_imports("gwm_sim", DOWNSTREAM) == []


def test_envs_import_no_policies() -> None:
    assert forbidden_imports("envs", ("gwm_sim.policies", "stable_baselines3")) == []


def test_core_works_without_optional_packages() -> None:
    core = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sources("gwm_sim")]
    run_python(f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {{"gymnasium", "mujoco", "stable_baselines3", "cv2", "scipy"}}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
from importlib import import_module
for module in {core}:
    import_module(module.removesuffix(".__init__"))
""")


def test_import_is_light() -> None:
    seconds, loaded = run_python("""
import sys, time
start = time.process_time()
import gwm_sim
print(time.process_time() - start)
print(*{"torch", "mujoco", "h5py", "stable_baselines3"} & set(sys.modules))
""").split("\n")[:2]
    assert loaded == ""
    assert float(seconds) < 0.5


def test_import_registers_the_ids() -> None:
    run_python("""
import gymnasium, gwm_sim
for task, limit in {"Reach": 30, "Grasp": 50, "Stack": 80}.items():
    for world in "MuJoCo", "GWM":
        assert gymnasium.spec(f"{world}-Block{task}-v0").max_episode_steps == limit
assert gymnasium.spec("GWM-World-v0")
""")


@pytest.mark.parametrize("name", gwm_sim.__all__)
def test_public_name_exists(name: str) -> None:
    assert name in dir(gwm_sim)
    assert getattr(gwm_sim, name) is getattr(gwm_sim, name)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'NoSuchName'"):
        _ = gwm_sim.NoSuchName
