"""Any image message, for hypothesis."""

from __future__ import annotations

import math
import struct
from typing import Any

import msgspec
from hypothesis import strategies as st

from labwire.wire.cbor_values import Date, Simple, Tag
from labwire.wire.image_array import TAGS, Array
from labwire.wire.image_fields import GoniometerAxis, Rational, RoiIntegral, Spot, UnitCell
from labwire.wire.image_message import (
    CalibrationMessage,
    EndMessage,
    ImageMessage,
    Message,
    MetadataMessage,
    StartMessage,
)

text = st.text(max_size=20)
uints = st.integers(0, 2**64 - 1)
floats = st.floats(allow_nan=False)
keys = st.text(min_size=1, max_size=8)
leaves = st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | floats | text | st.binary(max_size=20)
trees = st.recursive(
    leaves | text.map(Date) | st.just(Simple(23)) | st.builds(Tag, st.sampled_from([1, 1000]), leaves),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=8,
)


@st.composite
def arrays(draw: st.DrawFn) -> Array:
    dtype = draw(st.sampled_from(sorted(TAGS)))
    shape = tuple(draw(st.lists(st.integers(0, 5), min_size=1, max_size=4)))
    column_major = len(shape) > 1 and draw(st.booleans())
    nbytes = math.prod(shape) * int(dtype[2:])
    compression = draw(st.sampled_from(["", "", "bslz4", "bszstd", "lz4"]))
    if compression:
        data = struct.pack(">QI", nbytes, 8192) + draw(st.binary(max_size=30))
        return Array(shape, dtype, data, compression, draw(st.sampled_from([0, 1, 2, 4, 8])), column_major=column_major)
    return Array(shape, dtype, bytes(nbytes), column_major=column_major)


extras = st.dictionaries(keys.map(lambda key: f"x_{key}") | st.integers(-5, 5), trees | arrays(), max_size=3)


def struct_of(kind: type[Any], **given_fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Any values for any of a struct's fields."""
    return st.fixed_dictionaries(
        {"extra": extras, **{name: s for name, s in given_fields.items() if name in required(kind)}},
        optional={name: s for name, s in given_fields.items() if name not in required(kind)},
    ).map(lambda fields: kind(**fields))


def required(kind: type[Any]) -> set[str]:
    return {field.name for field in msgspec.structs.fields(kind) if field.required}


cells = struct_of(UnitCell, **dict.fromkeys(("a", "b", "c", "alpha", "beta", "gamma"), floats))
spots = struct_of(Spot, x=floats, y=floats, intensity=floats, indexed=st.booleans())
rationals = st.builds(Rational, uints, uints)
axes = struct_of(GoniometerAxis, start=floats, increment=floats, axis=st.tuples(floats, floats, floats))
rois = struct_of(RoiIntegral, sum=st.integers(0, 2**60) | floats, max=st.integers(-(2**64), 2**64 - 1), pixels=uints)
channels = st.dictionaries(keys, arrays(), max_size=2)
series: dict[str, Any] = {"series_id": uints, "series_unique_id": text}
images = struct_of(
    ImageMessage,
    **series,
    image_id=uints,
    real_time=rationals,
    series_date=text.map(Date),
    spots=st.lists(spots, max_size=4).map(tuple),
    indexing_result=st.booleans(),
    indexing_unit_cell=cells,
    lattice_type=st.dictionaries(keys, trees, max_size=2),
    bkg_estimate=floats,
    az_int_profile=arrays(),
    roi_integrals=st.dictionaries(keys, rois, max_size=2),
    pixel_sum=st.integers(-(2**64), 2**64 - 1),
    user_data=trees.filter(lambda tree: tree is not None),
    data=channels,
)
messages: st.SearchStrategy[Message] = st.one_of(
    struct_of(
        StartMessage,
        **series,
        number_of_images=uints,
        image_size_x=uints,
        image_size_y=uints,
        arm_date=text.map(Date),
        channels=st.lists(text, max_size=3).map(tuple),
        beam_center_x=floats,
        detector_translation=st.tuples(floats, floats, floats),
        error_value=st.integers(-(2**31), 2**31),
        pixel_mask_enabled=st.booleans(),
        threshold_energy=st.dictionaries(keys, floats, max_size=2),
        goniometer=st.dictionaries(keys, axes, max_size=2),
        storage_cell_delay=rationals,
        unit_cell=cells,
        user_data=trees.filter(lambda tree: tree is not None),
        pixel_mask=channels,
        flatfield=channels,
        countrate_correction_lookup_table=arrays(),
    ),
    images,
    struct_of(CalibrationMessage, **series, data=channels),
    struct_of(EndMessage, **series, end_date=text.map(Date), bkg_estimate=floats, adu_histogram=channels),
    struct_of(
        MetadataMessage,
        **series,
        images=st.lists(images.map(lambda image: msgspec.structs.replace(image, data={}, spots=None)), max_size=3).map(
            tuple
        ),
    ),
)
