"""The colour of the face's skin, picture by picture: the mean over what is skin, moved along with the face.

Which pixels count is decided about once a second and blended in, with soft borders: a border that jumps would look like
a change of colour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from labwire.errors import needs_extra
from labwire.vitals.face import Face
from labwire.vitals.frame import Frame

with needs_extra("camera"):
    import cv2
    import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from labwire.picture import Pixels

    Floats = NDArray[np.float32]

TRACES: Final = 4
"""The whole face, its upper half, and its lower one on both sides."""

_WIDE, _HIGH, _LOWER = 1.0, 1.25, 0.06  # of the looked-at part, in sizes of the face, and how far below its centre
_RESIZE: Final = 0.05  # a change of the face's size by less keeps the part's size
_NEW_MASK_S: Final = 1.0
_BLEND: Final = 0.4
_WHITE, _SHADOW = 248.0, 0.35
_TOLERANCE: Final = 3.0  # deviations from the face's own colour
_LEAST_SHARE: Final = 0.04


class SkinColour:
    """Tells the mean colour of the face's skin in each picture."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the face: another one may come."""
        self._size = 0.0
        self._weights: Floats | None = None  # (traces, pixels)
        self._mask_s = float("-inf")

    def look(self, frame: Frame, face: Face, time_s: float) -> NDArray[np.float64] | None:
        """Return the mean colour of each part of the face, (TRACES, 3), red, green, blue, 0 to 255; None without skin.

        Args:
            frame: With colours.
            face: Where the face is in it.
            time_s: Moment of capture.
        """
        if frame.colour is None:
            return None
        if abs(face.size - self._size) > _RESIZE * self._size:
            self._size, self._weights, self._mask_s = face.size, None, float("-inf")
        patch = self._patch(frame.colour, face)
        if time_s - self._mask_s >= _NEW_MASK_S:
            self._mask_s = time_s
            self._remask(patch)
        if self._weights is None:
            return None
        means = self._weights @ patch.reshape(-1, 3)
        return means[:, ::-1].astype(np.float64)

    def _patch(self, colour: Pixels, face: Face) -> Floats:
        size = round(_WIDE * self._size), round(_HIGH * self._size)
        centre = face.centre_x, face.centre_y + _LOWER * self._size
        return cast("Floats", cv2.getRectSubPix(colour, size, centre, patchType=cv2.CV_32F))

    def _remask(self, patch: Floats) -> None:
        skin = _skin_of(patch)
        if skin.mean() < _LEAST_SHARE:
            self._weights = None
            return
        weights = np.stack([(skin * part).ravel() for part in _parts(skin.shape)])
        weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1.0)
        if self._weights is not None:
            weights = _BLEND * weights + (1 - _BLEND) * self._weights
        self._weights = weights.astype(np.float32)


def _skin_of(patch: Floats) -> Floats:
    """Return how much each pixel counts, (height, width), 0 to 1."""
    height, width = patch.shape[:2]
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    oval = (x / 0.85) ** 2 + (y / 0.95) ** 2 < 1
    inner = (np.abs(x) < 0.5) & (np.abs(y) < 0.5)
    light = patch.sum(axis=2)
    tint = patch[:, :, 1:] / np.maximum(light, 1.0)[:, :, None]  # green and red, whatever the brightness
    middle = np.median(tint[inner], axis=0)
    spread = 1.5 * np.median(np.abs(tint[inner] - middle), axis=0) + 0.006
    alike = np.exp(-0.5 * (((tint - middle) / (_TOLERANCE * spread)) ** 2).sum(axis=2))
    lit = (patch.max(axis=2) < _WHITE) & (light > _SHADOW * np.median(light[inner]))
    blur = max(1.0, 0.02 * width)
    return cast("Floats", cv2.GaussianBlur((oval * alike * lit).astype(np.float32), (0, 0), blur))


def _parts(shape: tuple[int, ...]) -> list[NDArray[Any]]:
    y, x = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    upper = y < -0.15
    return [np.ones(shape, bool), upper & (x < 2), ~upper & (x < 0), ~upper & (x >= 0)]
