"""The vocabulary of prompts: every word and fixed phrase with its part of speech and its meaning.

Grammar is elsewhere: here are synonyms alone, and words that people use for what this world does not have.
"""

from collections.abc import Mapping
from typing import Any, Final

Entry = tuple[str, Any]
"""Part of speech, and what a word means."""

_KINDS: Final = {
    "cube": "cube block box brick die square boxlet",
    "ball": "ball sphere orb marble globe bead",
    "cylinder": "cylinder can tin tube barrel drum puck pillar peg rod disc disk roller tumbler",
    "thing": "thing object item piece shape toy stuff part guy",
}
_IRREGULAR_NOUNS: Final = {"dice": "cube", "bodies": "thing", "cubicle": "cube"}
_COLOURS: Final = {
    "red": "red crimson scarlet ruby cherry",
    "blue": "blue navy azure cobalt bluish",
    "green": "green lime emerald greenish",
    "yellow": "yellow lemon",
    "orange": "orange tangerine",
    "purple": "purple violet lilac lavender mauve",
    "white": "white ivory snowy",
    "black": "black ebony",
}
# Attribute and degree: 1 is what the word says, 2 very much of it, negative the contrary.
_ADJECTIVES: Final[Mapping[str, tuple[str, float]]] = {
    **dict.fromkeys("small little mini wee smaller compact".split(), ("size", -1)),
    **dict.fromkeys("tiny teeny smallest minuscule miniature".split(), ("size", -2)),
    **dict.fromkeys("big large bigger larger wide chunky".split(), ("size", 1)),
    **dict.fromkeys("huge giant biggest largest enormous gigantic".split(), ("size", 2)),
    **dict.fromkeys("heavy weighty heavier".split(), ("mass", 1)),
    **dict.fromkeys("massive heaviest leaden lead".split(), ("mass", 2)),
    **dict.fromkeys("light lightweight lighter".split(), ("mass", -1)),
    **dict.fromkeys("featherlight weightless lightest".split(), ("mass", -2)),
    **dict.fromkeys(
        "slippery slick smooth greasy oily slippy soapy waxed wet polished lubricated".split(), ("friction", -1)
    ),
    **dict.fromkeys("icy frictionless frozen".split(), ("friction", -2)),
    **dict.fromkeys("sticky rough grippy tacky gritty nonslip gluey coarse".split(), ("friction", 1)),
    **dict.fromkeys("bouncy springy elastic rubber rubbery bouncier".split(), ("bounciness", 1)),
    **dict.fromkeys("superbouncy bounciest".split(), ("bounciness", 2)),
    **dict.fromkeys("dead dull unbouncy inelastic clay bounceless".split(), ("bounciness", -1)),
}
_VERBS: Final = {
    "grasp": "grasp grab grip pick lift hold take raise clasp clutch seize fetch collect pinch snatch elevate hoist "
    "scoop catch",
    "stack": "stack balance pile heap",
    "push": "push shove nudge slide poke shift drag pull sweep roll tap prod scoot budge",
    "put": "put place set lay move bring carry transport transfer deposit position deliver plonk pop plop stick go "
    "end plunk "
    "relocate",
    "drop": "drop fall tumble rain release plummet plunge chuck free-fall descend shower",
    "bounce": "bounce hop jump rebound",
    "lie": "lie stand sit rest wait remain",
    "make": "build make construct create assemble erect form",
    "ignore": "ignore avoid leave skip disregard",
    "weigh": "weigh",
}
_IRREGULAR_VERBS: Final = {
    **dict.fromkeys("took taken taking".split(), "grasp"),
    **dict.fromkeys("held caught".split(), "grasp"),
    **dict.fromkeys("slid rolled".split(), "push"),
    **dict.fromkeys("laid brought stuck goes went gone going".split(), "put"),
    **dict.fromkeys("fell fallen".split(), "drop"),
    **dict.fromkeys("lying lies lay stood sat sitting".split(), "lie"),
    **dict.fromkeys("built made making".split(), "make"),
    "left-alone": "ignore",
}
_PHRASES: Final[Mapping[str, Entry]] = {
    **dict.fromkeys(
        ("get hold of", "take hold of", "reach for", "close around", "pick up", "lift up"), ("verb", "grasp")
    ),
    **dict.fromkeys(
        ("reaches for", "closes around", "gets hold of", "takes hold of", "getting hold of"), ("verb", "grasp")
    ),
    **dict.fromkeys(("let go", "lets go", "let go of", "lets go of", "free fall", "falls down"), ("verb", "drop")),
    **dict.fromkeys(
        ("put down", "set down", "puts down", "sets down", "lay down", "end up", "ends up"), ("verb", "put")
    ),
    **dict.fromkeys(("leave alone", "do not touch", "not touching", "without touching"), ("verb", "ignore")),
    **dict.fromkeys(("on top of", "on to", "ontop", "ontop of", "on the top of", "to the top of", "on"), ("on", "on")),
    **dict.fromkeys(("onto", "atop", "upon", "over", "above", "on top of that of"), ("on", "on")),
    **dict.fromkeys(("under", "below", "beneath", "underneath", "at the bottom of"), ("on", "under")),
    **dict.fromkeys(
        ("next to", "beside", "besides", "alongside", "close to", "by the side of", "adjacent to"), ("rel", "next to")
    ),
    **dict.fromkeys(("in front of", "before"), ("rel", "in front of")),
    **dict.fromkeys(("behind", "in back of"), ("rel", "behind")),
    "between": ("rel", "between"),
    **dict.fromkeys(("at the bottom", "bottom", "lowest", "base", "bottommost", "foundation"), ("label", "bottom")),
    **dict.fromkeys(("on top", "on the top", "at the top", "top", "topmost", "highest", "uppermost"), ("label", "top")),
    **dict.fromkeys(
        ("from bottom to top", "bottom to top", "bottom up", "from the bottom up", "from below"), ("order", "up")
    ),
    **dict.fromkeys(("from top to bottom", "top to bottom", "top down", "from the top down"), ("order", "down")),
    **dict.fromkeys(("left", "leftwards", "leftward", "leftmost"), ("place", "left")),
    **dict.fromkeys(("right", "rightwards", "rightward", "rightmost"), ("place", "right")),
    **dict.fromkeys(("middle", "centre", "center", "central"), ("place", "middle")),
    **dict.fromkeys(("front", "nearest the camera", "towards the camera", "toward the camera"), ("place", "front")),
    **dict.fromkeys(("forward", "forwards", "forth", "ahead"), ("place", "far")),
    **dict.fromkeys(("back", "rear", "backwards", "backward"), ("place", "back")),
    **dict.fromkeys(("left hand side", "left hand", "left side"), ("place", "left")),
    **dict.fromkeys(("right hand side", "right hand", "right side"), ("place", "right")),
    **dict.fromkeys(("low", "weak", "small amount of", "little", "reduced", "lower", "less", "tiny"), ("level", -1)),
    **dict.fromkeys(
        ("high", "strong", "lots of", "a lot of", "increased", "plenty of", "much", "higher", "more"), ("level", 1)
    ),
    **dict.fromkeys(("no", "zero", "without", "without any", "without much", "not much", "hardly any"), ("level", -2)),
    **dict.fromkeys(
        ("normal", "earth", "ordinary", "usual", "regular", "default", "standard", "earthly"), ("level", 0)
    ),
    **dict.fromkeys(
        ("half", "half the", "half of", "half of the normal", "half of normal", "half the normal"), ("times", 0.5)
    ),
    **dict.fromkeys(("double", "twice", "twice the", "double the", "twice the normal"), ("times", 2.0)),
    **dict.fromkeys(("quarter", "a quarter of", "a quarter of the"), ("times", 0.25)),
    **dict.fromkeys(
        ("friction", "mu", "friction coefficient", "coefficient of friction", "sliding friction"),
        ("property", "friction"),
    ),
    **dict.fromkeys(("grip friction", "stickiness", "roughness"), ("property", "friction")),
    **dict.fromkeys(("gravity", "g", "gravitation", "gravitational pull", "gravity level"), ("property", "gravity")),
    **dict.fromkeys(
        ("bounciness", "restitution", "coefficient of restitution", "elasticity"), ("property", "bounciness")
    ),
    **dict.fromkeys(("moon", "lunar", "moonlike"), ("gravity", 1.62)),
    **dict.fromkeys(("mars", "martian", "mercury"), ("gravity", 3.71)),
    **dict.fromkeys(("venus", "venusian"), ("gravity", 8.87)),
    **dict.fromkeys(("saturn",), ("gravity", 10.4)),
    **dict.fromkeys(("uranus",), ("gravity", 8.9)),
    **dict.fromkeys(("neptune",), ("gravity", 11.2)),
    **dict.fromkeys(("jupiter",), ("gravity", 24.8)),
    **dict.fromkeys(("outer space", "space", "zero g", "weightlessness", "microgravity"), ("gravity", 0.0)),
    **dict.fromkeys(("ice", "an ice rink", "icerink"), ("surface", ("friction", -2))),
    **dict.fromkeys(("sandpaper",), ("surface", ("friction", 1))),
    **dict.fromkeys(
        "table floor surface ground tabletop desk bench everything world workbench".split(), ("surface", None)
    ),
    **dict.fromkeys(("all objects", "all things", "everything here", "all the objects"), ("surface", None)),
    **dict.fromkeys(
        "robot arm gripper hand effector manipulator finger fingers machine panda claw".split(), ("robot", None)
    ),
    **dict.fromkeys(
        ("end effector", "robot arm", "robotic arm", "robot hand", "robotic gripper", "robotic hand"), ("robot", None)
    ),
    **dict.fromkeys(("robots", "robotic", "robotics"), ("robot", None)),
    **dict.fromkeys(("is", "are", "be", "was", "were", "being", "been", "am", "becomes", "looks"), ("copula", None)),
    **dict.fromkeys(("has", "have", "having", "had"), ("has", None)),
    **dict.fromkeys(
        ("and", "plus", "&", "then", "and then", "also", "as well as", "along with", "together with"), ("and", None)
    ),
    "with": ("with", None),
    **dict.fromkeys(("to", "towards", "toward", "into", "until"), ("to", None)),
    **dict.fromkeys(("in", "at", "within", "inside", "goal"), ("at", None)),
    **dict.fromkeys(("away from", "away", "farther from", "further from", "far from", "off"), ("away", None)),
    **dict.fromkeys(("closer to", "nearer to", "closer", "nearer", "near"), ("near", None)),
    **dict.fromkeys(("far", "far away"), ("place", "far")),
    "of": ("of", None),
    "from": ("from", None),
    **dict.fromkeys(("it", "that", "this"), ("pronoun", "it")),
    **dict.fromkeys(("them", "they", "these", "those", "both", "each", "both of them"), ("pronoun", "them")),
    **dict.fromkeys(("one another", "each other"), ("pronoun", "each other")),
    **dict.fromkeys(("one", "ones"), ("one", None)),
    **dict.fromkeys(("a", "an", "another", "some"), ("det", "a")),
    **dict.fromkeys(
        ("the", "all", "all the", "all of the", "every", "its", "his", "her", "your", "my", "our"), ("det", "the")
    ),
    **dict.fromkeys(("other", "others", "second one"), ("other", None)),
    **dict.fromkeys(("not", "never", "nor", "rather than", "instead of", "but not"), ("not", None)),
    "nothing": ("nothing", None),
    **dict.fromkeys(("tower", "pile of", "column", "towers", "stack of", "skyscraper"), ("verb", "tower")),
    **dict.fromkeys(
        ("wide", "tall", "across", "in diameter", "in size", "size", "diameter", "edge", "edges"), ("measured", "size")
    ),
    **dict.fromkeys(("mass", "weight"), ("measured", "mass")),
    **dict.fromkeys(("height", "heights", "a height of", "the height of"), ("height", None)),
    **dict.fromkeys(
        ("very", "super", "really", "extremely", "so", "extra", "ultra", "highly", "incredibly"), ("degree", 1)
    ),
    **dict.fromkeys(
        ("insanely", "mega", "hugely", "terribly", "crazy", "especially", "unusually", "most"), ("degree", 1)
    ),
    **dict.fromkeys(("slightly", "somewhat", "a bit", "a little", "fairly", "a little bit", "mildly"), ("degree", -1)),
    **dict.fromkeys(("hardly", "barely", "scarcely", "not very", "not at all", "not really"), ("degree", 0)),
    **dict.fromkeys(("a lot", "lots", "like crazy", "like mad", "up high", "high up"), ("much", None)),
}
_NUMBERS: Final = "one two three four five six seven eight nine ten eleven twelve".split()
_COUNTS: Final = {
    **{word: i + 1 for i, word in enumerate(_NUMBERS)},
    **{"pair": 2, "couple": 2, "trio": 3, "dozen": 12, "single": 1, "hundred": 100, "quartet": 4},
    **{
        "a pair of": 2,
        "a couple of": 2,
        "couple of": 2,
        "pair of": 2,
        "a dozen": 12,
        "a trio of": 3,
        "a few": 3,
        "several": 4,
    },
    **{"a single": 1, "just one": 1, "only one": 1, "a hundred": 100, "no": 0},
}
_ORDINALS: Final = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6}
# Said beside what matters, and left out.
_FILL: Final = """
about above-mentioned across action after again air all-right along already any anyone arena around as aside at-all
back-and-forth basically be because before-that begin begins but bit by called camera can cannot-but cinematic clean
clip close-up closed colorful colour colours color colors colourful come comes comprised consisting containing
contains corner could customer customers cut demo demonstrate demonstration depict desired different
different-coloured directly display do does doing down during each-other edge else empty environment episode etc
exactly example experiment falling-objects fashion featuring film finally first-of-all fly footage for from-above
front-view fully fun game gently get gets give gives gimme given goal good got great guys had hand-over happen happens
has-to have-to having hello help here hey hi hook how i identical identically if im image in-the-air including
initially instead into-the-air is-to it-self itself job just kitchen kind lab laboratory last later let lets like
located look looking lovely main may me mean mid might model movie must my-self need needs next nice normal-looking
now object-that of-course off-the-table okay ok on-screen once onwards only open or out over-there own person perfect
perhaps photo picture plain play please pls plz possible precise precisely pretty quick quickly realistic record
render result robot's room same scene scenario see setup set-up shot should show showing shown shows side sides
sideways-not simple simply simulate simulated simulation simulator sky slow slowly so-that some-where somehow
space-bar spot starting start starts station steady still straight studio such surface-of sure task test testing than
that's their there thereof these-days thing-is this-time though through thus time times together toward-us try trial
tries u until-then up upwards us use used uses using vertically very-much via video view want wanted wants watch we
well what when where whereas which while who whole whose will wish with-care workshop workspace world-of would yes yo
you zone now-then happily careful wooden plastic metal metallic shiny glossy matte matt steel solid toy-like painted
coloured colored glass bright dark shade tone opaque standing-up upright round cubic cubical cylindrical spherical
random randomly whatever various several-kinds lighting background beautiful cute cool awesome little-bit neat tidy
cluttered lonely alone tall-ish normal-sized medium average behave behaves behaviour behavior goes-on go-on object's
value level set-to equal equals coefficient factor amount strength effect act acts acting perform performs performing
execute command instruction prompt order-to final finish finished end-of beginning moment second-time step steps
sequence one-by-one simultaneously at-once once-more same-time apart separate separately freely into-view comes-in
sight crowd bunch set-of group collection trying able ready manage manages managed successfully safely slowly
everywhere anywhere somewhere anything something quiet quietly firm firmly tight tightly smoothly delicate carefully
precise far-off contact touch touches touching bottom-of beneath-it us-all surface's
""".split()

