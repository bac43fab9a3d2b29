"""Image messages: golden bytes of another encoder both ways, what DECTRIS' parsers demand, what garbage cannot do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.errors import LabwireError, ProtocolError, UsageError
from labwire.wire.cbor_values import SELF_DESCRIBED, Date
from labwire.wire.cbor_writer import GATHER_BYTES
from labwire.wire.image_array import Array, array_of, as_numpy
from labwire.wire.image_codec import decode_message, encode_message, metadata_of, misfits
from labwire.wire.image_fields import (
    GoniometerAxis,
    GridScan,
    Rational,
    RoiIntegral,
    Spot,
    UnitCell,
    date_of_epoch_us,
    rational_of_ns,
)
from labwire.wire.image_message import (
    MESSAGES,
    ImageMessage,
    Message,
    MetadataMessage,
    StartMessage,
)
from tests.wire.cbor_walk import walk
from tests.wire.image_golden import BSLZ4, BYTES, CANONICAL, MEANINGS, RUN
from tests.wire.image_strategies import messages


def encode(message: Message, *, self_described: bool = True) -> bytes:
    return b"".join(encode_message(message, self_described=self_described))


# --- golden bytes


@pytest.mark.parametrize("name", BYTES)
def test_golden_bytes_are_understood(name: str) -> None:
    assert decode_message(BYTES[name]) == MEANINGS[name]


@pytest.mark.parametrize("name", CANONICAL)
def test_messages_become_the_golden_bytes(name: str) -> None:
    assert encode(MEANINGS[name]) == BYTES[name]


@pytest.mark.parametrize("name", BYTES)
def test_every_cut_is_told(name: str) -> None:
    for end in range(len(BYTES[name])):
        with pytest.raises(ProtocolError):
            decode_message(BYTES[name][:end])


def test_every_kind_of_message_has_golden_bytes() -> None:
    assert {type(message) for message in MEANINGS.values()} == set(MESSAGES)
    assert MEANINGS.keys() == BYTES.keys()


# --- what real parsers demand: DECTRIS' C parser, and streams that are read by several programs


@pytest.mark.parametrize("name", CANONICAL)
def test_what_the_c_parser_of_dectris_demands(name: str) -> None:
    message = msgspec.structs.replace(MEANINGS[name], extra={**MEANINGS[name].extra, "z" * 10: 1})
    data = encode(message)
    assert data.startswith(SELF_DESCRIBED)
    heads = list(walk(data[3:]))
    assert (heads[1].value, heads[2].value) == ("type", type(message).__struct_config__.tag)
    assert all(head.info < 28 for head in heads), "all lengths are definite"
    assert all(len(head.key) < 64 for head in heads)


FLOATS_OF_START = [
    *("beam_center_x", "beam_center_y", "incident_energy", "incident_wavelength", "frame_time", "count_time"),
    *("pixel_size_x", "pixel_size_y", "sensor_thickness", "detector_distance"),
]


def test_floats_are_floats_whatever_they_were() -> None:
    start = StartMessage(
        **RUN,
        number_of_images=1,
        image_size_x=1,
        image_size_y=1,
        **cast("dict[str, Any]", dict.fromkeys(FLOATS_OF_START, 515)),
        detector_translation=(0, 0, 1),
        threshold_energy={"default": 6200},
        goniometer={"omega": GoniometerAxis(start=0, increment=1)},
        unit_cell=UnitCell(a=1, b=2, c=3, alpha=90, beta=90, gamma=np.float32(90)),  # pyright: ignore[reportArgumentType]
    )
    heads = {head.path: head for head in walk(encode(start)[3:]) if not head.is_key}
    floats = [
        *FLOATS_OF_START,
        *(f"detector_translation/{axis}" for axis in range(3)),
        *("threshold_energy/default", "goniometer/omega/start", "goniometer/omega/increment"),
        *(f"unit_cell/{name}" for name in ("a", "b", "c", "alpha", "beta", "gamma")),
    ]
    assert {path: heads[path].initial for path in floats} == dict.fromkeys(floats, 0xFB)
    image = ImageMessage(image_id=1, spots=(Spot(x=1, y=2, intensity=3, indexed=True),), bkg_estimate=1)
    heads = {head.path: head for head in walk(encode(image)[3:]) if not head.is_key}
    floats = ["bkg_estimate", "spots/0/x", "spots/0/y", "spots/0/I"]
    assert {path: heads[path].initial for path in floats} == dict.fromkeys(floats, 0xFB)


def test_type_is_first_and_data_is_last() -> None:
    image = msgspec.structs.replace(cast("Any", MEANINGS["image, results"]), extra={"later": 1, 5: "x"})
    keys = [head.value for head in walk(encode(image)[3:]) if head.depth == 1 and head.is_key]
    assert keys[0] == "type"
    assert keys[-1] == "data"
    assert {"later", 5} <= set(keys)


def test_the_prefix_is_optional_both_ways() -> None:
    for message in MEANINGS.values():
        with_prefix, without = encode(message), encode(message, self_described=False)
        assert with_prefix == SELF_DESCRIBED + without
        assert decode_message(with_prefix) == decode_message(without) == decode_message(SELF_DESCRIBED + with_prefix)


def test_metadata_has_neither_pixels_nor_spots_nor_types() -> None:
    bundle = metadata_of([cast("ImageMessage", MEANINGS["image, results"])] * 2)
    assert (bundle.series_id, bundle.series_unique_id) == (135, "135:lysozyme_1")
    heads = list(walk(encode(bundle)[3:]))
    inner = {head.value for head in heads if head.is_key and head.path.startswith("images/")}
    assert {"image_id", "roi_integrals", "az_int_profile", "indexing_result"} <= inner
    assert not inner & {"data", "spots", "type"}
    decoded = cast("MetadataMessage", decode_message(encode(bundle)))
    assert [image.data for image in decoded.images] == [{}, {}]
    assert decoded.images[1].roi_integrals == bundle.images[1].roi_integrals


# --- pixels are not copied


def large_image(pixels: bytearray) -> ImageMessage:
    return ImageMessage(image_id=1, data={"default": Array((len(pixels),), "|u1", pixels)})


def test_pixels_go_out_uncopied_in_one_gather_write() -> None:
    pixels = bytearray(GATHER_BYTES)
    header, payload = encode_message(large_image(pixels))
    assert len(header) < 100
    assert isinstance(payload, memoryview)
    assert payload.obj is pixels


def test_small_arrays_are_joined_with_what_stands_around_them() -> None:
    assert len(encode_message(large_image(bytearray(GATHER_BYTES - 1)))) == 1


def test_each_channel_is_a_piece() -> None:
    pixels = bytearray(GATHER_BYTES)
    array = Array((GATHER_BYTES,), "|u1", pixels)
    message = ImageMessage(image_id=1, data={"a": array, "b": array})
    pieces = encode_message(message)
    assert [len(piece) > GATHER_BYTES - 1 for piece in pieces] == [False, True, False, True]
    assert decode_message(b"".join(pieces)) == message


def test_decoded_pixels_are_a_view_of_the_message() -> None:
    buffer = bytearray(encode(large_image(bytearray(GATHER_BYTES))))
    array = cast("ImageMessage", decode_message(buffer)).data["default"]
    assert as_numpy(array).sum() == 0
    buffer[-1] = 9
    assert as_numpy(array).sum() == 9


# --- round trips


@given(messages, st.booleans())
def test_round_trip(message: Message, self_described: bool) -> None:  # noqa: FBT001
    data = encode(message, self_described=self_described)
    assert decode_message(data) == message
    assert encode(decode_message(data), self_described=self_described) == data


@given(messages, st.binary(max_size=30), st.integers(0, 2**32))
def test_garbage_is_refused_in_our_words(message: Message, noise: bytes, at: int) -> None:
    data = encode(message)
    cut = at % len(data)
    for damaged in (noise, data[:cut] + noise, data[:cut] + noise + data[cut + len(noise) :], data[cut:]):
        try:
            again = decode_message(damaged)
        except LabwireError as error:
            text = str(error)
            assert len(text) < 3000
        else:
            encode(again)


# --- what others send


def replaced(message: Message, **values: object) -> bytes:
    """Encode a message with values that its fields do not allow."""
    plain = msgspec.structs.replace(message, **cast("dict[str, Any]", dict.fromkeys(values)))
    return encode(msgspec.structs.replace(plain, extra={**plain.extra, **values}))


def test_values_of_another_type_do_not_cost_the_message() -> None:
    start = cast("StartMessage", MEANINGS["start, DECTRIS"])
    odd: dict[str, Any] = {
        "pixel_mask": {"threshold_1": b"\0\0\0\0"},  # as the simulated Eiger of tickit-devices has it
        "countrate_correction_lookup_table": b"",
        "goniometer": {"omega": {"start": "zero", "increment": 0.1, "unit": "deg"}},
        "saturation_value": 1.5,
        "grid_scan": 7,
    }
    later = msgspec.structs.replace(start, extra={"later": {"x": 1}})
    decoded = decode_message(replaced(later, **odd))
    assert decoded == msgspec.structs.replace(start, **dict.fromkeys(odd), extra={"later": {"x": 1}, **odd})
    assert sorted(misfits(decoded)) == sorted(odd)
    assert decode_message(encode(decoded)) == decoded


def test_what_replaces_a_misfit_is_sent_in_its_place() -> None:
    start = cast("StartMessage", decode_message(replaced(MEANINGS["start, Jungfraujoch"], error_value="none")))
    assert start.extra == {"error_value": "none"}
    mended = decode_message(encode(msgspec.structs.replace(start, error_value=-1)))
    assert mended == msgspec.structs.replace(start, error_value=-1, extra={})


def test_integers_and_short_floats_are_floats_to_us() -> None:
    data = replaced(ImageMessage(image_id=1), bkg_estimate=3)
    assert cast("ImageMessage", decode_message(data)).bkg_estimate == 3.0


def test_dates_without_a_tag_are_dates() -> None:
    data = replaced(ImageMessage(image_id=1), series_date="2026-05-01T12:00:00Z")
    image = cast("ImageMessage", decode_message(data))
    assert image.series_date == "2026-05-01T12:00:00Z"
    assert type(image.series_date) is Date
    assert misfits(image) == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xf6", "a map, not NoneType"),
        (b"\x80", "a map, not list"),
        (b"\xa0", "None is not a type"),
        (b"\xa1\x64type\x05", "5 is not a type"),
        (b"\xa1\x64type\x80", "is not a type"),
        (b"\xa1\x64type\x63odd", "'odd' is not a type"),
        (b"\xa1\x64type\x65start", "series_id"),
        (b"\xa1\x64type\x65image", "image_id"),
        (b"\xa2\x64type\x65image\x68image_id\x20", "image_id"),
        (b"\xa3\x64type\x65image\x68image_id\x00\x64data\xa1\x61a\x43abc", "data"),
        (b"\xa2\x64type\x68metadata\x66images\x81\xa0", "images"),
    ],
)
def test_what_is_no_message_is_told(data: bytes, words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        decode_message(data)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (ImageMessage(image_id=2**64), "image_id: .*64 bits"),
        (ImageMessage(image_id=cast("int", 1.5)), r"ImageMessage\.image_id"),
        (ImageMessage(image_id=1, series_unique_id=cast("str", 5)), r"series_unique_id: text was expected"),
        (ImageMessage(image_id=1, series_unique_id="\ud800"), r"series_unique_id"),
        (ImageMessage(image_id=1, bkg_estimate=cast("float", "x")), r"bkg_estimate"),
        (ImageMessage(image_id=1, spots=cast("Any", [5])), r"spots: a Spot was expected, not int"),
        (ImageMessage(image_id=1, data={"default": cast("Array", b"")}), r"data: an Array was expected"),
        (ImageMessage(image_id=1, data={"default": Array((2,), "<u2", b"abc")}), r"data: .*4 bytes, its data 3"),
        (ImageMessage(image_id=1, data={"default": Array((2,), "<q2", b"abcd")}), r"'<q2' is not an element type"),
        (ImageMessage(image_id=1, data={"default": Array((2,), "<u2", bytes(12), "bslz4", 2)}), r"header of the bslz4"),
        (ImageMessage(image_id=1, extra={"x": object()}), r"extra: object has no form"),
    ],
)
def test_what_cannot_be_sent_is_told_before_anything_is(message: Message, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        encode_message(message)


def test_messages_with_other_fields_follow_each_other() -> None:
    # What a message had is remembered for the next one.
    plain = ImageMessage(image_id=1, series_id=7)
    others = [
        ImageMessage(image_id=2, series_id=7),
        ImageMessage(image_id=2, bkg_estimate=1.0),  # as many fields, and not the same
        ImageMessage(image_id=2),
        ImageMessage(image_id=2, series_id=7, extra={"later": 1}),
        ImageMessage(image_id=2, series_id=7, spots=()),
        ImageMessage(image_id=2, series_id=7, user_data={"x": None}),
    ]
    for other in others:
        for message in (plain, other, plain):
            assert decode_message(encode(message)) == message
        bundle = metadata_of([plain, other, plain])
        images = cast("MetadataMessage", decode_message(encode(bundle))).images
        assert [image.image_id for image in images] == [1, 2, 1]
        assert [image.bkg_estimate for image in images] == [None, other.bkg_estimate, None]
    assert encode(plain) == encode(plain)


def test_an_array_of_numpy_has_no_form_also_where_it_does_not_compare() -> None:
    encode_message(ImageMessage(image_id=1, user_data="text"))
    with pytest.raises(UsageError, match=r"user_data: ndarray has no form"):
        encode_message(ImageMessage(image_id=1, user_data=np.zeros(3)))


def test_extra_without_end_is_refused() -> None:
    endless: dict[str, Any] = {}
    endless["self"] = endless
    with pytest.raises(UsageError):
        encode_message(ImageMessage(image_id=1, extra=endless))


def test_helpers_for_times() -> None:
    assert rational_of_ns(1_500_000_000) == Rational(1_500_000_000, 1_000_000_000)
    assert rational_of_ns(1_500_000_000).seconds == 1.5
    assert math.isnan(Rational(1, 0).seconds)
    with pytest.raises(UsageError, match="-1 ns"):
        rational_of_ns(-1)
    assert date_of_epoch_us(1_777_636_800_000_001) == "2026-05-01T12:00:00.000001+00:00"
    assert type(date_of_epoch_us(0)) is Date


def test_arrays_of_numpy() -> None:
    pixels = np.arange(6, dtype="<u2").reshape(2, 3)
    array = array_of(pixels)
    assert (array.shape, array.dtype, bytes(array.data)) == ((2, 3), "<u2", pixels.tobytes())
    assert np.shares_memory(as_numpy(array), pixels)
    fortran = as_numpy(cast("ImageMessage", MEANINGS["image, column-major"]).data["default"])
    assert fortran.tolist() == [[0, 2, 4], [1, 3, 5]]
    assert array_of(pixels.T).shape == (3, 2)
    assert as_numpy(array_of(pixels.T)).tolist() == pixels.T.tolist()
    for bad in (np.array(1), np.zeros(2, bool), np.zeros(2, complex), np.array(["a"])):
        with pytest.raises(UsageError, match="elements of"):
            array_of(bad)


def test_arrays_that_numpy_cannot_show() -> None:
    with pytest.raises(UsageError, match="decompress"):
        as_numpy(Array((16,), "<u2", BSLZ4, "bslz4", 2))
    with pytest.raises(UsageError, match="128-bit"):
        as_numpy(Array((1,), "<f16", bytes(16)))
    with pytest.raises(ProtocolError, match="4 bytes, its data 3"):
        as_numpy(Array((2,), "<u2", b"abc"))


def test_an_array_shows_itself_shortly() -> None:
    array = Array((2, 8), "<u2", BSLZ4, "bslz4", 2)
    assert repr(array) == "Array((2, 8), '<u2', <34 bytes>, compression='bslz4', elem_size=2)"
    assert array != Array((2, 8), "<u2", BSLZ4, "bszstd", 2)
    assert array != "other"


def marks_in_the_code() -> Iterator[tuple[str, str, bool]]:
    for kind in (*MESSAGES, GoniometerAxis, GridScan, UnitCell, Spot, RoiIntegral):
        for field in msgspec.structs.fields(kind):
            if field.name != "extra":
                yield kind.__name__, field.encode_name, "uncertain" in repr(field.type)


def marks_in_the_documentation() -> Iterator[tuple[str, str, bool]]:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "image-messages.md").read_text()
    kind = ""
    for line in page.splitlines():
        if line.startswith("## "):
            kind = line.split("`")[1] if "`" in line else ""
        elif kind and line.startswith("| `"):
            _, names, _, _, mark, _ = line.split("|")
            for name in names.split("`")[1::2]:
                yield kind, name, mark.split()[0] == "uncertain"


def test_every_field_stands_in_the_documentation_with_its_mark() -> None:
    assert sorted(marks_in_the_documentation()) == sorted(marks_in_the_code())
