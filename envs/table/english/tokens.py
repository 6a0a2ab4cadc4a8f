"""Words of a prompt with their part of speech: numbers with units, fixed phrases, and help with the spelling."""

import re
from dataclasses import dataclass
from typing import Any, Final

from gwm_sim.envs.table.english.words import LONGEST, NOT_HERE, VOCABULARY
from gwm_sim.envs.table.scene import COLOURS, KINDS, MAX_OBJECTS, PROPERTY_RANGES, TASKS
from gwm_sim.extras import missing


@dataclass(frozen=True)
class Token:
    """A word, phrase, number or mark."""

    text: str
    tag: str
    value: Any = None


_UNITS: Final = {
    **dict.fromkeys(("mm", "millimetre", "millimeter"), ("length", 0.001)),
    **dict.fromkeys(("cm", "centimetre", "centimeter"), ("length", 0.01)),
    **dict.fromkeys(("m", "metre", "meter"), ("length", 1.0)),
    **dict.fromkeys(("g", "gram", "gramme"), ("weight", 0.001)),
    **dict.fromkeys(("kg", "kilo", "kilogram"), ("weight", 1.0)),
    **dict.fromkeys(("m/s2", "m/s^2", "m/s²"), ("number", 1.0)),
    **dict.fromkeys(("%", "percent"), ("number", 0.01)),
}
_UNIT: Final = "|".join(re.escape(unit) + ("s?" if unit.isalpha() else "") for unit in sorted(_UNITS, key=len)[::-1])
_NUMBER: Final = r"(?:\d+(?:\.\d+)?|\.\d+)"
_POINT: Final = re.compile(
    rf"(?:\bx\s*=?\s*(-?{_NUMBER})[\s,]*y\s*=?\s*(-?{_NUMBER}))|\(\s*(-?{_NUMBER})\s*,\s*(-?{_NUMBER})\s*\)"
)
_PIECE: Final = re.compile(rf"(-?{_NUMBER})(?:\s*({_UNIT})(?![a-z]))?|([^\W\d_]+(?:'[^\W\d_]+)?)|([.;!?:,()=&])|(\S)")
_CONTRACTIONS: Final = (
    (r"\bcan't\b", "can not"),
    (r"\bwon't\b", "will not"),
    (r"n't\b", " not"),
    (r"\b(it|there|here|that|what)'s\b", r"\1 is"),
)
_MARKS: Final = {
    **dict.fromkeys(".;!?", "stop"),
    ":": "colon",
    "(": "colon",
    ")": "comma",
    ",": "comma",
    "=": "fill",
    "&": "and",
}


def tokens_of(prompt: str) -> tuple[list[Token], dict[str, str]]:
    """The tokens of a prompt, and which words were read as others.

    Raises:
        ValueError: Words that are not understood, with what would be.
        MissingDependency: A word is misspelled, and rapidfuzz is not installed.
    """
    pieces = _pieces(prompt)
    read_as: dict[str, str] = {}
    words: list[str | Token] = []
    for piece in pieces:
        if isinstance(piece, str) and not _known(piece) and (better := _spelled(piece)) is not None:
            read_as[piece] = better
            piece = better
        words.append(piece)
    return _phrases(words), read_as


def _pieces(prompt: str) -> list[str | Token]:
    """Words as they are, numbers and marks as tokens."""
    text = prompt.lower().replace("’", "'")
    for pattern, instead in _CONTRACTIONS:
        text = re.sub(pattern, instead, text)
    text = re.sub(r"(?<=\w)['](?:s\b|(?!\w))", "", text)
    text = re.sub(r"(?<=[a-z])-(?=[a-z])|(?<=\d)-(?=[a-z])|\s-+\s|[\"'`*_]|(?<=[a-z])/(?=[a-z])", " ", text)
    found: list[str | Token] = []
    start = 0
    for point in _POINT.finditer(text):
        found += _plain(text[start : point.start()])
        x, y = (float(number) for number in point.groups() if number is not None)
        found.append(Token(point.group(), "point", (x, y)))
        start = point.end()
    return found + _plain(text[start:])


