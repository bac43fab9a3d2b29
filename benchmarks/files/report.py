"""The tables of the files' benchmark: which figure stands against which, and what is aimed at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.common import Panel, Results, table, verdict
from benchmarks.files import frames, lines, visible

LINES_AIM = 0.5
VISIBLE_AIM_MS = 200.0


def tables(results: Results, torn: Sequence[frames.Torn]) -> Iterator[str]:
    """Yield the tables as text."""
    columns = ("lines/s", "least", "median", "most", "of the limit", "aim", "others' load")
    yield table("", columns, [_lines_row(results, name) for name in _line_names()])
    columns = ("frames/s", "least", "median", "most", "of in place", "others' load")
    yield table("", columns, [_frames_row(results, name) for name in frames.NAMES])
    columns = ("a reader in a tight loop, 60 frames/s", "reads", "torn", "%")
    yield table("", columns, [(f"{row.name}", f"{row.reads:,}", f"{row.torn:,}", _share(row)) for row in torn])
    columns = ("visible after, ms, at 5 lines/s", "least", "median", "most", "aim", "others' load")
    yield table("", columns, [_visible_row(results, name) for name in visible.NAMES])


def panels() -> list[Panel]:
    """Return the diagrams."""
    return [
        Panel("lines with an envelope of core metrics", "lines/s", _line_names()),
        Panel("frames of 640x480, quality 90", "frames/s", frames.NAMES),
        Panel("a line is seen by another process", "ms after it was handed over", visible.NAMES, logarithmic=True),
    ]


def _line_names() -> list[str]:
    return [*(name for pair in lines.AGAINST.items() for name in pair), lines.STDLIB]


def _lines_row(results: Results, name: str) -> Sequence[str]:
    ratio, aim = "", ""
    if limit := lines.AGAINST.get(name):
        share = results.ratio(name, limit)
        ratio = f"{share:.0%}"
        aim = verdict(share, LINES_AIM, at_most=False) if name in lines.AIMED else ""
    return (*_rates(results, name), ratio, aim, _load(results, name))


def _frames_row(results: Results, name: str) -> Sequence[str]:
    return (*_rates(results, name), f"{results.ratio(name, frames.IN_PLACE):.2f}", _load(results, name))


def _visible_row(results: Results, name: str) -> Sequence[str]:
    summary = results.summary(name)
    aim = verdict(summary.most, VISIBLE_AIM_MS, at_most=True) if name == visible.OURS else ""
    return name, f"{summary.least:.2f}", f"{summary.median:.2f}", f"{summary.most:.2f}", aim, _load(results, name)


def _rates(results: Results, name: str) -> Sequence[str]:
    summary = results.summary(name)
    return name, f"{summary.least:,.0f}", f"{summary.median:,.0f}", f"{summary.most:,.0f}"


def _share(row: frames.Torn) -> str:
    return f"{100 * row.torn / max(1, row.reads):.2f}"


def _load(results: Results, name: str) -> str:
    loads = results.other_load[name]
    return f"{sum(loads) / len(loads):.1f}"
