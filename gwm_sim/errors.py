"""Errors that a user can act on: each says what was given, what was expected and what to do."""


class GwmError(Exception):
    """Base of every error that gwm_sim raises on purpose."""


class DataError(GwmError):
    """A data file is missing, truncated, foreign or holds values that no camera or robot can report."""


class DamagedEpisode(DataError):
    """One episode of a recording cannot be read, and the others can do without it."""


class OutsideError(DataError):
    """A recording refers to what does not lie in it: no damage, and nothing to read on from."""


class CheckpointError(GwmError):
    """A model folder is missing, incomplete or made by an incompatible version."""


class ConfigError(GwmError):
    """Options contradict each other or the data they are applied to."""


class StorageError(GwmError):
    """The storage refuses, as a full disk does; the message says what is kept."""


class RemoteError(GwmError):
    """A server is gone, or does not do what was asked."""

    def __init__(self, message: str, code: str = "") -> None:
        """Say what is wrong, and the server's word for it, if it said one."""
        super().__init__(message)
        self.code = code


class RefusedRequest(RemoteError, ValueError):
    """A server was asked for something that makes no sense; in an environment on this machine a ValueError."""


class MissingDependency(GwmError, ImportError):
    """An optional package or system library is needed; the message names the command that installs it."""


def check_at_least_one(**options: int | None) -> None:
    """Raise ConfigError for an option of a verb that counts something and is given as less than 1."""
    for name, value in options.items():
        if value is not None and value < 1:
            raise ConfigError(f"--{name.replace('_', '-')} must be at least 1, got {value}")


def check_rate(**options: float | None) -> None:
    """Raise ConfigError for an option of a verb that is a rate [Hz] and no possible one."""
    for name, value in options.items():
        if value is not None and not 0 < value <= 1000:
            raise ConfigError(f"--{name.replace('_', '-')} must be above 0 and at most 1000, got {value:g}")
