"""What `scaling.py` measured, as tables, and from it on paper what more machines would do."""

from typing import Any, Final, NamedTuple

ALONE, THREADS, SHARED = "one thread", "all threads", "a process per core"


class Cluster(NamedTuple):
    """What is assumed of some GPUs that train together."""

    gpus: int
    latency: float  # of one all-reduce [s]
    bandwidth: float  # with which a GPU sends what others need [B/s]


FASTER: Final = 50
"""Times that a GPU is assumed to learn as fast as one of the measured cores."""
CLUSTERS: Final = {"8 GPUs": Cluster(8, 30e-6, 200e9), "64 machines of 8": Cluster(512, 100e-6, 20e9)}


def learning_share(phase: dict[str, float], alone: dict[str, float], cluster: Cluster) -> float:
    """Share of an update that GPUs learn in, each as many rows as one process has in a usual batch; all-reduce takes
    the rest: its latency each time, and the way of the numbers around a ring."""
    learning = alone["core_seconds"] / FASTER
    travelling = 2 * (cluster.gpus - 1) / cluster.gpus * phase["bytes"] / cluster.bandwidth
    return learning / (learning + phase["all_reduces"] * cluster.latency + travelling)


def quiet(phase: dict[str, float], alone: dict[str, float], processes: int) -> float:
    """Times that processes would be as fast as one thread if every core were free: their computing is shared, and then
    numbers travel."""
    return alone["core_seconds"] / (phase["core_seconds"] / processes + phase["transfer_ms"] / 1e3)


def scaling_text(report: dict[str, Any]) -> str:
    """Updates and core-seconds by way, and how worlds are imagined."""
    ways, machine = report["ways"], report["machine"]
    alone, threads, shared = (ways[way]["training"] for way in (ALONE, THREADS, SHARED))
    count = ways[SHARED]["processes"]
    lines = [
        f"| phase | updates/s: 1 thread | {ways[THREADS]['threads']} threads | {count} processes | core-seconds of an "
        f"update: 1 thread | {count} processes | in all-reduce | all-reduces | MB | alone [ms] | times as fast "
        "if cores were free |",
        "|---|" + "---|" * 10,
    ]
    for name, phase in shared.items():
        rates = (f"{way[name]['updates_per_second']:.2f}" for way in (alone, threads, shared))
        costs = (f"{way[name]['core_seconds']:.3f}" for way in (alone, shared))
        traffic = f"{phase['waiting']:.0%} | {phase['all_reduces']:.0f} | {phase['bytes'] / 1e6:.1f}"
        traffic += f" | {phase['transfer_ms']:.1f} | {quiet(phase, alone[name], count):.2f}"
        lines.append(f"| {name} | {' | '.join(rates)} | {' | '.join(costs)} | {traffic} |")
    lines += ["", f"| imagined steps | 1 thread | {count} processes | core-seconds per million |", "|---|---|---|---|"]
    for form, rows in report["rows"].items():
        one, many = (ways[way]["imagining"][form] for way in (ALONE, SHARED))
        lines.append(
            f"| {form}, {rows} rows a process | {one['steps_per_second']:,.0f}/s | {many['steps_per_second']:,.0f}/s | "
            f"{one['core_seconds_per_million']:,.0f} |"
        )
    loads = [load for way in ways.values() for load in way["load"]]
    lines += [
        "",
        f"Sizes of `{report['preset']}` at 64 px, the usual batch, float32; `{report['model']}` imagines. "
        f"{machine['cores']} cores of {machine['cpu']}, on which others computed meanwhile: the load was "
        f"{min(loads):.1f} to {max(loads):.1f}, so rates by the clock are lower than those of a machine of one's own, "
        "and waits longer; core-seconds depend on it less. Best of "
        f"{report['rounds']} rounds of {report['updates']} updates by `benchmarks/scaling.py`. *alone*: the same "
        "numbers in one all-reduce for which all processes are there.",
    ]
    return "\n".join(lines)


def paper_text(report: dict[str, Any]) -> str:
    """What share of their time more machines would learn in, by phase."""
    ways = report["ways"]
    lines = ["| phase | " + " | ".join(CLUSTERS) + " |", "|---|" + "---|" * len(CLUSTERS)]
    for name, phase in ways[SHARED]["training"].items():
        shares = (learning_share(phase, ways[ALONE]["training"][name], cluster) for cluster in CLUSTERS.values())
        lines.append(f"| {name} | " + " | ".join(f"{share:.0%}" for share in shares) + " |")
    return "\n".join(lines)
