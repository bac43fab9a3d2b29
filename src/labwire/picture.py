"""The type for a picture, its three forms, and JPEG encode and decode.

A picture keeps the form in which it came: the JPEG that a camera sends is passed on as it is, byte for byte. Another
form is made when somebody asks for it, once, and kept with the picture.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, get_args

import msgspec

from labwire.errors import InternalError, ProtocolError, TooLargeError, UsageError, needs_extra

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels: TypeAlias = NDArray[np.uint8]

PictureFormat: TypeAlias = Literal["jpeg", "bgr", "gray"]
"""``jpeg``: the bytes of a JPEG file. ``bgr``: height x width x 3, ``gray``: height x width, uint8, C order."""
FORMATS: tuple[PictureFormat, ...] = get_args(PictureFormat)

JPEG_QUALITY = 90
"""Default quality, 1 to 100."""
MAX_PIXELS = 1 << 26
"""Most pixels of a picture that are decoded: 8192 x 8192, 192 MiB as bgr."""

_SHAPES: dict[str, tuple[int, ...]] = {"bgr": (3,), "gray": ()}  # behind height and width
_SHOWN_BYTES = 16
_START, _END = b"\xff\xd8", b"\xff\xd9"
_MARKER = 0xFF
# Markers that carry the size: SOF0 to SOF15 without DHT, JPG and DAC. Source: ITU-T T.81, table B.1.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN = 0xDA
# Markers that stand alone, without a length: TEM, RST0 to RST7.
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})


class Picture(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One picture of a camera or a video.

    >>> picture = Picture(index=0, monotonic_s=1.0, epoch_us=1, width=2, height=1, format="gray", data=b"ab")
    >>> bytes(to_format(picture, "bgr").data)
    b'aaabbb'
    """

    index: int
    """Running number from its source; rises by one with every picture taken, also over loops and reconnections."""
    monotonic_s: float
    """Moment of capture on the monotonic clock, in seconds."""
    epoch_us: int
    """The same moment in microseconds since 1970-01-01 UTC."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    format: PictureFormat
    data: bytes | memoryview
    """The bytes in this format, flat and contiguous: ready to be sent or written as they are."""
    forms: dict[str, bytes | memoryview] = {}
    """Its other forms, as far as they are known; `to_format` keeps them here."""


def to_format(picture: Picture, to: str, quality: int = JPEG_QUALITY) -> Picture:
    """Return the picture in another format; in its own format it is returned as it is.

    Args:
        picture: What to convert.
        to: ``jpeg``, ``bgr`` or ``gray``.
        quality: JPEG quality 1 to 100, used only when a picture that came otherwise is made a JPEG.

    Raises:
        UsageError: No such format, or no such quality.
        ProtocolError: The picture says it is a JPEG and is not, or its size is not what it says.
        TooLargeError: More than `MAX_PIXELS` pixels.
    """
    if to not in FORMATS:
        raise UsageError(f"{to!r} is not a picture format: use one of {', '.join(FORMATS)}", format=to)
    if to == picture.format:
        return picture
    if not picture.forms:
        picture.forms[picture.format] = picture.data
    # As it came wins over what we would make: a JPEG is never encoded twice.
    made = f"{to} {quality}" if to == "jpeg" else to
    if (data := picture.forms.get(to) or picture.forms.get(made)) is None:
        data = encode_jpeg(picture_pixels(picture), quality) if to == "jpeg" else _flat(_converted(picture, to))
        picture.forms[made] = data
    return msgspec.structs.replace(picture, format=to, data=data)


def picture_pixels(picture: Picture) -> Pixels:
    """Return the pixels, uint8, C order: (height, width, 3) in the order blue, green, red, or (height, width) if gray.

    The array is a view where the picture has pixels already; do not write to it.

    Raises:
        ProtocolError: The picture says it is a JPEG and is not, or its size is not what it says.
        TooLargeError: More than `MAX_PIXELS` pixels.
    """
    if picture.format == "jpeg":
        return picture_pixels(to_format(picture, "bgr"))
    with needs_extra("camera"):
        import numpy as np
    shape = (picture.height, picture.width, *_SHAPES[picture.format])
    if len(picture.data) != math.prod(shape):
        raise ProtocolError(
            f"a {picture.format} picture of {picture.width} x {picture.height} has {math.prod(shape)} bytes, "
            f"this one has {len(picture.data)}"
        )
    return np.frombuffer(picture.data, np.uint8).reshape(shape)


def picture_of(pixels: Pixels, *, index: int, monotonic_s: float, epoch_us: int) -> Picture:
    """Make a picture of an array: uint8, (height, width, 3) is bgr, (height, width) is gray; not copied if C order.

    Raises:
        UsageError: Another shape or dtype.
    """
    if pixels.dtype != "uint8" or pixels.shape[2:] not in _SHAPES.values() or pixels.ndim == 1:
        raise UsageError(
            "a picture is made of uint8 pixels, (height, width) or (height, width, 3); "
            f"these are {pixels.dtype}, {pixels.shape}"
        )
    return Picture(
        index=index,
        monotonic_s=monotonic_s,
        epoch_us=epoch_us,
        width=pixels.shape[1],
        height=pixels.shape[0],
        format="bgr" if pixels.shape[2:] else "gray",
        data=_flat(pixels),
    )


def encode_jpeg(pixels: Pixels, quality: int = JPEG_QUALITY) -> bytes:
    """Encode pixels, bgr or gray, as a JPEG file.

    Raises:
        UsageError: The quality is not 1 to 100, or there are no pixels.
    """
    if quality not in range(1, 101):
        raise UsageError(f"a JPEG's quality is 1 to 100, not {quality}", quality=quality)
    with needs_extra("camera"):
        import cv2
    return encode_image(pixels, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality])


def encode_image(pixels: Pixels, extension: str, parameters: list[int] | None = None) -> bytes:
    """Encode pixels, bgr or gray, as an image file.

    Args:
        pixels: uint8, (height, width, 3) or (height, width).
        extension: With its dot: ``.jpg``, ``.png`` or ``.bmp``.
        parameters: Pairs of OpenCV's ``IMWRITE_`` flags and values.

    Raises:
        UsageError: There are no pixels.
        InternalError: OpenCV cannot encode them.
    """
    with needs_extra("camera"):
        import cv2
    if pixels.size == 0:
        raise UsageError(f"an image needs at least one pixel, the shape is {pixels.shape}")
    done, encoded = cv2.imencode(extension, pixels, parameters or [])
    if not done:
        raise InternalError(f"OpenCV could not encode an image of shape {pixels.shape} as {extension}")
    return encoded.tobytes()


def decode_jpeg(data: bytes | memoryview, *, gray: bool = False, reduce: Literal[1, 2, 4, 8] = 1) -> Pixels:
    """Decode a JPEG file: uint8, (height, width, 3) as blue, green, red, or (height, width) if `gray`.

    Args:
        data: The file.
        gray: Only the brightness.
        reduce: Decode to this fraction of the width and height, rounded up: 2 is half, in half the time.

    Raises:
        ProtocolError: It is not a JPEG, or its end is missing.
        TooLargeError: More than `MAX_PIXELS` pixels.
    """
    check_jpeg(data)
    with needs_extra("camera"):
        import cv2
        import numpy as np
    buffer = np.frombuffer(data, np.uint8)
    # The camera's own orientation is kept: a rotated picture would not have the size that its header says.
    flags = (cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_COLOR) | cv2.IMREAD_IGNORE_ORIENTATION
    if reduce != 1:
        flags |= 8 * reduce  # IMREAD_REDUCED_GRAYSCALE_2 is 16, _4 is 32, _8 is 64; with colour, 1 more
    try:
        pixels = cast("Pixels | None", cv2.imdecode(buffer, flags))
    except cv2.error as error:
        raise ProtocolError(f"not a JPEG that can be decoded ({error}): {_show(data)}") from error
    if pixels is None:
        raise ProtocolError(f"not a JPEG that can be decoded: {_show(data)}")
    return pixels


def check_jpeg(data: bytes | memoryview) -> tuple[int, int]:
    """Check that a JPEG begins, has a size and ends as one, without decoding it; return its width and height.

    Zeros after the end are allowed: USB cameras send them.

    Raises:
        ProtocolError: It does not.
        TooLargeError: More than `MAX_PIXELS` pixels.
    """
    if data[:2] != _START:
        raise ProtocolError(f"not a JPEG, which begins with {_START!r}: {_show(data)}")
    width, height = _jpeg_size(data)
    if width * height > MAX_PIXELS:
        raise TooLargeError(f"a JPEG of {width} x {height} pixels is above the limit of {MAX_PIXELS} pixels")
    if not _ends_as_jpeg(data):
        raise ProtocolError(f"a JPEG whose end is missing, {len(data)} bytes: torn on its way")
    return width, height


def _jpeg_size(data: bytes | memoryview) -> tuple[int, int]:
    at = 2
    while at + 9 <= len(data) and data[at] == _MARKER:
        marker = data[at + 1]
        if marker == _MARKER:  # a fill byte
            at += 1
        elif marker in _STANDALONE:
            at += 2
        elif marker in _START_OF_FRAME:
            height, width = data[at + 5] << 8 | data[at + 6], data[at + 7] << 8 | data[at + 8]
            if width and height:
                return width, height
            break
        elif marker == _START_OF_SCAN:
            break
        else:
            at += 2 + (data[at + 2] << 8 | data[at + 3])
    raise ProtocolError(f"a JPEG without a size in its header: {_show(data)}")


def _ends_as_jpeg(data: bytes | memoryview) -> bool:
    end = len(data)
    while end > 0 and data[end - 1] == 0:
        end -= 1
    return data[end - 2 : end] == _END


def _converted(picture: Picture, to: PictureFormat) -> Pixels:
    if picture.format == "jpeg":
        pixels = decode_jpeg(picture.data, gray=to == "gray")
        if pixels.shape[:2] != (picture.height, picture.width):
            raise ProtocolError(
                f"a picture that says {picture.width} x {picture.height} is {pixels.shape[1]} x {pixels.shape[0]}"
            )
        return pixels
    with needs_extra("camera"):
        import cv2
    code = cv2.COLOR_BGR2GRAY if to == "gray" else cv2.COLOR_GRAY2BGR
    return cast("Pixels", cv2.cvtColor(picture_pixels(picture), code))


def _flat(pixels: Pixels) -> memoryview:
    with needs_extra("camera"):
        import numpy as np
    return memoryview(cast("Any", np.ascontiguousarray(pixels))).cast("B")


def _show(data: bytes | memoryview) -> str:
    return f"{bytes(data[:_SHOWN_BYTES])!r}{'…' if len(data) > _SHOWN_BYTES else ''} ({len(data)} bytes)"
