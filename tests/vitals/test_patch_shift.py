"""Motion to a fraction of a pixel, whatever the light does."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from labwire.vitals.patch_shift import PatchShift, Region

Gray = NDArray[np.uint8]
REGION = Region(60.0, 50.0, 48, 40)


def scene(x: float = 0.0, y: float = 0.0, *, gain: float = 1.0, seed: int = 1) -> Gray:
    rough = np.random.default_rng(seed).uniform(40, 200, (100, 120)).astype(np.float32)
    smooth = cv2.GaussianBlur(rough, (0, 0), 3) * 3 - 240
    move = np.array([[1, 0, x], [0, 1, y]], np.float32)
    moved = cv2.warpAffine(smooth, move, (120, 100), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return cast("Gray", np.clip(moved * gain, 0, 255).astype(np.uint8))


@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (0.05, -0.1), (0.4, 0.7), (-1.5, 1.2)])
@pytest.mark.parametrize("gain", [1.0, 0.8])
def test_shift_is_found(x: float, y: float, gain: float) -> None:
    shift = PatchShift(scene(), REGION).measure(scene(x, y, gain=gain))
    assert shift is not None
    assert (shift.x, shift.y) == (pytest.approx(x, abs=0.05), pytest.approx(y, abs=0.05))
    assert shift.error < 0.3


def test_a_guess_takes_it_further() -> None:
    shift = PatchShift(scene(), REGION).measure(scene(9.3, -6.2), 9.0, -6.0)
    assert shift is not None
    assert (shift.x, shift.y) == (pytest.approx(9.3, abs=0.1), pytest.approx(-6.2, abs=0.1))


def test_what_is_not_there_is_told() -> None:
    shift = PatchShift(scene(), REGION).measure(scene(seed=2))
    assert shift is None or shift.error > 0.6


def test_blocks_move_each_on_its_own() -> None:
    patch = PatchShift(scene(), REGION, blocks=4)
    mixed = scene()
    mixed[:, 60:] = scene(0, 0.5)[:, 60:]
    moved = patch.measure_blocks(mixed, 0.0, 0.0)
    assert moved[0] == pytest.approx(0.0, abs=0.1)
    assert moved[3] == pytest.approx(0.5, abs=0.1)
    assert patch.weights.sum() == pytest.approx(1.0)


def test_a_patch_without_structure_does_not_move() -> None:
    flat = np.full((100, 120), 90, np.uint8)
    shift = PatchShift(flat, REGION).measure(flat)
    assert shift is not None
    assert (shift.x, shift.y) == (0.0, 0.0)
