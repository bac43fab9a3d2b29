"""The picture of the vitals' benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.vitals.report import COST_AIM_MS, RIGHT_BPM, calibration, mean_error
from benchmarks.vitals.run import GATE, STAGES, Seen, Value

_TOLD, _WITHHELD, _AIM = "tab:blue", "0.75", "tab:red"


def plot(path: Path, films: Sequence[Seen], empty: Sequence[Seen], footer: str) -> None:
    """Write errors by film, the calibration curve, the cost, and the course of two films; needs matplotlib."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure = plt.figure(figsize=(15, 13), layout="constrained")
    grid = figure.add_gridspec(4, 3)
    _errors(figure.add_subplot(grid[:3, 0]), "pulse: mean error, beats per minute", films, "pulse")
    _errors(figure.add_subplot(grid[:3, 1]), "breathing: mean error, breaths per minute", films, "breathing")
    _curve(figure.add_subplot(grid[0, 2]), [value for seen in (*films, *empty) for value in seen.pulse])
    _quality(figure.add_subplot(grid[1, 2]), films, empty)
    _cost(figure.add_subplot(grid[2, 2]), films)
    for column, seen in enumerate(_telling(films, empty)):
        _course(figure.add_subplot(grid[3, column]), seen)
    figure.suptitle(footer, fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def _errors(axis: Any, title: str, films: Sequence[Seen], kind: str) -> None:
    names = [seen.scenario.name for seen in films]
    limit = 2 * max(getattr(seen.scenario, f"{kind}_aim") or 0.0 for seen in films)
    for at, seen in enumerate(films):
        values: list[Value] = getattr(seen, kind)
        told = seen.told(values)
        error = mean_error(told)
        shown = min(error, limit) if np.isfinite(error) else 0.0
        axis.barh(at, shown, color=_TOLD)
        axis.text(shown, at, _remark(error, limit, len(told) / max(1, len(values))), va="center", fontsize=7)
        aim = getattr(seen.scenario, f"{kind}_aim")
        if aim is not None:
            axis.plot([aim, aim], [at - 0.4, at + 0.4], color=_AIM, linewidth=1.5)
    axis.set_yticks(range(len(names)), names, fontsize=7)
    axis.invert_yaxis()
    axis.set_title(f"{title} (red: aim)", loc="left", fontsize=9)
    axis.tick_params(axis="x", labelsize=7)
    axis.set_xlim(0, 1.25 * limit)


def _remark(error: float, limit: float, share_told: float) -> str:
    told = "" if share_told > 0.995 else f" {100 * share_told:.0f} % told"
    return f"{told}, error {error:.1f}" if error > limit else told


def _curve(axis: Any, values: Sequence[Value]) -> None:
    points = calibration(values, RIGHT_BPM)
    axis.plot([0, 1], [0, 1], color="0.8")
    axis.plot([mean for mean, _, _ in points], [share for _, share, _ in points], "o-", color=_TOLD)
    for mean, share, count in points:
        beside = (4, -9) if mean < 0.97 else (-9, -18)  # what is nearly 1 would leave the diagram
        axis.annotate(f"{count}", (mean, share), fontsize=7, xytext=beside, textcoords="offset points")
    axis.axvline(GATE, color=_AIM, linewidth=1)
    _label(
        axis, "what confidence is worth (red: below it is withheld)", "confidence", f"share within {RIGHT_BPM:g} bpm"
    )


def _quality(axis: Any, films: Sequence[Seen], empty: Sequence[Seen]) -> None:
    for label, group, colour in (("with a pulse", films, _TOLD), ("without", empty, _AIM)):
        confidences = [value.confidence for seen in group for value in seen.pulse]
        axis.hist(confidences, bins=40, range=(0, 1), alpha=0.6, label=f"{label}: {len(confidences)}", color=colour)
    axis.set_yscale("log")
    axis.legend(fontsize=7)
    _label(axis, "confidence of all windows", "confidence", "windows")


def _cost(axis: Any, films: Sequence[Seen]) -> None:
    codecs = list(dict.fromkeys(seen.scenario.codec for seen in films))
    left = np.zeros(len(codecs))
    for stage in STAGES:
        costs = np.array(
            [
                np.mean([seen.cpu_ms.get(stage, 0.0) for seen in films if seen.scenario.codec == codec])
                for codec in codecs
            ]
        )
        axis.barh(codecs, costs, left=left, label=stage)
        left += costs
    axis.axvline(COST_AIM_MS, color=_AIM, linewidth=1)
    axis.legend(fontsize=6, ncols=2)
    _label(axis, "cost of a picture (red: aim)", "CPU ms", "")


def _telling(films: Sequence[Seen], empty: Sequence[Seen]) -> list[Seen]:
    """Return an easy film, a hard one and one without a pulse."""
    by_share = sorted(films[1:], key=lambda seen: abs(len(seen.told(seen.pulse)) / max(1, len(seen.pulse)) - 0.6))
    return [*films[:1], *by_share[:1], *empty[-1:]]


def _course(axis: Any, seen: Seen) -> None:
    told = seen.told(seen.pulse)
    withheld = [value for value in seen.pulse if value.confidence < GATE]
    if seen.pulse and np.isfinite(seen.pulse[0].truth):
        axis.plot([v.time_s for v in seen.pulse], [v.truth for v in seen.pulse], color="black", label="truth", zorder=3)
    axis.plot([v.time_s for v in withheld], [v.value for v in withheld], ".", color=_WITHHELD, label="withheld")
    axis.plot([v.time_s for v in told], [v.value for v in told], ".", color=_TOLD, label="told")
    axis.set_ylim(40, 180)
    axis.legend(fontsize=7)
    _label(axis, seen.scenario.name, "s", "beats per minute")


def _label(axis: Any, title: str, x: str, y: str) -> None:
    axis.set_title(title, loc="left", fontsize=9)
    axis.set_xlabel(x, fontsize=7)
    axis.set_ylabel(y, fontsize=7)
    axis.tick_params(labelsize=7)
