"""Commands that the documentation and the recipes of clusters tell people to type are commands that `gwm` takes."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from gwm_sim.cli import VERBS, parse
from gwm_sim.errors import GwmError

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
RECIPES = tuple(sorted((ROOT / "examples" / "clusters").iterdir()))
FENCE = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
INDENTED_COMMENT = re.compile(r"^#   ", re.MULTILINE)  # a command to type, above a recipe
ENDS = re.compile(r"[|;&<>()]+")
MEANT = {"FORMAT": "folder"}  # words that stand for others


def commands(text: str) -> Iterator[list[str]]:
    """The words after every `gwm`, also within quotes."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        try:
            words = list(lexer)
        except ValueError:  # a sentence with an apostrophe
            continue
        for i, word in enumerate(words):
            if " " in word:
                yield from commands(word)
            elif word == "gwm" or word == "gwm_sim" and words[i - 1] == "-m":
                rest = words[i + 1 :]
                yield rest[: next((k for k, word in enumerate(rest) if ENDS.fullmatch(word)), len(rest))]


def told() -> Iterator[tuple[str, list[str]]]:
    """Every command with the name of the file that tells it."""
    for page in PAGES:
        for block in FENCE.findall(page.read_text(encoding="utf-8")):
            yield from ((page.name, words) for words in commands(block))
    for recipe in RECIPES:
        text = INDENTED_COMMENT.sub("", recipe.read_text(encoding="utf-8"))
        found = (words for words in commands(text) if words and words[0] in VERBS and "$@" not in words)
        yield from ((recipe.name, words) for words in found)


@pytest.mark.parametrize(("file", "words"), [pytest.param(*one, id=f"{one[0]}-{' '.join(one[1])}") for one in told()])
def test_told_commands_are_taken(file: str, words: list[str]) -> None:
    try:
        parse(words[0], [MEANT.get(word, word) for word in words[1:]])
    except (GwmError, SystemExit) as error:
        pytest.fail(f"{file} tells to type `gwm {shlex.join(words)}`: {error}")


def test_commands_are_found_wherever_they_are_told() -> None:
    text = """
gwm inspect a.hdf5   # gwm label
docker run gwm-sim gwm eval --model m > log && gwm doctor
sh -c 'gwm train --data $DATA \\
    --out b && cp -r b c'
torchrun -m gwm_sim train "$@"
"""
    assert [" ".join(words) for words in commands(text)] == [
        "inspect a.hdf5",
        "eval --model m",
        "doctor",
        "train --data $DATA --out b",
        "train $@",
    ]
    assert {file for file, _ in told()} >= {"README.md", "scale.md", "Dockerfile", "ray.sbatch", "sky.yaml"}
