"""Seeded damage to files of recordings: cut, overwritten, linked elsewhere, or with wrong contents."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.random import Generator


class Damage(NamedTuple):
    """What was done, and whether what can still be read must be true."""

    what: str
    honest: bool = True


def damage_something(rng: Generator, source: Path, outside: Path) -> Damage:
    files = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
    files = [path for path in files if "stereo" not in path.name]
    path = files[rng.integers(len(files))]
    inner = {".hdf5": damage_hdf5, ".h5": damage_hdf5, ".json": damage_json, ".jsonl": damage_json,
             ".csv": damage_csv, ".parquet": damage_parquet}.get(path.suffix)  # fmt: skip
    if inner is not None and rng.random() < 0.75:
        what = inner(rng, path, outside)
    else:
        what = damage_file(rng, path, outside)
    return what._replace(what=f"{path.name}: {what.what}")


def pick(rng: Generator, choices: list[Callable[[], Damage | str]]) -> Damage:
    result = choices[rng.integers(len(choices))]()
    return Damage(result) if isinstance(result, str) else result


def damage_file(rng: Generator, path: Path, outside: Path) -> Damage:
    data = path.read_bytes()

    def truncate() -> str:
        size = int(rng.integers(len(data)))
        path.write_bytes(data[:size])
        return f"truncated to {size} of {len(data)} bytes"

    def empty() -> str:
        path.write_bytes(b"")
        return "empty"

    def delete() -> str:
        path.unlink()
        return "deleted"

    def folder() -> str:
        path.unlink()
        path.mkdir()
        return "a folder"

    def link() -> str:
        shutil.move(path, outside / path.name)
        path.symlink_to(outside / path.name)
        return "a link out of the source"

    def loop() -> str:
        path.unlink()
        path.symlink_to(path.name)
        return "a link to itself"

    def noise() -> str:
        path.write_bytes(rng.bytes(2_000))
        return "noise"

    def playlist() -> str:
        path.write_text(f"ffconcat version 1.0\nfile '{outside / 'secret.bin'}'\n", encoding="utf-8")
        return "a playlist"

    def scratches() -> Damage:
        scratched = bytearray(data)
        for at in rng.integers(len(data), size=8):
            scratched[at] = int(rng.integers(256))
        path.write_bytes(bytes(scratched))
        return Damage("eight bytes changed", honest=False)

    choices: list[Callable[[], Damage | str]] = [truncate, truncate, empty, delete, folder, link, loop, noise, playlist]
    if path.suffix not in (".hdf5", ".h5"):  # the HDF5 library itself does not promise to survive this
        choices.append(scratches)
    return pick(rng, choices)


def damage_hdf5(rng: Generator, path: Path, outside: Path) -> Damage:
    with h5py.File(path, "r+") as file:
        places: list[str] = []
        file.visit(places.append)
        place = places[rng.integers(len(places))]
        arrays = [name for name in places if isinstance(file[name], h5py.Dataset) and file[name].ndim > 0]
        name = arrays[rng.integers(len(arrays))]
        values = file[name][:]

        def put(new: Any, what: str, honest: bool = True) -> Damage:
            stored = file[name].dtype if np.asarray(new).dtype == object else None
            del file[name]
            file.create_dataset(name, data=new, dtype=stored)
            return Damage(f"{name} {what}", honest)

        def delete() -> Damage:
            del file[place]
            # Without the flags of DROID that leave rows out, every row counts.
            flags = ("observation/controller_info", "observation/timestamp")
            return Damage(f"{place} deleted", honest=not place.startswith(flags))

        def nan() -> Damage | str:
            if values.dtype.kind != "f" or not values.size:
                return "nothing"
            value = [np.nan, np.inf, -np.inf, 1e300][rng.integers(4)]
            new = values.astype(np.float64)
            new.flat[rng.integers(new.size)] = value
            return put(new, f"holds {value}")

        def shorter() -> Damage:
            return put(values[: rng.integers(len(values))] if len(values) else values, "cut short")

        def longer() -> Damage:
            return put(np.concatenate([values, values[-1:]]), "one row longer")

        def typed() -> Damage:
            kind = ["S3", "c8", "f2", "i1", "O"][rng.integers(5)]
            if kind == "O" or values.dtype.kind not in "fiub":
                return put([b"text"] * len(values), "is text")
            # Half floats and small integers still are numbers, only wrong ones.
            with np.errstate(all="ignore"):
                return put(values.astype(kind), f"is {kind}", honest=kind not in ("f2", "i1"))

        def reshaped() -> Damage:
            return put(values[..., None] if rng.random() < 0.5 else values.reshape(-1), "has other axes")

        def claimed() -> str:
            del file[name]
            file.create_dataset(name, (10**9, *values.shape[1:]), values.dtype, chunks=(1, *values.shape[1:]))
            return f"{name} claims a billion rows"

        def linked() -> str:
            del file[name]
            links = [h5py.SoftLink("/"), h5py.SoftLink("/nowhere"), h5py.ExternalLink(str(outside / "x.h5"), "/")]
            file[name] = links[rng.integers(len(links))]
            return f"{name} a link"

        def grouped() -> str:
            del file[name]
            file.create_group(name)
            return f"{name} a group"

        def attribute() -> Damage:
            item = file[place]
            keys = sorted(item.attrs) or ["env_args"]
            key = keys[rng.integers(len(keys))]
            strange: list[Any] = ["{" * 100_000, "x" * 5_000_000, np.zeros(3), -1, b"\xff\xfe", "null", "[]", 1e300,
                                  "../../secret.mp4", "/etc/passwd", '{"env_kwargs": 3}', h5py.Empty("f4"),
                                  '{"env_kwargs": {"control_freq": "often"}}']  # fmt: skip
            value = strange[rng.integers(len(strange))]
            item.attrs[key] = value
            return Damage(f"{place}, attribute {key} {str(value)[:40]!r}", honest=key != "macros_image_convention")

        def huge() -> str:
            file[place].attrs.create("huge", "y" * 20_000_000)
            return f"{place} has a huge attribute"

        def no_episodes() -> str:
            for top in list(file):
                del file[top]
            file.create_group("data")
            return "no episodes"

        return pick(rng, [delete, delete, nan, nan, shorter, shorter, longer, typed, typed, reshaped, claimed, linked,
                          grouped, attribute, attribute, huge, no_episodes])  # fmt: skip


def strange_value(rng: Generator) -> Any:
    values: list[Any] = [None, -1, 0, 1e308, float("nan"), "", "x" * 1_000_000, [], {}, [[[]]], True, 10**30, "a\0b",
                         "../../secret.bin", "/etc/passwd", "{chunk_index:0999999d}", "{chunk_index.real}"]  # fmt: skip
    return values[rng.integers(len(values))]


def damage_json(rng: Generator, path: Path, outside: Path) -> Damage:
    lines = path.read_text(encoding="utf-8").splitlines()
    number = int(rng.integers(len(lines)))
    if rng.random() < 0.1:
        lines[number] = "[" * 100_000
        what = "nested without end"
    else:
        value = json.loads(lines[number])
        holder, trail = value, ""
        while True:
            key = (
                list(holder)[rng.integers(len(holder))] if isinstance(holder, dict) else int(rng.integers(len(holder)))
            )
            trail += f"/{key}"
            if isinstance(holder[key], dict | list) and holder[key] and rng.random() < 0.7:
                holder = holder[key]
                continue
            break
        if isinstance(holder, dict) and rng.random() < 0.3:
            del holder[key]
            what = f"{trail} deleted"
        else:
            holder[key] = strange_value(rng)
            what = f"{trail} = {str(holder[key])[:40]!r}"
        lines[number] = json.dumps(value)
    path.write_text("\n".join(lines), encoding="utf-8")
    # A rate, a name or the length of a chunk may be another one without contradiction; an annotation may also have
    # another number or a field less.
    return Damage(what, honest="annotation" not in path.parts)


def damage_csv(rng: Generator, path: Path, outside: Path) -> Damage:
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    row, column = int(rng.integers(1, len(rows))), int(rng.integers(len(rows[0])))

    def cell() -> Damage:
        text = ["nan", "inf", "", "text", "1e300", "x" * 200_000, '"', "0x10"][rng.integers(8)]
        rows[row][column] = text
        return Damage(f"line {row} holds {text[:20]!r}")

    def ragged() -> str:
        rows[row] = rows[row][:-1] if rng.random() < 0.5 else [*rows[row], "1"]
        return f"line {row} is ragged"

    def header() -> str:
        rows[0][column] = ["", "speed", "state.", rows[0][0], "state.x [m"][rng.integers(5)]
        return f"header {rows[0][column]!r}"

    def no_rows() -> str:
        del rows[1:]
        return "no rows"

    def doubled() -> str:
        rows.insert(row, rows[row])
        return f"line {row} twice"

    def fewer() -> str:
        del rows[-int(rng.integers(1, len(rows))) :]
        return "rows cut off"

    timed = "time" in rows[0]
    what = pick(rng, [cell, cell, ragged, header, no_rows, fewer, *([doubled] if timed else [])])
    path.write_text("\n".join(",".join(line) for line in rows) + ("\0" if rng.random() < 0.1 else ""), encoding="utf-8")
    return what


def damage_parquet(rng: Generator, path: Path, outside: Path) -> Damage:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path, partitioning=None)
    name = table.column_names[rng.integers(len(table.column_names))]
    at = table.column_names.index(name)
    values = table.column(name).to_pylist()

    def put(new: list[Any], what: str) -> Damage:
        return store(table.set_column(at, name, pa.array(new)), f"{name} {what}")

    def store(changed: Any, what: str) -> Damage:
        pq.write_table(changed, path)
        return Damage(what)

    def drop() -> Damage:
        return store(table.drop_columns([name]), f"{name} dropped")

    def text() -> Damage:
        return put(["text"] * len(values), "is text")

    def null() -> Damage:
        return put([None, *values[1:]], "begins with null")

    def nan() -> Damage:
        first = [float("nan")] * len(values[0]) if isinstance(values[0], list) else float("nan")
        keep = (
            values
            if isinstance(values[0], list)
            else [float(v) if isinstance(v, int | float) else None for v in values]
        )
        return put([first, *keep[1:]], "begins with NaN")

    def fewer() -> Damage:
        return store(table.slice(0, int(rng.integers(table.num_rows))), "rows cut off")

    def inner() -> Damage:
        gone = int(rng.integers(table.num_rows))
        kept = [row for row in range(table.num_rows) if row != gone]
        return store(table.take(kept), f"row {gone} missing")

    def ragged() -> Damage:
        lists = [[*v, 1.0] if isinstance(v, list) else [v] for v in values]
        return put(lists, "has other lengths")

    return pick(rng, [drop, text, null, nan, fewer, inner, ragged])
