"""The tables of the images' benchmark: which figure stands against which limit, and what is aimed at."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.common import Panel, Results, table, verdict

SIZES_MIB = (2, 4, 8)
STORED_MIB = 4
SMALL_BYTES = 300_000
C_AIM, WRITE_AIM, SMALL_AIM_HZ, CPU_AIM_US, PREVIEW_AIM_MS = 0.85, 0.9, 3000, 60, 10

TMPFS = f"labwire to tmpfs, {STORED_MIB} MiB"
PLAIN_TMPFS = f"limit: write() to tmpfs, {STORED_MIB} MiB"
DISK = f"labwire to disk, durable, {STORED_MIB} MiB"
PLAIN_DISK = f"limit: write() and fdatasync, {STORED_MIB} MiB"
STORED_TMPFS = f"labwire's storing alone, tmpfs, {STORED_MIB} MiB"
STORED_DISK = f"labwire's storing alone, disk, {STORED_MIB} MiB"
H5PY = f"h5py's filter pipeline to tmpfs, {STORED_MIB} MiB"
SMALL = "labwire, discarded, 300 kB"
SMALL_TMPFS = "labwire to tmpfs, 300 kB"
SMALL_C = "limit: C pair, 300 kB"
PREVIEW = f"labwire preview, period 0, {STORED_MIB} MiB"

Cpu = Mapping[str, Sequence[tuple[float, float, int]]]


def c_pair(mib: int) -> str:
    """Return the name of the C pair's case."""
    return f"limit: C pair, {mib} MiB"


def discard(mib: int) -> str:
    """Return the name of the case of a writer that acknowledges only."""
    return f"labwire, discarded, {mib} MiB"


def raw_zeromq(mib: int) -> str:
    """Return the name of raw ZeroMQ's case."""
    return f"raw PUSH and PULL, {mib} MiB"


def tables(results: Results, cpu: Cpu, missing: Mapping[str, str]) -> Iterator[str]:
    """Yield the tables as text."""
    columns = ("GB/s", "least", "median", "most", "of the limit", "aim", "CPU s/GB", "others' load")
    names = [name for name in _rates() if name in results.rounds]
    yield table("", columns, [_rate(results, cpu, name) for name in names])
    columns = ("images/s", "least", "median", "most", "of the limit", "aim", "CPU µs/image", "others' load")
    names = [name for name in (SMALL_C, SMALL, SMALL_TMPFS) if name in results.rounds]
    yield table("", columns, [_count(results, cpu, name) for name in names])
    yield table("", ("CPU above the C pair", "µs/image", "aim"), [*_above(results, cpu)])
    case = results.summary(PREVIEW)
    aim = verdict(round(case.median, 2), PREVIEW_AIM_MS, at_most=True)
    row = (PREVIEW, *(f"{value:.2f}" for value in (case.least, case.median, case.p99)), aim, _load(results, PREVIEW))
    yield table("", ("hand-over to receipt, ms", "least", "median", "p99", "aim", "others' load"), [row])
    for what, why in missing.items():
        yield f"not measured: {what}: {why}\n"


def panels(results: Results) -> list[Panel]:
    """Return the diagrams."""
    return [
        Panel("images to a writer", "GB/s", [name for name in _rates() if name in results.rounds]),
        Panel("small images", "images/s", [n for n in (SMALL_C, SMALL, SMALL_TMPFS) if n in results.rounds]),
        Panel("preview", "ms", [PREVIEW]),
    ]


def _rates() -> list[str]:
    sizes = [name for mib in SIZES_MIB for name in (c_pair(mib), discard(mib), raw_zeromq(mib))]
    return [*sizes, PLAIN_TMPFS, STORED_TMPFS, TMPFS, H5PY, PLAIN_DISK, STORED_DISK, DISK]


def _limit_of(name: str) -> tuple[str, float]:
    limits = {discard(mib): (c_pair(mib), C_AIM if mib == STORED_MIB else 0.0) for mib in SIZES_MIB}
    limits |= dict.fromkeys((TMPFS, STORED_TMPFS), (PLAIN_TMPFS, WRITE_AIM))
    limits |= dict.fromkeys((DISK, STORED_DISK), (PLAIN_DISK, WRITE_AIM))
    limits[SMALL] = (SMALL_C, 0.0)
    return limits.get(name, ("", 0.0))


def _rate(results: Results, cpu: Cpu, name: str) -> Sequence[str]:
    case = results.summary(name)
    part, aim = _part(results, name)
    per_gb = statistics.median(used_s / gigabytes for used_s, gigabytes, _ in cpu[name])
    numbers = (f"{value:.2f}" for value in (case.least, case.median, case.most))
    return name, *numbers, part, aim, f"{per_gb:.2f}", _load(results, name)


def _count(results: Results, cpu: Cpu, name: str) -> Sequence[str]:
    case = results.summary(name)
    part, _ = _part(results, name)
    aim = verdict(round(case.median), SMALL_AIM_HZ, at_most=False) if name == SMALL else ""
    numbers = (f"{value:,.0f}" for value in (case.least, case.median, case.most))
    return name, *numbers, part, aim, f"{_us(cpu, name):.0f}", _load(results, name)


def _part(results: Results, name: str) -> tuple[str, str]:
    limit, aim = _limit_of(name)
    if limit not in results.rounds:
        return "", ""
    part = results.ratio(name, limit)
    return f"{part:.0%}", verdict(round(part, 2), aim, at_most=False) if aim else ""


def _above(results: Results, cpu: Cpu) -> Iterator[Sequence[str]]:
    pairs = [(discard(mib), c_pair(mib)) for mib in SIZES_MIB] + [(SMALL, SMALL_C)]
    for ours, limit in pairs:
        if limit in results.rounds:
            more_us = round(_us(cpu, ours) - _us(cpu, limit))
            yield ours, f"{more_us:+d}", verdict(more_us, CPU_AIM_US, at_most=True)


def _us(cpu: Cpu, name: str) -> float:
    return statistics.median(used_s / images * 1e6 for used_s, _, images in cpu[name])


def _load(results: Results, name: str) -> str:
    loads = sorted(results.other_load[name])
    return f"{loads[len(loads) // 2]:.2f}"