NOT_HERE: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        "pink grey gray brown cyan turquoise silver gold golden beige teal magenta maroon olive bronze indigo".split(),
        "colour",
    ),
    **dict.fromkeys("transparent striped rainbow invisible".split(), "colour"),
    **dict.fromkeys(
        "cat dog cup mug bowl plate banana apple car book cone pyramid bottle pen pencil phone egg fruit fork spoon "
        "knife tomato "
        "chair house tree horse bird fish plane train truck duck doll bell bull wall bat hat pot pan key coin ring "
        "torus donut "
        "prism triangle wedge bag hammer drill screw nut bolt drawer door lid peach pear lamp shoe sock towel cloth "
        "rope water "
        "milk bread cake pizza sandwich dragon unicorn elephant monkey human man woman child boy girl bear bolts "
        "cap bun "
        "capsule ellipsoid cuboid hexagon teapot rabbit bunny mouse rocket kitten puppy wheel ramp hill bridge cow "
        "pig".split(),
        "kind",
    ),
    **dict.fromkeys(
        "throw juggle kick dance sing cook paint write draw eat drink fly swim run walk jump-over break cut burn "
        "melt explode open "
        "pour screw unscrew spin rotate flip twist squeeze crush smash destroy knock hit shoot wave clap fold sew "
        "clean wash sort "
        "swap hide assemble-it levitate teleport glue weld bend fire launch toss fling hurl shake stir wipe scan "
        "read think speak "
        "drive disappear grow shrink sleep laugh solve calculate translate buy sell order".split(),
        "task",
    ),
    **dict.fromkeys(
        "wind magnetism magnet temperature drag-force humidity viscosity buoyancy electricity".split(), "property"
    ),
}
"""Words that are spelled well and mean what this world does not have, with what they would be."""


