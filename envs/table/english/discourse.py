"""What a prompt speaks of: objects as they are introduced, and which of them each noun phrase and pronoun means."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from gwm_sim.envs.table.english.phrases import Mention, Setting


@dataclass
class Thing:
    """An object that is spoken of."""

    kind: str = "thing"
    colour: str | None = None
    degrees: dict[str, float] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)
    place: set[str] = field(default_factory=set)
    point: tuple[float, float] | None = None


class Discourse:
    """The objects so far, and who was meant last."""

    def __init__(self) -> None:
        """Speak of nothing yet."""
        self.things: list[Thing] = []
        self.last: list[int] = []  # what was meant last
        self.group: list[int] = []  # objects introduced together
        self.open: list[int] = []  # members of a group of which a list may follow: "three cubes: a red one, ..."
        self.vague = False  # whether it was not said how many the group has

    def resolve(self, mention: Mention, apart: Iterable[int] = ()) -> list[int]:
        """Numbers of the objects that a noun phrase means, new ones where it introduces them.

        Args:
            mention: The noun phrase.
            apart: Objects that it cannot mean, as they have another part in what is done.
        """
        refs = self._resolve(mention, set(apart))
        for i in refs:
            self._tell(i, mention)
        self.last = refs
        return refs

    def all_of_them(self) -> list[int]:
        """What "they" are: the last group, or all."""
        return self.last if len(self.last) > 1 else list(range(len(self.things)))

    def count_them(self, count: int) -> list[int]:
        """Let the last group, of which no number was said, have so many members; or take so many of it."""
        if self.vague and self.group:
            kind = self.things[self.group[0]]
            while len(self.group) < count:
                self.things.append(Thing(kind.kind, kind.colour, dict(kind.degrees), dict(kind.values)))
                self.group.append(len(self.things) - 1)
            for i in self.group[count:][::-1]:
                del self.things[i]
            self.group, self.vague = self.group[:count], False
        self.last = self.group[:count]
        return self.last

    def apply(self, setting: Setting, refs: Iterable[int]) -> None:
        """Let objects have a property of their own."""
        for i in refs:
            if setting.value is not None:
                self.things[i].values[setting.name] = setting.value
            elif setting.degree is not None:
                self.things[i].degrees[setting.name] = setting.degree

    def describe(self, mention: Mention, refs: Iterable[int]) -> None:
        """Say of objects what a noun phrase says: "the ball is red"."""
        for i in refs:
            self._tell(i, mention)

    def _tell(self, i: int, mention: Mention) -> None:
        thing = self.things[i]
        if thing.kind == "thing" and mention.kind:
            thing.kind = mention.kind
        thing.colour = thing.colour or mention.colour
        thing.degrees |= mention.degrees
        thing.values |= mention.values
        if mention.place is not None:
            thing.place.add(mention.place)

    def _resolve(self, mention: Mention, apart: set[int]) -> list[int]:
        if mention.other and not (mention.count and mention.kind):
            return self._others(mention, apart)
        if mention.ordinal is not None and mention.ordinal <= len(self.things):
            return [mention.ordinal - 1]
        if (taken := self._list_member(mention)) is not None:
            return taken
        if mention.is_new and (mention.kind or mention.det == "a") and not mention.universal:
            return self._introduce(mention)
        if mention.count is not None and mention.kind is None:  # "one red, one blue", "take one"
            free = [i for i in self.group if i not in apart and self._may_be(i, mention)]
            return free[: mention.count] or self._introduce(mention)
        exact = [i for i in self._matching(mention) if i not in apart]
        if exact:
            every = mention.plural or mention.universal
            return exact if every and mention.count is None else exact[: mention.count or 1]
        weak = [i for i in range(len(self.things)) if i not in apart and self._may_be(i, mention)]
        definite = mention.det == "the" or mention.kind is None
        if weak and definite and not mention.universal:
            return weak[: mention.count or 1]
        return self._introduce(mention)

    def _others(self, mention: Mention, apart: set[int]) -> list[int]:
        for members in (self.group, range(len(self.things))):
            rest = [i for i in members if i not in apart and i not in self.last and self._may_be(i, mention)]
            if rest:
                return rest if mention.plural else rest[:1]
        return self._introduce(mention)

    def _list_member(self, mention: Mention) -> list[int] | None:
        """Members of a group that is being listed."""
        free = [i for i in self.open if self._may_be(i, mention)]
        if not free or not (mention.colour or mention.degrees or mention.kind) or mention.det == "the":
            return None
        taken = free[: mention.count or 1]
        self.open = [i for i in self.open if i not in taken]
        return taken

    def _matching(self, mention: Mention) -> list[int]:
        """Objects of which all is known that a noun phrase says."""
        found = [
            i
            for i, thing in enumerate(self.things)
            if mention.kind in (None, "thing", thing.kind)
            and mention.colour in (None, thing.colour)
            and all(thing.degrees.get(name, 0) * degree > 0 for name, degree in mention.degrees.items())
            and (mention.place is None or mention.place in thing.place)
        ]
        if mention.kind is None and not mention.colour and not mention.degrees and mention.place is None:
            return [i for i in self.last if i in found]
        return found

    def _may_be(self, i: int, mention: Mention) -> bool:
        """Whether nothing that is known of an object contradicts a noun phrase."""
        thing = self.things[i]
        kinds = mention.kind in (None, "thing", thing.kind) or thing.kind == "thing"
        alike = all(thing.degrees.get(name, degree) * degree > 0 for name, degree in mention.degrees.items())
        place = mention.place is None or not thing.place or mention.place in thing.place
        return kinds and alike and place and (mention.colour is None or thing.colour in (None, mention.colour))

    def _introduce(self, mention: Mention) -> list[int]:
        plural = mention.plural or (mention.universal and not mention.one)
        count = mention.count or (2 if plural else 1)
        vague_things = [i for i, thing in enumerate(self.things) if thing.kind == "thing"]
        if mention.kind not in (None, "thing") and count > 1 and len(vague_things) == count and not mention.colour:
            self.group = vague_things  # "Green on red, please: two cubes"
            return vague_things
        kind = mention.kind or (self.things[self.last[0]].kind if self.last else "thing")
        start = len(self.things)
        self.things += [Thing(kind) for _ in range(count)]
        refs = list(range(start, len(self.things)))
        if count > 1 or plural:
            self.group, self.vague = refs, mention.count is None
            self.open = [] if mention.colour else list(refs)
        elif self.group and kind == self.things[self.group[0]].kind and self.vague:
            pass
        else:
            self.group = [*(i for i in self.group if len(self.group) == 1), *refs]
        return refs
