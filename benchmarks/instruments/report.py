"""The tables of the instruments' benchmark: which figure stands against which limit, and what is aimed at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.common import Panel, Results, table, verdict
from benchmarks.instruments import calls, limits, peers, remote

LIMITS = {"boost": limits.BOOST, "socket": limits.SOCKET}
MORE_AIMS_US = {"boost": 40.0, "socket": 22.0}
SUBMIT_AIM_HZ = 20_000
MAP_AIM_HZ = 35_000
RESTART_AIM_MS = 200.0
DEATH_AIM_MS = 5.0
WORST_DEATH_AIM_MS = 50.0


def tables(results: Results, missing: Mapping[str, str]) -> Iterator[str]:
    """Yield the tables as text.

    Args:
        results: What was measured.
        missing: What could not be measured, and why.
    """
    measured = [kind for kind in calls.KINDS if kind not in missing]
    columns = ("round trip in µs", "min", "median", "p99", "more than the limit", "aim", "others' load")
    yield table("", columns, [_round_trip(results, name) for name in round_trips(results)])
    columns = ("commands/s", "least", "median", "most", "aim", "others' load")
    yield table("", columns, [_rate(results, name) for kind in measured for name in rates(kind)])
    columns = ("in ms", "min", "median", "worst", "aim", "others' load")
    yield table("", columns, [_time(results, name) for kind in measured for name in times(kind)])
    columns = ("µs, commands/s", "least", "median", "p99", "others' load")
    yield table("", columns, [_plain(results, name) for name in (remote.QUIET, remote.BUSY, remote.REACHED)])
    for what, why in missing.items():
        yield f"not measured: {what}: {why}\n"


def panels(results: Results, missing: Mapping[str, str]) -> list[Panel]:
    """Return the diagrams."""
    measured = [kind for kind in calls.KINDS if kind not in missing]
    return [
        Panel("round trip of a command that does nothing", "µs", round_trips(results), logarithmic=True),
        Panel("throughput", "commands/s", [name for kind in measured for name in rates(kind)]),
        Panel("deaths, starts, waveforms", "ms", [name for kind in measured for name in times(kind)], logarithmic=True),
        Panel("the Remote beside busy instruments", "µs", [remote.QUIET, remote.BUSY], logarithmic=True),
    ]


def round_trips(results: Results) -> list[str]:
    """Return the names of the cases of one command after the other."""
    ours = [*map(calls.call, calls.KINDS), *map(calls.threads_call, calls.KINDS)]
    names = [limits.BOOST, limits.SOCKET, *ours, *peers.NAMES]
    return [name for name in names if name in results.rounds]


def rates(kind: str) -> list[str]:
    """Return the names of the cases that give a rate."""
    of_kind = (calls.submit, calls.pipelined, calls.threads_rate, calls.many_call, calls.many_map)
    return [name(kind) for name in of_kind]


def times(kind: str) -> list[str]:
    """Return the names of the cases that give milliseconds."""
    return [
        calls.death(kind),
        calls.restart(kind),
        calls.start(kind),
        *(calls.waveform(kind, points) for points in calls.POINTS),
    ]


def _round_trip(results: Results, name: str) -> Sequence[str]:
    case = results.summary(name)
    more, aim = "", ""
    kind = next((kind for kind in LIMITS if name == calls.call(kind)), "")
    if kind and LIMITS[kind] in results.rounds:
        more_us = results.difference(name, LIMITS[kind])
        more, aim = f"{more_us:+.1f}", verdict(round(more_us, 1), MORE_AIMS_US[kind], at_most=True)
    return name, *(f"{value:.1f}" for value in (case.least, case.median, case.p99)), more, aim, _load(results, name)


def _rate(results: Results, name: str) -> Sequence[str]:
    case = results.summary(name)
    aims = {"submit": SUBMIT_AIM_HZ, "map": MAP_AIM_HZ} if str(calls.IN_FLIGHT) in name else {}
    aim = next((verdict(round(case.median), hz, at_most=False) for how, hz in aims.items() if how in name), "")
    return name, *(f"{value:,.0f}" for value in (case.least, case.median, case.most)), aim, _load(results, name)


def _time(results: Results, name: str) -> Sequence[str]:
    case = results.summary(name)
    aim = ""
    if "failed futures" in name:
        aim = verdict(round(case.median, 2), DEATH_AIM_MS, at_most=True)
        aim += f", worst {verdict(round(case.most, 2), WORST_DEATH_AIM_MS, at_most=True)}"
    elif "next answer" in name:
        aim = verdict(round(case.median), RESTART_AIM_MS, at_most=True)
    return name, *(f"{value:.2f}" for value in (case.least, case.median, case.most)), aim, _load(results, name)


def _plain(results: Results, name: str) -> Sequence[str]:
    case = results.summary(name)
    return name, *(f"{value:,.0f}" for value in (case.least, case.median, case.p99)), _load(results, name)


def _load(results: Results, name: str) -> str:
    loads = sorted(results.other_load[name])
    return f"{loads[len(loads) // 2]:.2f}"
