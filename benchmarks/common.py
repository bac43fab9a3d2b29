"""What every benchmark shares: interleaved rounds, statistics, the conditions, a table, a plot.

Absolute figures drift on any machine that does something else as well, by a factor of two within minutes on a virtual
one. So all cases of a benchmark are measured in turn, round by round, and what is compared is the ratio of two cases in
the same round.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
_TICKS_HZ = os.sysconf("SC_CLK_TCK")


class Case(NamedTuple):
    """One thing that is measured."""

    name: str
    run: Callable[[], Sequence[float]]
    """Measures once and returns the samples: all latencies of a round, or one rate."""


@dataclass
class Results:
    """The samples of all cases, round by round, and how much of the machine others used meanwhile."""

    rounds: dict[str, list[list[float]]] = field(default_factory=dict[str, list[list[float]]])
    other_load: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    """Cores that processes other than the benchmark's used while the case ran, by round."""

    def add(self, name: str, samples: Sequence[float], other_load: float) -> None:
        """Take the samples of one round."""
        self.rounds.setdefault(name, []).append(sorted(samples))
        self.other_load.setdefault(name, []).append(other_load)

    def summary(self, name: str) -> Summary:
        """Return the statistics of a case over all rounds."""
        samples = sorted(sample for samples in self.rounds[name] for sample in samples)
        return Summary(samples[0], statistics.median(samples), percentile(samples, 99), samples[-1])

    def ratio(self, name: str, against: str) -> float:
        """Return the median, over the rounds, of the quotient of the two cases' medians."""
        return self._paired(name, against, lambda ours, theirs: ours / theirs if theirs else float("nan"))

    def difference(self, name: str, against: str) -> float:
        """Return the median, over the rounds, of the difference of the two cases' medians."""
        return self._paired(name, against, lambda ours, theirs: ours - theirs)

    def _paired(self, name: str, against: str, compare: Callable[[float, float], float]) -> float:
        pairs = zip(self.rounds[name], self.rounds[against], strict=True)
        return statistics.median(compare(statistics.median(a), statistics.median(b)) for a, b in pairs)


class Summary(NamedTuple):
    """Statistics of one case."""

    least: float
    median: float
    p99: float
    most: float


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the smallest of the ordered samples that `percent` of them do not exceed."""
    return ordered[max(0, -(-len(ordered) * int(percent * 10) // 1000) - 1)]


def interleave(cases: Sequence[Case], rounds: int, *, say: Callable[[str], None]) -> Results:
    """Measure every case once per round; each round begins with another case, so that none always comes first."""
    results = Results()
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        first = number % len(cases)
        for case in (*cases[first:], *cases[:first]):
            watch = LoadWatch()
            samples = case.run()
            results.add(case.name, samples, watch.other_cores())
    return results


# --- the machine


class LoadWatch:
    """Tells how many cores other people's processes have used since it was made; 0.0 where the system does not say."""

    def __init__(self) -> None:
        self._start_s, self._busy_s, self._own_s = time.monotonic(), _busy_s(), _own_s()

    def other_cores(self) -> float:
        """Return cores used by others: the machine's busy time minus that of this process and its descendants."""
        elapsed_s = max(time.monotonic() - self._start_s, 1e-3)
        return max(0.0, (_busy_s() - self._busy_s - (_own_s() - self._own_s)) / elapsed_s)


def _busy_s() -> float:
    try:
        fields = [int(value) for value in (_PROC / "stat").read_text().partition("\n")[0].split()[1:]]
    except OSError:
        return 0.0
    user, nice, system, _idle, _iowait, irq, softirq = fields[:7]
    return (user + nice + system + irq + softirq) / _TICKS_HZ


def _own_s() -> float:
    parents: dict[int, int] = {}
    used_s: dict[int, float] = {}
    for folder in _PROC.glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # ended meanwhile
        parents[int(folder.name)] = int(fields[1])
        used_s[int(folder.name)] = (int(fields[11]) + int(fields[12])) / _TICKS_HZ
    return sum(used_s[pid] for pid in parents if os.getpid() in _line_of(pid, parents))


def _line_of(pid: int, parents: Mapping[int, int]) -> Iterator[int]:
    while pid in parents:
        yield pid
        pid = parents[pid]


def cpu_s(pid: int) -> float:
    """Return the processor time of a process and all its threads, in seconds, to the nanosecond.

    The clock's number follows from the process number as in clock_getcpuclockid(3) on Linux.
    """
    return time.clock_gettime((~pid << 3) | 2)


def conditions(packages: Sequence[str], **settings: object) -> list[str]:
    """Return lines that say what the figures were measured on and with."""
    model = next(iter(_cpu_models()), platform.machine())
    loads = " ".join(f"{load:.2f}" for load in os.getloadavg())
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    given = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in settings.items())
    return [
        f"machine:  {os.cpu_count()} cores ({model}), {platform.system()} {platform.release()}, load {loads}",
        f"versions: Python {platform.python_version()}, {versions}",
        f"settings: {given}",
    ]


def _cpu_models() -> Iterator[str]:
    try:
        lines = (_PROC / "cpuinfo").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        if line.startswith("model name"):
            yield line.partition(":")[2].strip()


# --- what is shown


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as text: the first column to the left, the others to the right."""
    widths = [max(len(line[column]) for line in (columns, *rows)) for column in range(len(columns))]

    def line(cells: Sequence[str]) -> str:
        first, *rest = zip(cells, widths, strict=True)
        return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]).rstrip()

    return "\n".join([title, line(columns), "  ".join("-" * width for width in widths), *map(line, rows), ""])


def verdict(value: float, aim: float, *, at_most: bool) -> str:
    """Return the aim and whether the value keeps it."""
    kept = value <= aim if at_most else value >= aim
    return f"{'≤' if at_most else '≥'} {aim:g} {'kept' if kept else 'MISSED'}"


class Panel(NamedTuple):
    """One diagram: a bar per case at its median, with a line from its least to its p99 (or most) sample."""

    title: str
    unit: str
    names: Sequence[str]
    logarithmic: bool = False


def plot(path: Path, panels: Sequence[Panel], results: Results, footer: str) -> None:
    """Write the panels as one picture; needs matplotlib."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    heights = [len(panel.names) + 2 for panel in panels]
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(10, 0.32 * sum(heights)), height_ratios=heights, layout="constrained", squeeze=False
    )
    for panel, axis in zip(panels, axes[:, 0], strict=True):
        summaries = [results.summary(name) for name in panel.names]
        colours = ["tab:blue" if "labwire" in name else "tab:gray" for name in panel.names]
        medians = [summary.median for summary in summaries]
        reach = [[s.median - s.least for s in summaries], [max(0.0, s.p99 - s.median) for s in summaries]]
        axis.barh(panel.names, medians, xerr=reach, color=colours, error_kw={"linewidth": 1, "capsize": 2})
        axis.invert_yaxis()
        axis.set_title(panel.title, loc="left", fontsize=10)
        axis.set_xlabel(panel.unit, fontsize=8)
        axis.tick_params(labelsize=8)
        if panel.logarithmic:
            axis.set_xscale("log")
    figure.suptitle(footer, fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)
