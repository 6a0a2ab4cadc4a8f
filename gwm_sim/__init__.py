"""A robot world learned from video, served as a Gymnasium environment.

Importing the package registers the environment ids (`GWM-*` for learned worlds, `MuJoCo-*` for the physics twin) where
Gymnasium is installed, and loads neither torch nor MuJoCo: the names below load on first use.

Letters of axes, unless a docstring says otherwise:
    B batch, T time, C context frames, V views of a frame, H height and W width of an image (channel last, uint8 at
    every public border), N tokens of a frame and M integers of a token, D width of a network, A action, P telemetry,
    K objects, Q properties. Of an episode N is the number of actions, and S counts the candidates of a search.
Units stand in brackets: [m], [rad], [s], [Hz]. Quaternions are (w, x, y, z).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gwm_sim import forks
from gwm_sim.errors import CheckpointError, ConfigError, DataError, GwmError, MissingDependency

if TYPE_CHECKING:
    from gwm_sim.data.cameras import Camera
    from gwm_sim.data.episode_file import Episode, EpisodeFile, EpisodeWriter
    from gwm_sim.model.world_model import WorldModel

__version__ = "0.2.0"

__all__ = [
    "Camera",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "Episode",
    "EpisodeFile",
    "EpisodeWriter",
    "GwmError",
    "MissingDependency",
    "WorldModel",
    "__version__",
]

_HOME = {
    "Camera": "gwm_sim.data.cameras",
    "Episode": "gwm_sim.data.episode_file",
    "EpisodeFile": "gwm_sim.data.episode_file",
    "EpisodeWriter": "gwm_sim.data.episode_file",
    "WorldModel": "gwm_sim.model.world_model",
}


def __getattr__(name: str) -> Any:
    """Import the module of a public name when the name is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


forks.watch()

try:
    import gwm_sim.envs  # noqa: F401  # registers the ids
except ModuleNotFoundError as error:
    if error.name != "gymnasium":  # the model works without it
        raise
