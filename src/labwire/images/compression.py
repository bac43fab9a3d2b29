"""Compress images and expand them again: bitshuffle with LZ4 or Zstandard, framed as HDF5's filter has it.

Such bytes can be stored as an HDF5 chunk as they are. Source: DECTRIS' tag 56500, HDF5's bitshuffle filter (32008).
The framing is: size when uncompressed (8 bytes, big-endian), size of a block (4 bytes), then each block with its length
before it (4 bytes); elements that do not fill a group of 8 stand uncompressed at the end.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from labwire.errors import ProtocolError, UsageError, needs_extra
from labwire.wire.image_array import (
    BSLZ4,
    BSZSTD,
    FRAMED,
    Array,
    array_of,
    as_numpy,
    fault_of,
    write_chunk_header,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Compression: TypeAlias = Literal["none", "bslz4", "bszstd"]

BLOCK_BYTES: Final = 8192
"""Uncompressed size of a block, for every type of element, as DECTRIS has it. Readers take any from the header."""
ZSTD_LEVEL: Final = 1
HDF5_FILTER: Final = 32008
"""Number of bitshuffle among HDF5's registered filters."""
_HDF5_CODES: Final = {BSLZ4: (2,), BSZSTD: (3, ZSTD_LEVEL)}


def compress(pixels: NDArray[np.generic], compression: Compression = "bslz4", *, level: int = ZSTD_LEVEL) -> Array:
    """Compress an array of any shape.

    Args:
        pixels: Elements of 1, 2, 4 or 8 bytes; an array that is not contiguous in C order is copied first.
        compression: ``none`` only wraps the array, uncopied.
        level: Of Zstandard, 1 to 22.

    Raises:
        UsageError: No such compression, or a type of element that the wire has not.
        MissingExtraError: The package that compresses is not installed.
    """
    array = array_of(pixels)
    if compression == "none":
        return array
    if compression not in _HDF5_CODES:
        raise UsageError(f"{compression!r} is not a compression to send with: use bslz4, bszstd or none")
    with needs_extra("images"):
        import numpy as np

        bitshuffle: Any = import_module("bitshuffle")  # neither of the two has types
    size = array.item_bytes
    # The bits are shuffled by size alone; unsigned integers of that size are taken in every byte order.
    flat = np.frombuffer(array.data, f"u{size}")
    block = BLOCK_BYTES // size
    if compression == BSLZ4:
        packed: NDArray[Any] = bitshuffle.compress_lz4(flat, block)
    else:
        packed = bitshuffle.compress_zstd(flat, block, level)
    header = write_chunk_header(array.nbytes, BLOCK_BYTES)
    return Array(array.shape, array.dtype, b"".join((header, packed.data)), compression, size)


def decompress(array: Array) -> NDArray[Any]:
    """Expand an array; one that is not compressed is returned as a view, uncopied.

    The size that the data says it has is checked against the shape before memory is taken for it.

    Raises:
        ProtocolError: The data is damaged, does not agree with the shape, or its compression is not known.
        MissingExtraError: The package that expands is not installed.
    """
    if not array.compression:
        return as_numpy(array)
    if array.compression not in FRAMED:
        raise ProtocolError(f"{array.compression!r} cannot be expanded: known are {', '.join(sorted(FRAMED))}")
    if fault := fault_of(array):
        raise ProtocolError(fault)
    # Of the libraries that could do this, it is the one that survives damaged data: bitshuffle's own reads beyond it.
    with needs_extra("images"):
        expand: Any = import_module("dectris.compression").decompress
    try:
        data: bytes = expand(array.data, array.compression, elem_size=array.elem_size)
    except (RuntimeError, ValueError, OverflowError) as error:
        raise ProtocolError(f"{array.compression} data of {len(array.data)} bytes is damaged: {error}") from error
    return as_numpy(Array(array.shape, array.dtype, data, column_major=array.column_major))


def hdf5_filter_options(compression: str) -> tuple[int, ...]:
    """Return the options under which a dataset's filter `HDF5_FILTER` reads such data as its chunks.

    The filter itself adds its version and the size of an element when the dataset is made.

    Raises:
        UsageError: Data of this compression is no chunk of that filter.
    """
    if compression not in _HDF5_CODES:
        raise UsageError(f"{compression!r} data cannot be stored as a chunk of HDF5's bitshuffle filter")
    return (0, *_HDF5_CODES[compression])  # 0: the block's size is what the chunk says
