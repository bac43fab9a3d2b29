"""Even steps from uneven pictures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.vitals.grid import EvenGrid


def steps_of(grid: EvenGrid, moments: list[float]) -> list[float]:
    return [float(step[0]) for moment in moments for step in grid.add(moment, np.array([moment]))]


@given(st.lists(st.floats(0.02, 0.4), min_size=1, max_size=60))
def test_a_line_stays_a_line_whatever_the_moments(pauses: list[float]) -> None:
    moments = [5.0, *(5.0 + np.cumsum(pauses)).tolist()]
    found = steps_of(EvenGrid(30.0), moments)
    assert found == pytest.approx([5.0 + n / 30 for n in range(len(found))])
    assert found[-1] <= moments[-1]


def test_every_step_up_to_the_newest_picture_is_known() -> None:
    grid = EvenGrid(10.0)
    assert len(steps_of(grid, [0.0, 1.04])) == 11
    assert grid.next_s == pytest.approx(1.1)


def test_pictures_of_a_fast_camera_are_averaged() -> None:
    rng = np.random.default_rng(1)
    grid = EvenGrid(30.0)
    noise = rng.normal(0, 1, 4000)
    found = [step for n, value in enumerate(noise) for step in grid.add(n / 120, np.array([value]))]
    assert np.std(found) < 0.6
