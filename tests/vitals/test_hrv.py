"""Heart rate variability of waves whose beats are known."""

from __future__ import annotations

import numpy as np
import pytest

from labwire.vitals.hrv import beat_times, hrv_of
from tests.vitals.signals import Floats

RATE_HZ = 30.0


def wave_with_beats(intervals_s: Floats, noise: float = 0.02) -> Floats:
    beats_s = np.concatenate([[0.0], np.cumsum(intervals_s)])
    moments = np.arange(0, 60, 1 / RATE_HZ)
    turns = np.interp(moments, beats_s, np.arange(len(beats_s)))
    wave = np.cos(2 * np.pi * turns) + 0.2 * np.cos(4 * np.pi * turns)
    return wave + np.random.default_rng(2).normal(0, noise, len(wave))


def intervals(spread_s: float, seed: int = 1) -> Floats:
    rng = np.random.default_rng(seed)
    return 0.85 + 0.03 * np.sin(np.arange(90) / 3) + rng.normal(0, spread_s, 90)


@pytest.mark.parametrize("spread_s", [0.005, 0.015])
def test_variability_is_found(spread_s: float) -> None:
    given = intervals(spread_s)
    found = hrv_of(wave_with_beats(given), RATE_HZ, 60 / 0.85, 16.0)
    assert found is not None
    within = given[:69]  # a minute of them
    assert found.mean_nn == pytest.approx(within.mean() * 1e3, rel=0.01)
    assert found.sdnn == pytest.approx(within.std() * 1e3, rel=0.3)
    assert found.rmssd == pytest.approx(np.sqrt((np.diff(within) ** 2).mean()) * 1e3, rel=0.4, abs=6)
    assert 0.5 < found.confidence < 1


def test_noisy_wave_gives_nothing() -> None:
    assert hrv_of(wave_with_beats(intervals(0.01)), RATE_HZ, 60 / 0.85, 14.0) is None


def test_stress_index_rises_when_variability_falls() -> None:
    calm = hrv_of(wave_with_beats(intervals(0.04)), RATE_HZ, 60 / 0.85, 18.0)
    tense = hrv_of(wave_with_beats(intervals(0.002) * 0.2 + 0.68), RATE_HZ, 60 / 0.85, 18.0)
    assert calm
    assert tense
    assert tense.baevsky > 2 * calm.baevsky > 0


def test_beats_that_cannot_be_told_give_nothing() -> None:
    rng = np.random.default_rng(4)
    assert hrv_of(rng.normal(0, 1, 1800), RATE_HZ, 70, 18.0) is None
    assert hrv_of(np.zeros(1800), RATE_HZ, 70, 18.0) is None


def test_beats_are_timed_finer_than_pictures() -> None:
    beats = beat_times(wave_with_beats(np.full(90, 0.8), noise=0.0), RATE_HZ, 75)
    assert np.diff(beats)[2:-2] == pytest.approx(0.8, abs=0.005)
