"""The libraries that compress and expand, best first; any one that is installed will do.

hdf5plugin alone suffices: it brings the filters for every Python. bitshuffle and dectris-compression do the same two to
five times faster, without a detour through an HDF5 file in memory, where they can be installed.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from labwire.errors import UsageError, needs_extra
from labwire.wire.cbor_values import Buffer
from labwire.wire.image_array import BSLZ4, BSZSTD, LZ4, Array, read_chunk_header, write_chunk_header

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Pack: TypeAlias = "Callable[[NDArray[np.unsignedinteger], str, int], bytes]"
"""Elements, compression, level of Zstandard: the bytes with their header."""
Expand: TypeAlias = "Callable[[Array], Buffer]"
"""Expands an array whose header agrees with its shape; raises one of `DAMAGED` if the rest is damaged."""

DAMAGED: Final = (RuntimeError, ValueError, OverflowError, OSError)

BLOCK_BYTES: Final = 8192
"""Uncompressed size of a block, for every type of element, as DECTRIS has it. Readers take any from the header."""
BITSHUFFLE_FILTER: Final = 32008
"""Number of bitshuffle among HDF5's registered filters."""
LZ4_FILTER: Final = 32004
_LENGTH = struct.Struct(">I").unpack_from


def packer() -> Pack:
    """Return the best packer that is installed.

    Raises:
        MissingExtraError: None is.
    """
    return _best(tuple(PACKERS.values()))


def expander(compression: str) -> Expand:
    """Return the best expander of a compression that is installed.

    Raises:
        MissingExtraError: None is.
    """
    return _best(tuple(load for name, load in EXPANDERS.items() if compression in _EXPANDS[name]))


@cache
def _best(loaders: tuple[Callable[[], Any], ...]) -> Any:
    missing: ImportError | None = None
    for load in loaders:
        try:
            return load()
        except ImportError as error:
            missing = error
    with needs_extra("images"):
        raise missing or ImportError("nothing that does it")


# --- bitshuffle


def _import_bitshuffle() -> Any:
    # It would split each image over all processors with OpenMP, whose threads wait by spinning: on a busy computer an
    # image then takes 4 to 60 ms instead of 0.6. Images beside each other use more processors better.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return import_module("bitshuffle")


def bitshuffle_packer() -> Pack:
    """Pack with bitshuffle."""
    bitshuffle = _import_bitshuffle()

    def pack(elements: NDArray[np.unsignedinteger], compression: str, level: int) -> bytes:
        block = BLOCK_BYTES // elements.itemsize
        if compression == BSLZ4:
            packed = bitshuffle.compress_lz4(elements, block)
        else:
            packed = bitshuffle.compress_zstd(elements, block, level)
        return b"".join((write_chunk_header(elements.nbytes, BLOCK_BYTES), packed.data))

    return pack


