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
    options = numbers["options"]
    seeds = f"{options['seed']} to {options['seed'] + options['episodes'] - 1}"
    worlds, paired = numbers["worlds"], "pearson" in numbers
    where = "both worlds" if paired else "a world without a twin"
    body = [
        f"<h1>{escape(numbers['task'])}: {len(numbers['policies'])} policies in {where}</h1>",
        f"<p>{options['episodes']} episodes each from the same starts (seeds {seeds}); success counts when sustained. "
        f"Learned world: {escape(numbers['model'])}, hash <code>{numbers['model_hash']}</code>.</p>",
        _statistics(numbers) if paired else "",
        _table(numbers["policies"], worlds),
        _plots(numbers["policies"], worlds),
        f"<h2>From the first start</h2><div class=films>{''.join(_film(*item, rate) for item in films.items())}</div>",
        *(_strip(*item) for item in films.items()),
    ]
    page = f"<!doctype html><html lang=en><meta charset=utf-8><title>gwm compare</title><style>{_STYLE}</style>"
    write_text(path, page + "\n".join(body) + "</html>\n")


def _number(value: float | None, form: str = ".3f") -> str:
    return "undefined" if value is None else format(value, form)


def _statistics(numbers: Mapping[str, Any]) -> str:
    return (
        f"<p>Pearson r <b>{_number(numbers['pearson'])}</b>, Spearman rho <b>{_number(numbers['spearman'])}</b>, "
        f"MMRV <b>{_number(numbers['mmrv'])}</b>, mean gap <b>{100 * numbers['mean_gap']:.1f} points</b>.</p>"
    )


def _table(entries: Sequence[Mapping[str, Any]], worlds: Sequence[World]) -> str:
    paired = len(worlds) > 1
    head = "<tr><th>policy" + "".join(f"<th>{world}" for world in worlds)
    head += "<th>gap<th>agreement<th>kappa" * paired + "".join(f"<th>steps, {world}" for world in worlds) + "</tr>"
    rows = []
    for entry in entries:
        rates = []
        for world in worlds:
            low, high = entry[world]["interval"]
            interval = f"{100 * low:.0f} to {100 * high:.0f}"
            rates.append(f"<td>{100 * entry[world]['success_rate']:.1f} % <small>{interval}</small>")
        if paired:
            rates.append(f"<td>{100 * entry['gap']:+.1f}<td>{100 * entry['agreement']:.1f} %")
            rates.append(f"<td>{_number(entry['kappa'], '.2f')}")
        steps = "".join(f"<td>{_number(entry[world]['median_steps'], '.0f')}" for world in worlds)
        rows.append(f"<tr><td>{escape(entry['policy'])}{''.join(rates)}{steps}</tr>")
    return (
        f"<table>{head}{''.join(rows)}</table><p><small>In small: 95 % intervals (Wilson); steps: medians.</small></p>"
    )


def _plots(entries: Sequence[Mapping[str, Any]], worlds: Sequence[World]) -> str:
    from matplotlib.figure import Figure  # late: only a page needs it

    figure = Figure(figsize=(9, 4.2), layout="constrained")
    rates = {world: np.array([entry[world]["success_rate"] for entry in entries]) for world in worlds}
    ends = {world: np.array([entry[world]["interval"] for entry in entries]).T for world in worlds}
    errors = {world: np.abs(ends[world] - rates[world]) for world in worlds}
    if len(worlds) > 1:
        scatter, bars = figure.subplots(1, 2)
        _scatter(scatter, rates, errors)
    else:
        bars = figure.subplots()
    places = np.arange(len(entries))
    shifts = (-0.2, 0.2) if len(worlds) > 1 else (0.0,)
    for world, shift in zip(worlds, shifts, strict=True):
        bars.barh(places + shift, rates[world], 0.38, xerr=errors[world], label=world, error_kw={"linewidth": 0.8})
    bars.set_yticks(places, [Path(entry["policy"]).name for entry in entries], fontsize=8)
    bars.invert_yaxis()
    bars.set(xlabel="sustained success", xlim=(0, 1.03))
    bars.legend()
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg")
    return "<svg" + drawn.getvalue().partition("<svg")[2]


def _scatter(axes: Any, rates: Mapping[World, Array], errors: Mapping[World, Array]) -> None:
    """Success in one world over that in the other."""
    axes.plot([0, 1], [0, 1], color="#bbb", linewidth=1)
    axes.errorbar(rates["twin"], rates["learned"], errors["learned"], errors["twin"], "o", capsize=2, alpha=0.8)
    axes.set(
        xlabel="sustained success in the twin", ylabel="in the learned world", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03)
    )


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
