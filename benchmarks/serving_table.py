"""What `serving.py`, `page_latency.py` and `web_page.py` measured, as tables."""

from typing import Any, Final

ASKED: Final = {
    "native": "the environment itself",
    "asyncio": "one asyncio client over sockets",
    "socket": "over a socket",
    "remote": "`GWM-Remote-v0`",
}


def serving_text(report: dict[str, Any]) -> str:
    """Steps of many sessions beside the native vector environment, and what one player waits for a picture."""
    rates, times = report["steps_per_second"], report["one_player_ms"]
    lines = [f"| {report['sessions']} sessions or rows, with frames | steps/s | of native |", "|---|---|---|"]
    lines += [f"| {ASKED[who]} | {rate:.0f} | {rate / rates['native']:.0%} |" for who, rate in rates.items()]
    lines += ["", "| one player, from the request to its picture [ms] | median | 95th percentile |", "|---|---|---|"]
    lines += [f"| {ASKED[who]} | {found['p50']:.1f} | {found['p95']:.1f} |" for who, found in times.items()]
    rounds = len(next(iter(report["steps_per_second_of_rounds"].values())))
    lines += [
        "",
        f"Who asks and who answers share {report['cores']} cores of {report['machine']['cpu']}. Medians of {rounds} "
        f"rounds, and of {report['presses']} requests, by `benchmarks/serving.py`.",
    ]
    return "\n".join(lines)


def latency_text(report: dict[str, Any]) -> str:
    """From a key to its picture on the page."""
    lines = [
        "| from a key to its picture [ms] | median | 95th percentile | most | steps/s at four times the usual speed |",
        "|---|---|---|---|---|",
    ]
    for name, words in (("alone", "the learned world"), ("with_twin", "with the twin beside it")):
        found = report[name]
        times = " | ".join(f"{found[f'ms_{which}']:.0f}" for which in ("p50", "p95", "most"))
        lines.append(f"| {words} | {times} | {found['steps_per_second']:.0f} |")
    machine = report["machine"]
    lines += [
        "",
        f"`{report['model']}`, {report['presses']} presses at random times in headless Chromium, on the machine that "
        f"also serves: {machine['cores']} cores of {machine['cpu']}. By `benchmarks/page_latency.py`.",
    ]
    return "\n".join(lines)


def web_text(report: dict[str, Any]) -> str:
    """How large a page without a server is, how fast, and how near to the native world."""
    size, machine = report["megabytes"], report["machine"]
    alone, shared = (report[f"threads_{count}"]["steps_per_second"] for count in (1, 2))
    lines = [
        "| `gwm export web` | |",
        "|---|---|",
        f"| on disk, and sent compressed [MB] | {size['on_disk']:.1f}, {size['transferred']:.1f} |",
        f"| steps with pictures, one thread and two [1/s] | {alone:.0f}, {shared:.0f} |",
        f"| steps on the page, as fast as it goes [1/s] | {report['page_steps_per_second']:.0f} |",
    ]
    for policy, horizons in report["policies"].items():
        shares = ", ".join(f"{row['agree_percent']:.0f}" for row in horizons.values())
        steps = " and ".join(horizons)
        lines.append(f"| starts that agree with the native world after {steps} steps, {policy} [%] | {shares} |")
    lines += [
        "",
        f"`{report['model']}` with {report['starts']} starts in headless Chromium, WebAssembly, on {machine['cores']} "
        f"cores of {machine['cpu']}, by `benchmarks/web_page.py`.",
    ]
    return "\n".join(lines)