def bitshuffle_expander() -> Expand:
    """Expand with bitshuffle, which believes every length: the blocks are checked first."""
    bitshuffle = _import_bitshuffle()
    np: Any = import_module("numpy")
    functions = {BSLZ4: bitshuffle.decompress_lz4, BSZSTD: bitshuffle.decompress_zstd}

    def expand(array: Array) -> Buffer:
        total, block_bytes = check_blocks(array)
        size = array.elem_size
        packed = np.frombuffer(array.data, np.uint8)[12:]
        return functions[array.compression](packed, (total // size,), np.dtype(f"u{size}"), block_bytes // size).data

    return expand


# --- dectris-compression


def dectris_expander() -> Expand:
    """Expand with DECTRIS' own library, which checks the lengths itself."""
    expand: Any = import_module("dectris.compression").decompress
    return lambda array: expand(array.data, array.compression, elem_size=array.elem_size)


# --- hdf5plugin


def hdf5_packer() -> Pack:
    """Pack as HDF5 packs a chunk: a file in memory is made, and its chunk taken out."""
    h5py: Any = import_module("h5py")
    import_module("hdf5plugin")

    def pack(elements: NDArray[np.unsignedinteger], compression: str, level: int) -> bytes:
        if not elements.size:
            return write_chunk_header(0, BLOCK_BYTES)
        options = (BLOCK_BYTES // elements.itemsize, *((2,) if compression == BSLZ4 else (3, level)))
        with h5py.File.in_memory() as file:
            made = file.create_dataset(
                "data",
                data=elements,
                chunks=elements.shape,
                compression=BITSHUFFLE_FILTER,
                compression_opts=options,
            )
            return made.id.read_direct_chunk((0,))[1]

    return pack


def hdf5_expander() -> Expand:
    """Expand as HDF5 expands a chunk, after the blocks have been checked."""
    h5py: Any = import_module("h5py")
    np: Any = import_module("numpy")
    import_module("hdf5plugin")

    def expand(array: Array) -> Buffer:
        total, _ = check_blocks(array)
        size = array.elem_size or 1
        if not total:
            return b""
        options = {LZ4: (), BSLZ4: (0, 2), BSZSTD: (0, 3)}[array.compression]
        with h5py.File.in_memory() as file:
            made = file.create_dataset(
                "data",
                shape=(total // size,),
                chunks=(total // size,),
                dtype=f"u{size}",
                compression=LZ4_FILTER if array.compression == LZ4 else BITSHUFFLE_FILTER,
                compression_opts=options or None,
            )
            made.id.write_direct_chunk((0,), bytes(array.data))
            elements = np.empty(total // size, f"u{size}")
            made.read_direct(elements)
            return elements.data

    return expand


PACKERS: Final[dict[str, Callable[[], Pack]]] = {"bitshuffle": bitshuffle_packer, "hdf5plugin": hdf5_packer}
EXPANDERS: Final[dict[str, Callable[[], Expand]]] = {
    "dectris": dectris_expander,
    "bitshuffle": bitshuffle_expander,
    "hdf5plugin": hdf5_expander,
}
_EXPANDS: Final = {
    "dectris": frozenset({BSLZ4, BSZSTD, LZ4}),
    "bitshuffle": frozenset({BSLZ4, BSZSTD}),
    "hdf5plugin": frozenset({BSLZ4, BSZSTD, LZ4}),
}


def check_blocks(array: Array) -> tuple[int, int]:
    """Walk from block to block, as the libraries will, and see that no length leads out of the data.

    Returns:
        Size of the whole and of a block when uncompressed, in bytes.

    Raises:
        ValueError: One does, or the size of a block or element makes no sense.
    """
    total, block_bytes = read_chunk_header(array.data)
    group = 8 * array.elem_size if array.compression != LZ4 else 1
    if array.compression != LZ4 and array.elem_size not in {1, 2, 4, 8}:
        raise ValueError(f"elements of {array.elem_size} bytes")
    if total and (not block_bytes or block_bytes % group):
        raise ValueError(f"blocks of {block_bytes} bytes, elements of {array.elem_size}")
    rest = total % group
    blocks = -(-(total - rest) // block_bytes) if total else 0
    at, end = 12, len(array.data)
    if blocks * 4 > end:
        raise ValueError(f"{blocks} blocks in {end} bytes")
    for block in range(blocks):
        if at + 4 > end:
            raise ValueError(f"block {block} of {blocks} is missing")
        at += 4 + _LENGTH(array.data, at)[0]
    if at + rest != end:
        raise ValueError(f"the blocks end at byte {at} of {end}, and {rest} bytes should follow them")
    return total, block_bytes


def hdf5_filter_options(compression: str, level: int = 1) -> tuple[int, ...]:
    """Return the options under which a dataset's filter `BITSHUFFLE_FILTER` reads such data as its chunks.

    The filter itself adds its version and the size of an element when the dataset is made.

    Raises:
        UsageError: Data of this compression is no chunk of that filter.
    """
    if compression not in {BSLZ4, BSZSTD}:
        raise UsageError(f"{compression!r} data cannot be stored as a chunk of HDF5's bitshuffle filter")
    return (0, 2) if compression == BSLZ4 else (0, 3, level)  # 0: the block's size is what the chunk says
