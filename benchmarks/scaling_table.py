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


def scaling_text(report: dict[str, Any]) -> str:
    """Updates and core-seconds by way, and how worlds are imagined."""
    ways, machine = report["ways"], report["machine"]
    alone, threads, shared = (ways[way]["training"] for way in (ALONE, THREADS, SHARED))
    count = ways[SHARED]["processes"]
    lines = [
        f"| phase | updates/s: 1 thread | {ways[THREADS]['threads']} threads | {count} processes | these over 1 thread "
        f"| core-seconds of an update: 1 thread | {count} processes | in all-reduce | all-reduces | MB | alone [ms] |",
        "|---|" + "---|" * 10,
    ]
    for name, phase in shared.items():
        rates = [way[name]["updates_per_second"] for way in (alone, threads, shared)]
        speeds = " | ".join(f"{rate:.2f}" for rate in (*rates, rates[-1] / rates[0]))
        costs = (f"{way[name]['core_seconds']:.3f}" for way in (alone, shared))
        traffic = f"{phase['waiting']:.0%} | {phase['all_reduces']:.0f} | {phase['bytes'] / 1e6:.1f}"
        lines.append(f"| {name} | {speeds} | {' | '.join(costs)} | {traffic} | {phase['transfer_ms']:.1f} |")
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
        f"{machine['cores']} cores of {machine['cpu']}, whose load was {min(loads):.1f} to {max(loads):.1f} when a "
        "round began, that of the round before included. Best of "
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
