"""Groups, data sets and attributes as NeXus wants them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias, cast

from labwire.errors import UsageError, needs_extra
from labwire.wire.image_array import BSLZ4, BSZSTD, FRAMED, LZ4, Array, as_numpy

Node: TypeAlias = Any
"""A file, group or data set of h5py's, which has no types."""

BITSHUFFLE: Final = 32008
LZ4_FILTER: Final = 32004
_BITSHUFFLE_VERSION: Final = (0, 4)
_SHUFFLED_LZ4, _SHUFFLED_ZSTD = 2, 3
_MAX_NAME_BYTES: Final = 255
_PACK_FROM_BYTES: Final = 4096
_CHUNK_BYTES: Final = 1 << 20


def load_h5py() -> Any:
    """Return h5py.

    Raises:
        MissingExtraError: It is not installed.
    """
    with needs_extra("images"):
        import h5py  # pyright: ignore[reportMissingTypeStubs]
    return cast("Any", h5py)


def is_link_name(name: str) -> bool:
    """Tell whether a name from outside can be that of a group or data set."""
    if not name or name == "." or "/" in name or "\0" in name:
        return False
    try:
        return len(name.encode()) <= _MAX_NAME_BYTES
    except UnicodeEncodeError:
        return False


def group(parent: Node, path: str, nx_class: str = "NXcollection") -> Node:
    """Return a group, made if it is missing."""
    made = parent.require_group(path)
    if "NX_class" not in made.attrs:
        made.attrs["NX_class"] = nx_class
    return made


def put(parent: Node, name: str, value: Any, units: str = "", **attributes: Any) -> None:
    """Write a data set of a value; None writes nothing.

    Args:
        parent: Where.
        name: Of the data set; groups in it must exist.
        value: A number, text, a list of numbers, or an array of numpy's.
        units: Its unit, as NeXus writes it.
        **attributes: Others.
    """
    if value is None:
        return
    if isinstance(value, str):
        value = str(value).replace("\0", "")  # a date is a text of another class; HDF5's texts end at a NUL
    data = parent.create_dataset(name, data=value, **_packing(value))
    if units:
        data.attrs["units"] = units
    for key, item in attributes.items():
        data.attrs[key] = item


def _packing(value: Any) -> dict[str, Any]:
    shape: tuple[int, ...] = getattr(value, "shape", ())
    if not shape or value.nbytes < _PACK_FROM_BYTES:
        return {}
    row_bytes = max(1, value.nbytes // shape[0])
    rows = max(1, min(shape[0], _CHUNK_BYTES // row_bytes))
    return {"chunks": (rows, *shape[1:]), "compression": "gzip", "compression_opts": 1, "shuffle": True}


def put_array(parent: Node, name: str, array: Array, units: str = "") -> None:
    """Write an array of a message: compressed bytes as they came, as one chunk.

    Integers that came plain, such as masks, are packed.

    Raises:
        UsageError: It cannot be stored: 128-bit floats, an unknown compression, columns first.
    """
    if fault := why_not(array):
        raise UsageError(fault)
    if array.compression:
        data = make_dataset(parent, name, array, array.shape, array.shape)
        data.id.write_direct_chunk((0,) * len(array.shape), array.data)
    else:
        values = as_numpy(array)
        # A mask gets two hundred times smaller at no cost; a flat field hardly, and START is not waited for that long.
        packing = _packing(values) if values.dtype.kind in "ui" else {}
        data = parent.create_dataset(name, data=values, **packing)
    if units:
        data.attrs["units"] = units


def make_dataset(
    parent: Node,
    name: str,
    array: Array,
    shape: Sequence[int],
    chunk: Sequence[int],
    fill: int | None = None,
    most: int | None = None,
) -> Node:
    """Make a data set that takes the bytes of such arrays as chunks.

    Args:
        parent: Where.
        name: Of the data set; groups in it are made.
        array: Such an array.
        shape: Of the data set.
        chunk: Of each chunk.
        fill: What stands where nothing was written.
        most: How far the first dimension may grow; None: not at all.

    Raises:
        UsageError: Such an array cannot be stored.
    """
    import numpy as np

    h5py = load_h5py()
    if fault := why_not(array):
        raise UsageError(fault)
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk(tuple(chunk))
    properties.set_fill_time(h5py.h5d.FILL_TIME_IFSET)
    dtype = np.dtype(array.dtype)
    if fill is not None:
        properties.set_fill_value(np.array(fill, dtype))
    if array.compression:
        number, options = _filter_of(array)
        properties.set_filter(number, h5py.h5z.FLAG_OPTIONAL, options)
    parents = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    parents.set_create_intermediate_group(True)
    space = h5py.h5s.create_simple(tuple(shape), (shape[0] if most is None else most, *shape[1:]))
    type_id = h5py.h5t.py_create(dtype, logical=True)
    return h5py.Dataset(h5py.h5d.create(parent.id, name.encode(), type_id, space, properties, parents))


def why_not(array: Array) -> str:
    """Tell why an array cannot be stored as it came; nothing: it can."""
    if array.column_major:
        return "its columns stand before its rows (tag 1040)"
    if array.item_bytes > 8:
        return "HDF5 files have no 128-bit floats here"
    if array.compression and array.compression not in FRAMED:
        return f"{array.compression!r} has no HDF5 filter"
    if array.compression in {BSLZ4, BSZSTD} and array.elem_size != array.item_bytes:
        return f"its bits were shuffled by {array.elem_size} bytes, and its elements have {array.item_bytes}"
    return ""


def _filter_of(array: Array) -> tuple[int, tuple[int, ...]]:
    if array.compression == LZ4:
        return LZ4_FILTER, (0,)
    options = (0, _SHUFFLED_LZ4 if array.compression == BSLZ4 else _SHUFFLED_ZSTD)  # a chunk tells its blocks' size
    if load_h5py().h5z.filter_avail(BITSHUFFLE):
        return BITSHUFFLE, options
    return BITSHUFFLE, (*_BITSHUFFLE_VERSION, array.elem_size, *options)  # which the filter adds itself, if it is here
