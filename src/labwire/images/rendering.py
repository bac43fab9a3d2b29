"""A detector image as a picture for people: logarithmic, with a contrast that suits it, and bad pixels apart."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from labwire.errors import UsageError, needs_extra

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Scale: TypeAlias = Literal["log", "linear"]

BAD_COLOR: Final = (214, 150, 136)
"""Red, green, blue of pixels that cannot be trusted."""
_DARKEST_PART: Final = 0.9999
"""Of the pixels: those beyond it are as dark as it gets, so that a few bright spots do not hide the rest."""
_PNG_MAGIC: Final = b"\x89PNG\r\n\x1a\n"
_GRAY, _RGB = 0, 2
_PNG_LEVEL: Final = 3


def bad_pixels(
    pixels: NDArray[Any], *, mask: NDArray[Any] | None = None, error_value: int | None = None
) -> NDArray[np.bool_]:
    """Tell which pixels cannot be trusted.

    Args:
        pixels: (height, width), integers or floats.
        mask: As START has it; what is not 0 is bad. One of another shape is not used.
        error_value: Marks bad pixels. None: nothing does, but the largest value of an unsigned type is taken for one if
            no mask says otherwise.
    """
    with needs_extra("images"):
        import numpy as np
    bad = np.zeros(pixels.shape, np.bool_)
    has_mask = mask is not None and mask.shape == pixels.shape
    if has_mask:
        bad |= cast("NDArray[Any]", mask) != 0
    if pixels.dtype.kind == "f":
        return bad | ~np.isfinite(pixels)
    if error_value is not None:
        bad |= pixels == error_value
    elif not has_mask and pixels.dtype.kind == "u":
        bad |= pixels == np.iinfo(pixels.dtype).max
    elif not has_mask:
        bad |= pixels == np.iinfo(pixels.dtype).min
    return bad


def shrink(pixels: NDArray[Any], bad: NDArray[np.bool_], max_side: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Make an image smaller by whole numbers; each block keeps its brightest good pixel, so that no spot gets lost.

    Args:
        pixels: (height, width).
        bad: Of the same shape; a block is bad if all of it is.
        max_side: Longest side that may come out.
    """
    with needs_extra("images"):
        import numpy as np
    factor = -(-max(pixels.shape) // max_side)
    if factor <= 1:
        return pixels, bad
    height, width = (-(-side // factor) * factor for side in pixels.shape)
    low = np.iinfo(pixels.dtype).min if pixels.dtype.kind in "iu" else -np.inf
    padded = np.full((height, width), low, pixels.dtype)
    padded[: pixels.shape[0], : pixels.shape[1]] = np.where(bad, low, pixels)
    none = np.ones((height, width), np.bool_)
    none[: pixels.shape[0], : pixels.shape[1]] = bad
    blocks = (height // factor, factor, width // factor, factor)
    small: NDArray[Any] = padded.reshape(blocks).max(axis=(1, 3))
    all_bad: NDArray[np.bool_] = np.asarray(none.reshape(blocks).all(axis=(1, 3)))
    return small, all_bad


def render(pixels: NDArray[Any], bad: NDArray[np.bool_], scale: Scale = "log") -> NDArray[np.uint8]:
    """Return a picture, (height, width, 3): white is nothing, black much, `BAD_COLOR` what cannot be trusted.

    The contrast is chosen from the good pixels: from their lowest to nearly their highest.
    """
    with needs_extra("images"):
        import numpy as np
    values = pixels.astype(np.float32)
    good = values[~bad]
    low = float(good.min()) if good.size else 0.0
    values -= np.float32(low)
    np.clip(values, 0, None, out=values)
    values[bad] = 0
    if scale == "log":
        np.log1p(values, out=values)
    shown = values[~bad]
    top = float(np.quantile(shown, _DARKEST_PART)) if shown.size else 1.0
    if top <= 0:
        top = float(shown.max()) if shown.size and shown.max() > 0 else 1.0
    gray = (255 - np.clip(values * np.float32(255 / top), 0, 255)).astype(np.uint8)
    picture = np.repeat(gray[:, :, None], 3, axis=2)
    picture[bad] = BAD_COLOR
    return picture


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """Encode a picture, (height, width) gray or (height, width, 3) red, green, blue, as a PNG file.

    Raises:
        UsageError: Another shape or type.
    """
    if picture.dtype != "uint8" or picture.ndim not in {2, 3} or picture.shape[2:] not in {(), (3,)}:
        raise UsageError(f"a picture has uint8 pixels, gray or with three colors, not {picture.dtype} {picture.shape}")
    with needs_extra("images"):
        import numpy as np
    height, width = picture.shape[:2]
    rows = np.zeros((height, 1 + picture[0].size if height else 1), np.uint8)  # each row begins with its filter: none
    rows[:, 1:] = picture.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, _RGB if picture.ndim == 3 else _GRAY, 0, 0, 0)
    packed = zlib.compress(rows.tobytes(), _PNG_LEVEL)
    return _PNG_MAGIC + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
