"""`gwm label`: mark in which recordings a task was fulfilled, and from which step on.

A person looks at a picture of each episode and answers; or the answers are given with the command. Success is all that
a person can tell, so the reward of the task is success as a number. The file that is labelled is never changed.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro

from gwm_sim import cli
from gwm_sim.data.episode_file import Episode, EpisodeFile, EpisodeWriter, TaskLabels
from gwm_sim.data.schema import Schema
from gwm_sim.errors import ConfigError
from gwm_sim.files import write_json
from gwm_sim.media.video import contact_sheet, write_png
from gwm_sim.protocol import SUSTAINED_STEPS

NONE = "none"

_COLUMNS, _MOMENTS = 8, 32  # frames of a picture
_EPISODES = re.compile(r"(\d+)(?:-(\d+))?(?:@(\d+))?")

Ask = Callable[[str], str]
"""Shows a question and returns the answer, such as `input`."""


@dataclass(frozen=True)
class LabelConfig:
    """Mark in which episodes a task was fulfilled; the same command goes on where it was left."""

    file: tyro.conf.Positional[Path]
    """Episode file to label; it is never changed."""
    out: Path
    """Episode file to write."""
    success: tuple[str, ...] = ()
    """Episodes in which the task was fulfilled, such as 0 3 5-9, and from which step on if it is known: 4@20. "none" if
    there are none. By default every episode is shown and asked for."""
    task: str = "task"
    """Name of the task; labels that the file has for it are replaced, others stay."""
    pictures: Path | None = None
    """Folder for the pictures of the episodes, by default beside --out."""
    json: Path | None = None
    """Write the printed numbers here."""


class Later(Exception):
    """The person goes on another time."""


def label_episodes(config: LabelConfig, ask: Ask = input) -> dict[int, int | None]:
    """Label what is not labelled yet, by asking if need be, and finish the file.

    Returns:
        The step from which on the task was fulfilled, by episode; None where it was not.

    Raises:
        ConfigError: The options are impossible, or `config.out` is there already.
        Later: The person stopped; the answers are kept.
    """
    if config.out.exists():
        raise ConfigError(f"{config.out} exists already: give another --out")
    if not re.fullmatch(r"\w+", config.task):
        raise ConfigError(f"--task must be one word of letters and digits, got {config.task!r}")
    with EpisodeFile(config.file) as file:
        given = parse_episodes(config.success, file.lengths) if config.success else None
        writer = EpisodeWriter(config.out, labelled_schema(file.schema, config))
        with writer.finishing():
            for k in range(len(file)):
                if not writer.has(k):
                    since = inquire(config, file, k, ask) if given is None else given.get(k)
                    writer.write(k, labelled(file.read(k), config.task, since))
            for name in file.attachments:
                writer.attach(name, file.attached(name) or {})
    with EpisodeFile(config.out) as done:
        return {k: first_success(done.read(k, cameras=()), config.task) for k in range(len(done))}


def parse_episodes(words: Sequence[str], lengths: Sequence[int]) -> dict[int, int]:
    """Steps from which on episodes succeeded, from words such as `3`, `5-9` and `4@20`.

    Without a step these are the last `SUSTAINED_STEPS` steps, the fewest that count as success.
    """
    found: dict[int, int] = {}
    for word in words:
        match = _EPISODES.fullmatch(word)
        if word == NONE and len(words) == 1:
            return {}
        if match is None:
            raise ConfigError(f"--success takes numbers of episodes such as 3, 5-9 or 4@20, got {word!r}")
        first, last, since = (int(group) if group else None for group in match.groups())
        assert first is not None
        for k in range(first, (first if last is None else last) + 1):
            if k >= len(lengths):
                raise ConfigError(f"there is no episode {k}: the file has {len(lengths)}, from 0")
            if since is not None and since > lengths[k]:
                raise ConfigError(f"episode {k} ends at step {lengths[k]}, before {since}")
            found[k] = max(0, lengths[k] - SUSTAINED_STEPS + 1) if since is None else since
    return found


def inquire(config: LabelConfig, file: EpisodeFile, k: int, ask: Ask) -> int | None:
    """Show one episode and ask from which step on the task was fulfilled."""
    folder = config.pictures or config.out.with_name(f"{config.out.stem}-pictures")
    path = folder / f"episode-{k:04d}.png"
    write_sheet(file, k, path)
    question = f"episode {k} of {len(file)}, steps 0 to {file.lengths[k]}, {path}\n  {config.task}? [y/n/STEP/q] "
    while True:
        try:
            answer = ask(question).strip().lower()
        except EOFError:
            raise Later from None
        if answer in ("q", "quit"):
            raise Later
        if answer in ("n", "no"):
            return None
        try:
            words = [str(k) if answer in ("y", "yes") else f"{k}@{int(answer)}"]
            return parse_episodes(words, file.lengths)[k]
        except (ValueError, ConfigError):
            question = (
                f"  y: yes, at the end; n: no; 0 to {file.lengths[k]}: from that step on; q: go on later. [y/n/STEP/q] "
            )


def write_sheet(file: EpisodeFile, k: int, path: Path) -> None:
    """Draw an episode as rows of moments; the steps stand at the left and above."""
    camera = next(iter(file.schema.cameras))
    frames = file.read(k, cameras=(camera,)).frames[camera]
    stride = -(-len(frames) // _MOMENTS)
    rows = {
        f"{first}": list(frames[first : first + stride * _COLUMNS : stride])
        for first in range(0, len(frames), stride * _COLUMNS)
    }
    columns = [f"+{stride * column}" for column in range(min(_COLUMNS, len(frames)))]
    write_png(path, contact_sheet(rows, columns))


def labelled_schema(schema: Schema, config: LabelConfig) -> Schema:
    """The schema with the task; given answers are among its settings, so that other ones do not mix with them."""
    tasks = schema.tasks if config.task in schema.tasks else (*schema.tasks, config.task)
    by_hand = schema.settings.get("by_hand", {}) | {config.task: list(config.success) or "asked"}
    return replace(
        schema, tasks=tasks, task=schema.task or config.task, settings=schema.settings | {"by_hand": by_hand}
    )


def labelled(episode: Episode, task: str, since: int | None) -> Episode:
    """An episode with labels for a task that is fulfilled from the step `since` on, or never."""
    success = np.zeros(len(episode) + 1, bool)
    if since is not None:
        success[since:] = True
    return replace(episode, labels=episode.labels | {task: TaskLabels(success.astype(np.float32), success)})


def first_success(episode: Episode, task: str) -> int | None:
    """Step from which on a task is fulfilled, or None."""
    success = episode.labels[task].success
    return int(success.argmax()) if success.any() else None


def main(config: LabelConfig) -> int:
    """Run `gwm label`."""
    try:
        answers = label_episodes(config)
    except (Later, KeyboardInterrupt):
        print("\nThe answers are kept: the same command goes on.")
        return cli.INTERRUPTED
    count = sum(since is not None for since in answers.values())
    print(f"{config.out}: {config.task} in {count} of {len(answers)} episodes")
    if count in (0, len(answers)):
        print("caution: a model needs to see both, success and failure, to tell them apart")
    if config.json is not None:
        write_json(config.json, {"task": config.task, "since": answers})
    return 0
