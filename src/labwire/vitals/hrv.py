"""Heart rate variability from the beats of a pulse wave.

Noise moves beats, and whatever moves beats looks like variability. But each part of the face has a noise of its own, so
what differs between intervals is taken from two parts at a time: their product has no noise in it on average.

Definitions: Task Force of the ESC and NASPE, "Heart rate variability: standards of measurement" (Circulation 1996);
the stress index after Baevsky and Chernikova (2017).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from labwire.errors import needs_extra
from labwire.vitals.metrics import Hrv

with needs_extra("camera"):
    import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

WINDOW_S: Final = 60.0
_FINER: Final = 8  # interpolation before beats are timed: 1/30 s is too coarse for milliseconds
_BELOW, _ABOVE = 0.6, 2.3  # what is kept around the rate; its overtone makes the beats' peaks sharp
_ODD: Final = 0.25  # an interval that differs by more from those around it is no heart beat
_LEAST_BEATS: Final = 30
_LEAST_SHARE: Final = 0.85
_NO_SNR_DB, _LEAST_SNR_DB, _FULL_SNR_DB = 12.0, 14.5, 17.0  # noise moves beats: below, it is most of what differs
_BIN_S: Final = 0.05  # of Baevsky's histogram
_AROUND: Final = 5
_SAME_BEAT: Final = 0.2  # of an interval: a part's beat that is further away is another one
_LEAST_REAL: Final = 0.25  # share of what differs that must be more than noise


def hrv_of(waves: NDArray[Any], rate_hz: float, bpm: float, snr_db: float) -> Hrv | None:
    """Return the variability of a pulse wave; None if its beats cannot be told well enough.

    Args:
        waves: 60 s of it, (parts + 1, samples): of the whole face, then of its parts, at least two.
        rate_hz: Samples per second.
        bpm: The mean pulse in it.
        snr_db: How much it stands out.
    """
    if snr_db < _LEAST_SNR_DB:
        return None
    beats_s = beat_times(waves[0], rate_hz, bpm)
    intervals = np.diff(beats_s)
    if len(intervals) < _LEAST_BEATS:
        return None
    parts_s, found = _same_beats([beat_times(wave, rate_hz, bpm) for wave in waves[1:]], beats_s, _SAME_BEAT * 60 / bpm)
    good = _plausible(intervals) & found[1:] & found[:-1]
    share = float(good.mean())
    if share < _LEAST_SHARE:
        return None
    of_parts = np.diff(parts_s)
    both = good[1:] & good[:-1]
    steps = _real_rms(np.diff(of_parts)[:, both], np.diff(intervals)[both])
    kept = intervals[good]
    centred = of_parts[:, good] - of_parts[:, good].mean(axis=1, keepdims=True)
    spread = _real_rms(centred, kept - kept.mean())
    if steps is None or spread is None:
        return None
    return Hrv(
        rmssd=steps * 1e3,
        mean_nn=float(kept.mean()) * 1e3,
        sdnn=spread * (len(kept) / (len(kept) - 1)) ** 0.5 * 1e3,
        baevsky=_stress_index(kept),
        confidence=share * min(1.0, (snr_db - _NO_SNR_DB) / (_FULL_SNR_DB - _NO_SNR_DB)),
    )


def beat_times(wave: NDArray[Any], rate_hz: float, bpm: float) -> Floats:
    """Return the moments of the wave's peaks, in seconds from its first sample."""
    fine = _band_passed(wave, rate_hz, bpm / 60)
    inner = fine[1:-1]
    peaks = np.flatnonzero((inner > fine[:-2]) & (inner >= fine[2:]) & (inner > 0)) + 1
    apart = 0.6 * 60 / bpm * rate_hz * _FINER
    taken: list[int] = []
    for peak in peaks.tolist():
        if taken and peak - taken[-1] < apart:
            if fine[peak] > fine[taken[-1]]:
                taken[-1] = peak
        else:
            taken.append(peak)
    at = np.array(taken, int)
    before, here, after = fine[at - 1], fine[at], fine[at + 1]
    # The vertex of the parabola through three points; a peak is higher than what is before it.
    return (at + 0.5 * (before - after) / (before - 2 * here + after)) / (rate_hz * _FINER)


def _band_passed(wave: NDArray[Any], rate_hz: float, hz: float) -> Floats:
    """Return the wave between the given multiples of its rate, with more samples per second."""
    count = len(wave)
    # Mirrored at both ends, so that the edges do not ring.
    whole = np.concatenate([wave, wave[::-1]]) - wave.mean()
    spectrum = np.fft.rfft(whole)
    frequencies = np.fft.rfftfreq(len(whole), 1 / rate_hz)
    rise = np.clip((frequencies - _BELOW * hz) / (0.15 * hz), 0, 1)
    fall = np.clip((_ABOVE * hz - frequencies) / (0.15 * hz), 0, 1)
    return np.fft.irfft(spectrum * rise * fall, len(whole) * _FINER)[: count * _FINER]


def _same_beats(parts_s: list[Floats], beats_s: Floats, reach_s: float) -> tuple[Floats, NDArray[np.bool_]]:
    """Return when each part has each beat, (parts, beats), and which beats all of them have, (beats,)."""
    if not all(len(part_s) for part_s in parts_s):
        return np.zeros((len(parts_s), len(beats_s))), np.zeros(len(beats_s), np.bool_)
    nearest = np.stack([part_s[np.abs(part_s[:, None] - beats_s).argmin(axis=0)] for part_s in parts_s])
    return nearest, np.abs(nearest - beats_s).max(axis=0) < reach_s


def _real_rms(of_parts: Floats, whole: Floats) -> float | None:
    """Return the root mean square of what all parts have in common; None if most of the whole is noise.

    Args:
        of_parts: (parts, samples)
        whole: Of the whole face, (samples,).
    """
    products = of_parts @ of_parts.T / of_parts.shape[1]
    real = float(products[np.triu_indices(len(products), 1)].mean())
    return real**0.5 if real > _LEAST_REAL * float((whole**2).mean()) else None


def _plausible(intervals: Floats) -> NDArray[np.bool_]:
    padded = np.pad(intervals, _AROUND, mode="reflect")
    around = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * _AROUND + 1), axis=1)
    return np.abs(intervals / around - 1) < _ODD


def _stress_index(intervals: Floats) -> float:
    bins = np.floor(intervals / _BIN_S).astype(int)
    counts = np.bincount(bins)
    mode_s = (float(np.argmax(counts)) + 0.5) * _BIN_S
    share_percent = 100 * float(counts.max()) / len(intervals)
    spread_s = max(float(np.ptp(intervals)), _BIN_S / 10)
    return share_percent / (2 * mode_s * spread_s)
