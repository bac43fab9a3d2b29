"""What light does to all colours alike is not in the wave; what a pulse does is."""

from __future__ import annotations

import numpy as np
import pytest

from labwire.vitals.projection import PulseWave
from labwire.vitals.skin import TRACES
from tests.vitals.signals import Floats, colours, times

RATE_HZ = 30.0
POS, CHROM = 0, 1


def waves_of(shown: Floats, keep_s: float = 10.0) -> Floats:
    wave = PulseWave(RATE_HZ, TRACES, keep_s)
    for one in shown:
        wave.add(one)
    return wave.newest(round(8 * RATE_HZ))


def likeness(wave: Floats, moments: Floats, bpm: float) -> float:
    angle = 2 * np.pi * bpm / 60 * moments[-len(wave) :]
    return float(np.hypot(*(np.corrcoef(wave, part)[0, 1] for part in (np.sin(angle), np.cos(angle)))))


@pytest.mark.parametrize("method", [POS, CHROM])
def test_pulse_is_seen_under_light_that_changes_ten_times_as_much(method: int) -> None:
    moments = times(20)
    shown = colours(moments, 72, amplitude=0.002, noise=0.0, light=0.02)
    green = shown[-240:, 0, 1] / shown[:, 0, 1].mean() - 1
    assert likeness(green, moments, 72) < 0.3
    assert likeness(waves_of(shown)[method, 0], moments, 72) > 0.9


def test_wave_does_not_depend_on_how_much_is_kept() -> None:
    shown = colours(times(40), 80)
    assert waves_of(shown, keep_s=8.0) == pytest.approx(waves_of(shown, keep_s=60.0))


def test_a_face_that_does_not_change_has_no_wave() -> None:
    still = np.full((300, TRACES, 3), 100.0)
    assert not waves_of(still).any()
