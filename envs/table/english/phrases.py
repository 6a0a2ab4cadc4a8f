"""Phrases of a prompt: what is said of physics, and noun phrases such as "a small red cube" or "the blue one"."""

from dataclasses import dataclass, field
from typing import Any, Final

from gwm_sim.envs.table.english.tokens import Token


@dataclass
class Mention:
    """A noun phrase: which objects are meant, and what is said of them."""

    count: int | None = None
    det: str | None = None  # "a", "the" or none
    universal: bool = False
    other: bool = False
    ordinal: int | None = None
    kind: str | None = None  # None where it is to be understood from others
    plural: bool = False
    one: bool = False  # "the red one"
    colour: str | None = None
    place: str | None = None
    degrees: dict[str, float] = field(default_factory=dict)
    """Degree of each attribute that an adjective tells: 1 is what it says, 2 very much of it, negative the contrary."""
    values: dict[str, float] = field(default_factory=dict)
    """Attributes told as numbers."""

    @property
    def is_attribute(self) -> bool:
        """Whether it may be said of something ("is very bouncy") in place of naming it."""
        named = self.det or self.count or self.kind or self.one or self.other or self.ordinal
        return not named and bool(self.colour or self.degrees or self.values)

    @property
    def is_new(self) -> bool:
        """Whether it speaks of what was not spoken of."""
        return self.det == "a" or (self.count is not None and self.det is None)


@dataclass(frozen=True)
class Setting:
    """A property with a number, or with a degree of its ordinary value."""

    name: str
    value: float | None = None
    degree: float | None = None
    times: float | None = None
    manner: bool = False  # told by how something bounces


Node = Token | Mention | Setting

_BETWEEN: Final = ("fill", "copula", "of", "to", "at", "colon", "has", "det", "property", "on")
_CONTENT: Final = ("colour", "adjective", "kind")
_STARTS: Final = (*_CONTENT, "det", "number", "other", "ordinal", "one", "degree", "length", "weight", "place", "not")


def degree_of(word: float, modifier: Token | None) -> float:
    """Degree of an adjective after "very", "slightly" or "not"."""
    if modifier is None:
        return word
    sign = 1.0 if word > 0 else -1.0
    if modifier.tag == "not" or modifier.value == 0:
        return -sign
    return 2.0 * sign if modifier.value > 0 else 0.5 * sign


def nodes_of(tokens: list[Token]) -> list[Node]:
    """Settings, mentions, and the tokens that are neither."""
    return _Chunker(_settings(tokens)).nodes()


def _settings(tokens: list[Token]) -> list[Token | Setting]:
    found: list[Token | Setting] = []
    i = 0
    while i < len(tokens):
        matched = None
        for rule in (_before_property, _after_property, _planet, _surface, _bounce):
            if (matched := rule(tokens, i)) is not None:
                break
        if matched is None:
            found.append(tokens[i])
            i += 1
            continue
        i, added = matched
        if isinstance(added[0], Setting) and added[0].name == "gravity":  # "on the moon", "like on Mars"
            while found and isinstance(found[-1], Token) and found[-1].tag in ("on", "at", "det", "with", "to"):
                found.pop()
        found += added
    return found


Match = tuple[int, list[Token | Setting]] | None


def _tag(tokens: list[Token], i: int) -> str:
    return tokens[i].tag if 0 <= i < len(tokens) else "end"


def _amount(tokens: list[Token], i: int, name: str) -> tuple[int, Setting] | None:
    """A number, degree or planet at a place, and the place after it."""
    modifier = None
    while _tag(tokens, i) in ("degree", "not"):
        modifier, i = tokens[i], i + 1
    token = tokens[i] if i < len(tokens) else None
    if token is None:
        return None
    if token.tag == "number":
        return i + 1, Setting(name, value=float(token.value))
    if token.tag == "level":
        return i + 1, Setting(name, degree=degree_of(token.value, modifier) if token.value else 0.0)
    if token.tag == "adjective" and token.value[0] in ("size", "mass"):
        return i + 1, Setting(name, degree=degree_of(token.value[1], modifier))
    if token.tag == "times":
        return i + 1, Setting(name, times=token.value)
    if token.tag == "gravity" and name == "gravity":
        return i + 1, Setting(name, value=token.value)
    return None


