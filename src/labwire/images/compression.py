"""Compress images and expand them again: bitshuffle with LZ4 or Zstandard, framed as HDF5's filter has it.

Such bytes can be stored as an HDF5 chunk as they are. Source: DECTRIS' tag 56500, HDF5's bitshuffle filter (32008).
The framing: size when uncompressed (8 bytes, big-endian), size of a block (4 bytes), then each block with its length
before it (4 bytes); elements that do not fill a group of 8 stand uncompressed at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from labwire.errors import ProtocolError, UsageError, needs_extra
from labwire.images.compression_libraries import DAMAGED, expander, packer
from labwire.wire.image_array import BSLZ4, BSZSTD, FRAMED, Array, array_of, as_numpy, fault_of, flat_view

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Compression: TypeAlias = Literal["none", "bslz4", "bszstd"]

ZSTD_LEVEL: Final = 1


def compress(pixels: NDArray[np.generic], compression: Compression = "bslz4", *, level: int = ZSTD_LEVEL) -> Array:
    """Compress an array of any shape.

    Args:
        pixels: Elements of 1, 2, 4 or 8 bytes; an array that is not contiguous in C order is copied first.
        compression: ``none`` only wraps the array, uncopied.
        level: Of Zstandard, 1 to 22.

    Raises:
        UsageError: No such compression, or a type of element that the wire has not.
        MissingExtraError: No package that compresses is installed.
    """
    array = array_of(pixels)
    if compression == "none":
        return array
    if compression not in {BSLZ4, BSZSTD}:
        raise UsageError(f"{compression!r} is not a compression to send with: use bslz4, bszstd or none")
    with needs_extra("images"):
        import numpy as np
    # The bits are shuffled by size alone; unsigned integers of that size are taken in every byte order.
    elements = np.frombuffer(array.data, f"u{array.item_bytes}")
    data = packer()(elements, compression, level)
    return Array(array.shape, array.dtype, data, compression, array.item_bytes)


def decompress(array: Array) -> NDArray[Any]:
    """Expand an array; one that is not compressed is returned as a view, uncopied.

    The size that the data says it has is checked against the shape before memory is taken for it.

    Raises:
        ProtocolError: The data is damaged, does not agree with the shape, or its compression is not known.
        MissingExtraError: No package that expands this is installed.
    """
    if not array.compression:
        return as_numpy(array)
    if array.compression not in FRAMED:
        raise ProtocolError(f"{array.compression!r} cannot be expanded: known are {', '.join(sorted(FRAMED))}")
    if fault := fault_of(array):
        raise ProtocolError(fault)
    expand = expander(array.compression)
    try:
        data = expand(array)
    except DAMAGED as error:
        raise ProtocolError(f"{array.compression} data of {len(array.data)} bytes is damaged: {error}") from error
    return as_numpy(Array(array.shape, array.dtype, flat_view(data), column_major=array.column_major))
