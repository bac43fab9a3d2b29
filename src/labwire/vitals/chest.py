"""How the chest moves: up and down, in blocks of an upper and a lower part of it.

Motion of pixels, not their brightness, carries breathing best; that simple motion does as well as anything is the
finding of the comparisons named in ``docs/explanation/vitals.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from labwire.errors import needs_extra
from labwire.vitals.face import Face
from labwire.vitals.frame import Frame
from labwire.vitals.patch_shift import PatchShift, Region

with needs_extra("camera"):
    import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCKS: Final = 6
"""Side by side, in the upper and in the lower part."""

_UPPER, _LOWER = (0.95, 1.45), (1.45, 2.1)  # from the face's centre down, in sizes of the face
_HALF_WIDTH: Final = 1.15
_LEAST_ROWS: Final = 8
_LARGEST_ERROR: Final = 0.9
_MOVED: Final = 0.6  # sizes of the face: then it is another place
_MOVED_S: Final = 2.0
_RESIZED: Final = 0.25


class ChestMotion:
    """Measures how far the chest has moved up, in percent of the face's height."""

    def __init__(self) -> None:
        self.restarts = 0
        """How often it had to look elsewhere; motion before and after that is not comparable."""
        self.reset()

    def reset(self) -> None:
        """Forget where the chest is."""
        self._anchor: Face | None = None
        self._parts: list[PatchShift] = []
        self._guess: list[tuple[float, float]] = []
        self._at_home_s = 0.0

    def look(self, frame: Frame, face: Face, time_s: float) -> NDArray[np.float64] | None:
        """Return the motion of each block since the start, (2, BLOCKS), percent; None if no chest shows.

        A part that is not in the picture gives NaN.
        """
        if self._anchor is None or self._gone(face, time_s):
            self._begin(frame, face, time_s)
        if not self._parts:
            return None
        moved = np.full((2, BLOCKS), np.nan)
        for n, part in enumerate(self._parts):
            shift = part.measure(frame.gray, *self._guess[n])
            if shift is None or shift.error > _LARGEST_ERROR:
                self._anchor = None  # clothes, light or person are others now
                return None
            self._guess[n] = shift.x, shift.y
            moved[n] = -part.measure_blocks(frame.gray, shift.x, shift.y)
        return moved * (frame.scale * self.percent_per_px)

    @property
    def percent_per_px(self) -> float:
        """How much of the face's height a pixel of the frame is, percent; 0 before the first look."""
        return 100 / self._anchor.size if self._anchor else 0.0

    @property
    def weights(self) -> NDArray[np.float64]:
        """How much each block has to tell, (2, BLOCKS); 0 for a part that is not in the picture."""
        weights = np.zeros((2, BLOCKS))
        for n, part in enumerate(self._parts):
            weights[n] = part.weights
        return weights

    def _gone(self, face: Face, time_s: float) -> bool:
        assert self._anchor
        away = max(abs(face.centre_x - self._anchor.centre_x), abs(face.centre_y - self._anchor.centre_y))
        if away < _MOVED * self._anchor.size and abs(face.size / self._anchor.size - 1) < _RESIZED:
            self._at_home_s = time_s
        return time_s - self._at_home_s > _MOVED_S

    def _begin(self, frame: Frame, face: Face, time_s: float) -> None:
        self._anchor, self._at_home_s = face, time_s
        self.restarts += 1
        regions = [_region(frame, face, span) for span in (_UPPER, _LOWER)]
        self._parts = [PatchShift(frame.gray, region, BLOCKS) for region in regions if region]
        self._guess = [(0.0, 0.0)] * len(self._parts)


def _region(frame: Frame, face: Face, span: tuple[float, float]) -> Region | None:
    height, width = frame.gray.shape
    unit = face.size / frame.scale
    x, y = face.centre_x / frame.scale, face.centre_y / frame.scale
    left, right = max(2.0, x - _HALF_WIDTH * unit), min(width - 2.0, x + _HALF_WIDTH * unit)
    top, bottom = y + span[0] * unit, min(height - 2.0, y + span[1] * unit)
    if bottom - top < _LEAST_ROWS or right - left < _LEAST_ROWS * BLOCKS:
        return None
    return Region((left + right) / 2, (top + bottom) / 2, int(right - left), int(bottom - top))
