"""A rig stays flat: a few turns in a normal run, minutes under LABWIRE_SOAK=1."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from benchmarks.days import SETTLED_S, Sample, growth_of, look_at, measure


def test_growth_is_seen() -> None:
    samples = [Sample(float(second), 1000 + second, 10 + second // 50, 3) for second in range(100)]
    growth = growth_of("x", samples)
    assert abs(growth.memory_mb_per_h - 3600 / 1024) < 1e-6
    assert (growth.descriptors_more, growth.threads_more) == (1, 0)
    spiky = [*samples[:50], Sample(50.0, 90_000, 10, 3), *samples[50:]]
    assert abs(growth_of("x", spiky).memory_mb_per_h - 3600 / 1024) < 0.5


def test_this_process_is_seen() -> None:
    seen = look_at(os.getpid())
    assert seen.memory_kb > 1000
    assert seen.descriptors >= 3
    assert seen.threads >= 1


@pytest.mark.timeout(1800)
def test_a_rig_stays_flat(soak: Callable[[int, int], int]) -> None:
    growths, done = measure(float(soak(6, 600)), float(soak(2, int(SETTLED_S))))
    assert done["sessions"] >= 3
    assert {"hub", "steward", "recorder", "eyes"} <= {growth.actor for growth in growths}
    for growth in growths:
        assert growth.descriptors_more <= 3, growth
        assert growth.threads_more <= 2, growth
    # Memory settles in minutes, not in seconds.
    if soak(0, 1):
        assert all(growth.memory_mb_per_h < 30 for growth in growths), growths
