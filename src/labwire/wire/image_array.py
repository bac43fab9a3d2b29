"""Arrays in image messages: shape, type of element, and the bytes as they are on the wire, perhaps compressed.

Source: RFC 8746 (tags 40, 64 to 87, 1040), DECTRIS' tag 56500, HDF5's bitshuffle and LZ4 filters (chunk framing).
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from labwire.errors import ProtocolError, UsageError, needs_extra
from labwire.wire.cbor_values import Buffer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BSLZ4: Final = "bslz4"
BSZSTD: Final = "bszstd"
LZ4: Final = "lz4"
FRAMED: Final = frozenset({BSLZ4, BSZSTD, LZ4})
"""Algorithms whose bytes begin with a `ChunkHeader`."""

# RFC 8746, table 1. Tag 76 is reserved; 83 and 87 are IEEE binary128, which numpy does not have.
DTYPES: Final[dict[int, str]] = dict(
    zip(
        (*range(64, 76), *range(77, 88)),
        (
            *("|u1", ">u2", ">u4", ">u8", "|u1", "<u2", "<u4", "<u8"),
            *("|i1", ">i2", ">i4", ">i8", "<i2", "<i4", "<i8"),
            *(">f2", ">f4", ">f8", ">f16", "<f2", "<f4", "<f8", "<f16"),
        ),
        strict=True,
    )
)
TAGS: Final[dict[str, int]] = {dtype: tag for tag, dtype in reversed(DTYPES.items())}
"""``|u1`` is tag 64; 68, its clamped variant, is only read."""
ITEM_BYTES: Final[dict[str, int]] = {dtype: int(dtype[2:]) for dtype in TAGS}

MAX_DIMENSIONS: Final = 32
_CHUNK_HEADER = struct.Struct(">QI")


class ChunkHeader(NamedTuple):
    """The first 12 bytes of compressed data, big-endian."""

    total_bytes: int
    """Size when uncompressed."""
    block_bytes: int
    """Size of each block when uncompressed, but for the last ones."""


class Array:
    """An array of one or more dimensions; treat it as frozen.

    >>> array = Array((2, 3), "<u2", bytes(12))
    >>> array.nbytes, as_numpy(array).shape
    (12, (2, 3))

    A decoded array's `data` is a view of the message: it lives and changes with that buffer.
    """

    __slots__ = ("column_major", "compression", "data", "dtype", "elem_size", "shape")

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: str,
        data: Buffer,
        compression: str = "",
        elem_size: int = 0,
        *,
        column_major: bool = False,
    ) -> None:
        self.shape = shape
        """Slowest dimension first: ``(height, width)``."""
        self.dtype = dtype
        """As numpy writes it: ``|u1``, ``<u2``, ``>f4``."""
        self.data = data
        """Flat bytes, as on the wire."""
        self.compression = compression
        """``bslz4``, ``bszstd``, ``lz4`` or another algorithm; empty: uncompressed."""
        self.elem_size = elem_size
        """Bytes of an element that the bits were shuffled by; 0 without compression and for ``lz4``."""
        self.column_major = column_major
        """True: the first dimension runs fastest (tag 1040)."""

    @property
    def item_bytes(self) -> int:
        """Bytes of an element."""
        return ITEM_BYTES[self.dtype]

    @property
    def nbytes(self) -> int:
        """Bytes when uncompressed."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Array) and self._key() == other._key()

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __repr__(self) -> str:
        packed = f", compression={self.compression!r}, elem_size={self.elem_size}" if self.compression else ""
        order = ", column_major=True" if self.column_major else ""
        return f"Array({self.shape}, {self.dtype!r}, <{len(self.data)} bytes>{packed}{order})"

    def _key(self) -> tuple[Any, ...]:
        return (self.shape, self.dtype, self.compression, self.elem_size, self.column_major, self.data)