def _plain(text: str) -> list[str | Token]:
    found: list[str | Token] = []
    for number, unit, word, mark, other in _PIECE.findall(text):
        if word:
            found.append(word)
        elif mark:
            found.append(Token(mark, _MARKS[mark]))
        elif number:
            name = unit if unit in _UNITS else unit.removesuffix("s")
            tag, factor = _UNITS[name] if unit else ("number", 1.0)
            found.append(Token(number + unit, tag, float(number) * factor))
        else:
            found.append(other)
    return found


def _known(word: str) -> bool:
    return word in _WORDS or (word.endswith("ly") and len(word) > 4)


def _phrases(words: list[str | Token]) -> list[Token]:
    """Tokens, of words the longest phrases that are known; raises ValueError for those that are not."""
    found, unknown, i = [], [], 0
    while i < len(words):
        word = words[i]
        if isinstance(word, Token):
            found.append(word)
            i += 1
            continue
        for length in range(min(LONGEST, len(words) - i), 0, -1):
            several = words[i : i + length]
            phrase = " ".join(part for part in several if isinstance(part, str))
            if phrase.count(" ") == length - 1 and phrase in VOCABULARY:
                found.append(Token(phrase, *VOCABULARY[phrase]))
                i += length
                break
        else:
            if not _known(word):
                unknown.append(word)
            i += 1
    if unknown:
        raise ValueError(not_understood(unknown))
    return found


def not_understood(words: list[str]) -> str:
    """What to say of words that mean nothing here."""
    named = ", ".join(repr(word) for word in dict.fromkeys(words))
    about = {NOT_HERE[word] for word in words if word in NOT_HERE} or set(_HELP)
    return (
        f"the prompt has {named}, which is not understood: {'; '.join(_HELP[what] for what in _HELP if what in about)}"
    )


_HELP: Final = {
    "kind": f"objects are 1 to {MAX_OBJECTS} of {', '.join(f'{kind}s' for kind in KINDS)}",
    "colour": f"colours are {', '.join(COLOURS)}",
    "task": f"what can be done is {', '.join(TASKS)}, such as 'stack the red cube on the blue one'",
    "property": f"physics are {', '.join(PROPERTY_RANGES)}, such as 'slippery', 'on the moon', 'very bouncy'",
}
_WORDS: Final = {word for phrase in VOCABULARY for word in phrase.split()} - set(NOT_HERE) | set("()")
# What a typing error may have been meant for: words that say something before those that are left out.
_MEANT: Final = {
    word: VOCABULARY.get(word, ("fill", None))[0] not in ("fill", "robot", "copula") for word in _WORDS if len(word) > 2
}


def _spelled(word: str) -> str | None:
    """The known word that was meant, None if there is none near enough."""
    if word in NOT_HERE or _singular(word) in NOT_HERE or not word.isalpha():
        return None
    try:
        from rapidfuzz.distance import OSA
    except ImportError:
        raise missing("rapidfuzz", f"reading {word!r} in a prompt") from None
    allowed = 0 if len(word) < 3 else 1 if len(word) < 6 else 2
    best: tuple[float, str] | None = None
    for known, says in _MEANT.items():
        distance = OSA.distance(word, known, score_cutoff=allowed)
        if distance > allowed or (word[0] != known[0] and distance > 0 and len(word) < 5):
            continue
        rank = distance - 0.5 * says + 0.2 * (word[0] != known[0]) + 0.01 * abs(len(word) - len(known))
        if best is None or (rank, known) < best:
            best = rank, known
    return None if best is None else best[1]


def _singular(word: str) -> str:
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and word.removesuffix(ending) in NOT_HERE:
            return word.removesuffix(ending)
    return word
