"""The tables of the vitals' benchmark: errors by scenario, what confidence is worth, the cost of each stage."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.common import table, verdict
from benchmarks.vitals.program import Ran
from benchmarks.vitals.run import GATE, STAGES, Seen, Value

RIGHT_BPM, RIGHT_BREATHS = 3.0, 1.0
"""A value within this of the truth is right: what confidence is about."""
RIGHT_AIM, WITHHELD_AIM = 99.0, 99.0
COST_AIM_MS = 6.5
BINS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 1.0001)


def tables(films: Sequence[Seen], empty: Sequence[Seen], programs: Sequence[Ran]) -> Iterator[str]:
    """Yield the tables as text.

    Args:
        films: With a pulse.
        empty: Without one.
        programs: The whole program, by camera.
    """
    columns = ("pulse, beats per minute", "told %", "MAE", "worst", "aim")
    yield table("", columns, [_row(seen, seen.pulse, seen.scenario.pulse_aim) for seen in films])
    columns = ("breathing, breaths per minute", "told %", "MAE", "worst", "aim")
    yield table("", columns, [_row(seen, seen.breathing, seen.scenario.breathing_aim) for seen in (*films, *empty)])
    yield table("", ("no pulse in it", "windows", "withheld %", "aim"), [*map(_empty_row, empty), _empty_sum(empty)])
    yield table("", ("told values", "count", "right %", "aim"), [*_right(films, empty)])
    columns = ("confidence of a pulse", "values", "mean", "right %")
    yield table("", columns, [*_calibration([value for seen in (*films, *empty) for value in seen.pulse], RIGHT_BPM)])
    columns = ("CPU ms per picture", *STAGES, "all", "aim")
    yield table("", columns, [*_costs(films)])
    columns = ("physiology_server, Motion JPEG", "pictures", "lost", "CPU ms per picture", "aim", "others' load")
    yield table("", columns, [_program(ran) for ran in programs])
    yield table("", ("heart rate variability, RMSSD in ms", "true", "found", "error"), [*_variability(films)])
    yield table("", ("arousal proxy", "values", "correlation with -log(amplitude)"), [*_arousal(films)])


def mean_error(values: Sequence[Value]) -> float:
    """Return the mean absolute error of values that have a truth; NaN if there are none."""
    errors = [value.error for value in values if np.isfinite(value.truth)]
    return float(np.mean(errors)) if errors else float("nan")


def calibration(values: Sequence[Value], right: float) -> list[tuple[float, float, int]]:
    """Return mean confidence, share of right values and count for each bin of confidence that has values."""
    found: list[tuple[float, float, int]] = []
    for low, high in itertools.pairwise(BINS):
        inside = [value for value in values if low <= value.confidence < high]
        if inside:
            share = sum(value.error <= right for value in inside) / len(inside)
            found.append((float(np.mean([value.confidence for value in inside])), share, len(inside)))
    return found


def _row(seen: Seen, values: Sequence[Value], aim: float | None) -> Sequence[str]:
    told = seen.told(list(values))
    share = f"{100 * len(told) / len(values):.0f}" if values else "-"
    if not told or not np.isfinite(told[0].truth):
        missed = "≤ " + f"{aim:g} MISSED" if aim is not None else ""
        return seen.scenario.name, share, "-", "-", missed
    error = mean_error(told)
    worst = max(value.error for value in told)
    kept = verdict(round(error, 2), aim, at_most=True) if aim is not None else ""
    return seen.scenario.name, share, f"{error:.2f}", f"{worst:.2f}", kept


def _empty_row(seen: Seen) -> Sequence[str]:
    return seen.scenario.name, str(len(seen.pulse)), f"{_withheld(seen.pulse):.1f}", ""


def _empty_sum(empty: Sequence[Seen]) -> Sequence[str]:
    values = [value for seen in empty for value in seen.pulse]
    share = _withheld(values)
    return "all of them", str(len(values)), f"{share:.2f}", verdict(round(share, 2), WITHHELD_AIM, at_most=False)


def _withheld(values: Sequence[Value]) -> float:
    return 100 * sum(value.confidence < GATE for value in values) / max(1, len(values))


def _right(films: Sequence[Seen], empty: Sequence[Seen]) -> Iterator[Sequence[str]]:
    for name, right, kind in (
        (f"pulse within {RIGHT_BPM:g}", RIGHT_BPM, "pulse"),
        (f"breathing within {RIGHT_BREATHS:g}", RIGHT_BREATHS, "breathing"),
    ):
        told = [value for seen in (*films, *empty) for value in seen.told(getattr(seen, kind))]
        share = 100 * sum(value.error <= right for value in told) / max(1, len(told))
        yield name, str(len(told)), f"{share:.2f}", verdict(round(share, 2), RIGHT_AIM, at_most=False)


def _calibration(values: Sequence[Value], right: float) -> Iterator[Sequence[str]]:
    for low, high in itertools.pairwise(BINS):
        inside = calibration([value for value in values if low <= value.confidence < high], right)
        for mean, share, count in inside:
            yield f"{low:.2f} to {min(high, 1.0):.2f}", str(count), f"{mean:.3f}", f"{100 * share:.1f}"


def _costs(films: Sequence[Seen]) -> Iterator[Sequence[str]]:
    for codec in dict.fromkeys(seen.scenario.codec for seen in films):
        of_codec = [seen for seen in films if seen.scenario.codec == codec]
        cells = [float(np.mean([seen.cpu_ms.get(stage, 0.0) for seen in of_codec])) for stage in (*STAGES, "all")]
        name = {"raw": "pixels", "mjpeg": "JPEG", "h264": "pixels, from H.264"}[codec]
        yield name, *(f"{cell:.2f}" for cell in cells), verdict(round(cells[-1], 2), COST_AIM_MS, at_most=True)


def _program(ran: Ran) -> Sequence[str]:
    camera = ran.camera
    if camera.width == 640:
        aim = verdict(round(ran.cpu_ms, 2), COST_AIM_MS, at_most=True)
    else:
        aim = f"nothing lost {'MISSED' if ran.lost else 'kept'}"
    name = f"{camera.width} x {camera.height} at {camera.fps}/s, {camera.seconds:g} s"
    return name, str(ran.taken), ran.lost or "nothing", f"{ran.cpu_ms:.2f}", aim, f"{ran.other_cores:.1f}"


def _variability(films: Sequence[Seen]) -> Iterator[Sequence[str]]:
    for seen in films:
        if seen.variability:
            found = float(np.mean([one.rmssd for one in seen.variability]))
            true = float(np.mean([one.true_rmssd for one in seen.variability]))
            yield seen.scenario.name, f"{true:.1f}", f"{found:.1f}", f"{abs(found - true):.1f}"


def _arousal(films: Sequence[Seen]) -> Iterator[Sequence[str]]:
    for seen in films:
        if seen.scenario.vasoconstriction and len(seen.arousal) > 2:
            _, proxy, amplitude = np.array(seen.arousal).T
            correlation = float(np.corrcoef(proxy, -np.log(amplitude))[0, 1])
            yield seen.scenario.name, str(len(proxy)), f"{correlation:.2f}"
