"""Heart rate variability of waves whose beats are known."""

from __future__ import annotations

import numpy as np
import pytest

from labwire.vitals.hrv import beat_times, hrv_of
from labwire.vitals.skin import TRACES
from tests.vitals.signals import Floats

RATE_HZ = 30.0


def waves_with_beats(intervals_s: Floats, noise: float = 0.02, seed: int = 2) -> Floats:
    """Return the whole face's wave and those of its parts, each with a noise of its own, (TRACES, samples)."""
    beats_s = np.concatenate([[0.0], np.cumsum(intervals_s)])
    moments = np.arange(0, 60, 1 / RATE_HZ)
    turns = np.interp(moments, beats_s, np.arange(len(beats_s)))
    wave = np.cos(2 * np.pi * turns) + 0.2 * np.cos(4 * np.pi * turns)
    parts = wave + np.random.default_rng(seed).normal(0, noise * (TRACES - 1) ** 0.5, (TRACES - 1, len(wave)))
    return np.vstack([parts.mean(axis=0), parts])


def intervals(spread_s: float, seed: int = 1) -> Floats:
    rng = np.random.default_rng(seed)
    return 0.85 + 0.03 * np.sin(np.arange(90) / 3) + rng.normal(0, spread_s, 90)


def rmssd_ms(intervals_s: Floats) -> float:
    return float(np.sqrt((np.diff(intervals_s) ** 2).mean())) * 1e3


@pytest.mark.parametrize("spread_s", [0.005, 0.015])
def test_variability_is_found(spread_s: float) -> None:
    given = intervals(spread_s)
    found = hrv_of(waves_with_beats(given), RATE_HZ, 60 / 0.85, 16.0)
    assert found is not None
    within = given[:69]  # a minute of them
    assert found.mean_nn == pytest.approx(within.mean() * 1e3, rel=0.01)
    assert found.sdnn == pytest.approx(within.std() * 1e3, rel=0.3)
    assert found.rmssd == pytest.approx(rmssd_ms(within), rel=0.4)
    assert 0.5 < found.confidence < 1


def test_noise_is_not_taken_for_variability() -> None:
    given = intervals(0.003)
    told: list[float] = []
    by_the_whole: list[float] = []
    for seed in range(8):
        waves = waves_with_beats(given, noise=0.12, seed=seed)
        found = hrv_of(waves, RATE_HZ, 60 / 0.85, 16.0)
        told += [found.rmssd] if found else []
        by_the_whole.append(rmssd_ms(np.diff(beat_times(waves[0], RATE_HZ, 60 / 0.85))))
    true = rmssd_ms(given[:69])
    assert np.mean(by_the_whole) > 1.3 * true
    assert len(told) >= 4
    assert np.mean(told) == pytest.approx(true, rel=0.2)


def test_where_noise_is_most_of_what_differs_nothing_is_told() -> None:
    given = np.full(90, 0.85)
    found = [hrv_of(waves_with_beats(given, noise=0.08, seed=seed), RATE_HZ, 60 / 0.85, 16.0) for seed in range(8)]
    assert found.count(None) >= 7


def test_noisy_wave_gives_nothing() -> None:
    assert hrv_of(waves_with_beats(intervals(0.01)), RATE_HZ, 60 / 0.85, 14.0) is None


def test_stress_index_rises_when_variability_falls() -> None:
    calm = hrv_of(waves_with_beats(intervals(0.04)), RATE_HZ, 60 / 0.85, 18.0)
    tense = hrv_of(waves_with_beats(intervals(0.002) * 0.2 + 0.68), RATE_HZ, 60 / 0.85, 18.0)
    assert calm
    assert tense
    assert tense.baevsky > 2 * calm.baevsky > 0


def test_beats_that_cannot_be_told_give_nothing() -> None:
    rng = np.random.default_rng(4)
    assert hrv_of(rng.normal(0, 1, (TRACES, 1800)), RATE_HZ, 70, 18.0) is None
    assert hrv_of(np.zeros((TRACES, 1800)), RATE_HZ, 70, 18.0) is None
    no_part = waves_with_beats(intervals(0.01))
    no_part[2] = 0
    assert hrv_of(no_part, RATE_HZ, 60 / 0.85, 18.0) is None


def test_beats_are_timed_finer_than_pictures() -> None:
    beats = beat_times(waves_with_beats(np.full(90, 0.8), noise=0.0)[0], RATE_HZ, 75)
    assert np.diff(beats)[2:-2] == pytest.approx(0.8, abs=0.001)