def _before_property(tokens: list[Token], i: int) -> Match:
    """Such as "very low friction", "0.3 friction", "half gravity", "no bounce", "Mars gravity"."""
    for ahead in range(i + 1, min(i + 5, len(tokens))):
        token = tokens[ahead]
        noun = token.tag == "property" or (token.tag == "verb" and token.value == "bounce")
        if not noun:
            if token.tag not in ("level", "number", "times", "adjective", "degree", "fill", "gravity", "of"):
                return None
            continue
        name = token.value if token.tag == "property" else "bounciness"
        amount = _amount(tokens, i, name)
        if amount is None or (token.tag == "verb" and tokens[i].tag == "number" and tokens[i].value >= 1):
            return None
        if any(between.tag not in ("fill", "of") for between in tokens[amount[0] : ahead]):
            return None
        again = _amount(tokens, _skip(tokens, ahead + 1), name) if token.tag == "property" else None
        if again is not None and tokens[i].tag == "number" and float(tokens[i].value).is_integer():
            return None
        return ahead + 1, [amount[1]]
    return None


def _skip(tokens: list[Token], i: int) -> int:
    while _tag(tokens, i) in _BETWEEN:
        i += 1
    return i


def _after_property(tokens: list[Token], i: int) -> Match:
    """Such as "friction 0.3", "friction is very low", "gravity like on Mars"."""
    if _tag(tokens, i) != "property":
        return None
    amount = _amount(tokens, _skip(tokens, i + 1), tokens[i].value)
    return None if amount is None else (amount[0], [amount[1]])


def _planet(tokens: list[Token], i: int) -> Match:
    return (i + 1, [Setting("gravity", value=tokens[i].value)]) if _tag(tokens, i) == "gravity" else None


def _surface(tokens: list[Token], i: int) -> Match:
    """Such as "on ice", "a slippery table", "the table is very slippery"."""
    if _tag(tokens, i) == "surface" and tokens[i].value is not None:
        name, degree = tokens[i].value
        return i + 1, [Setting(name, degree=degree), Token("", "surface")]
    j, modifier = i, None
    on_surface = _tag(tokens, i) == "surface"
    if on_surface:
        j += 1
        while _tag(tokens, j) in ("copula", "fill", "has", "det"):
            j += 1
        if j == i + 1:
            return None
    while _tag(tokens, j) in ("degree", "not"):
        modifier, j = tokens[j], j + 1
    if _tag(tokens, j) != "adjective" or tokens[j].value[0] not in ("friction", "bounciness"):
        return None
    name, degree = tokens[j].value
    setting = Setting(name, degree=degree_of(degree, modifier))
    if on_surface:
        return j + 1, [setting]
    return (j + 2, [setting, Token("", "surface")]) if _tag(tokens, j + 1) == "surface" else None


def _bounce(tokens: list[Token], i: int) -> Match:
    """Such as "hardly bounces", "does not bounce", "bounces really high"."""
    j = i
    while _tag(tokens, j) in ("degree", "not", "fill") and j < i + 3:
        j += 1
    if _tag(tokens, j) != "verb" or tokens[j].value != "bounce":
        return None
    before = [token for token in tokens[i:j] if token.tag in ("degree", "not")]
    if before and (before[0].tag == "not" or before[0].value == 0):
        return j + 1, [Setting("bounciness", degree=-1.0, manner=True), tokens[j]]
    if j > i:
        return None
    k, strong = j + 1, 1.0
    while _tag(tokens, k) in ("degree", "fill"):
        strong, k = (2.0 if tokens[k].tag == "degree" else strong), k + 1
    if _tag(tokens, k) == "much" or (_tag(tokens, k) == "level" and tokens[k].value != 0):
        low = tokens[k].tag == "level" and tokens[k].value < 0
        return k + 1, [Setting("bounciness", degree=-1.0 if low else strong, manner=True), tokens[j]]
    return None


