"""Commands that the documentation and the recipes tell people to type are commands that `gwm` takes."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from gwm_sim.cli import VERBS, parse

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
RECIPES = tuple(sorted((ROOT / "examples" / "clusters").iterdir()))
FENCE = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
ENDS = {"|", ";", "&", "&&", "||", ">", "2>", ")"}


def commands(text: str) -> Iterator[list[str]]:
    """The words after every `gwm` or `-m gwm_sim`."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        try:
            words = list(lexer)
        except ValueError:  # no shell: an apostrophe of a sentence
            continue
        for i, word in enumerate(words):
            if word == "gwm_sim" and words[i - 1] == "-m" or Path(word).name == "gwm" and words[i + 1 : i + 2]:
                rest = words[i + 1 :]
                yield rest[: next((k for k, end in enumerate(rest) if end in ENDS), len(rest))]


def told() -> Iterator[tuple[str, list[str]]]:
    for page in PAGES:
        blocks = FENCE.findall(page.read_text(encoding="utf-8"))
        yield from ((page.name, words) for block in blocks for words in commands(block))
    for recipe in RECIPES:
        yield from ((recipe.name, words) for words in commands(recipe.read_text(encoding="utf-8")))


if __name__ == "__main__":
    for n, w in told(): print(n, w)
