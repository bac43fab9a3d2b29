"""Heart rate variability from the beats of a pulse wave.

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


def hrv_of(wave: NDArray[Any], rate_hz: float, bpm: float, snr_db: float) -> Hrv | None:
    """Return the variability of a pulse wave; None if its beats cannot be told well enough.

    Args:
        wave: 60 s of it.
        rate_hz: Samples per second.
        bpm: The mean pulse in it.
        snr_db: How much it stands out.
    """
    if snr_db < _LEAST_SNR_DB:
        return None
    beats_s = beat_times(wave, rate_hz, bpm)
    intervals = np.diff(beats_s)
    if len(intervals) < _LEAST_BEATS:
        return None
    good = _plausible(intervals)
    share = float(good.mean())
    if share < _LEAST_SHARE:
        return None
    kept = intervals[good]
    both = good[1:] & good[:-1]
    steps = np.diff(intervals)[both]
    return Hrv(
        rmssd=float(np.sqrt((steps**2).mean())) * 1e3,
        mean_nn=float(kept.mean()) * 1e3,
        sdnn=float(kept.std(ddof=1)) * 1e3,
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
    return np.array(taken, float) / (rate_hz * _FINER)


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