class _Chunker:
    """Finds noun phrases among tokens."""

    def __init__(self, items: list[Token | Setting]) -> None:
        self.items = items

    def nodes(self) -> list[Node]:
        found: list[Node] = []
        i = 0
        while i < len(self.items):
            j, mention = self._mention(i)
            if mention is None:
                found.append(self.items[i])
                i += 1
            else:
                found.append(mention)
                i = j
        _share_kinds(found)
        return found

    def _at(self, i: int) -> Token:
        item = self.items[i] if i < len(self.items) else None
        return item if isinstance(item, Token) else Token("", "end")

    def _next_content(self, i: int) -> str:
        while self._at(i).tag in ("fill", "degree"):
            i += 1
        return self._at(i).tag

    def _mention(self, i: int) -> tuple[int, Mention | None]:
        if self._at(i).tag not in _STARTS:
            return i, None
        mention, begun = Mention(), i
        while (after := self._word(i, mention, i == begun)) is not None:
            i = after
            if mention.kind is not None and self._at(i).tag != "kind":
                break
            if mention.one:
                break
        named = mention.kind or mention.one or mention.colour or mention.degrees or mention.values
        counted = mention.count is not None and self._at(i).tag == "of"
        if not (named or counted or mention.other or mention.ordinal or mention.universal):
            return begun, None
        return i, mention

    def _word(self, i: int, mention: Mention, first: bool) -> int | None:
        """Take in one word; the place after it, None where the phrase has ended."""
        token = self._at(i)
        rest = (i + 1, self._next_content(i + 1))
        if token.tag in ("kind", "colour", "adjective", "degree", "not"):
            return self._describe(i, mention)
        if token.tag == "det" and (first or mention.universal):
            mention.det, mention.universal = token.value, mention.universal or token.text.startswith(("all", "every"))
            return i + 1
        if token.tag == "number" and mention.count is None and not _described(mention):
            if float(token.value).is_integer() and (rest[1] in (*_CONTENT, "of", "other", "length", "weight", "one")):
                mention.count = int(token.value)
                return i + 1
        if token.tag == "other":
            mention.other = True
            return i + 1
        if token.tag == "ordinal" and rest[1] in ("kind", "one", "on", "adjective", "colour", "end", "copula", "stop"):
            mention.ordinal = token.value
            return i + 1
        if token.tag == "one":
            if first and rest[1] in _CONTENT:
                mention.count = 1
            else:
                mention.one, mention.plural = True, token.text == "ones"
            return i + 1
        if token.tag == "place" and rest[1] in ("kind", "one", "colour") and mention.det is not None:
            mention.place = token.value
            return i + 1
        if token.tag in ("length", "weight") and rest[1] in _CONTENT:
            mention.values["size" if token.tag == "length" else "mass"] = token.value
            return i + 1
        if token.tag == "fill" and not first and rest[1] in (*_CONTENT, "number", "one") and not mention.kind:
            return i + 1
        return None

    def _describe(self, i: int, mention: Mention) -> int | None:
        token, modifier = self._at(i), None
        if token.tag == "kind":
            kind, plural = token.value
            mention.kind, mention.plural = (mention.kind if kind == "thing" and mention.kind else kind), plural
            return i + 1
        if token.tag == "colour":
            if mention.colour is not None or mention.kind is not None:
                return None
            mention.colour = token.value
            return i + 1
        while token.tag in ("degree", "not"):
            modifier, i = token, i + 1
            token = self._at(i)
        if token.tag != "adjective":
            if modifier is not None and modifier.text == "a little" and token.tag in _CONTENT:
                mention.det, mention.degrees["size"] = "a", -1.0
                return i
            return None
        name, degree = token.value
        if token.text == "light" and self._at(i + 1).tag == "colour":  # a shade
            return i + 1
        if mention.kind is not None:
            return None
        before = mention.degrees.get(name)
        mention.degrees[name] = degree_of(degree, modifier) if before is None else max(before, degree, key=abs)
        if self._at(i + 1).tag in ("comma", "and") and self._at(i + 2).tag in ("colour", "adjective"):
            if mention.colour is None and (mention.det or mention.count):
                return i + 2
        return i + 1


def _described(mention: Mention) -> bool:
    return bool(mention.colour or mention.degrees or mention.values)


def _share_kinds(nodes: list[Node]) -> None:
    """In "a red, a green and a blue ball" or "red and blue cubes" let all have the kind of the last."""
    for end in range(len(nodes) - 1, -1, -1):
        last = nodes[end]
        if not isinstance(last, Mention) or last.kind is None or (last.count or 1) > 1:
            continue
        i, listed = end - 1, 0
        while i >= 0:
            node: Any = nodes[i]
            if isinstance(node, Token) and node.tag in ("comma", "and") and i > 0:
                i -= 1
                continue
            apart = isinstance(nodes[i + 1], Mention)
            if not isinstance(node, Mention) or apart or node.kind or node.one or not node.colour or node.other:
                break
            node.kind, node.det = last.kind, node.det or last.det
            listed, i = listed + 1, i - 1
        if listed:
            last.plural = False
