"""What of the chest's motion is the head's."""

from __future__ import annotations

import numpy as np
import pytest

from labwire.vitals.sway import SwaySplit
from tests.vitals.signals import Floats, breath, times, wander

RATE_HZ = 10.0
MOMENTS = times(30, RATE_HZ)
SPLIT = SwaySplit(len(MOMENTS), RATE_HZ, (0.05, 2.0))


def head(left: float, up: float) -> Floats:
    return np.column_stack([wander(MOMENTS, left, seed=3), wander(MOMENTS, up, seed=4)])


@pytest.mark.parametrize("share", [0.4, 1.0])
@pytest.mark.parametrize("across", [0.0, -0.3])
def test_sway_is_taken_off_and_breath_is_left(share: float, across: float) -> None:
    moved, own = head(2.0, 2.0), breath(MOMENTS, 15, noise=0.01)
    found = SPLIT.split(own + moved @ [across, share], moved)
    assert np.std(found.own - own) < 0.2 * np.std(own)
    assert found.own + found.sway == pytest.approx(own + moved @ [across, share])


@pytest.mark.parametrize("seed", range(10))
def test_a_head_that_moves_by_itself_changes_nothing(seed: int) -> None:
    own = breath(MOMENTS, 15, seed=seed)
    moved = np.column_stack([wander(MOMENTS, 2.0, seed=100 + seed), wander(MOMENTS, 2.0, seed=200 + seed)])
    assert SPLIT.split(own, moved).own == pytest.approx(own)


def test_a_head_that_nods_with_the_breath_does_not_take_it_away() -> None:
    own = breath(MOMENTS, 15)
    found = SPLIT.split(own, np.column_stack([np.zeros_like(own), 0.5 * own]))
    assert np.corrcoef(found.own, own)[0, 1] > 0.99
    assert np.std(found.own) == pytest.approx(0.5 * np.std(own), rel=0.01)


def test_a_head_at_rest_and_posture_that_drifts_change_nothing() -> None:
    own = breath(MOMENTS, 15)
    still = head(0.01, 0.01) + np.linspace(0, 20, len(MOMENTS))[:, None]
    assert np.std(np.diff(SPLIT.split(own, still).own - own)) < 0.01
    assert SPLIT.split(own, np.zeros((len(MOMENTS), 2))).own == pytest.approx(own)
