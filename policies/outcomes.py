"""Outcomes of policies on a real robot, as a table: which policy, from which start, whether it succeeded.

    policy,start,trial,reached,grasped,success
    act,300000,1,1,1,1
    act,300000,2,1,0,0

A row is a trial. Where it began says `start`, a number: the seed of a start of the block world, or a start state of the
model of one's own world; or `episode`, a recording FILE:K of which the first frames are the start, FILE as seen from
the table. `trial` tells trials from one start apart. Any further column of 0 and 1 is a stage; stages are nested, from
left to right, and the last one is success. Columns without any 0 or 1, such as notes, are left out.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from gwm_sim.envs.learned.starts import split_place
from gwm_sim.errors import ConfigError
from gwm_sim.evaluation.ranking import Trials
from gwm_sim.evaluation.statistics import wilson_interval
from gwm_sim.storage import reason

Start = int | str
"""The number of a start, or a recorded episode "FILE:K"."""

PLACES: Final = ("start", "episode")
KNOWN: Final = ("policy", *PLACES, "trial", "success")
VERDICTS: Final = {"0": False, "1": True, "false": False, "true": True}
_SHOWN: Final = 3  # things of a kind that a message names


class Trial(NamedTuple):
    """One row."""

    line: int
    policy: str
    start: Start | None
    """None in tables that do not say where trials began."""
    trial: str
    success: bool
    stages: tuple[bool, ...]


@dataclass(frozen=True)
class Record:
    """All trials of one policy."""

    by_start: tuple[tuple[Trial, ...], ...]
    """In the order of the table's starts; of a table without starts, each trial is one."""

    @property
    def trials(self) -> list[Trial]:
        """All of them."""
        return [trial for trials in self.by_start for trial in trials]

    @property
    def successes(self) -> int:
        """Number of successful trials."""
        return sum(trial.success for trial in self.trials)

    @property
    def success_rate(self) -> float:
        """Share of successful trials."""
        return self.successes / len(self.trials)

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the success rate."""
        return wilson_interval(self.successes, len(self.trials))

    def to_json(self) -> dict[str, Any]:
        """Numbers for a results file."""
        return {
            "n": len(self.trials),
            "success_rate": self.success_rate,
            "interval": list(self.interval),
            "repeatability": self.repeatability,
        }

    @property
    def repeatability(self) -> float | None:
        """How often two trials from one start end alike, over the starts that were tried twice; None without any."""
        shares = []
        for trials in self.by_start:
            n, k = len(trials), sum(trial.success for trial in trials)
            if n > 1:
                shares.append((k * (k - 1) + (n - k) * (n - k - 1)) / (n * (n - 1)))
        return float(np.mean(shares)) if shares else None


@dataclass(frozen=True)
class Outcomes:
    """A table of outcomes that has been checked."""

    starts: tuple[Start, ...]
    """Where all policies were tried, numbers in order; empty where the table does not say."""
    stages: tuple[str, ...]
    """Names of the nested stages before success."""
    left_out: tuple[str, ...]
    """Columns that say neither."""
    records: dict[str, Record]
    """By policy."""

    @property
    def paired(self) -> bool:
        """Whether trials can be compared start by start."""
        return bool(self.starts)

    def trials(self, policies: Sequence[str]) -> Trials:
        """Counts (P, S) of some policies, S being 1 in a table that does not say where trials began."""
        groups = [
            self.records[policy].by_start if self.starts else (self.records[policy].trials,) for policy in policies
        ]
        tried = np.array([[len(trials) for trials in group] for group in groups])
        return Trials(np.array([[sum(t.success for t in trials) for trials in group] for group in groups]), tried)


def read_outcomes(path: Path, policies: Sequence[str], unpaired: bool = False) -> Outcomes:
    """Read and check a table.

    Args:
        path: CSV file with a header.
        policies: Names of those that are to be compared.
        unpaired: Whether the table does not say where trials began.

    Raises:
        ConfigError: It is no such table, or not one of exactly these policies from the same starts.
    """
    header, rows = _rows(path)
    place = _check_header(path, header, unpaired)
    extra = [name for name in header if name not in KNOWN]
    left_out = [name for name in extra if not any(row[name].lower() in VERDICTS for _, row in rows)]
    stages = tuple(name for name in extra if name not in left_out)
    trials = [_trial(path, line, row, place, stages) for line, row in rows]
    _check_policies(path, trials, policies)
    starts: tuple[Start, ...] = ()
    if place is not None:
        starts = tuple(dict.fromkeys(trial.start for trial in trials if trial.start is not None))
        if place == "start":
            starts = tuple(sorted(starts))  # so that results do not depend on the order of rows
        _check_trials(path, trials, place, "trial" in header)
        _check_starts(path, trials, policies, starts, place)
    records = {}
    for policy in policies:
        own = [trial for trial in trials if trial.policy == policy]
        groups = [[t for t in own if t.start == start] for start in starts] if starts else [[trial] for trial in own]
        records[policy] = Record(tuple(map(tuple, groups)))
    return Outcomes(starts, stages, tuple(left_out), records)


def _rows(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Header and rows, each with its line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = "it is not text in UTF-8" if isinstance(error, UnicodeDecodeError) else reason(error) or error
        raise ConfigError(f"--real {path} cannot be read: {why}") from error
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise ConfigError(f"{path} line {reader.line_num} is no CSV: {error}") from error
    lines = [(line, cells) for line, cells in lines if any(cells)]
    if len(lines) < 2:
        raise ConfigError(f"{path} holds no trial: it needs a header such as policy,start,success and a row for each")
    (_, header), *rows = lines
    if "" in header:
        raise ConfigError(f"{path}: column {header.index('') + 1} has no name: give it one, or leave it out")
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise ConfigError(f"{path}: the column {twice[0]!r} is there twice: leave one out")
    for line, cells in rows:
        if len(cells) != len(header):
            raise ConfigError(
                f"{path} line {line} has {len(cells)} cells, the header has {len(header)}: {', '.join(header)}"
            )
    return header, [(line, dict(zip(header, cells, strict=True))) for line, cells in rows]


def _check_header(path: Path, header: Sequence[str], unpaired: bool) -> str | None:
    """The column that says where trials began."""
    if lacking := [name for name in ("policy", "success") if name not in header]:
        raise ConfigError(f"{path} has no column {' and '.join(lacking)}; its columns are {', '.join(header)}")
    places = [name for name in PLACES if name in header]
    if len(places) == 2:
        raise ConfigError(f"{path} has both columns start and episode: leave one out")
    if unpaired and places:
        raise ConfigError(f"{path} says where trials began, in {places[0]}: leave out --unpaired")
    if not unpaired and not places:
        raise ConfigError(
            f"{path} has no column start or episode, so nobody knows where trials began: add one, or compare success "
            "rates alone by --unpaired"
        )
    return places[0] if places else None


def _trial(path: Path, line: int, row: dict[str, str], place: str | None, stages: Sequence[str]) -> Trial:
    def verdict(name: str) -> bool:
        said = row[name].lower()
        if said not in VERDICTS:
            hint = "" if name == "success" else "; a column with any 0 or 1 is a stage, leave it out if it is none"
            raise ConfigError(f"{path} line {line}: {name} must be 0 or 1, got {row[name]!r}{hint}")
        return VERDICTS[said]

    if not row["policy"]:
        raise ConfigError(f"{path} line {line} names no policy")
    names = (*stages, "success")
    reached = [verdict(name) for name in names]
    for i, name in enumerate(stages):
        if reached[i + 1] and not reached[i]:
            raise ConfigError(
                f"{path} line {line}: {names[i + 1]} is 1 and {name} is 0, but stages are nested from left to right: "
                "correct the row, or order the columns as they follow each other"
            )
    start = None if place is None else _start(path, line, place, row[place])
    return Trial(line, row["policy"], start, row.get("trial", ""), reached[-1], tuple(reached[:-1]))


def _start(path: Path, line: int, place: str, said: str) -> Start:
    if not said:
        raise ConfigError(f"{path} line {line} does not say where the trial began: {place} is empty")
    if place == "start":
        if not (said.isascii() and said.isdigit()):
            raise ConfigError(f"{path} line {line}: start must be a whole number from 0, got {said!r}")
        return int(said)
    try:
        file, number = split_place(said)
    except ValueError as error:
        raise ConfigError(f"{path} line {line}: {error}") from error
    if not (found := path.parent / file).is_file():
        raise ConfigError(f"{path} line {line}: no episode file {found}")
    return f"{found}:{number}"


def _check_policies(path: Path, trials: Sequence[Trial], policies: Sequence[str]) -> None:
    for trial in trials:
        if trial.policy not in policies:
            raise ConfigError(
                f"{path} line {trial.line}: {trial.policy!r} is none of --policies {' '.join(policies)}: name it "
                f"there, as {trial.policy}=SPEC where it is called otherwise, or leave out its rows"
            )
    if untried := [policy for policy in policies if all(trial.policy != policy for trial in trials)]:
        raise ConfigError(f"{path} has no trial of {', '.join(untried)}, which --policies names")


def _check_trials(path: Path, trials: Sequence[Trial], place: str, numbered: bool) -> None:
    """Refuse two rows for one trial."""
    seen: dict[tuple[str, Start | None, str], int] = {}
    for trial in trials:
        key = (trial.policy, trial.start, trial.trial)
        if key in seen:
            which = f"trial {trial.trial or '(empty)'} of " if numbered else ""
            hint = "leave one out" if numbered else "leave one out, or tell trials apart in a column trial"
            raise ConfigError(
                f"{path} lines {seen[key]} and {trial.line} are both {which}{trial.policy} from {place} "
                f"{trial.start}: {hint}"
            )
        seen[key] = trial.line


def _check_starts(
    path: Path, trials: Sequence[Trial], policies: Sequence[str], starts: Sequence[Start], place: str
) -> None:
    """Refuse a table in which a policy was not tried everywhere."""

    def lacking() -> Iterator[str]:
        for policy in policies:
            tried = {trial.start for trial in trials if trial.policy == policy}
            missing = [str(start) for start in starts if start not in tried]
            if missing:
                more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
                yield f"{policy} from {', '.join(missing[:_SHOWN])}{more}"

    if found := list(lacking()):
        raise ConfigError(
            f"{path} lacks trials of {'; '.join(found)}: policies are compared from the same starts, so try each from "
            f"every {place}, or leave out the rows of those"
        )
