"""The rules of the house that CONTRIBUTING states: where things are, who may import whom, how large a room gets."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from test_imports import ROOT, imported_modules, sources

MOST_MODULES = 15  # of a folder, beside __init__.py
MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 60

LAYERS = (
    {"arrays", "errors", "extras", "files", "forks", "progress", "protocol", "storage"},
    {"media"},
    {"data"},
    {"model"},
    {"evaluation"},
    {"training"},
    {"export"},
    {"commands", "cli", "testing"},
    {"envs"},
    {"policies"},
)
"""What may import what: anything from its own layer and from those before it."""

LOOKS_DOWNSTREAM = {"gwm_sim", "gwm_sim.__main__"}
MOVED = {"gwm_sim.imagination", "gwm_sim.world_model", "gwm_sim.importers", "gwm_sim.importers.pictures"}
"""Documented names from before the folders, which lead to where things are now."""


def modules() -> dict[str, Path]:
    """All modules of the package by name."""
    found = {}
    for folder, package in (("gwm_sim", "gwm_sim"), ("envs", "gwm_sim.envs"), ("policies", "gwm_sim.policies")):
        for path in sources(folder):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join([package, *parts]).removesuffix(".__init__")] = path
    return found


def imports() -> dict[str, set[str]]:
    """Modules of the package that each imports, anywhere in it; of a package folder what its `__init__` does."""
    known = modules()
    graph = {}
    for name, path in known.items():
        told = set(imported_modules(path))
        # `from package import module` also names the package, of which nothing but the module is wanted.
        graph[name] = {module for module in told if module in known and module != name}
        graph[name] -= {
            module for module in graph[name] if any(other.startswith(f"{module}.") for other in graph[name])
        }
    return graph


def layer_of(module: str) -> int:
    """Number of the layer that a module lies in."""
    room = module.removeprefix("gwm_sim.").partition(".")[0]
    return next(number for number, rooms in enumerate(LAYERS) if room in rooms)


def test_imports_go_one_way_between_folders() -> None:
    upward = [
        f"{name} imports {module}"
        for name, told in imports().items()
        if name not in LOOKS_DOWNSTREAM | MOVED
        for module in sorted(told - LOOKS_DOWNSTREAM)
        if layer_of(module) > layer_of(name)
    ]
    assert upward == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name: told - LOOKS_DOWNSTREAM for name, told in imports().items() if name not in LOOKS_DOWNSTREAM}
    while ends := [
        name for name in graph if not graph[name] & graph.keys() or not any(name in told for told in graph.values())
    ]:
        for name in ends:
            del graph[name]
    assert {name: sorted(told & graph.keys()) for name, told in graph.items()} == {}


def test_no_folder_is_crowded() -> None:
    folders = [path.parent for path in modules().values() if path.name != "__init__.py"]
    counts = {str(folder.relative_to(ROOT)): folders.count(folder) for folder in folders}
    assert {folder: count for folder, count in counts.items() if count > MOST_MODULES} == {}


def test_no_module_is_long() -> None:
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in modules().items()}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Functions of a module and the lines that they take."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - node.lineno + 1


def test_no_function_is_long() -> None:
    lengths = {f"{name}.{told}": lines for name, path in modules().items() for told, lines in functions(path)}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES_OF_A_FUNCTION} == {}


def test_the_block_world_is_in_rooms_called_blocks() -> None:
    words = re.compile(r"\bcubes?\b|\bgripper_opening\b|\bred_cube\b|\bMuJoCo-Block", re.IGNORECASE)
    told = {
        name: sorted(set(words.findall(path.read_text(encoding="utf-8"))))
        for name, path in modules().items()
        if not name.startswith(("gwm_sim.envs", "gwm_sim.policies"))
    }
    told.pop("gwm_sim.data.schema")  # which finds the gripper of older files by the name that it had in them
    assert {name: found for name, found in told.items() if found} == {}


def unencoded(path: Path) -> Iterator[int]:
    """Lines that read or write text in whatever encoding the locale has."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if not isinstance(node, ast.Call):
            continue
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        modes = [*node.args[isinstance(node.func, ast.Name) :][:1], *[given[key] for key in ("mode",) if key in given]]
        mode = next((str(m.value) for m in modes if isinstance(m, ast.Constant)), None)
        opens = name in ("open", "fdopen") and (
            isinstance(node.func, ast.Name) or (mode is not None and set(mode) <= set("rwaxbt+"))
        )
        text = name == "read_text" or (name == "write_text" and isinstance(node.func, ast.Attribute))
        starts = name in ("run", "Popen", "check_output", "NamedTemporaryFile")
        text |= opens and "b" not in (mode or "r")
        text |= starts and bool(given.keys() & {"text", "universal_newlines"})
        if text and "encoding" not in given:
            yield node.lineno


def test_text_is_utf_8_in_every_locale() -> None:
    programs = {f"{folder}/{path.name}": path for folder in ("benchmarks", "examples") for path in sources(folder)}
    found = {name: list(unencoded(path)) for name, path in (modules() | programs).items()}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_text_without_an_encoding_is_found(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        "open('a')\nopen('a', 'rb')\nopen('a', 'w', encoding='utf-8')\np.open('w')\np.open('rb')\np.read_text()\n"
        "p.write_text('x')\nsubprocess.run(c, text=True)\nav.open('film')\nopen('a', mode='w')\nwrite_text(p, 'x')\n",
        encoding="utf-8",
    )
    assert sorted(unencoded(path)) == [1, 4, 6, 7, 8, 10]
