"""The pulse of colours: right, or withheld."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from labwire.vitals.config import VitalsConfig
from labwire.vitals.pulse import PulseEstimate, PulseMeter
from tests.vitals.signals import Floats, colours, times

GATE = VitalsConfig().least_confidence


def shown_to(meter: PulseMeter, moments: Floats, shown: Floats) -> PulseEstimate | None:
    for moment, one in zip(moments, shown, strict=True):
        meter.add(moment, one)
    return meter.estimate(moments[-1])


@pytest.mark.parametrize("fps", [10.0, 15.0, 24.0, 30.0, 60.0])
@pytest.mark.parametrize("bpm", [48.0, 72.0, 110.0])
def test_pulse_is_found_at_any_frame_rate(bpm: float, fps: float) -> None:
    moments = times(13, fps)
    found = shown_to(PulseMeter(), moments, colours(moments, bpm))
    assert found is not None
    assert found.bpm == pytest.approx(bpm, abs=0.5)
    assert found.confidence > 0.9


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_dropped_pictures_do_not_bend_the_rate(share: float) -> None:
    moments = times(14)
    kept = np.random.default_rng(3).random(len(moments)) >= share
    found = shown_to(PulseMeter(), moments[kept], colours(moments[kept], 84))
    assert found is not None
    assert found.bpm == pytest.approx(84, abs=0.5)


def test_nothing_is_told_before_the_window_is_full() -> None:
    moments = times(11.8)
    assert shown_to(PulseMeter(), moments, colours(moments, 72)) is None


def test_a_gap_begins_the_window_anew() -> None:
    meter, first = PulseMeter(), times(13)
    assert shown_to(meter, first, colours(first, 72))
    assert meter.estimate(first[-1] + 2) is None
    later = first[:300] + 15
    assert shown_to(meter, later, colours(later, 72)) is None


@pytest.mark.parametrize("light", [0.005, 0.05])
def test_without_a_pulse_nothing_is_told(light: float, soak: Callable[[int, int], int]) -> None:
    told = 0
    films = soak(10, 200)
    for seed in range(films):
        meter, moments = PulseMeter(), times(24)
        for moment, one in zip(moments, colours(moments, 72, amplitude=0.0, light=light, seed=seed), strict=True):
            meter.add(moment, one)
            if round(moment * 30) % 30 == 0 and (found := meter.estimate(moment)):
                told += found.confidence >= GATE
    assert told <= max(2, 0.01 * 12 * films)


def test_motion_that_all_colours_share_is_no_pulse() -> None:
    """A head that nods 70 times a minute changes all colours alike."""
    moments = times(20)
    shown = colours(moments, 72, amplitude=0.0)
    shown *= (1 + 0.01 * np.sin(2 * np.pi * 70 / 60 * moments))[:, None, None]
    found = shown_to(PulseMeter(), moments, shown)
    assert found is None or found.confidence < GATE


def test_colour_that_swings_otherwise_than_blood_is_no_pulse() -> None:
    """A screen that flickers in blue, or a codec that steps."""
    moments = times(20)
    shown = colours(moments, 72, amplitude=0.0)
    shown[:, :, 2] *= (1 + 0.004 * np.sin(2 * np.pi * 70 / 60 * moments))[:, None]
    found = shown_to(PulseMeter(), moments, shown)
    assert found is None or found.confidence < GATE


def test_confidence_falls_with_noise() -> None:
    moments = times(13)

    def mean(noise: float) -> float:
        found = [shown_to(PulseMeter(), moments, colours(moments, 72, noise=noise, seed=seed)) for seed in range(4)]
        return float(np.mean([one.confidence for one in found if one]))

    little, more, much = mean(0.02), mean(0.25), mean(1.0)
    assert little > 0.95
    assert little > more > much
    assert much < GATE / 2


def test_wave_and_its_moments() -> None:
    meter, moments = PulseMeter(), times(14)
    shown_to(meter, moments, colours(moments, 60, noise=0.0))
    wave = meter.wave(10)
    assert wave is not None
    assert meter.step_s(0) == pytest.approx(0.0)
    assert meter.step_s(meter.steps - 1) == pytest.approx(moments[-1], abs=1 / 30)
    assert meter.wave(60) is None
    # More light in green is up, and the peak is where it was put.
    first = meter.steps - len(wave)
    at = first + 30 + int(np.argmax(wave[30:60]))
    truth = np.argmax(np.sin(2 * np.pi * times(1)) + 0.25 * np.sin(4 * np.pi * times(1) + 1)) / 30
    assert meter.step_s(at) % 1 == pytest.approx(truth, abs=0.07)
