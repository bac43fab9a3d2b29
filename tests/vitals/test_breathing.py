"""Breathing from motion: rate and traces, right or withheld."""

from __future__ import annotations

import numpy as np
import pytest

from labwire.vitals.breathing import BreathingEstimate, BreathingMeter, Traces
from labwire.vitals.chest import BLOCKS
from labwire.vitals.config import VitalsConfig
from tests.vitals.signals import Floats, breath, times, wander

GATE = VitalsConfig().least_confidence
EVEN = np.full((2, BLOCKS), 1 / BLOCKS)


def shown_to(meter: BreathingMeter, moments: Floats, up: Floats) -> tuple[BreathingEstimate | None, list[Traces]]:
    traces = [meter.add(moment, np.full((2, BLOCKS), one), EVEN) for moment, one in zip(moments, up, strict=True)]
    return meter.estimate(moments[-1]), traces


@pytest.mark.parametrize("per_min", [6.0, 8.0, 15.0, 25.0, 40.0])
def test_rate_is_found(per_min: float) -> None:
    moments = times(32, 15)
    found, _ = shown_to(BreathingMeter(), moments, breath(moments, per_min))
    assert found is not None
    assert found.breaths_per_min == pytest.approx(per_min, abs=0.15)
    assert found.confidence > 0.9


def test_nothing_is_told_before_the_window_is_full_or_after_a_gap() -> None:
    meter, moments = BreathingMeter(), times(29, 15)
    assert shown_to(meter, moments, breath(moments, 15))[0] is None
    more = times(5, 15) + 31
    assert shown_to(meter, more, breath(more, 15))[0] is None


def test_a_chest_that_does_not_move_does_not_breathe() -> None:
    told = 0
    for seed in range(20):
        moments = times(31, 15)
        found, _ = shown_to(BreathingMeter(), moments, breath(moments, 15, amplitude=0.0, seed=seed))
        told += found is not None and found.confidence >= GATE
    assert told == 0


def told_of_sway(up: Floats, head: Floats, moments: Floats) -> BreathingEstimate | None:
    meter = BreathingMeter()
    for moment, one, where in zip(moments, up, head, strict=True):
        meter.add(moment, np.full((2, BLOCKS), one), EVEN, (0.0, where))
    found = meter.estimate(moments[-1])
    return found if found and found.confidence >= GATE else None


@pytest.mark.parametrize("seed", range(4))
def test_breath_of_a_body_that_sways_is_found(seed: int) -> None:
    moments = times(32, 15)
    head = wander(moments, 2.0, seed=seed)
    found = told_of_sway(breath(moments, 15, seed=seed) + 0.6 * head, head, moments)
    assert found is not None
    assert found.breaths_per_min == pytest.approx(15, abs=0.5)


@pytest.mark.parametrize("late", [0, 3, 6])  # of 15 pictures a second
@pytest.mark.parametrize("rocks_hz", [0.12, 0.25, 0.5])
def test_a_body_that_rocks_does_not_breathe(rocks_hz: float, late: int) -> None:
    moments = times(32, 15)
    head = 2.0 * np.sin(2 * np.pi * rocks_hz * moments + 1)
    chest = 0.6 * np.roll(head, late)
    chest[:late] = chest[late]
    assert told_of_sway(breath(moments, 15, amplitude=0.0) + chest, head, moments) is None


def test_a_head_that_nods_with_the_breath_leaves_it() -> None:
    moments = times(32, 15)
    found = told_of_sway(breath(moments, 15), 0.5 * breath(moments, 15, noise=0.0), moments)
    assert found is not None
    assert found.breaths_per_min == pytest.approx(15, abs=0.2)


def test_what_is_slower_than_any_breath_is_none() -> None:
    for seed in range(10):
        moments = times(32, 15)
        drift = 3 * np.sin(2 * np.pi * 0.045 * moments + seed) + breath(moments, 15, amplitude=0.0, seed=seed)
        found, _ = shown_to(BreathingMeter(), moments, drift)
        assert found is not None
        assert found.confidence < GATE


def test_trace_is_around_zero_whatever_the_posture() -> None:
    moments = times(60, 15)
    _, traces = shown_to(BreathingMeter(), moments, 7 + 0.03 * moments + breath(moments, 15, noise=0.0))
    upper = np.array([trace.upper for trace in traces])[-450:]
    assert abs(upper.mean()) < 0.5
    assert np.corrcoef(upper, breath(moments, 15, noise=0.0)[-450:])[0, 1] > 0.95


def test_part_that_does_not_show_has_no_trace() -> None:
    meter = BreathingMeter()
    moved = np.ones((2, BLOCKS))
    moved[1] = np.nan
    weights = EVEN.copy()
    weights[1] = 0
    assert meter.add(0.0, moved, weights) == Traces(upper=0.0, lower=None)
