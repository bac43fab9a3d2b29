"""Image messages to bytes and back: `encode_message` and `decode_message`.

How a field is written and what is accepted for it follows from its type in `labwire.wire.image_message`.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable
from functools import cache
from operator import itemgetter
from reprlib import repr as brief
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar, cast

import msgspec
from msgspec import ValidationError, inspect
from msgspec.structs import astuple

from labwire.errors import ProtocolError, UsageError
from labwire.wire import cbor_writer as cbor
from labwire.wire.cbor_reader import decode_item
from labwire.wire.cbor_values import DEFAULT_LIMITS, SELF_DESCRIBED, Buffer, Date, Limits
from labwire.wire.image_array import Array
from labwire.wire.image_message import MESSAGES, ImageMessage, Message, MetadataMessage

_TYPE: Final = "type"
_EXTRA: Final = "extra"
_NOT_IN_METADATA: Final = frozenset({_TYPE, "spots", "data"})
_NOTHING: Final = frozenset[str]()
_STRICT: Final = frozenset({"data", "images"})
"""What a message is for: of another type, it is malformed. Other optional fields of another type go to `extra`."""


# --- encoding

_CANNOT_WRITE = (TypeError, ValueError, AttributeError, OverflowError, RecursionError, struct.error, UsageError)


def encode_message(message: Message, *, self_described: bool = True) -> list[Buffer]:
    """Encode a message into pieces for one gather write; joined, they are the message.

    Arrays of 4096 bytes and more are passed on as views, uncopied: of an image with one channel come its header and its
    pixels. They must not change until the pieces are sent.

    Args:
        message: What to encode.
        self_described: Begin with tag 55799. DECTRIS' C parser needs it; readers that use cbor2 6 and expect a plain
            dict cannot read a map behind it.

    Raises:
        UsageError: A value does not fit its field, or an array's bytes do not agree with its shape.
    """
    output = cbor.Output(SELF_DESCRIBED if self_described else b"")
    _writer_of(type(message))(output, message)
    return output.take()


class _Field(NamedTuple):
    """How one field of a struct is written."""

    name: str
    """On the wire."""
    key: bytes
    write: cbor.Write


class _Shape(msgspec.Struct, frozen=True):
    """Which fields a struct had, when `extra` was empty: those that follow mostly have the same."""

    begin: bytes
    """What stands before them."""
    fields: tuple[tuple[int, str, bytes, cbor.Write], ...]
    """Their places among all fields, and what `_Field` says."""
    present: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    """Takes their values out of those of all fields."""
    absent: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    """Takes those that were None, perhaps beside others that are there."""
    absent_count: int


class _StructWriter:
    """Writes the structs of one class as maps: fields that are None are left out, `extra` adds its own keys."""

    __slots__ = ("begin", "extra_place", "fields", "kind", "shape")

    def __init__(self, kind: type[msgspec.Struct], without: frozenset[str]) -> None:
        info = cast("inspect.StructType", inspect.type_info(kind))
        self.kind = kind
        self.shape: _Shape | None = None
        self.begin = b""
        if info.tag is not None and _TYPE not in without:
            self.begin = cbor.text_item(_TYPE) + cbor.text_item(str(info.tag))
        self.fields = tuple(
            _EXTRA_FIELD
            if field.name == _EXTRA
            else None
            if field.encode_name in without
            else _Field(field.encode_name, cbor.text_item(field.encode_name), _write_of(field.type))
            for field in info.fields
        )
        self.extra_place = self.fields.index(_EXTRA_FIELD)

    def __call__(self, output: cbor.Output, value: Any) -> None:
        if not isinstance(value, self.kind):
            raise TypeError(f"a {self.kind.__name__} was expected, not {type(value).__name__}")
        values, shape = astuple(value), self.shape
        if values[self.extra_place]:
            values = self._without_taken(values)
            shape = self._shape_of(values)
        elif shape is None or not _has(values, shape):
            shape = self.shape = self._shape_of(values)
        add, name = output.parts.append, _EXTRA
        add(shape.begin)
        try:
            for place, name, key, write in shape.fields:  # noqa: B007  the message below says which
                add(key)
                write(output, values[place])
        except _CANNOT_WRITE as error:
            raise UsageError(f"{self.kind.__name__}.{name}: {error}") from error

    def _shape_of(self, values: tuple[Any, ...]) -> _Shape:
        fields = tuple(
            (place, field.name, field.key, field.write)
            for place, (field, item) in enumerate(zip(self.fields, values, strict=True))
            if item is not None and field is not None and (field is not _EXTRA_FIELD or item)
        )
        at = self.extra_place
        extra = values[at]
        begin = cbor.map_head(len(fields) - bool(extra) + len(extra) + bool(self.begin)) + self.begin
        present = [field[0] for field in fields]
        absent = [place for place, field in enumerate(self.fields) if field is not None and values[place] is None]
        # Of fewer than two places no tuple would be taken, and `extra` is never None. To take all values costs nothing.
        absent_of = itemgetter(at, at, *absent) if None in self.fields else _ALL
        return _Shape(begin, fields, itemgetter(at, at, *present), absent_of, len(absent))

    def _without_taken(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Leave what a field says already out of `extra`."""
        taken = {field.name for field, item in zip(self.fields, values, strict=True) if item is not None and field}
        at = self.extra_place
        extra = {key: item for key, item in values[at].items() if key not in taken and key != _TYPE}
        return (*values[:at], extra, *values[at + 1 :])


