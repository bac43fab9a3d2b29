"""Compression: the framing byte for byte, every type of element, damaged data, and what HDF5's filter makes of it."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from labwire.errors import MissingExtraError, ProtocolError, UsageError
from labwire.images import compression_libraries
from labwire.images.compression import Compression, compress, decompress
from labwire.images.compression_libraries import (
    BITSHUFFLE_FILTER,
    BLOCK_BYTES,
    DAMAGED,
    EXPANDERS,
    PACKERS,
    check_blocks,
    hdf5_filter_options,
)
from labwire.wire.image_array import Array, array_of, flat_view
from labwire.wire.image_codec import decode_message, encode_message
from labwire.wire.image_message import ImageMessage
from tests.images.bitshuffle_reference import expand_bslz4
from tests.wire.image_golden import BSLZ4, BSZSTD, LZ4


def module(name: str) -> Any:
    return pytest.importorskip(name, reason=f"no {name}: pip install 'labwire[images]'")


IMPORTS = {"dectris": "dectris.compression"}


def only(monkeypatch: pytest.MonkeyPatch, table: str, name: str) -> None:
    """Leave one library to the table of those that do a job; skip where it is not installed."""
    module(IMPORTS.get(name, name))
    loaders: dict[str, Any] = getattr(compression_libraries, table)
    monkeypatch.setattr(compression_libraries, table, {name: loaders[name]})


@pytest.fixture(params=PACKERS)
def packer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    only(monkeypatch, "PACKERS", request.param)
    return request.param


@pytest.fixture(params=EXPANDERS)
def expander(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    only(monkeypatch, "EXPANDERS", request.param)
    return request.param


COUNT16 = np.arange(16, dtype="<u2").reshape(2, 8)
SHAPES = [(1,), (7,), (8,), (9,), (2, 4096), (1, 4097), (30, 1031), (3, 2, 17), (0,), (5, 0)]
DTYPES = ["|u1", "<u2", "<u4", "<u8", "|i1", "<i2", "<i4", "<f4", "<f8", ">u2", ">u4"]


def photons(shape: tuple[int, ...], dtype: str) -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).poisson(3.0, shape).astype(dtype)


# --- the framing, without any library


def test_the_golden_chunk_is_what_the_format_says() -> None:
    assert expand_bslz4(BSLZ4, 2) == COUNT16.tobytes()
    assert struct.unpack_from(">QII", BSLZ4) == (32, 8192, len(BSLZ4) - 16)


def test_compression_is_optional() -> None:
    pixels = photons((4, 5), "<u2")
    assert compress(pixels, "none") == array_of(pixels)
    assert np.shares_memory(decompress(compress(pixels, "none")), pixels)


def test_no_other_compression_is_sent() -> None:
    for name in ("lz4", "gzip", ""):
        with pytest.raises(UsageError, match="bslz4, bszstd or none"):
            compress(COUNT16, name)  # pyright: ignore[reportArgumentType]


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("bitshuffle", "dectris.compression", "hdf5plugin", "h5py"):
        monkeypatch.setitem(sys.modules, name, None)
    compression_libraries._best.cache_clear()
    with pytest.raises(MissingExtraError, match=r"labwire\[images\]"):
        compress(COUNT16)
    with pytest.raises(MissingExtraError, match=r"labwire\[images\]"):
        decompress(Array((2, 8), "<u2", BSLZ4, "bslz4", 2))


# --- with the libraries


def test_the_golden_chunk_is_made(packer: str) -> None:
    assert compress(COUNT16) == Array((2, 8), "<u2", BSLZ4, "bslz4", 2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_framing_is_what_the_format_says(packer: str, dtype: str) -> None:
    for shape in SHAPES:
        pixels = photons(shape, dtype)
        array = compress(pixels)
        assert struct.unpack_from(">QI", array.data) == (pixels.nbytes, BLOCK_BYTES)
        assert expand_bslz4(bytes(array.data), pixels.itemsize) == pixels.tobytes()


@pytest.mark.parametrize("compression", ["bslz4", "bszstd"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_round_trip_over_the_wire(packer: str, expander: str, dtype: str, compression: Compression) -> None:
    for shape in SHAPES:
        pixels = photons(shape, dtype)
        message = ImageMessage(image_id=1, data={"default": compress(pixels, compression)})
        received = decode_message(b"".join(encode_message(message)))
        assert isinstance(received, ImageMessage)
        expanded = decompress(received.data["default"])
        assert (expanded.shape, expanded.dtype) == (pixels.shape, pixels.dtype)
        assert np.array_equal(expanded, pixels)


def test_pixels_that_are_not_contiguous_are_compressed(packer: str, expander: str) -> None:
    pixels = photons((64, 32), "<u2")[::2, ::2]
    assert np.array_equal(decompress(compress(pixels)), pixels)


def test_what_others_send_is_read(expander: str) -> None:
    assert np.array_equal(decompress(Array((2, 8), "<u2", BSLZ4, "bslz4", 2)), COUNT16)
    assert np.array_equal(decompress(Array((2, 8), "<i2", BSZSTD, "bszstd", 2)), COUNT16.astype("<i2"))
    if expander != "bitshuffle":
        assert decompress(Array((1, 16), "|u1", LZ4, "lz4")).tolist() == [list(range(16))]


DAMAGEABLE = {"bslz4": BSLZ4, "bszstd": BSZSTD, "lz4": LZ4}


@pytest.mark.parametrize("name", EXPANDERS)
def test_damaged_data_is_told(name: str, seed: int, soak: Callable[[int, int], int]) -> None:
    module(IMPORTS.get(name, name))
    expand, random = EXPANDERS[name](), Random(seed)
    kinds = [kind for kind in DAMAGEABLE if kind != "lz4" or name == "dectris"]  # HDF5's lz4 prints what it finds
    told = 0
    for _ in range(soak(300, 20_000)):
        kind = random.choice(kinds)
        data = bytearray(DAMAGEABLE[kind])
        for _ in range(random.randrange(1, 5)):
            data[random.randrange(8, len(data))] = random.randrange(256)
        damaged = bytes(data[: random.choice([len(data), random.randrange(12, len(data))])])
        shape, elem_size = ((16,), 0) if kind == "lz4" else ((32,), random.choice([1, 2, 2, 4, 8, 3]))
        try:
            assert len(flat_view(expand(Array(shape, "|u1", damaged, kind, elem_size)))) == shape[0]
        except DAMAGED:
            told += 1
    assert told


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (BSLZ4[:8] + bytes(4) + BSLZ4[12:], "blocks of 0 bytes"),
        (BSLZ4[:8] + struct.pack(">I", 8) + BSLZ4[12:], "blocks of 8 bytes"),
        (BSLZ4[:8] + struct.pack(">I", 16) + BSLZ4[12:], "block 1 of 2 is missing"),
        (BSLZ4[:-1], "end at byte 34 of 33"),
        (BSLZ4 + b"x", "end at byte 34 of 35"),
        (BSLZ4[:12] + b"\xff" * 4 + BSLZ4[16:], "end at byte"),
        (BSLZ4[:12], "1 is missing"),
    ],
)
def test_blocks_that_lead_out_of_the_data(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_blocks(Array((2, 8), "<u2", data, "bslz4", 2))
    assert check_blocks(Array((2, 8), "<u2", BSLZ4, "bslz4", 2)) == (32, 8192)


@pytest.mark.parametrize("elem_size", [-1, 0, 3, 2**63])
def test_a_size_of_element_that_cannot_be_is_told(expander: str, elem_size: int) -> None:
    with pytest.raises(ProtocolError, match="damaged"):
        decompress(Array((2, 8), "<u2", BSLZ4, "bslz4", elem_size))


def test_a_size_that_does_not_agree_takes_no_memory() -> None:
    huge = struct.pack(">Q", 2**62) + BSLZ4[8:]
    with pytest.raises(ProtocolError, match=str(2**62)):
        decompress(Array((2, 8), "<u2", huge, "bslz4", 2))


def test_a_compression_that_is_not_known_is_told() -> None:
    with pytest.raises(ProtocolError, match="'trpx' cannot be expanded"):
        decompress(Array((2, 8), "<u2", b"", "trpx", 2))


# --- HDF5


@pytest.mark.parametrize("compression", ["bslz4", "bszstd"])
@pytest.mark.parametrize("dtype", ["|u1", "<u2", "<i4", "<f4"])
def test_hdf5_reads_the_bytes_as_a_chunk(packer: str, compression: Compression, dtype: str, tmp_path: Path) -> None:
    h5py = module("h5py")
    module("hdf5plugin")
    pixels = photons((30, 1031), dtype)
    array = compress(pixels, compression)
    with h5py.File(tmp_path / "image.h5", "w") as file:
        made = file.create_dataset(
            "data",
            shape=(1, *pixels.shape),
            chunks=(1, *pixels.shape),
            dtype=dtype,
            compression=BITSHUFFLE_FILTER,
            compression_opts=hdf5_filter_options(array.compression),
        )
        made.id.write_direct_chunk((0, 0, 0), array.data)
        number, _, stored, _ = made.id.get_create_plist().get_filter(0)
        assert (number, stored[2]) == (BITSHUFFLE_FILTER, array.elem_size)
    with h5py.File(tmp_path / "image.h5") as file:
        assert np.array_equal(file["data"][0], pixels)


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_a_chunk_that_hdf5_made_is_read(expander: str, compression: str, tmp_path: Path) -> None:
    h5py, hdf5plugin = module("h5py"), module("hdf5plugin")
    pixels = photons((30, 1031), "<u2")
    with h5py.File(tmp_path / "image.h5", "w") as file:
        made = file.create_dataset(
            "data", data=pixels, chunks=pixels.shape, **hdf5plugin.Bitshuffle(nelems=0, cname=compression)
        )
        chunk: bytes = made.id.read_direct_chunk((0, 0))[1]
    assert np.array_equal(decompress(Array(pixels.shape, "<u2", chunk, f"bs{compression}", 2)), pixels)


def test_what_the_filter_cannot_read_is_told() -> None:
    for compression in ("lz4", "", "trpx"):
        with pytest.raises(UsageError, match="bitshuffle filter"):
            hdf5_filter_options(compression)
