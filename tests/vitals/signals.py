"""Signals with known truth, without a picture: colours of a face, motion of a chest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labwire.vitals.skin import TRACES

Floats = NDArray[np.float64]

LEVEL = np.array([170.0, 120.0, 95.0])
PULSE = np.array([0.33, 0.77, 0.53]) / 0.77
"""How much of the pulse shows in red, green and blue."""


def times(seconds: float, fps: float = 30.0) -> Floats:
    return np.arange(round(seconds * fps)) / fps


def colours(
    moments: Floats, bpm: float, *, amplitude: float = 0.002, noise: float = 0.02, light: float = 0.01, seed: int = 1
) -> Floats:
    """Return what the skin shows, (moments, TRACES, 3): a pulse in all parts alike, noise of each of its own."""
    rng = np.random.default_rng(seed)
    wave = amplitude * (np.sin(2 * np.pi * bpm / 60 * moments) + 0.25 * np.sin(4 * np.pi * bpm / 60 * moments + 1))
    drift = 1 + light * np.sin(2 * np.pi * 0.11 * moments + 1)
    shown = LEVEL * drift[:, None] * (1 + wave[:, None] * PULSE)
    parts = shown[:, None] + rng.normal(0, noise, (len(moments), TRACES, 3))
    parts[:, 0] = parts[:, 1:].mean(axis=1)
    return parts


def breath(moments: Floats, per_min: float, *, amplitude: float = 0.6, noise: float = 0.03, seed: int = 1) -> Floats:
    """Return how far the chest is up, (moments,), percent of the face's height."""
    rng = np.random.default_rng(seed)
    return amplitude * np.sin(2 * np.pi * per_min / 60 * moments) + rng.normal(0, noise, len(moments))


def wander(moments: Floats, size: float, seed: int = 1) -> Floats:
    """Return slow motion that never repeats, (moments,), with about this root mean square."""
    rng = np.random.default_rng(seed)
    hz, phase = rng.uniform(0.05, 0.5, 12), rng.uniform(0, 2 * np.pi, 12)
    return size * np.sin(2 * np.pi * np.outer(moments, hz) + phase).sum(axis=1) / np.sqrt(6)