_ALL: Final[Callable[[tuple[Any, ...]], tuple[Any, ...]]] = tuple


def _has(values: tuple[Any, ...], shape: _Shape) -> bool:
    """Tell whether a struct with these values has the fields of a shape, and no others; its `extra` is empty."""
    try:
        return None not in shape.present(values) and shape.absent(values).count(None) == shape.absent_count
    except ValueError:  # an array of numpy's, which has no form in CBOR either
        return False


def _write_entries(output: cbor.Output, value: Any) -> None:
    for key, item in value.items():
        cbor.write_any(output, key)
        cbor.write_any(output, item)


_EXTRA_FIELD = _Field(_EXTRA, b"", _write_entries)


@cache
def _writer_of(kind: type[msgspec.Struct], without: frozenset[str] = _NOTHING) -> _StructWriter:
    return _StructWriter(kind, without)


def _write_of(field: inspect.Type) -> cbor.Write:
    """Return what writes values of a type; a type that the wire has no rule for is an error of the declaration."""
    match field:
        case inspect.Metadata(type=inner):
            return _write_of(inner)
        case inspect.UnionType(types=types):
            inner = [one for one in types if not isinstance(one, inspect.NoneType)]
            return _write_of(inner[0]) if len(inner) == 1 else cbor.write_any
        case inspect.DictType(value_type=inner):
            return cbor.map_of(_write_of(inner))
        case inspect.VarTupleType(item_type=inner) | inspect.TupleType(item_types=(inner, *_)):
            return cbor.list_of(_write_of(inner))
        case inspect.NamedTupleType(fields=(inner, *_)):
            return cbor.list_of(_write_of(inner.type))
        case inspect.StructType(cls=kind):
            return _writer_of(kind, _NOT_IN_METADATA if kind is ImageMessage else _NOTHING)
        case inspect.CustomType(cls=kind):
            return {Array: cbor.write_array, Date: cbor.write_date}[kind]
        case _:
            return _PLAIN[type(field)]


_PLAIN: dict[type[inspect.Type], cbor.Write] = {
    inspect.FloatType: cbor.write_float,
    inspect.IntType: cbor.write_int,
    inspect.BoolType: cbor.write_bool,
    inspect.StrType: cbor.write_text,
    inspect.AnyType: cbor.write_any,
}


# --- decoding

_S = TypeVar("_S", bound=msgspec.Struct)
_Raw: TypeAlias = dict[Any, Any]
_Sort: TypeAlias = Callable[[Any], Any]
_BY_TYPE: dict[Any, type[Message]] = {kind.__struct_config__.tag: kind for kind in MESSAGES}


def decode_message(data: Buffer, limits: Limits = DEFAULT_LIMITS) -> Message:
    """Decode a message, with or without the self-describing prefix.

    Arrays are views of `data`: they live and change with it. A key that is not known, or an optional one whose value is
    of another type than its field, is in `extra` of its message (`misfits` names the latter).

    Raises:
        ProtocolError: It is malformed, of unknown type, or lacks what every such message has.
        TooLargeError: A limit is exceeded.
    """
    item = decode_item(data, limits)
    if not isinstance(item, dict):
        raise ProtocolError(f"an image message is a map, not {type(item).__name__}")
    raw = cast("_Raw", item)
    name = raw.pop(_TYPE, None)
    kind = _BY_TYPE.get(name) if type(name) is str else None
    if kind is None:
        raise ProtocolError(f"{brief(name)} is not a type of image message: known are {', '.join(_BY_TYPE)}")
    return _struct_of(kind, raw)


