"""The page of `gwm compare`: one HTML file that holds its plots, pictures and films."""

import base64
import io
import tempfile
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gwm_sim.envs.tabletop.paired import World
from gwm_sim.files import write_text
from gwm_sim.media.video import contact_sheet, encode_png, write_video

Frames = NDArray[np.uint8]
Array = NDArray[Any]

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; width: 100% } th, td { padding: .3rem .6rem; text-align: right }
th:first-child, td:first-child { text-align: left } tr + tr { border-top: 1px solid #ddd }
.films { display: flex; flex-wrap: wrap; gap: 1rem } figure { margin: 0 } img { max-width: 100% }
small { color: #666 }
"""
_MOMENTS = 8
_STARTS = 10  # that are listed
_APART = 0.5  # agreement below which two worlds disagree
_FILM_SCALE = 3


def write_report(
    path: Path, numbers: Mapping[str, Any], films: Mapping[str, Mapping[World, Frames]], rate: float
) -> None:
    """Write the page.

    Args:
        path: HTML file.
        numbers: What `compare` measured.
        films: Frames (T, H, W, 3) in both worlds by policy.
        rate: Frames per second of the films [Hz].
    """
    worlds, entries = numbers["worlds"], numbers["policies"]
    where = {"real": "a learned world and on the robot", "twin": "both worlds"}.get(worlds[0], "a world without a twin")
    body = [
        f"<h1>{escape(numbers['task'])}: {len(entries)} policies in {where}</h1>",
        f"<p>{escape(_episodes(numbers))} Success in a world counts when sustained. Learned world: "
        f"{escape(numbers['model'])}, hash <code>{numbers['model_hash']}</code>.</p>",
        _statistics(numbers) if "pearson" in numbers else "",
        _table(entries, worlds),
        *(_stage(stage, worlds) for stage in numbers.get("stages", ())),
        _disagreements(numbers["starts"], [entry["policy"] for entry in entries]) if "starts" in numbers else "",
        _plots(entries, worlds),
        f"<h2>From the first start</h2><div class=films>{''.join(_film(*item, rate) for item in films.items())}</div>",
        *(_strip(*item) for item in films.items()),
    ]
    page = f"<!doctype html><html lang=en><meta charset=utf-8><title>gwm compare</title><style>{_STYLE}</style>"
    write_text(path, page + "\n".join(body) + "</html>\n")


def _episodes(numbers: Mapping[str, Any]) -> str:
    """How often and from where policies were run."""
    options = numbers["options"]
    seeds = f"seeds {options['seed']} to {options['seed'] + options['episodes'] - 1}"
    if options.get("real") is None:
        return f"{options['episodes']} episodes each from the same starts ({seeds})."
    trials = sorted({entry["real"]["n"] for entry in numbers["policies"]})
    tried = f"{' to '.join(map(str, dict.fromkeys((trials[0], trials[-1]))))} trials each on the robot"
    if "starts" in numbers:
        return f"{tried} ({options['real']}), and an imagined episode from each of their {options['episodes']} starts."
    return f"{tried} ({options['real']}), and {options['episodes']} imagined episodes from other starts ({seeds})."


def _number(value: float | None, form: str = ".3f") -> str:
    return "undefined" if value is None else format(value, form)


def _statistics(numbers: Mapping[str, Any]) -> str:
    words = {"pearson": "Pearson r", "spearman": "Spearman rho", "mmrv": "MMRV"}
    told = []
    for key, word in words.items():
        ends = numbers["intervals"][key]
        interval = "" if ends is None or numbers[key] is None else f" <small>{ends[0]:.3f} to {ends[1]:.3f}</small>"
        told.append(f"{word} <b>{_number(numbers[key])}</b>{interval}")
    return (
        f"<p>{', '.join(told)}, mean gap <b>{100 * numbers['mean_gap']:.1f} points</b>. "
        "<small>In small: 95 % intervals, by bootstrap over starts.</small></p>"
    )


def _rate(entry: Mapping[str, Any], key: str) -> str:
    low, high = entry["interval"]
    return f"{100 * entry[key]:.1f} % <small>{100 * low:.0f} to {100 * high:.0f}</small>"


def _table(entries: Sequence[Mapping[str, Any]], worlds: Sequence[str]) -> str:
    paired, told = "agreement" in entries[0], "gap" in entries[0]
    repeated = any(entry.get("real", {}).get("repeatability") is not None for entry in entries)
    timed = [world for world in worlds if "median_steps" in entries[0][world]]
    head = "<tr><th>policy" + "".join(f"<th>{world}" for world in worlds) + "<th>gap" * told
    head += "<th>agreement<th>kappa" * paired + "<th>robot with itself" * repeated
    head += "".join(f"<th>steps, {world}" for world in timed) + "</tr>"
    rows = []
    for entry in entries:
        cells = [_rate(entry[world], "success_rate") for world in worlds]
        cells += [f"{100 * entry['gap']:+.1f}"] if told else []
        cells += [f"{100 * entry['agreement']:.1f} %", _number(entry["kappa"], ".2f")] if paired else []
        if repeated:
            share = entry["real"]["repeatability"]
            cells.append("" if share is None else f"{100 * share:.1f} %")
        cells += [_number(entry[world]["median_steps"], ".0f") for world in timed]
        rows.append(f"<tr><td>{escape(entry['policy'])}{''.join(f'<td>{cell}' for cell in cells)}</tr>")
    return (
        f"<table>{head}{''.join(rows)}</table><p><small>In small: 95 % intervals (Wilson); steps: medians.</small></p>"
    )


def _stage(stage: Mapping[str, Any], worlds: Sequence[str]) -> str:
    """How often a stage was reached."""
    told = [world for world in worlds if world in stage["policies"][0]]
    rows = []
    for entry in stage["policies"]:
        cells = "".join(f"<td>{_rate(entry[world], 'rate')}" for world in told)
        rows.append(f"<tr><td>{escape(entry['policy'])}{cells}</tr>")
    head = "".join(f"<th>{world}" for world in told)
    lacks = "" if "learned" in told else " <small>(no label of the model has this name)</small>"
    return f"<h2>{escape(stage['stage'])}{lacks}</h2><table><tr><th>policy{head}</tr>{''.join(rows)}</table>"


def _disagreements(starts: Sequence[Mapping[str, Any]], policies: Sequence[str]) -> str:
    """The starts that the worlds agree on least, over all policies, and the policies that they disagree on."""
    rows = ""
    for start in sorted(starts, key=lambda start: float(start["agreement"]))[:_STARTS]:
        apart = [name for name, share in zip(policies, start["by_policy"], strict=True) if share < _APART]
        told = f"<td>{100 * start['agreement']:.0f} %<td>{escape(', '.join(apart))}"
        rows += f"<tr><td>{escape(str(start['start']))}{told}</tr>"
    head = "<tr><th>start<th>agreement over all policies<th>policies that mostly ended otherwise</tr>"
    return f"<h2>Starts that they agree on least</h2><table>{head}{rows}</table>"


def _plots(entries: Sequence[Mapping[str, Any]], worlds: Sequence[str]) -> str:
    from matplotlib.figure import Figure  # late: only a page needs it

    figure = Figure(figsize=(9, 4.2), layout="constrained")
    rates = {world: np.array([entry[world]["success_rate"] for entry in entries]) for world in worlds}
    ends = {world: np.array([entry[world]["interval"] for entry in entries]).T for world in worlds}
    errors = {world: np.abs(ends[world] - rates[world]) for world in worlds}
    if len(worlds) > 1:
        scatter, bars = figure.subplots(1, 2)
        _scatter(scatter, worlds[0], rates, errors)
    else:
        bars = figure.subplots()
    places = np.arange(len(entries))
    shifts = (-0.2, 0.2) if len(worlds) > 1 else (0.0,)
    for world, shift in zip(worlds, shifts, strict=True):
        bars.barh(places + shift, rates[world], 0.38, xerr=errors[world], label=world, error_kw={"linewidth": 0.8})
    bars.set_yticks(places, [Path(entry["policy"]).name for entry in entries], fontsize=8)
    bars.invert_yaxis()
    bars.set(xlabel="success", xlim=(0, 1.03))
    bars.legend()
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg")
    return "<svg" + drawn.getvalue().partition("<svg")[2]


def _scatter(axes: Any, truth: str, rates: Mapping[str, Array], errors: Mapping[str, Array]) -> None:
    """Success in the learned world over that in what it is held against."""
    axes.plot([0, 1], [0, 1], color="#bbb", linewidth=1)
    axes.errorbar(rates[truth], rates["learned"], errors["learned"], errors[truth], "o", capsize=2, alpha=0.8)
    where = {"real": "success on the robot", "twin": "sustained success in the twin"}[truth]
    axes.set(xlabel=where, ylabel="in the learned world", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))


def _film(policy: str, worlds: Mapping[World, Frames], rate: float) -> str:
    length = max(map(len, worlds.values()))
    pictures = (
        contact_sheet({"": [frames[min(t, len(frames) - 1)] for frames in worlds.values()]}, list(worlds), _FILM_SCALE)
        for t in range(length)
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        write_video(path, pictures, rate)
        data = base64.b64encode(path.read_bytes()).decode()
    video = f'<video controls loop muted autoplay playsinline src="data:video/mp4;base64,{data}"></video>'
    return f"<figure>{video}<figcaption>{escape(policy)}</figcaption></figure>"


def _strip(policy: str, worlds: Mapping[World, Frames]) -> str:
    length = max(map(len, worlds.values()))
    moments = np.unique(np.linspace(0, length - 1, _MOMENTS).round().astype(int)).tolist()
    rows = {str(world): [frames[min(t, len(frames) - 1)] for t in moments] for world, frames in worlds.items()}
    data = base64.b64encode(encode_png(contact_sheet(rows, [f"+{t}" for t in moments]))).decode()
    return f'<h3>{escape(policy)}</h3><img alt="moments of both worlds" src="data:image/png;base64,{data}">'
