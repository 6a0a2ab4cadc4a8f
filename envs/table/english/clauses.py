"""Clauses of a prompt: who is where, what is on what, and what is done with which objects."""

from dataclasses import dataclass, field
from typing import Final

from gwm_sim.envs.table.english.discourse import Discourse, Thing
from gwm_sim.envs.table.english.phrases import Mention, Node, Setting, nodes_of
from gwm_sim.envs.table.english.tokens import Token, tokens_of

MOVES: Final = ("push", "put")


@dataclass
class Event:
    """Something that is done, from its verb to the next."""

    verb: str = ""
    text: str = ""
    subject: list[int] = field(default_factory=list)
    objects: list[int] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    point: tuple[float, float] | None = None
    beside: tuple[str, int] | None = None  # how the place lies to which object
    introduces: bool = False  # whether its object was not spoken of before

    @property
    def about(self) -> list[int]:
        """Its objects; of passive and intransitive verbs the subject."""
        return self.objects or self.subject


@dataclass
class Reading:
    """What a prompt says."""

    things: list[Thing]
    events: list[Event]
    settings: list[Setting]  # of the scene
    on: list[tuple[int, int]]  # which object is on which
    relations: list[tuple[int, str, int]]  # of places of objects
    labels: dict[int, str]  # bottom, middle or top
    downwards: bool  # whether a tower is listed from its top
    height: float | None  # from which things fall [m]
    read_as: dict[str, str]  # words whose spelling was corrected


def read_clauses(prompt: str) -> Reading:
    """Read a prompt.

    Raises:
        ValueError: Words that are not understood.
    """
    tokens, read_as = tokens_of(prompt)
    reader = _Reader(nodes_of(tokens))
    reader.read()
    return Reading(
        reader.discourse.things,
        [event for event in reader.events if event.verb],
        reader.settings,
        reader.on,
        reader.relations,
        reader.labels,
        reader.downwards,
        reader.height,
        read_as,
    )


