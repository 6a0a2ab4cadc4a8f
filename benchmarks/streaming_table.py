"""What `streaming.py` measured, as a table."""

from typing import Any, Final

WAYS: Final = {
    "reference": "objects, drawn from a real frame",
    "latents": "objects, drawn as latents",
    "video": "`--path video`",
}


def streaming_text(report: dict[str, Any]) -> str:
    """Memory and time of each way of predicting and drawing."""
    lines = [
        "| trained | most memory [GB] | without mapped files [GB] | minutes | updates of each phase |",
        "|---|---|---|---|---|",
    ]
    for name, found in report["routes"].items():
        updates = sorted(set(found["updates"].values()))
        cells = f"{found['peak_gb']:.2f} | {found['own_gb']:.2f} | {found['seconds'] / 60:.0f}"
        lines.append(f"| {WAYS[name]} | {cells} | {', '.join(map(str, updates))} |")
    return "\n".join(
        [
            *lines,
            "",
            f"{report['frames']:,} frames of {report['size']} px in {report['files']} files, "
            f"{report['pictures_gb']:.0f} GB of pictures and {report['depth_gb']:.0f} GB of depth once they are "
            f"read, `--memory {report['memory']:g}`, preset {report['preset']}, one thread; as the system counts "
            f"it (VmHWM, RssAnon), by `benchmarks/streaming.py` on {report['machine']}. The files are copies of "
            "one, so their frames are encoded once.",
        ]
    )
