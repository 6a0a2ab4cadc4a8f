"""Prompts: what two sets of a hundred say, and what is said of nonsense."""

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from gwm_sim.envs.table.prompts import Prompt, read_prompt
from gwm_sim.envs.table.scene import COLOURS, KINDS, SceneObject

HERE = Path(__file__).parent

# What the words of the expected say of numbers: attribute, least and most.
WORDS = {
    "small": ("size", 0.03, 0.04),
    "big": ("size", 0.05, 0.06),
    "light": ("mass", 0.02, 0.06),
    "heavy": ("mass", 0.2, 0.5),
    "slippery": ("friction", 0.1, 0.4),
    "rough": ("friction", 1.1, 1.2),
    "bouncy": ("bounciness", 0.5, 0.9),
    "dead": ("bounciness", 0.0, 0.05),
}
LEVELS = {
    ("friction", "low"): "slippery",
    ("friction", "high"): "rough",
    ("bounciness", "low"): "dead",
    ("bounciness", "high"): "bouncy",
}
PLACES = {
    "left": (0.38, 0.62, -0.15, -0.04),
    "right": (0.38, 0.62, 0.04, 0.15),
    "middle": (0.47, 0.53, -0.03, 0.03),
    "near": (0.38, 0.46, -0.15, 0.15),
    "far": (0.54, 0.62, -0.15, 0.15),
}
"""Where places are on the table: x from and to, y from and to [m]; the front camera looks along -x, y to its right."""


def prompts_of(name: str) -> list[dict[str, Any]]:
    """The prompts of a file with what they mean."""
    entries: list[dict[str, Any]] = json.loads((HERE / f"prompts_{name}.json").read_text())
    return entries


def is_like(thing: SceneObject, words: str, prompt: Prompt, expected: dict[str, Any]) -> bool:
    """Whether an object is what the words say, and nothing else."""
    said = set(words.split())
    said |= {LEVELS[key] for key in expected.items() if key in LEVELS and not said & set(WORDS)}
    kind, colour = next(iter(said & {*KINDS, "thing"})), next(iter(said & set(COLOURS)), None)
    if (kind != "thing" and thing.kind != kind) or thing.colour != colour:
        return False
    told = {name: expected[name] for name in ("friction", "bounciness") if isinstance(expected.get(name), float)}
    limits = {name: (value, value) for name, value in told.items()}
    limits |= {WORDS[word][0]: WORDS[word][1:] for word in said & set(WORDS)}
    limits |= {name: (float(v), float(v)) for name, equals, v in (word.partition("=") for word in said) if equals}
    for name in ("size", "mass", "friction", "bounciness"):
        value = getattr(thing, name)
        value = prompt.properties.get(name) if value is None else value
        if (value is None) != (name not in limits):
            return False
        if value is not None and not limits[name][0] - 1e-6 <= value <= limits[name][1] + 1e-6:
            return False
    return True


def is_at(point: tuple[float, ...] | None, place: Any, other: tuple[float, ...] | None = None) -> bool:
    """Whether a point is where a word or a relation says, or where two numbers say."""
    if point is None or not isinstance(place, str):
        return point is not None and abs(point[0] - place[0]) + abs(point[1] - place[1]) < 1e-6
    if place in PLACES:
        low_x, high_x, low_y, high_y = PLACES[place]
        return low_x <= point[0] <= high_x and low_y <= point[1] <= high_y
    if other is None:
        return False
    side = point[1] - other[1]
    apart = abs(side) + abs(point[0] - other[0])
    return apart < 0.15 and {"left of": side < -0.04, "right of": side > 0.04, "next to": apart > 0.06}[place]


def parts(where: str) -> tuple[str, str, str | None]:
    """Object, place and other object of a text such as "red ball left of blue cube"."""
    for relation in ("left of", "right of", "next to"):
        if f" {relation} " in where:
            one, other = where.split(f" {relation} ")
            return one, relation, other
    one, place = where.rsplit(" ", 1)
    return one, place, None


