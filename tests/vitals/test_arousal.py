"""The arousal proxy: 0 at first, up when the pulse's amplitude falls, never before its warm-up."""

from __future__ import annotations

import math

import pytest

from labwire.vitals.arousal import WARM_UP_S, ArousalProxy, pulse_amplitude
from tests.vitals.signals import colours, times

RATE_HZ = 30.0
MOMENTS = times(12)


def levels(amplitude: float):  # noqa: ANN201
    return colours(MOMENTS, 72, amplitude=amplitude, noise=0.0)[:, 0]


def test_amplitude_is_proportional_and_does_not_mind_the_light() -> None:
    one, half = (pulse_amplitude(levels(amplitude), RATE_HZ, 1.2) for amplitude in (0.004, 0.002))
    assert one == pytest.approx(2 * half, rel=0.1)


def test_proxy_after_its_warm_up() -> None:
    proxy = ArousalProxy()
    for seen_s in range(12, int(WARM_UP_S)):
        assert proxy.update(seen_s, levels(0.004), RATE_HZ, 1.2) is None
    assert proxy.update(WARM_UP_S, levels(0.004), RATE_HZ, 1.2) == pytest.approx(0.0, abs=0.02)
    assert proxy.update(WARM_UP_S + 1, levels(0.002), RATE_HZ, 1.2) == pytest.approx(math.log(2), rel=0.15)
    proxy.reset()
    assert proxy.update(20, levels(0.002), RATE_HZ, 1.2) is None


def test_pulse_that_is_told_late_has_its_warm_up_too() -> None:
    proxy = ArousalProxy()
    assert [proxy.update(seen_s, levels(0.004), RATE_HZ, 1.2) for seen_s in (60, 70, 79)] == [None] * 3
    assert proxy.update(80, levels(0.004), RATE_HZ, 1.2) == pytest.approx(0.0, abs=0.02)