def misfits(message: Message) -> list[str]:
    """Name the known fields that came with values of another type, and are therefore in `extra`."""
    known = {field.encode_name for field in msgspec.structs.fields(type(message))}
    return [key for key in message.extra if key in known and key != _EXTRA]


def _struct_of(kind: type[_S], raw: _Raw) -> _S:
    sorted_raw = _sorter_of(kind)(raw)
    try:
        return msgspec.convert(sorted_raw, kind, dec_hook=_custom)
    except ValidationError:
        fitting = _without_misfits(kind, raw, sorted_raw)
    try:
        return msgspec.convert(fitting, kind, dec_hook=_custom)
    except ValidationError as error:
        raise ProtocolError(f"the {kind.__struct_config__.tag} message is malformed: {error}") from error


def _without_misfits(kind: type[msgspec.Struct], raw: _Raw, sorted_raw: _Raw) -> _Raw:
    """Put optional fields whose values are of another type into `extra`, as they came."""
    fitting, extra = dict(sorted_raw), dict(sorted_raw.get(_EXTRA, {}))
    for field in msgspec.structs.fields(kind):
        name = field.encode_name
        if field.required or name in _STRICT or name == _EXTRA or name not in fitting:
            continue
        try:
            msgspec.convert(fitting[name], field.type, dec_hook=_custom)
        except ValidationError:
            del fitting[name]
            extra[name] = raw[name]
    fitting[_EXTRA] = extra
    return fitting


def _custom(kind: type[Any], value: Any) -> Any:
    """Accept for a field what other senders put there: text without its tag, a plain list of numbers."""
    if isinstance(value, kind):
        return value
    if kind is Date and isinstance(value, str):
        return Date(value)
    if kind is Array and isinstance(value, list):
        return _array_of_numbers(cast("list[Any]", value))
    raise TypeError(f"Expected `{kind.__name__}`, got `{type(value).__name__}`")  # msgspec adds where


def _array_of_numbers(numbers: list[Any]) -> Array:
    if not all(type(number) is float or type(number) is int for number in numbers):
        raise TypeError("Expected `Array`, got a list of other things than numbers")
    doubles = array("d", numbers)
    if sys.byteorder == "big":
        doubles.byteswap()
    return Array((len(numbers),), "<f8", doubles.tobytes())


# Sorting puts the keys that a struct does not know into its `extra`, at every depth, before msgspec converts the rest.
# A map is never changed, but replaced: of a field that does not fit, what came is kept.


def _as_it_is(value: Any) -> Any:
    return value


@cache
def _sorter_of(kind: type[msgspec.Struct]) -> _Sort:
    info = cast("inspect.StructType", inspect.type_info(kind))
    known = frozenset(field.encode_name for field in info.fields) - {_EXTRA}
    inner = {field.encode_name: sort for field in info.fields if (sort := _sort_of(field.type)) is not _as_it_is}

    def sort_keys(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        raw = cast("_Raw", value)
        unknown = _NOTHING if raw.keys() <= known else raw.keys() - known
        nested = inner.keys() & raw.keys() if inner else ()
        if not unknown and not nested:
            return raw
        result = {key: item for key, item in raw.items() if key not in unknown} if unknown else dict(raw)
        for name in nested:
            result[name] = inner[name](raw[name])
        if unknown:
            result[_EXTRA] = {key: item for key, item in raw.items() if key in unknown}
        return result

    return sort_keys


def _sort_of(field: inspect.Type) -> _Sort:
    match field:
        case inspect.Metadata(type=inner):
            return _sort_of(inner)
        case inspect.UnionType(types=types):
            return next((sort for one in types if (sort := _sort_of(one)) is not _as_it_is), _as_it_is)
        case inspect.StructType(cls=kind):
            return _sorter_of(kind)
        case inspect.VarTupleType(item_type=inner) if (sort := _sort_of(inner)) is not _as_it_is:
            return lambda value: [*map(sort, cast("list[Any]", value))] if isinstance(value, list) else value
        case inspect.DictType(value_type=inner) if (sort := _sort_of(inner)) is not _as_it_is:
            return lambda value: _sorted_values(sort, value) if isinstance(value, dict) else value
        case _:
            return _as_it_is


def _sorted_values(sort: _Sort, value: Any) -> _Raw:
    return {key: sort(item) for key, item in cast("_Raw", value).items()}


def metadata_of(images: list[ImageMessage]) -> MetadataMessage:
    """Bundle the metadata of images of one run; their pixels and spots are left out when it is encoded."""
    first = images[0] if images else None
    return MetadataMessage(
        series_id=first and first.series_id,
        series_unique_id=first and first.series_unique_id,
        images=tuple(images),
    )
