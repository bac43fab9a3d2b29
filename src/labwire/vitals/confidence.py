"""From signal quality to confidence: how often a value of this quality was right.

Logistic curves, fitted to films with known truth (see ``docs/explanation/vitals.md``); ``benchmarks/vitals`` shows how
well they hold. "Right" is within 3 beats per minute, or within 1 breath per minute.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

_LEAST_DB, _MOST_DB = -8.0, 12.0  # beyond, more says no more
_LEAST_BREATH = 0.03
"""Percent of the face's height, root mean square: a head that moves takes the chest along by as much."""
_MOST_FOR_SIZE = 1.5  # a big move alone is no breath
_LEFT_OF_SWAY = 0.05  # share of a sway that may be left when it was taken off
_UNLIKE: Final = 0.05


class PulseQuality(NamedTuple):
    """What tells a pulse from anything else that swings."""

    snr_db: float
    """How much the pulse and its overtone stand out among everything from 0.3 to 4 Hz, by POS."""
    contrast_db: float
    """How much the line stands out among its neighbours: what a codec or a move leaves behind is broad."""
    apart_bpm: float
    """How far the rate by CHROM is from that by POS: beyond 5, they see different things."""
    likeness: float
    """How alike the parts of the face swing, -1 to 1: noise does not."""
    blood: float
    """Share of the change of colour that is in the direction in which blood changes it, 0 to 1."""
    rate_hz: float
    """Where the line is: slow drifts and the steps of a codec look like a slow pulse, never like a quick one."""


# Weights of the six, and of a constant.
_PULSE: Final = (0.39, 0.16, -1.0, 3.1, 1.2, -17.0, -2.4)
_SLOW_HZ: Final = 1.0
_AGREE_BPM: Final = 5.0


def pulse_confidence(quality: PulseQuality) -> float:
    """Return the confidence of a pulse rate, 0 to 1."""
    features = (
        _clipped(quality.snr_db),
        _clipped(quality.contrast_db),
        float(quality.apart_bpm > _AGREE_BPM),
        quality.likeness,
        quality.blood,
        max(0.0, _SLOW_HZ - quality.rate_hz),
        1.0,
    )
    return _logistic(sum(weight * feature for weight, feature in zip(_PULSE, features, strict=True)))


def breathing_confidence(
    *, snr_db: float, contrast_db: float, amplitude: float, sway: float = 0.0, like_head: float = 0.0
) -> float:
    """Return the confidence of a breathing rate, 0 to 1.

    Args:
        snr_db: How much breathing and its overtone stand out among everything from 0.05 to 2 Hz.
        contrast_db: How much its line stands out among its neighbours.
        amplitude: Of the chest's own motion, root mean square, percent of the face's height.
        sway: How much motion was taken off because it is the head's, the same.
        like_head: How much of what is left at this rate goes with a head that moves more, 0 to 1: a chest that
            follows the head late, and not a breath that happens to be as fast.
    """
    least = _LEAST_BREATH + _LEFT_OF_SWAY * sway
    size = min(8.0 * math.log(max(amplitude, 1e-9) / least), _MOST_FOR_SIZE)
    contrast = 0.35 * (min(max(contrast_db, _LEAST_DB), 10.0) - 5.0)
    return _logistic(0.8 * (_clipped(snr_db) - 5.5) + contrast + size) * min(1.0, (1.0 - like_head) / _UNLIKE)


def _clipped(level_db: float) -> float:
    return min(max(level_db, _LEAST_DB), _MOST_DB)


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, value))))