def is_right(prompt: Prompt, entry: dict[str, Any]) -> bool:
    """Whether a prompt was read as it was meant: objects, task and what it is about, places, properties."""
    names, told = entry.get("scene"), entry.get("properties", {})
    if prompt.task != entry.get("task") or (prompt.objects is None) != (names is None):
        return False
    gravity, level = prompt.properties.get("gravity"), told.get("gravity")
    if (gravity is None) != (level is None):
        return False
    if gravity is not None:
        low, high = {"low": (0, 5), "high": (12, 99)}.get(level) or (0.98 * level, 1.02 * level)
        if not low <= gravity <= high:
            return False
    if names is None or prompt.objects is None:
        return {k for k in prompt.properties} == set(told)
    if len(names) != len(prompt.objects):
        return False
    return any(_fits(prompt, entry, names, order, told) for order in permutations(range(len(names))))


def _fits(prompt: Prompt, entry: dict[str, Any], names: list[str], order: tuple[int, ...], told: Any) -> bool:
    objects = prompt.objects or ()
    if not all(is_like(objects[i], name, prompt, told) for i, name in zip(order, names, strict=True)):
        return False
    plain = {i: " ".join(sorted(names[order.index(i)].split())) for i in order}

    def is_named(i: int, name: str) -> bool:
        return set(name.split()) <= set(plain[i].split())

    if "objects" in entry:
        chosen = prompt.chosen or ()
        if len(chosen) != len(entry["objects"]) or not all(map(is_named, chosen, entry["objects"])):
            return False
    placed = {i for i in order if objects[i].position is not None}
    for where in entry.get("where", ()):
        one, place, other = parts(where)
        anchors = [i for i in order if other is not None and is_named(i, other)]
        there = anchors[0] if anchors else None
        found = [
            i
            for i in placed
            if is_named(i, one)
            and is_at(objects[i].position, place, None if there is None else objects[there].position)
        ]
        if not found:
            return False
        placed -= {found[0], *anchors}
    goal = entry.get("place")
    if (goal is None) != (prompt.place is None):
        return False
    if isinstance(goal, str) and goal.startswith("next to "):
        anchor = next(i for i in order if is_named(i, goal.removeprefix("next to ")))
        placed -= {anchor}
        if not is_at(prompt.place, "next to", objects[anchor].position):
            return False
    elif goal is not None and not is_at(prompt.place, goal):
        return False
    return not placed


def right(name: str) -> list[dict[str, Any]]:
    """The prompts of a file that are read as they are meant."""
    found = []
    for entry in prompts_of(name):
        try:
            found += [entry] * is_right(read_prompt(entry["prompt"]), entry)
        except ValueError:
            pass
    return found


@pytest.mark.parametrize(("name", "least"), [("tuning", 87), ("frozen", 92)])
def test_most_of_a_hundred_prompts_are_read_as_they_are_meant(name: str, least: int) -> None:
    assert len(prompts_of(name)) == 100
    assert len(right(name)) >= least


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("", "a prompt is a sentence such as"),
        (7, "a prompt is a sentence such as"),
        ("stack " * 300, "at most 1000 characters"),
        ("asdf qwer zxcv", "not understood"),
        ("the weather is nice today", "not understood"),
        ("pick up the banana", "'banana'.*objects are 1 to 6 of cubes, balls, cylinders"),
        ("stack the pink cube on the blue cube", "'pink'.*colours are red, blue"),
        ("a robot folds the towel", "not understood"),
        ("seven red cubes", "1 to 6 objects"),
        ("a ball with bounciness 2", "bounciness"),
        ("gravity is 90", "gravity"),
    ],
)
def test_what_makes_no_sense_is_named(prompt: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        read_prompt(prompt)


def test_an_episode_begins_as_a_prompt_says() -> None:
    env = gym.make("MuJoCo-Table-v0", cameras=(), size=None)
    _, info = env.reset(seed=0, options={"prompt": "stack a green ball on a big black cube, on the moon"})
    assert info["task"] == "stack" and info["properties"]["gravity"] == pytest.approx(1.62)
    assert {(thing["kind"], thing["colour"]) for thing in info["scene"]} == {("ball", "green"), ("cube", "black")}
    with pytest.raises(ValueError, match="leave out scene"):
        env.reset(options={"prompt": "a red cube", "scene": [{"kind": "cube"}]})
    with pytest.raises(ValueError, match="'random' or values by name, got 3"):
        env.reset(options={"properties": 3})
    env.close()
