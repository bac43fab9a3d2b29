"""CBOR: the RFC's own examples, anything there and back, and nothing that garbage can break."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labwire.errors import LabwireError, ProtocolError, TooLargeError, UsageError
from labwire.wire.cbor_reader import decode_item
from labwire.wire.cbor_values import Date, Limits, Simple, Tag
from labwire.wire.cbor_writer import GATHER_BYTES, Output, write_any
from labwire.wire.image_array import Array


def encode(value: object) -> bytes:
    output = Output()
    write_any(output, value)
    return b"".join(output.take())


# From the examples of RFC 8949, appendix A; True where it is also what we write.
RFC_EXAMPLES: list[tuple[str, Any, bool]] = [
    ("00", 0, True),
    ("17", 23, True),
    ("1818", 24, True),
    ("18ff", 255, True),
    ("190100", 256, True),
    ("1903e8", 1000, True),
    ("1a000f4240", 1_000_000, True),
    ("1b000000e8d4a51000", 10**12, True),
    ("1bffffffffffffffff", 2**64 - 1, True),
    ("3bffffffffffffffff", -(2**64), True),
    ("c249010000000000000000", Tag(2, b"\x01" + bytes(8)), True),
    ("20", -1, True),
    ("3863", -100, True),
    ("3903e7", -1000, True),
    ("f90000", 0.0, False),
    ("f93c00", 1.0, False),
    ("fb3ff199999999999a", 1.1, True),
    ("f97bff", 65504.0, False),
    ("fa47c35000", 100000.0, False),
    ("f90001", 5.960464477539063e-8, False),
    ("fbc010666666666666", -4.1, True),
    ("f97c00", math.inf, False),
    ("fb7ff0000000000000", math.inf, True),
    ("f4", False, True),
    ("f5", True, True),
    ("f6", None, True),
    ("f7", Simple(23), True),
    ("f0", Simple(16), True),
    ("f8ff", Simple(255), True),
    ("c074323031332d30332d32315432303a30343a30305a", Date("2013-03-21T20:04:00Z"), True),
    ("c11a514b67b0", Tag(1, 1363896240), True),
    ("d74401020304", Tag(23, b"\x01\x02\x03\x04"), True),
    ("40", b"", True),
    ("4401020304", b"\x01\x02\x03\x04", True),
    ("60", "", True),
    ("6449455446", "IETF", True),
    ("62c3bc", "ü", True),
    ("64f0908591", "\U00010151", True),
    ("80", [], True),
    ("83010203", [1, 2, 3], True),
    ("8301820203820405", [1, [2, 3], [4, 5]], True),
    ("98190102030405060708090a0b0c0d0e0f101112131415161718181819", list(range(1, 26)), True),
    ("a0", {}, True),
    ("a201020304", {1: 2, 3: 4}, True),
    ("a26161016162820203", {"a": 1, "b": [2, 3]}, True),
    ("5f42010243030405ff", b"\x01\x02\x03\x04\x05", False),
    ("7f657374726561646d696e67ff", "streaming", False),
    ("9fff", [], False),
    ("9f018202039f0405ffff", [1, [2, 3], [4, 5]], False),
    ("bf61610161629f0203ffff", {"a": 1, "b": [2, 3]}, False),
    ("d9d9f783010203", [1, 2, 3], False),
]


@pytest.mark.parametrize(("data", "value", "ours"), RFC_EXAMPLES, ids=[data for data, _, _ in RFC_EXAMPLES])
def test_examples_of_the_rfc(data: str, value: object, ours: bool) -> None:  # noqa: FBT001
    decoded = decode_item(bytes.fromhex(data))
    assert decoded == value
    assert type(decoded) is type(value)
    if ours:
        assert encode(value).hex() == data


plain = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(max_size=300)
    | st.text(max_size=30).map(Date)
    | st.sampled_from([Simple(number) for number in (0, 19, 23, 32, 255)])
)
values = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=30)
        | st.dictionaries(st.text(), inner, max_size=30)
        | st.dictionaries(st.integers(-(2**64), 2**64 - 1), inner, max_size=4)
        | st.builds(Tag, st.sampled_from([1, 5, 24, 1000, 2**64 - 1]), inner)
    ),
    max_leaves=40,
)


@given(values)
def test_any_value_survives(value: object) -> None:
    data = encode(value)
    assert decode_item(data) == value
    assert decode_item(memoryview(bytearray(data))) == value
    assert encode(decode_item(data)) == data


@given(values)
def test_every_cut_is_told(value: object) -> None:
    data = encode(value)
    for end in range(len(data)):
        with pytest.raises(ProtocolError):
            decode_item(data[:end])
    with pytest.raises(ProtocolError, match="follow the message"):
        decode_item(data + b"\0")


@given(values, st.binary(max_size=20), st.integers(0, 2**32))
@example(None, b"\xff", 0)
@example(None, b"\x9f\x9f\x9f", 0)
@example(None, b"\x5f\x61a\xff", 0)
@example(None, b"\x5f\x5f\x41a\xff\xff", 0)
@example(None, b"\x7f\x61\xc3\x61\xbc\xff", 0)
@example(None, b"\xa1\x80\x00", 0)
@example(None, b"\xa1\xa0\x00", 0)
@example(None, b"\xa1\xd8\x45\x42ab\x00", 0)
@example(None, b"\xa2\x61a\x00\x61a\x00", 0)
@example(None, b"\xbf\x61a\xff", 0)
@example(None, b"\xf8\x18", 0)
@example(None, b"\x1c", 0)
@example(None, b"\x3e", 0)
@example(None, b"\xdf\x00", 0)
@example(None, b"\xfc", 0)
@example(None, b"\xd8\x28\x00", 0)
@example(None, b"\xd8\x28\x82\x82\x01\x20\xd8\x40\x41a", 0)
@example(None, b"\xd8\x28\x82\x81\x02\xd8\x28\x82\x81\x01\xd8\x40\x41a", 0)
@example(None, b"\xd8\x45\x9f\xff", 0)
@example(None, b"\xd8\x45\xd9\xdc\xb4\x83\x60\x02\x40", 0)
@example(None, b"\xd8\x45\xd9\xdc\xb4\x83\x63lz4\x60\x4c" + bytes(12), 0)
def test_garbage_is_refused_in_our_words(value: object, noise: bytes, at: int) -> None:
    data = encode(value)
    cut = at % (len(data) + 1)
    for damaged in (noise, data[:cut] + noise, data[:cut] + noise + data[cut + len(noise) :], noise + data):
        try:
            decode_item(damaged)
        except LabwireError as error:
            text = str(error)
            assert len(text) < 1000


@pytest.mark.parametrize("initial", [0x5A, 0x5B, 0x7A, 0x7B, 0x9A, 0x9B, 0xBA, 0xBB])
def test_a_length_beyond_the_message_takes_no_memory(initial: int) -> None:
    for size in (0xFF, 0x7F):
        with pytest.raises(ProtocolError, match="left"):
            decode_item(bytes([initial, size]) + b"\xff" * 7 + b"\0" * 20)


def test_depth_is_limited() -> None:
    limits = Limits(max_depth=5)
    for wrap in (b"\x81", b"\x9f", b"\xa1\x00", b"\xc6", b"\xd8\x64"):
        decode_item(wrap * 5 + b"\x00" + b"\xff" * (5 if wrap == b"\x9f" else 0), limits)
        for depth in (6, 100_000):
            with pytest.raises(ProtocolError, match="nested deeper than 5"):
                decode_item(wrap * depth + b"\x00", limits)


@pytest.mark.parametrize(
    "data",
    [b"\x98\xff" + b"\xa0" * 255, b"\x9f" + b"\xa0" * 255 + b"\xff", b"\x5f" + b"\x40" * 255 + b"\xff"],
    ids=["definite", "indefinite", "parts of a string"],
)
def test_elements_are_limited(data: bytes) -> None:
    decode_item(data, Limits(max_items=255))
    with pytest.raises(TooLargeError, match="254"):
        decode_item(data, Limits(max_items=254))


def test_a_map_counts_its_keys_and_values() -> None:
    data = encode({"a": 1, "b": {"c": 2}})
    decode_item(data, Limits(max_items=6))
    with pytest.raises(TooLargeError):
        decode_item(data, Limits(max_items=5))


def test_a_long_message_is_refused_at_once() -> None:
    with pytest.raises(TooLargeError, match="10 bytes"):
        decode_item(bytes(11), Limits(max_bytes=10))


def test_a_key_twice_is_told() -> None:
    with pytest.raises(ProtocolError, match="twice"):
        decode_item(b"\xa2\x61a\x00\x61a\x01")
    with pytest.raises(ProtocolError, match="twice"):
        decode_item(b"\xbf\x61a\x00\x61a\x01\xff")


@pytest.mark.parametrize(
    ("value", "same_as"),
    [
        (np.float64(1.5), 1.5),
        (np.float32(0.5), 0.5),
        (np.int16(-7), -7),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.bool_(True), True),
        ((1, 2), [1, 2]),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"ab"), b"ab"),
    ],
)
def test_what_python_has_besides(value: object, same_as: object) -> None:
    assert encode(value) == encode(same_as)


@pytest.mark.parametrize("value", [object(), 1j, {1, 2}, np.arange(3)])
def test_what_has_no_form_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="no form in CBOR"):
        encode(value)


def test_integers_beyond_64_bits_are_refused() -> None:
    for value in (2**64, -(2**64) - 1):
        with pytest.raises(UsageError, match="64 bits"):
            encode(value)


def test_large_strings_are_pieces_of_their_own_and_are_not_copied() -> None:
    large, small = bytearray(GATHER_BYTES), b"x" * (GATHER_BYTES - 1)
    output = Output()
    write_any(output, [large, small, large, 1])
    pieces = output.take()
    assert [len(piece) for piece in pieces] == [4, GATHER_BYTES, 3 + len(small) + 3, GATHER_BYTES, 1]
    for piece in (pieces[1], pieces[3]):
        assert isinstance(piece, memoryview)
        assert piece.obj is large


def test_typed_arrays_of_every_tag() -> None:
    for tag in (*range(64, 76), *range(77, 88)):
        size = 1 << ((tag >> 4 & 1) + (tag & 3))
        array = decode_item(bytes([0xD8, tag, 0x40 + size]) + bytes(size))
        assert isinstance(array, Array)
        assert array.shape == (1,)
        assert array.nbytes == array.item_bytes == size
        assert decode_item(encode(array)) == array


def test_the_reserved_tag_is_no_array() -> None:
    assert decode_item(b"\xd8\x4c\x41a") == Tag(76, b"a")


def test_arrays_of_plain_values_stay_what_they_are() -> None:
    value = Tag(40, [[1, 2], [3, 4]])
    assert decode_item(encode(value)) == value


def test_an_array_whose_pixels_come_in_parts_is_joined() -> None:
    array = decode_item(bytes.fromhex("d828 82 820102 d845 5f 420100 420200 ff".replace(" ", "")))
    assert array == Array((1, 2), "<u2", b"\x01\0\x02\0")


def test_compression_that_is_not_known_survives() -> None:
    bare = bytes.fromhex("d845 d9dcb4 83 6474727078 02 43010203".replace(" ", ""))
    assert decode_item(bare) == Tag(69, Tag(56500, ["trpx", 2, b"\x01\x02\x03"]))
    assert encode(decode_item(bare)) == bare
    whole = bytes.fromhex("d82882820203") + bare
    assert decode_item(whole) == Array((2, 3), "<u2", b"\x01\x02\x03", "trpx", 2)
    assert encode(decode_item(whole)) == whole


@pytest.mark.parametrize("algorithm", ["bslz4", "bszstd", "lz4"])
def test_the_size_in_a_compressed_header_must_agree(algorithm: str) -> None:
    def message(total_bytes: int, extra: bytes = b"") -> bytes:
        data = struct.pack(">QI", total_bytes, 8192) + extra
        return encode(Tag(40, [[2, 3], Tag(69, Tag(56500, [algorithm, 2, data]))]))

    assert decode_item(message(12)).nbytes == 12
    for total in (0, 10, 11, 13, 2**64 - 1):
        with pytest.raises((ProtocolError, TooLargeError), match=f"{total}|12"):
            decode_item(message(total))
    short = encode(Tag(40, [[2, 3], Tag(69, Tag(56500, [algorithm, 2, bytes(11)]))]))
    with pytest.raises(ProtocolError, match="12 bytes"):
        decode_item(short)


def test_arrays_are_limited() -> None:
    limits = Limits(max_array_bytes=100)
    decode_item(encode(Array((10, 10), "|u1", bytes(100))), limits)
    for array in (
        Array((10, 11), "|u1", bytes(110)),
        Array((110,), "|u1", struct.pack(">QI", 110, 8192), "bslz4", 1),
        Array((10, 11), "|u1", b"", "trpx", 1),
    ):
        with pytest.raises(TooLargeError, match="110 bytes is above the limit of 100"):
            decode_item(encode(array), limits)


@pytest.mark.parametrize("shape", [[2**64 - 1] * 32, [0, 2**64 - 1], [1] * 33, [], [2, 4], [-1, -6]])
def test_shapes_that_do_not_agree_with_the_bytes(shape: list[int]) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_item(encode(Tag(40, [shape, Array((6,), "<u2", bytes(12))])))
    assert len(str(caught.value)) < 2000


def test_decoded_arrays_are_views_of_the_message() -> None:
    buffer = bytearray(encode([1, Array((5000,), "|u1", bytes(5000))]))
    array = decode_item(buffer)[1]
    buffer[-1] = 7
    assert array.data[-1] == 7
    array.data.release()
