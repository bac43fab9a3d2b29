"""A picture as the vital signs look at it: colours at a moderate size, and a small grey picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple, cast

from labwire.errors import needs_extra
from labwire.picture import Picture, decode_jpeg, picture_pixels

with needs_extra("camera"):
    import cv2

if TYPE_CHECKING:
    from labwire.picture import Pixels

_WIDTH_PX: Final = 640  # a picture at least twice as wide is taken at a half, a quarter or an eighth
_GRAY_WIDTH_PX: Final = 320


class Frame(NamedTuple):
    """One picture, made ready."""

    colour: Pixels | None
    """(height, width, 3), uint8, blue, green, red; None where the camera sees no colour."""
    gray: Pixels
    """(height, width), uint8, about 320 pixels wide."""
    width: int
    """Of `colour`, or of what it would be, pixels. All positions are in these pixels."""
    height: int
    scale: float
    """Pixels of `colour` per pixel of `gray`."""
    shrunk: int
    """Pixels of the camera's picture per pixel of `colour`."""


def frame_of(picture: Picture) -> Frame:
    """Make a picture ready.

    Raises:
        ProtocolError: The picture says it is a JPEG and is not, or its size is not what it says.
        TooLargeError: More pixels than a picture may have.
    """
    shrunk = _shrunk(picture.width)
    pixels = _pixels(picture, shrunk)
    height, width = pixels.shape[:2]
    factor = max(1, round(width / _GRAY_WIDTH_PX))
    small = _reduced(pixels, factor)
    gray = small if small.ndim == 2 else cast("Pixels", cv2.cvtColor(small, cv2.COLOR_BGR2GRAY))
    colour = None if pixels.ndim == 2 else pixels
    return Frame(colour, gray, width, height, float(factor), shrunk)


def _shrunk(width: int) -> Literal[1, 2, 4, 8]:
    if width < 2 * _WIDTH_PX:
        return 1
    return 2 if width < 4 * _WIDTH_PX else 4 if width < 8 * _WIDTH_PX else 8


def _pixels(picture: Picture, shrunk: Literal[1, 2, 4, 8]) -> Pixels:
    if shrunk == 1:
        return picture_pixels(picture)
    if picture.format == "jpeg" and not {"bgr", "gray"} & set(picture.forms):
        return decode_jpeg(picture.data, reduce=shrunk)  # the decoder leaves out what is not wanted
    return _reduced(picture_pixels(picture), shrunk)


def _reduced(pixels: Pixels, factor: int) -> Pixels:
    if factor == 1:
        return pixels
    height, width = pixels.shape[:2]
    size = max(1, width // factor), max(1, height // factor)
    whole = pixels[: size[1] * factor, : size[0] * factor]  # so that each pixel is the mean of whole ones
    return cast("Pixels", cv2.resize(whole, size, interpolation=cv2.INTER_AREA))
