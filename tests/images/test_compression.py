"""Compression: the framing byte for byte, every type of element, damaged data, and what HDF5's filter makes of it."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.errors import MissingExtraError, ProtocolError, UsageError
from labwire.images.compression import (
    BLOCK_BYTES,
    HDF5_FILTER,
    Compression,
    compress,
    decompress,
    hdf5_filter_options,
)
from labwire.wire.image_array import Array, array_of
from labwire.wire.image_codec import decode_message, encode_message
from labwire.wire.image_message import ImageMessage
from tests.images.bitshuffle_reference import expand_bslz4
from tests.wire.image_golden import BSLZ4, BSZSTD, LZ4


def module(name: str) -> Any:
    return pytest.importorskip(name, reason=f"no {name}: pip install 'labwire[images]'")


@pytest.fixture
def packer() -> Any:
    return module("bitshuffle")


@pytest.fixture
def expander() -> Any:
    return module("dectris.compression")


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
    monkeypatch.setitem(__import__("sys").modules, "bitshuffle", None)
    monkeypatch.setitem(__import__("sys").modules, "dectris.compression", None)
    with pytest.raises(MissingExtraError, match=r"labwire\[images\]"):
        compress(COUNT16)
    with pytest.raises(MissingExtraError, match=r"labwire\[images\]"):
        decompress(Array((2, 8), "<u2", BSLZ4, "bslz4", 2))


# --- with the libraries


def test_the_golden_chunk_is_made(packer: Any) -> None:
    assert compress(COUNT16) == Array((2, 8), "<u2", BSLZ4, "bslz4", 2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_framing_is_what_the_format_says(packer: Any, dtype: str) -> None:
    for shape in SHAPES:
        pixels = photons(shape, dtype)
        array = compress(pixels)
        assert struct.unpack_from(">QI", array.data) == (pixels.nbytes, BLOCK_BYTES)
        assert expand_bslz4(bytes(array.data), pixels.itemsize) == pixels.tobytes()


@pytest.mark.parametrize("compression", ["bslz4", "bszstd"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_round_trip_over_the_wire(packer: Any, expander: Any, dtype: str, compression: Compression) -> None:
    for shape in SHAPES:
        pixels = photons(shape, dtype)
        message = ImageMessage(image_id=1, data={"default": compress(pixels, compression)})
        received = decode_message(b"".join(encode_message(message)))
        assert isinstance(received, ImageMessage)
        expanded = decompress(received.data["default"])
        assert (expanded.shape, expanded.dtype) == (pixels.shape, pixels.dtype)
        assert np.array_equal(expanded, pixels)


def test_pixels_that_are_not_contiguous_are_compressed(packer: Any, expander: Any) -> None:
    pixels = photons((64, 32), "<u2")[::2, ::2]
    assert np.array_equal(decompress(compress(pixels)), pixels)


def test_what_others_send_is_read(expander: Any) -> None:
    assert np.array_equal(decompress(Array((2, 8), "<u2", BSLZ4, "bslz4", 2)), COUNT16)
    assert np.array_equal(decompress(Array((2, 8), "<i2", BSZSTD, "bszstd", 2)), COUNT16.astype("<i2"))
    assert decompress(Array((1, 16), "|u1", LZ4, "lz4")).tolist() == [list(range(16))]


@pytest.mark.parametrize("compression", ["bslz4", "bszstd", "lz4"])
@given(noise=st.binary(max_size=40), at=st.integers(0, 2**32))
def test_damaged_data_is_told(compression: str, noise: bytes, at: int) -> None:
    module("dectris.compression")
    data = {"bslz4": BSLZ4, "bszstd": BSZSTD, "lz4": LZ4}[compression]
    cut = 8 + at % (len(data) - 8)
    damaged = data[:cut] + noise + data[cut + len(noise) :] if at % 2 else data[:cut]
    shape, elem_size = ((16,), 0) if compression == "lz4" else ((32,), 2)
    try:
        assert decompress(Array(shape, "|u1", damaged, compression, elem_size)).shape == shape
    except ProtocolError:
        pass


@pytest.mark.parametrize("elem_size", [-1, 0, 3, 2**63])
def test_a_size_of_element_that_cannot_be_is_told(expander: Any, elem_size: int) -> None:
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
def test_hdf5_reads_the_bytes_as_a_chunk(packer: Any, compression: Compression, dtype: str, tmp_path: Path) -> None:
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
            compression=HDF5_FILTER,
            compression_opts=hdf5_filter_options(array.compression),
        )
        made.id.write_direct_chunk((0, 0, 0), array.data)
        number, _, stored, _ = made.id.get_create_plist().get_filter(0)
        assert (number, stored[2]) == (HDF5_FILTER, array.elem_size)
    with h5py.File(tmp_path / "image.h5") as file:
        assert np.array_equal(file["data"][0], pixels)


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_a_chunk_that_hdf5_made_is_read(expander: Any, compression: str, tmp_path: Path) -> None:
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
