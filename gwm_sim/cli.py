"""The command `gwm`: one verb per task, each imported only when it is called.

A verb is a module with a frozen dataclass of options and `main(config) -> int`. Flags, their help and their types come
from the dataclass. This is the one module of the core that looks downstream, and it does so by name only.
"""

import difflib
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

from gwm_sim import __version__
from gwm_sim.errors import GwmError
from gwm_sim.extras import EXTRA_OF_PACKAGE, missing


class Verb(NamedTuple):
    """Where a verb lives and what it does."""

    module: str
    config: str
    help: str


VERBS = {
    "doctor": Verb("gwm_sim.commands.doctor", "DoctorConfig", "Check this machine and say how to mend what is missing"),
    "collect": Verb("gwm_sim.policies.commands.collect", "CollectConfig", "Record episodes in the physics twin"),
    "import": Verb("gwm_sim.commands.import_", "ImportConfig", "Turn recordings of other formats into an episode file"),
    "export": Verb("gwm_sim.commands.export", "ExportConfig", "Turn an episode file into a dataset of another format"),
    "inspect": Verb(
        "gwm_sim.data.inspection", "InspectConfig", "Summarise or draw an episode file or foreign recording"
    ),
    "label": Verb("gwm_sim.commands.label", "LabelConfig", "Mark in which episodes a task was fulfilled"),
    "train": Verb("gwm_sim.training.train", "TrainConfig", "Train a world model on episode files"),
    "eval": Verb("gwm_sim.commands.eval", "EvalConfig", "Measure how far a world model strays from real episodes"),
    "generate": Verb(
        "gwm_sim.policies.commands.generate", "GenerateConfig", "Write a film of a learned world, of any length"
    ),
    "plan": Verb("gwm_sim.policies.commands.plan", "PlanConfig", "Reach goal images by planning in a learned world"),
    "run": Verb("gwm_sim.policies.commands.run", "RunConfig", "Reach goal images with a live camera and a robot"),
    "rl": Verb("gwm_sim.policies.commands.rl", "RlConfig", "Train a policy inside a world (train) or score one (eval)"),
    "compare": Verb(
        "gwm_sim.policies.commands.compare", "CompareConfig", "Rank policies in both worlds from the same starts"
    ),
    "play": Verb("gwm_sim.envs.commands.play", "PlayConfig", "Drive any environment by keyboard in a window"),
    "demo": Verb(
        "gwm_sim.policies.commands.demo", "DemoConfig", "Drive the learned world and the physics twin side by side"
    ),
}

USAGE_ERROR = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        arguments: Words after `gwm`; those of the process when None.

    Returns:
        Exit code: that of the verb, 2 for mistakes that the user can act on, 130 when interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0 if words else USAGE_ERROR
    name, *options = words
    if name == "--version":
        print(f"gwm-sim {__version__}")
        return 0
    if name not in VERBS:
        return _fail(f"unknown verb {name!r}.{_suggestion(name)} `gwm --help` lists all verbs.")
    return _run(name, options)


def _run(name: str, options: list[str]) -> int:
    """Parse the options of a verb, run it, and turn its expected errors into one message."""
    try:
        return _call(name, options)
    except GwmError as error:
        return _fail(str(error))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRA_OF_PACKAGE:
            raise
        return _fail(str(missing(package, f"`gwm {name}`")))
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return INTERRUPTED


def _call(name: str, options: list[str]) -> int:
    import tyro  # late: the overview must not wait for it

    # Before torch loads OpenMP: threads that wait actively for long stall whenever another program wants a core, and
    # threads that never do lose time at every small operation.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    verb = VERBS[name]
    module = import_module(verb.module)
    config = tyro.cli(getattr(module, verb.config), args=options, prog=f"gwm {name}", description=f"{verb.help}.")
    code: int = module.main(config)
    return code


def _overview() -> str:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:<{width}}  {verb.help}" for name, verb in VERBS.items())
    return f"usage: gwm VERB [options]\n\n{verbs}\n\n`gwm VERB --help` shows the options of a verb."


def _suggestion(name: str) -> str:
    nearest = difflib.get_close_matches(name, VERBS, n=1)
    return f" Did you mean `gwm {nearest[0]}`?" if nearest else ""


def _fail(message: str) -> int:
    print(f"gwm: {message}", file=sys.stderr)
    return USAGE_ERROR
