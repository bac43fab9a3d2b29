"""The tables of the bus benchmark: which figure stands against which, and what is aimed at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.bus import latency, processor, throughput
from benchmarks.bus.confirmation import Confirmations
from benchmarks.common import Panel, Results, table, verdict

LATENCY_AIM = 1.15
CONFIRMED_AIM_US = 90.0
THROUGHPUT_AIMS = {"decoded": 1.25, "undecoded": 1.6, "typed": 1.25}
PROCESSOR_AIM = 0.5
SPACINGS = (latency.TIGHT, latency.SPACED)


def tables(results: Results, confirmations: Confirmations) -> Iterator[str]:
    """Yield the tables as text."""
    for spacing in SPACINGS:
        columns = ("latency in µs" + spacing, "min", "median", "p99", "ratio", "aim", "others' load")
        yield table("", columns, [_latency_row(results, name, spacing) for name in latency_names()])
    for subscribers in throughput.SUBSCRIBERS:
        columns = (
            f"messages/s at each of {subscribers} subscriber{'s' * (subscribers > 1)}",
            *("least", "median", "most", "ratio", "aim", "others' load"),
        )
        yield table("", columns, [_throughput_row(results, road, subscribers) for road in throughput.ROADS])
    columns = ("% of a core in the middle", "least", "median", "most", "more", "aim", "spec", "others' load")
    rows = [_processor_row(results, middle, rate) for rate in processor.RATES_HZ for middle in processor.MIDDLES]
    yield table("", columns, rows)
    yield (
        f"confirmations: {confirmations.confirmed:,} confirmed, overtaken {confirmations.overtaken}, "
        f"missed {confirmations.missed} (aim: none)\n"
    )


def panels() -> list[Panel]:
    """Return the diagrams."""
    return [
        *(Panel(f"latency{spacing}", "µs", [n + spacing for n in latency_names()], True) for spacing in SPACINGS),
        *(
            Panel(
                f"throughput to {subscribers}, 300-byte payloads",
                "messages/s at each subscriber",
                [throughput.case_name(road.name, subscribers) for road in throughput.ROADS],
            )
            for subscribers in throughput.SUBSCRIBERS
        ),
        Panel(
            "processor time of the process in the middle",
            "% of a core",
            [processor.case_name(middle, rate) for rate in processor.RATES_HZ for middle in processor.MIDDLES],
        ),
    ]


def latency_names() -> list[str]:
    """Return the names of the latency cases, without their spacing."""
    return [*latency.REMOTE, *latency.CONFIRMED, latency.DIRECT, *latency.PINGBACK, *latency.CLIENT]


def _latency_row(results: Results, name: str, spacing: str) -> Sequence[str]:
    case = results.summary(name + spacing)
    against, aim = "", ""
    if name in latency.CONFIRMED:
        asked = next(t for t, peer in latency.REMOTE.items() if peer == latency.CONFIRMED[name])
        more = results.difference(name + spacing, asked + spacing)
        against, aim = f"t + {more:.0f} µs", verdict(round(more), CONFIRMED_AIM_US, at_most=True)
    else:
        base = latency.BARE if name.startswith("bus") else next(iter(latency.REMOTE))
        ratio = results.ratio(name + spacing, base + spacing)
        against = f"{ratio:.2f}"
        if "labwire" in name:
            aim = verdict(round(ratio, 2), LATENCY_AIM, at_most=True)
    figures = (f"{value:.0f}" for value in (case.least, case.median, case.p99))
    return name, *figures, against, aim, _load(results, name + spacing)


def _throughput_row(results: Results, road: throughput.Road, subscribers: int) -> Sequence[str]:
    name = throughput.case_name(road.name, subscribers)
    case = results.summary(name)
    ratio = results.ratio(name, throughput.case_name(throughput.PUPIL_WAY, subscribers))
    aim = verdict(round(ratio, 2), THROUGHPUT_AIMS[road.how], at_most=False) if road.api == "labwire" else ""
    figures = (f"{value:,.0f}" for value in (case.least, case.median, case.most))
    return road.name, *figures, f"{ratio:.2f}", aim, _load(results, name)


def _processor_row(results: Results, middle: processor.Middle, rate_hz: int) -> Sequence[str]:
    name = processor.case_name(middle, rate_hz)
    case = results.summary(name)
    more = results.difference(name, processor.case_name(processor.BARE, rate_hz))
    aim = verdict(round(more, 2), PROCESSOR_AIM, at_most=True) if "labwire" in middle.name else ""
    figures = (f"{value:.1f}" for value in (case.least, case.median, case.most))
    return name, *figures, f"{more:+.1f}", aim, f"{processor.RATES_HZ[rate_hz]:g}", _load(results, name)


def _load(results: Results, name: str) -> str:
    loads = sorted(results.other_load[name])
    return f"{loads[len(loads) // 2]:.2f}"
