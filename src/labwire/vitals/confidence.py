"""From signal quality to confidence: how often a value of this quality was right.

The curves are fitted to synthesised films with known truth by ``benchmarks/vitals``, which also shows how well they
hold: "right" is within 3 beats per minute, or within 1 breath per minute.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def pulse_confidence(*, snr_db: float, apart_bpm: float, snr_of_parts_db: Sequence[float]) -> float:
    """Return the confidence of a pulse rate, 0 to 1.

    Args:
        snr_db: How much the pulse stands out by POS.
        apart_bpm: How far the rate by CHROM is from it.
        snr_of_parts_db: How much that rate stands out in each part of the face.
    """
    snr_db = min(snr_db, sum(snr_of_parts_db) / len(snr_of_parts_db) + 3)
    return _logistic(1.5 * (snr_db - 0.5)) if apart_bpm < 5 else 0.0


def breathing_confidence(*, snr_db: float, amplitude: float) -> float:
    """Return the confidence of a breathing rate, 0 to 1.

    Args:
        snr_db: How much breathing stands out.
        amplitude: Of the chest's motion, percent of the face's height.
    """
    return _logistic(snr_db - 3) if amplitude > 0.005 else 0.0


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, value))))
