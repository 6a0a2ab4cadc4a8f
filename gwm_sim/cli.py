"""The command `gwm`: one verb per task, each imported only when it is called.

A verb is a module of commands with a frozen dataclass of options and `main(config) -> int`. Flags, their help and their
types come from the dataclass. Verbs of envs and policies are found by name, as `gwm eval` finds metrics of worlds:
nothing else of the core looks downstream.
"""

import difflib
import io
import keyword
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

from gwm_sim import __version__
from gwm_sim.errors import GwmError
from gwm_sim.extras import EXTRA_OF_PACKAGE, missing
from gwm_sim.files import check_json
from gwm_sim.storage import trouble


class Verb(NamedTuple):
    """Who has a verb, and what it does; where follows from its name: `gwm X` is `x.py` with the options `XConfig`."""

    package: str
    help: str


CORE, ENVS, POLICIES = "gwm_sim.commands", "gwm_sim.envs.commands", "gwm_sim.policies.commands"

VERBS = {
    "doctor": Verb(CORE, "Check this machine and say how to mend what is missing"),
    "collect": Verb(POLICIES, "Record episodes in the physics twin"),
    "import": Verb(CORE, "Turn recordings of other formats into an episode file"),
    "export": Verb(CORE, "Turn an episode file into a dataset of another format"),
    "inspect": Verb(CORE, "Summarise or draw an episode file or foreign recording"),
    "track": Verb(CORE, "Find and follow the objects in raw recordings"),
    "label": Verb(CORE, "Mark in which episodes a task was fulfilled"),
    "train": Verb(CORE, "Train a world model on episode files"),
    "eval": Verb(CORE, "Measure how far a world model strays from real episodes"),
    "imagine": Verb(CORE, "Let a world model imagine recorded episodes anew"),
    "generate": Verb(POLICIES, "Write a film of a learned world, of any length"),
    "plan": Verb(POLICIES, "Reach goal images by planning in a learned world"),
    "run": Verb(POLICIES, "Reach goal images with a live camera and a robot"),
    "rl": Verb(POLICIES, "Train a policy inside a world (train) or score one (eval)"),
    "compare": Verb(POLICIES, "Rank policies in both worlds from the same starts"),
    "play": Verb(ENVS, "Drive any environment by keyboard in a window"),
    "serve": Verb(POLICIES, "Serve learned worlds to any client, and a page to play them"),
    "demo": Verb(POLICIES, "Drive the learned world and the physics twin side by side"),
}


def module_of(name: str) -> str:
    """Return the module of a verb: a dash becomes an underscore, and a word of Python gets one at its end."""
    module = name.replace("-", "_") + "_" * keyword.iskeyword(name)
    return f"{VERBS[name].package}.{module}"


def config_of(name: str) -> str:
    """Return the name of the class that holds a verb's options."""
    return "".join(map(str.capitalize, name.split("-"))) + "Config"


USAGE_ERROR = 2
INTERRUPTED = 130
BROKEN_PIPE = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        arguments: Words after `gwm`; those of the process when None.

    Returns:
        Exit code: that of the verb, 2 for what the user can act on, mistakes or a full disk, 130 when interrupted.
    """
    for stream in (sys.stdout, sys.stderr):  # in an ASCII locale a name with an accent must not end a command
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
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
    return _run(name, options, final=arguments is None)


def _run(name: str, options: list[str], final: bool) -> int:
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
    except BrokenPipeError:  # whoever read the output has seen enough
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
        return BROKEN_PIPE
    except UnicodeEncodeError as error:
        if "surrogates" not in error.reason and sys.getfilesystemencoding() != "ascii":
            raise
        return _fail("a name has letters that this locale does not know: set PYTHONUTF8=1, or LC_ALL to a UTF-8 one.")
    except Exception as error:
        if (why := trouble(error)) is None:
            raise
        return _fail(f"{why}.")
    except KeyboardInterrupt as interrupt:  # which may say what is kept
        if final:  # the process ends, and whoever presses again does not change how
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        print(f"\nInterrupted. {interrupt}".rstrip(), file=sys.stderr)
        return INTERRUPTED


def _call(name: str, options: list[str]) -> int:
    # Before torch loads OpenMP: threads that wait actively for long stall whenever another program wants a core, and
    # threads that never do lose time at every small operation.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    config = parse(name, options)
    if getattr(config, "json", None) is not None:
        check_json(config.json)  # before hours of work
    code: int = import_module(module_of(name)).main(config)
    sys.stdout.flush()  # here, where a full disk or a closed pipe is an error with a message
    return code


def parse(name: str, options: Sequence[str]) -> Any:
    """The options of a verb, as its `main` takes them; help and usage errors end the process.

    Raises:
        ConfigError: They contradict each other.
    """
    import tyro  # late: the overview must not wait for it

    options_class = getattr(import_module(module_of(name)), config_of(name))
    return tyro.cli(options_class, args=options, prog=f"gwm {name}", description=f"{VERBS[name].help}.")


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
