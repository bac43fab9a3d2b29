"""What of the chest's motion is sway: a body that rocks or leans takes head and chest along, and that is no breathing.

How far the chest follows the head is fitted by least squares over the whole window, and taken off. It follows up and
down by no more than the head moves, for it is nearer to the seat: so a head that nods *with* the breath, which moves
less than the chest does, cannot take the breath away. A head that moves sideways lifts or sinks the chest a little, as
a shoulder does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from labwire.errors import needs_extra

with needs_extra("camera"):
    import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_ACROSS: Final = (-0.5, 0.5)
_ALONG: Final = (0.0, 1.0)
_BY_CHANCE, _CERTAIN = 0.3, 0.5
"""Share of the chest's motion that the head explains: below the first, two things that have nothing to do with each
other may be alike for half a minute, and nothing is taken off; from the second on, all of it."""
_NOISE: Final = 0.05
"""Percent of the face's height: how far a head that does not move seems to."""


class Split(NamedTuple):
    """The motion of a chest in two."""

    own: Floats
    """What the chest does by itself, (count,), in the unit of its motion."""
    sway: Floats
    """What it does because the head does, (count,)."""


class SwaySplit:
    """Splits motions of one length.

    Args:
        count: Samples of a motion.
        rate_hz: Samples per second.
        band_hz: Between these the share is looked for: posture that drifts has nothing to do with it.
    """

    def __init__(self, count: int, rate_hz: float, band_hz: tuple[float, float]) -> None:
        ramp = np.linspace(-1, 1, count)
        self._trend = np.linalg.qr(np.stack([np.ones(count), ramp, ramp**2], axis=1))[0]
        hz = np.fft.rfftfreq(2 * count, 1 / rate_hz)
        self._inside = ((hz >= band_hz[0]) & (hz <= band_hz[1]))[:, None]
        self._ridge = count * _NOISE**2

    def split(self, chest: NDArray[Any], head: NDArray[Any]) -> Split:
        """Return what the chest does by itself, and because of the head.

        Args:
            chest: How far it is up, (count,), percent of the face's height.
            head: How far the head is to the left and up, (count, 2), percent.
        """
        inside = self._band(np.column_stack([chest, head]))
        sway = head @ self._shares(inside[:, 0], inside[:, 1:])
        return Split(chest - sway, sway)

    def _band(self, motions: Floats) -> Floats:
        level = motions - self._trend @ (self._trend.T @ motions)
        # Mirrored at the end, so that the edges do not ring.
        spectrum = np.fft.rfft(np.concatenate([level, level[::-1]]), axis=0)
        return np.fft.irfft(spectrum * self._inside, 2 * len(level), axis=0)[: len(level)]

    def _shares(self, chest: Floats, head: Floats) -> Floats:
        products = head.T @ head + self._ridge * np.eye(2)
        aim = head.T @ chest
        free = cast("Floats", np.linalg.solve(products, aim))
        along = float(np.clip(free[1], *_ALONG))
        across = float(np.clip((aim[0] - along * products[0, 1]) / products[0, 0], *_ACROSS))
        # Once more, should the one have been cut short.
        along = float(np.clip((aim[1] - across * products[0, 1]) / products[1, 1], *_ALONG))
        shares = np.array([across, along])
        explained = 1 - float(((chest - head @ shares) ** 2).sum()) / max(float((chest**2).sum()), 1e-30)
        return shares * np.clip((explained - _BY_CHANCE) / (_CERTAIN - _BY_CHANCE), 0, 1)
