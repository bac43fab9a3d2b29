"""A picture of what a folder holds: pulse, breathing, confidence, traces, status over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec

from labwire.errors import UsageError, needs_extra
from labwire.file_backend.reader import Record, read

_LEAST_SPAN = {"pulse": 10.0, "breathing": 4.0}  # so that a steady value looks steady
_GAP_S = 1.5  # a line is not drawn through what was not measured


class Series(NamedTuple):
    """Values over time."""

    times_s: list[float]
    """From the first record of the folder on."""
    values: list[float]


class Shown(msgspec.Struct):
    """What is plotted."""

    start_us: int | None = None
    series: dict[str, Series] = {}
    statuses: list[tuple[float, int, str]] = []
    """Time in seconds, code, message."""

    def add(self, name: str, time_s: float, value: object) -> None:
        """Take one value; what is no number is left out."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            series = self.series.setdefault(name, Series([], []))
            series.times_s.append(time_s)
            series.values.append(float(value))


def collect(folder: Path) -> Shown:
    """Read what is plotted.

    Raises:
        NotFoundError: There is no such folder.
    """
    shown = Shown()
    for record in read(folder):
        shown.start_us = record.timestamp if shown.start_us is None else shown.start_us
        time_s = (record.timestamp - shown.start_us) / 1e6
        match record.type:
            case "core_metrics":
                _take_core(shown, record, time_s)
            case "edge_metrics":
                for name, value in record.payload.items():
                    shown.add(name, time_s, value)
            case "status":
                code, message = record.payload.get("code"), str(record.payload.get("message", ""))
                if isinstance(code, int):
                    shown.statuses.append((time_s, code, message))
            case _:
                pass
    return shown


def plot_folder(folder: Path, path: Path) -> Shown:
    """Write a picture of a folder; return what it shows.

    Args:
        folder: What ``base_directory`` named.
        path: Where to; its ending says in which format.

    Raises:
        NotFoundError: There is no such folder.
        UsageError: matplotlib writes no file with that ending.
        MissingExtraError: matplotlib is not installed.
    """
    with needs_extra("demo"):
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot as plt
        from matplotlib.backend_bases import FigureCanvasBase

    if path.suffix.lower().lstrip(".") not in (formats := FigureCanvasBase.filetypes):
        raise UsageError(f"{path} cannot be drawn: the name must end in .png, or in one of {', '.join(formats)}")
    shown = collect(folder)
    figure: Any
    axes: Any
    figure, axes = plt.subplots(
        7, 1, figsize=(12, 14), sharex=True, layout="constrained", height_ratios=[3, 3, 2, 2, 3, 2, 2]
    )
    panels: list[tuple[str, str, Sequence[str]]] = [
        ("pulse", "1/min", ["pulse"]),
        ("breathing", "1/min", ["breathing"]),
        ("confidence", "0 to 1", ["confidence of pulse", "confidence of breathing"]),
        ("pulse trace", "no unit", ["pulse trace"]),
        ("breathing traces", "% of the face", ["upper_breathing_trace", "lower_breathing_trace"]),
        ("eda: the arousal proxy, without a unit, or a sensor's value", "", ["eda"]),
    ]
    for axis, (title, unit, names) in zip(axes, panels, strict=False):
        _draw(axis, shown, title, unit, names)
    _widen(axes[0], _LEAST_SPAN["pulse"])
    _widen(axes[1], _LEAST_SPAN["breathing"])
    axes[2].set_ylim(-0.05, 1.05)
    _draw_status(axes[6], shown)
    axes[6].set_xlabel("time, s")
    figure.suptitle(f"{folder.absolute().name}: no medical device", fontsize=10)
    figure.savefig(path, dpi=100)
    plt.close(figure)
    return shown


def _take_core(shown: Shown, record: Record, time_s: float) -> None:
    for name in ("pulse", "breathing"):
        table: Any = record.payload.get(name)
        strict: Any = cast("dict[str, Any]", table).get("strict") if isinstance(table, dict) else None
        if isinstance(strict, dict):
            measure = cast("dict[str, Any]", strict)
            shown.add(name, time_s, measure.get("value"))
            shown.add(f"confidence of {name}", time_s, measure.get("confidence"))

    for sample in _trace_of(record.payload.get("pulse")):
        stamp_us = sample.get("timestamp")
        if isinstance(stamp_us, int) and shown.start_us is not None:
            shown.add("pulse trace", (stamp_us - shown.start_us) / 1e6, sample.get("value"))


def _trace_of(pulse: Any) -> list[dict[str, Any]]:
    trace: Any = cast("dict[str, Any]", pulse).get("trace") if isinstance(pulse, dict) else None
    samples = cast("list[Any]", trace) if isinstance(trace, list) else []
    return [cast("dict[str, Any]", sample) for sample in samples if isinstance(sample, dict)]


def _widen(axis: Any, least_span: float) -> None:
    low, high = axis.get_ylim()
    if (more := least_span - (high - low)) > 0:
        axis.set_ylim(low - more / 2, high + more / 2)


def _draw(axis: Any, shown: Shown, title: str, unit: str, names: Sequence[str]) -> None:
    for name in names:
        if series := shown.series.get(name):
            times_s, values = _with_gaps(series)
            axis.plot(times_s, values, linewidth=1, label=name.replace("_", " "))
    if not any(name in shown.series for name in names):
        _say_nothing(axis)
    elif len(names) > 1:
        axis.legend(loc="upper left", fontsize=8)
    axis.set_title(title, loc="left", fontsize=10)
    axis.set_ylabel(unit, fontsize=8)
    axis.grid(visible=True, alpha=0.3)


def _say_nothing(axis: Any) -> None:
    axis.text(0.5, 0.5, "nothing was measured", transform=axis.transAxes, ha="center", va="center", color="gray")


def _with_gaps(series: Series) -> tuple[list[float], list[float]]:
    times_s, values = list[float](), list[float]()
    for time_s, value in zip(series.times_s, series.values, strict=True):
        if times_s and time_s - times_s[-1] > _GAP_S:
            times_s.append(time_s)
            values.append(float("nan"))
        times_s.append(time_s)
        values.append(value)
    return times_s, values


def _draw_status(axis: Any, shown: Shown) -> None:
    end_s = max([series.times_s[-1] for series in shown.series.values()] + [row[0] for row in shown.statuses] + [1.0])
    axis.set_title("status", loc="left", fontsize=10)
    if not shown.statuses:
        _say_nothing(axis)
        return
    codes = sorted({code for _, code, _ in shown.statuses})
    rows = {code: n for n, code in enumerate(codes)}
    texts = {code: message.partition(":")[0] for _, code, message in shown.statuses}
    for (start_s, code, _), (next_s, _, _) in zip(shown.statuses, [*shown.statuses[1:], (end_s, 0, "")], strict=True):
        colour = "tab:green" if code == 0 else "tab:red"
        axis.barh(rows[code], max(next_s - start_s, end_s / 500), left=start_s, color=colour, height=0.8)
    axis.set_yticks(range(len(codes)), [f"{code} {texts[code]}"[:45] for code in codes], fontsize=7)