def _forms(verb: str) -> set[str]:
    """All that might be forms of a regular verb, some of which are no words."""
    stem = verb[:-1] if verb.endswith("e") else verb
    doubled = verb + verb[-1]
    forms = {verb, verb + "s", verb + "es", verb + "ed", verb + "ing", stem + "ed", stem + "ing"}
    return forms | {doubled + "ed", doubled + "ing"}


def _plural(noun: str) -> str:
    return noun + ("es" if noun.endswith(("x", "s", "sh", "ch")) else "s")


def _vocabulary() -> dict[str, Entry]:
    known: dict[str, Entry] = {word.replace("-", " "): ("fill", None) for word in _FILL}
    known |= {form: ("verb", task) for task, verbs in _VERBS.items() for verb in verbs.split() for form in _forms(verb)}
    known |= {word: ("verb", task) for word, task in _IRREGULAR_VERBS.items()}
    known |= {word: ("adjective", meaning) for word, meaning in _ADJECTIVES.items()}
    known |= _PHRASES
    known |= {word: ("number", value) for word, value in _COUNTS.items() if word not in ("one", "no")}
    known |= {word: ("ordinal", value) for word, value in _ORDINALS.items()}
    known |= {word: ("colour", colour) for colour, words in _COLOURS.items() for word in words.split()}
    for kind, nouns in _KINDS.items():
        known |= {noun: ("kind", (kind, False)) for noun in nouns.split()}
        known |= {_plural(noun): ("kind", (kind, True)) for noun in nouns.split()}
    known |= {noun: ("kind", (kind, True)) for noun, kind in _IRREGULAR_NOUNS.items()}
    known |= {"stuff": ("kind", ("thing", True)), "wide": ("measured", "size")}
    return known


VOCABULARY: Final[Mapping[str, Entry]] = _vocabulary()
"""Words and phrases with what they mean."""

LONGEST: Final = max(len(phrase.split()) for phrase in VOCABULARY)
"""Words of the longest phrase."""