def fault_of(array: Array) -> str:
    """Tell what is wrong between an array's shape, type and bytes; nothing means that they agree.

    Of compressed data only the header is looked at, and only where the algorithm has one.
    """
    shape, item_bytes = array.shape, ITEM_BYTES.get(array.dtype)
    if item_bytes is None:
        return f"{array.dtype!r} is not an element type: use one of {', '.join(TAGS)}"
    if not 0 < len(shape) <= MAX_DIMENSIONS:
        return f"an array has 1 to {MAX_DIMENSIONS} dimensions, this one {len(shape)}"
    wanted, size = math.prod(shape) * item_bytes, len(array.data)
    if array.compression in FRAMED:
        if size < _CHUNK_HEADER.size:
            return f"{array.compression} data of {size} bytes is shorter than its header of {_CHUNK_HEADER.size}"
        size = _CHUNK_HEADER.unpack_from(array.data)[0]
    elif array.compression:
        return ""
    if size != wanted:
        text = f"an array of {'x'.join(map(str, shape))} {array.dtype} has {wanted} bytes, its data {size}"
        return text + (f" (so says the header of the {array.compression} data)" if array.compression else "")
    return ""


def read_chunk_header(data: Buffer) -> ChunkHeader:
    """Read the header of compressed data.

    Raises:
        ProtocolError: There are fewer than 12 bytes.
    """
    if len(data) < _CHUNK_HEADER.size:
        raise ProtocolError(f"compressed data begins with {_CHUNK_HEADER.size} bytes of header; there are {len(data)}")
    return ChunkHeader._make(_CHUNK_HEADER.unpack_from(data))


def write_chunk_header(total_bytes: int, block_bytes: int) -> bytes:
    """Return the header of compressed data; see `ChunkHeader`."""
    return _CHUNK_HEADER.pack(total_bytes, block_bytes)


def as_numpy(array: Array) -> NDArray[Any]:
    """Return an uncompressed array as numpy's: a view, read-only if the message is; nothing is copied.

    Raises:
        UsageError: It is compressed (see `labwire.images.compression.decompress`), or of a type that numpy has not.
        ProtocolError: Its bytes are not as many as its shape says.
    """
    with needs_extra("images"):
        import numpy as np
    if array.compression:
        raise UsageError(f"this array is compressed with {array.compression}: decompress it first")
    if array.item_bytes > 8:
        raise UsageError(f"numpy has no {array.dtype}: 128-bit floats cannot be read")
    if fault := fault_of(array):
        raise ProtocolError(fault)
    order = "F" if array.column_major else "C"
    return np.frombuffer(array.data, array.dtype).reshape(array.shape, order=order)


def array_of(pixels: NDArray[np.generic]) -> Array:
    """Make an array of numpy's; not copied if it is contiguous in C order.

    Raises:
        UsageError: No dimension, or a type of element that the wire has not: bool, complex, text.
    """
    with needs_extra("images"):
        import numpy as np
    dtype = pixels.dtype.str
    if dtype not in TAGS or not pixels.ndim or dtype[2:] == "16":
        raise UsageError(
            f"an array on the wire has 1 or more dimensions and elements of {', '.join(TAGS)}; "
            f"this one has {pixels.ndim} and {pixels.dtype}"
        )
    return Array(pixels.shape, dtype, flat_view(cast("Any", np.ascontiguousarray(pixels))))


def flat_view(data: Any) -> memoryview:
    """Return the bytes of anything that has a contiguous buffer, uncopied.

    Raises:
        UsageError: It is not contiguous, or no buffer.
    """
    try:
        view = data if type(data) is memoryview else memoryview(data)
        if view.format == "B" and view.ndim == 1 and view.contiguous:
            return view
        return view.cast("B") if view.nbytes else memoryview(b"")  # an empty one cannot be cast
    except (TypeError, ValueError) as error:
        raise UsageError(f"not a contiguous buffer of bytes: {error}") from error
