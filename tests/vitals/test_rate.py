"""Rates of waves: the strongest line, and the mean rate over the window."""

from __future__ import annotations

import numpy as np
import pytest

from labwire.vitals.rate_fit import RateFit
from labwire.vitals.spectrum import Spectrum
from tests.vitals.signals import Floats

COUNT, RATE_HZ = 360, 30.0
MOMENTS = np.arange(COUNT) / RATE_HZ


def spectrum() -> Spectrum:
    return Spectrum(COUNT, RATE_HZ, rates_hz=(0.67, 3.0), band_hz=(0.3, 4.0), width_hz=0.12)


def fit() -> RateFit:
    return RateFit(COUNT, RATE_HZ, line_hz=0.05, drift_hz=0.015, overtone=True)


def with_noise(wave: Floats, noise: float, seed: int) -> Floats:
    return wave + np.random.default_rng(seed).normal(0, noise, len(wave))


@pytest.mark.parametrize("bpm", [42.0, 61.3, 75.0, 118.7, 150.0, 175.0])
def test_line_is_where_the_wave_is(bpm: float) -> None:
    wave = with_noise(np.sin(2 * np.pi * bpm / 60 * MOMENTS), 0.3, 1)
    found = spectrum()
    line = found.line(found.power(wave))
    assert found.refine(wave, line.hz) * 60 == pytest.approx(bpm, abs=0.5)
    assert line.snr_db > 10


def test_noise_stands_out_less_than_a_wave() -> None:
    found = spectrum()
    of_noise = [found.line(found.power(with_noise(np.zeros(COUNT), 1, seed))).snr_db for seed in range(100)]
    assert np.percentile(of_noise, 99) < 0


def test_overtone_is_not_taken_for_the_rate() -> None:
    angle = 2 * np.pi * 1.1 * MOMENTS
    wave = with_noise(np.sin(angle) + 0.9 * np.sin(2 * angle + 1), 0.2, 3)
    found = spectrum()
    assert found.line(found.power(wave)).hz == pytest.approx(1.1, abs=0.03)


def test_nothing_has_no_rate_and_breaks_nothing() -> None:
    found = spectrum()
    line = found.line(found.power(np.zeros(COUNT)))
    assert line.snr_db <= 0
    assert np.isfinite(found.refine(np.zeros(COUNT), line.hz))
    assert np.isfinite(fit().mean_hz(np.zeros(COUNT), 1.0))


def test_amplitude_is_that_of_the_wave_alone() -> None:
    wave = 3 * np.sin(2 * np.pi * 1.2 * MOMENTS) + 2 * np.sin(2 * np.pi * 2.3 * MOMENTS)
    assert spectrum().amplitude(wave, 1.2) == pytest.approx(3 / np.sqrt(2), rel=0.05)


def test_mean_of_a_rate_that_drifts_is_found_better_than_by_its_line() -> None:
    line_errors: list[float] = []
    fit_errors: list[float] = []
    found, fitted = spectrum(), fit()
    for seed in range(12):
        bend = np.random.default_rng(seed).uniform(-2, 2, 2)
        ends = np.linspace(-1, 1, COUNT)
        bpm = 75 + bend[0] * ends + bend[1] * ends**2
        angle = 2 * np.pi * np.cumsum(bpm) / 60 / RATE_HZ
        wave = with_noise(np.sin(angle) + 0.3 * np.sin(2 * angle), 0.3, seed)
        line_hz = found.refine(wave, found.line(found.power(wave)).hz)
        line_errors.append(abs(line_hz * 60 - bpm.mean()))
        fit_errors.append(abs(fitted.mean_hz(wave, line_hz) * 60 - bpm.mean()))
    print(line_errors, fit_errors)
    assert np.mean(fit_errors) < 0.15
    assert np.mean(fit_errors) < np.mean(line_errors)