class _Reader:
    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes
        self.discourse = Discourse()
        self.events = [Event()]
        self.settings: list[Setting] = []
        self.on: list[tuple[int, int]] = []
        self.relations: list[tuple[int, str, int]] = []
        self.labels: dict[int, str] = {}
        self.downwards, self.height = False, None
        self.said: list[int] = []  # objects of this sentence, the last one last
        self.negated = False
        self.pending: tuple[str, list[int]] | None = None  # a relation that waits for its second object
        self.label: str | None = None  # said before its object
        self.described: str | None = None  # the property of the last setting of an object

    @property
    def event(self) -> Event:
        return self.events[-1]

    def read(self) -> None:
        """Take in all nodes, one after the other."""
        for i, node in enumerate(self.nodes):
            if isinstance(node, Mention):
                self._mention(i, node)
            elif isinstance(node, Setting):
                self._setting(i, node)
            else:
                handler = getattr(self, f"_{node.tag}", None)
                if handler is not None:
                    handler(i, node)

    def _peek(self, i: int, skip: tuple[str, ...] = ("fill", "det")) -> Node:
        while 0 <= i < len(self.nodes) and _tag(self.nodes[i]) in skip:
            i += 1
        return self.nodes[i] if 0 <= i < len(self.nodes) else Token("", "end")

    def _before(self, i: int, skip: tuple[str, ...] = ("fill", "det")) -> Node:
        i -= 1
        while i >= 0 and _tag(self.nodes[i]) in skip:
            i -= 1
        return self.nodes[i] if i >= 0 else Token("", "end")

    # Objects

    def _mention(self, i: int, mention: Mention) -> None:
        before = _tag(self._before(i))
        if mention.count is not None and mention.kind is None and _tag(self._peek(i + 1)) == "of":
            if _tag(self._peek(i + 2)) == "pronoun":
                self._use(self.discourse.count_them(mention.count))
                return
        if before == "and" and self.discourse.open and mention.is_new and mention.kind:
            if len(self.discourse.open) == len(self.discourse.group):
                self.discourse.open = []  # "two balls and a red ball"
        if mention.is_attribute and self._said_of_something(i, mention):
            return
        subject = self.event.subject if self.event.verb == "lie" and not self.event.objects else []
        if mention.det == "a" and mention.kind and subject and self._is_copula(i):
            if all(self.discourse.things[k].kind == "thing" for k in subject):
                self.discourse.describe(mention, subject)  # "the first object is a red cube"
                return
        known = len(self.discourse.things)
        refs = self.discourse.resolve(mention, self._apart())
        self._use(refs, new=min(refs, default=0) >= known)

    def _is_copula(self, i: int) -> bool:
        return _tag(self._before(i, ("fill",))) == "copula"

    def _said_of_something(self, i: int, mention: Mention) -> bool:
        """Take words such as "very bouncy" as said of what is spoken of, or of the scene."""
        of = self.discourse.last if self.said or self.event.verb == "lie" else []
        if self.event.verb == "lie" and self.event.subject:
            of = self.event.subject
        if mention.colour and not (of and self._copula_event() and self._uncoloured(of)):
            return False
        if not of:
            named = [(name, degree) for name, degree in mention.degrees.items() if name in ("friction", "bounciness")]
            self.settings += [Setting(name, degree=degree) for name, degree in named]
            return bool(named)
        self.discourse.describe(mention, of)
        return True

    def _copula_event(self) -> bool:
        return self.event.verb == "lie" and self.event.text in ("is", "are", "be", "was", "were")

    def _uncoloured(self, refs: list[int]) -> bool:
        return all(self.discourse.things[k].colour is None for k in refs)

    def _apart(self) -> list[int]:
        """Objects that the next one differs from: what is put on it."""
        return self.pending[1] if self.pending is not None else []

    def _use(self, refs: list[int], new: bool = False) -> None:
        """Let objects take the part in this sentence that is due."""
        if self.label is not None:
            self.labels |= dict.fromkeys(refs, self.label)
            self.label = None
        if self.pending is not None:
            self._relate(refs)
        elif self.negated or self.event.verb == "ignore":
            self.negated = False
        else:
            fresh = [k for k in refs if k not in self.event.objects]
            if not self.event.objects:
                self.event.introduces = new
            self.event.objects += fresh
        self.said += refs

    def _relate(self, refs: list[int]) -> None:
        assert self.pending is not None
        (name, first), self.pending = self.pending, None
        if name in ("on", "under"):
            pairs = zip(first, refs, strict=False) if len(first) == len(refs) else [(first[-1], refs[0])]
            for a, b in pairs:
                if a != b:
                    self.on.append((a, b) if name == "on" else (b, a))
        elif self.event.verb in MOVES:
            self.event.beside = name, refs[0]
        else:
            self.relations.append((first[-1], name, refs[0]))

    def _pronoun(self, i: int, token: Token) -> None:
        after = self._peek(i + 1, ("fill", "degree", "not"))
        if token.text in ("that", "this") and _tag(after) in ("verb", "copula", "has", "setting", "not"):
            return  # "a robot that picks"
        acts = isinstance(after, Token) and after.tag == "verb" and after.value in ("grasp", "stack", "push", "tower")
        if token.value == "it" and acts and _tag(self._before(i)) not in ("verb", "pronoun"):
            return  # the robot
        if token.value == "each other" or not self.discourse.things:
            return
        if token.value == "them":
            self._use(self.discourse.all_of_them())
        elif self.pending is not None and self.pending[0] == "on" and self.on:
            self._use([self._summit()])
        else:
            last = [k for k in self.discourse.last if k not in self._apart()]
            earlier = [k for k in self.said if k not in self._apart()]
            if last or earlier:
                self._use(last or earlier[-1:])

    def _summit(self) -> int:
        """The uppermost of what was put on each other last."""
        top = self.on[-1][0]
        above = dict((bottom, a) for a, bottom in self.on)
        while top in above:
            top = above[top]
        return top

    # Relations and places

    def _on(self, i: int, token: Token) -> None:
        following = self._peek(i + 1, ("fill",))
        ordinal = isinstance(following, Mention) or _tag(following) == "pronoun"
        det = _tag(following) == "det" and isinstance(self._peek(i + 1), Mention)
        if (ordinal or det) and (left := self._upper()):
            self.pending = token.value, left
        elif token.value == "under" and self.said:
            self.labels |= dict.fromkeys(self.discourse.last, "bottom")

    def _upper(self) -> list[int]:
        """What the next object gets on it, or is beside."""
        if self.said:
            return self.discourse.last if set(self.discourse.last) <= set(self.said) else self.said[-1:]
        return self.discourse.last

    def _rel(self, i: int, token: Token) -> None:
        if _tag(self._before(i)) != "robot" and self.said:
            self.pending = token.value, self._upper()

    def _label(self, i: int, token: Token) -> None:
        before, after = _tag(self._before(i, ("fill", "det", "at", "on"))), self._peek(i + 1, ("fill", "copula"))
        if before in ("stop", "comma", "colon", "end", "and") and isinstance(after, Mention) and before != "mention":
            self.label = token.value
        elif self.said:
            self.labels |= dict.fromkeys(self.discourse.last, token.value)

    def _order(self, i: int, token: Token) -> None:
        self.downwards = token.value == "down"

    def _place(self, i: int, token: Token) -> None:
        of = self._peek(i + 1, ("fill",))
        if _tag(of) == "of" and token.value in ("left", "right", "front"):
            after = self._peek(self.nodes.index(of) + 1)
            if isinstance(after, Mention) or _tag(after) == "pronoun":
                self._rel(i, Token(token.text, "rel", f"{token.value} of"))
                return
        self._put_at(token.value)

    def _put_at(self, place: str) -> None:
        moved = self.event.verb in MOVES and not (self.event.text.startswith("put") and self.event.introduces)
        if moved or self.event.verb == "go":
            self.event.places.append(place)
        elif self.said:
            for k in self.discourse.last:
                self.discourse.things[k].place.add(place)

    def _robot(self, i: int, token: Token) -> None:
        toward = {"to": "near", "near": "near", "away": "far", "rel": None}.get(_tag(self._before(i)))
        if toward is not None:
            self._put_at(toward)

    def _near(self, i: int, token: Token) -> None:
        if isinstance(self._peek(i + 1), Mention):
            self._rel(i, Token(token.text, "rel", "next to"))

    def _away(self, i: int, token: Token) -> None:
        if _tag(self._peek(i + 1)) != "robot" and "away" in token.text:
            self._put_at("far")

    def _point(self, i: int, token: Token) -> None:
        if self.event.verb in MOVES:
            self.event.point = token.value
        else:
            for k in self.discourse.last:
                self.discourse.things[k].point = token.value

    # What is done

    def _verb(self, i: int, token: Token) -> None:
        if token.value == "make" or token.value == "weigh":
            return
        subject = self.event.objects or self.event.subject
        if self.negated:
            self.negated = False
            self.events.append(Event("", token.text, subject))
            return
        if _tag(self._peek(i + 1)) == "nothing":
            return
        self.events.append(Event(token.value, token.text, list(subject)))
        self.pending = None

    def _copula(self, i: int, token: Token) -> None:
        self.events.append(Event("lie", token.text, list(self.event.objects or self.event.subject)))

    def _not(self, i: int, token: Token) -> None:
        self.negated = True

    def _stop(self, i: int, token: Token) -> None:
        self.events.append(Event())
        self.said, self.negated, self.pending, self.label = [], False, None, None
        self.discourse.open = []

    def _number(self, i: int, token: Token) -> None:
        if self.described is not None and isinstance(self._before(i), Mention):
            self.discourse.apply(Setting(self.described, value=float(token.value)), self.discourse.last)

    def _weight(self, i: int, token: Token) -> None:
        self.discourse.apply(Setting("mass", value=token.value), self.discourse.last)

    def _length(self, i: int, token: Token) -> None:
        if _tag(self._before(i, ("fill", "height", "of", "det"))) == "from" or _tag(self._peek(i + 1)) == "height":
            self.height = token.value
        else:
            self.discourse.apply(Setting("size", value=token.value), self.discourse.last)

    def _setting(self, i: int, setting: Setting) -> None:
        own = self.discourse.last if self.said else []
        told = _tag(self._before(i)) in ("has", "with") and isinstance(
            self._before(i, ("fill", "has", "with")), Mention
        )
        if own and setting.name != "gravity" and (setting.manner or (told and setting.name == "bounciness")):
            self.discourse.apply(setting, own)
            self.described = setting.name
        elif own and setting.name == "friction" and _tag(self._before(i)) == "has":
            self.discourse.apply(setting, own)
            self.described = setting.name
        else:
            self.settings.append(setting)


def _tag(node: Node) -> str:
    if isinstance(node, Token):
        return node.tag
    return "mention" if isinstance(node, Mention) else "setting"
