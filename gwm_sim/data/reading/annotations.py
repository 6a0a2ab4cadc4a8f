"""JSON files that describe one film or several: numbers per frame, where the films lie, what was asked and achieved."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gwm_sim.data.reading.checks import Array, brief, json_object, matrix
from gwm_sim.data.reading.folders import unlinked
from gwm_sim.errors import DataError

_SUCCESS = ("success", "is_success", "succeeded")
_TEXTS = ("texts", "text", "instruction", "language_instruction", "task_description")
_FILMS = ("videos", "video_path", "video_paths", "video")
_RATES = ("fps", "frame_rate")

_MOST_DEEP = 5
"""Objects within objects in which numbers are looked for."""


@dataclass(frozen=True)
class Annotation:
    """What one file says."""

    path: Path
    split: str | None
    """Folder that it lies in, such as train; None where all lie in one."""
    fields: dict[str, list[Any]]
    """Lists of numbers, or of rows of numbers, by name; of objects within objects as `observation.state`."""
    films: dict[str, str]
    """Path of each film by the name of its camera, as the file gives it; empty where it gives none."""
    succeeded: bool | None
    instruction: str | None
    rate: float | None
    """Frames per second."""

    @property
    def name(self) -> str:
        """Name of the episode."""
        return self.path.stem if self.split is None else f"{self.split}/{self.path.stem}"

    def width(self, key: str) -> int:
        """Return the numbers in a row of a field."""
        first = self.fields[key][0]
        return len(first) if isinstance(first, list) else 1

    def values(self, key: str) -> Array:
        """Return a field as (R, columns) float32."""
        if key not in self.fields:
            raise DataError(f"{self.path} has no {brief(key)}, the first episode has it.")
        return matrix(self.fields[key], f"{self.path}: {key}")


def read_annotation(path: Path, split: str | None) -> Annotation:
    """Read a file.

    Raises:
        DataError: It is damaged, or says something else than numbers, texts and paths where those are expected.
    """
    told = json_object(unlinked(path))
    return Annotation(
        path=path,
        split=split,
        fields=dict(_fields(told, "", 0)),
        films=_films(told, path),
        succeeded=_succeeded(told, path),
        instruction=_instruction(told, path),
        rate=_rate(told, path),
    )


def _fields(value: dict[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, list[Any]]]:
    for key, item in value.items():
        if isinstance(item, dict) and depth < _MOST_DEEP:
            yield from _fields(item, f"{prefix}{key}.", depth + 1)
        elif isinstance(item, list) and item:
            first = item[0][0] if isinstance(item[0], list) and item[0] else item[0]
            if isinstance(first, int | float):
                yield f"{prefix}{key}", item


def _films(told: dict[str, Any], path: Path) -> dict[str, str]:
    key = next((key for key in _FILMS if told.get(key)), None)
    if key is None:
        return {}
    entries = told[key] if isinstance(told[key], list | dict) else [told[key]]
    named = entries.items() if isinstance(entries, dict) else ((None, entry) for entry in entries)
    films: dict[str, str] = {}
    for name, entry in named:
        said = entry if isinstance(entry, dict) else {"path": entry}
        reference = said.get("video_path", said.get("path"))
        if not isinstance(reference, str) or not reference:
            raise DataError(f"{path}: {key} holds {brief(entry)}, expected the path of a film.")
        camera = str(name or said.get("camera") or said.get("name") or camera_of(Path(reference), path.stem))
        if camera in films:
            raise DataError(f"{path}: {key} names two films of the camera {brief(camera)}.")
        films[camera] = reference
    return films


def camera_of(film: Path, episode: str) -> str:
    """Name a camera by its film, which lies in the folder of its episode; one that is the episode has no name."""
    return "video" if film.stem == episode != film.parent.name else film.stem


def _succeeded(told: dict[str, Any], path: Path) -> bool | None:
    key = next((key for key in _SUCCESS if told.get(key) is not None and not isinstance(told[key], list)), None)
    if key is None:
        return None
    if told[key] not in (0, 1, True, False):
        raise DataError(f"{path}: {key} is {brief(told[key])}, expected true or false, or 1 or 0.")
    return bool(told[key])


def _instruction(told: dict[str, Any], path: Path) -> str | None:
    """Return the first text that says anything; several say the same in other words."""
    for key in _TEXTS:
        texts = told.get(key) or []
        texts = texts if isinstance(texts, list) else [texts]
        for text in texts:
            if not isinstance(text, str):
                raise DataError(f"{path}: {key} holds {brief(text)}, expected a text.")
            if text.strip():
                return text.strip()
    return None


def _rate(told: dict[str, Any], path: Path) -> float | None:
    key = next((key for key in _RATES if told.get(key) is not None), None)
    if key is None:
        return None
    rate = told[key]
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < 10_000:
        raise DataError(f"{path}: {key} is {brief(rate)}, expected a rate in Hz.")
    return float(rate)
