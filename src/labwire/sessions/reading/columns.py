"""From the payloads of a topic to columns: which there are, of which kind, in which unit."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any, NamedTuple, cast

import msgspec

TIME, ARRIVAL, MORE = "time_s", "arrival_s", "more"
MAX_COLUMNS = 500
"""Of one topic; keys beyond stand as JSON in the column ``more``."""
_MAX_DEPTH = 8
_MAX_INT = 1 << 63
_MAX_SHAPES = 1000

_UNITS = {
    "s": "s", "ms": "ms", "us": "us", "ns": "ns", "hz": "Hz", "khz": "kHz", "mhz": "MHz",
    "bytes": "byte", "px": "px", "v": "V", "mv": "mV", "a": "A", "ma": "mA", "w": "W", "ohm": "Ohm",
    "kg": "kg", "g": "g", "m": "m", "mm": "mm", "um": "um", "nm": "nm", "k": "K", "c": "degC",
    "ev": "eV", "kev": "keV", "deg": "deg", "rad": "rad", "percent": "%", "ppm": "ppm", "bpm": "1/min", "db": "dB",
}  # fmt: skip
"""Last part of a name -> unit."""
_PUPIL_UNITS = {
    "timestamp": "s", "duration": "s", "confidence": "1", "model_confidence": "1", "norm_pos": "1",
    "diameter": "px", "diameter_3d": "mm", "theta": "rad", "phi": "rad", "width": "px", "height": "px",
    "ellipse.center": "px", "ellipse.axes": "px", "ellipse.angle": "deg",
    "projected_sphere.center": "px", "projected_sphere.axes": "px", "projected_sphere.angle": "deg",
    "sphere.center": "mm", "sphere.radius": "mm", "circle_3d.center": "mm", "circle_3d.radius": "mm",
    "circle_3d.normal": "1", "gaze_point_3d": "mm", "eye_center_3d": "mm", "gaze_normal_3d": "1",
}  # fmt: skip
"""Keys that Pupil Core's data have, by name. Source: ipc-backbone, and the documentation of Pupil Core's data."""


class Kind(IntEnum):
    """What a column holds."""

    NOTHING = 0
    BOOL = 1
    INT = 2
    FLOAT = 3
    TEXT = 4
    LIST = 5
    """A list of numbers."""
    JSON = 6
    """Anything: text in JSON."""


class Column(NamedTuple):
    """One column of a table."""

    name: str
    kind: Kind
    unit: str = ""
    """Empty if nobody tells."""
    length: int = 0
    """Numbers in each list if all have as many; otherwise 0."""


TIME_COLUMNS = (Column(TIME, Kind.FLOAT, "s"), Column(ARRIVAL, Kind.FLOAT, "s"))


def unit_of(name: str) -> str:
    """Return the unit that a name tells; empty if it tells none.

    >>> unit_of("free_bytes"), unit_of("rate_hz"), unit_of("speed_m_s"), unit_of("label"), unit_of("diameter_3d")
    ('byte', 'Hz', 'm/s', '', 'mm')
    """
    if name in _PUPIL_UNITS:
        return _PUPIL_UNITS[name]
    words = name.rpartition(".")[2].split("_")
    if len(words) < 2:
        return ""
    unit = _UNITS.get(words[-1].lower(), "")
    if unit == "s" and len(words) > 2 and words[-2] in {"m", "mm", "um", "deg", "rad", "bytes", "v"}:
        return f"{_UNITS[words[-2]]}/s"
    return unit


def flatten(payload: Mapping[Any, Any], topic: str = "") -> dict[str, Any]:
    """Return a payload as one level of keys: what lies deeper has dots in its key, a ``topic`` that is known is out."""
    flat: dict[str, Any] = {}
    _flatten_into(flat, payload, "", 0)
    if flat.get("topic") == topic:
        del flat["topic"]
    for reserved in (TIME, ARRIVAL, MORE):
        if reserved in flat:
            flat[f"payload.{reserved}"] = flat.pop(reserved)
    return flat


def _flatten_into(flat: dict[str, Any], payload: Mapping[Any, Any], before: str, depth: int) -> None:
    for key, value in payload.items():
        name = before + key if type(key) is str else f"{before}{key}"
        if type(value) is dict and value and depth < _MAX_DEPTH:
            _flatten_into(flat, cast("dict[Any, Any]", value), f"{name}.", depth + 1)
        else:
            flat[name] = value


_KIND_BY_TYPE = {bool: Kind.BOOL, float: Kind.FLOAT, str: Kind.TEXT}
_NUMBERS = frozenset({int, float})


def kind_of(value: Any) -> Kind:
    """Return what kind of column takes a value."""
    kind = _KIND_BY_TYPE.get(cast("type[Any]", type(value)))
    if kind is not None:
        return kind
    if value is None:
        return Kind.NOTHING
    if type(value) is int:
        return Kind.INT if -_MAX_INT <= value < _MAX_INT else Kind.FLOAT
    if type(value) is list:
        return Kind.LIST if _NUMBERS.issuperset(map(type, cast("list[Any]", value))) else Kind.JSON
    return Kind.JSON


def common_kind(one: Kind, other: Kind) -> Kind:
    """Return the kind of column that takes both."""
    if one is other or other is Kind.NOTHING:
        return one
    if one is Kind.NOTHING:
        return other
    return Kind.FLOAT if {one, other} == {Kind.INT, Kind.FLOAT} else Kind.JSON


class SchemaBuilder:
    """Learns the columns of one topic from its payloads; it grows with the columns, not with the messages."""

    def __init__(self) -> None:
        self.rows = 0
        self.skipped = 0
        """Messages whose payload is no map."""
        self._kinds: dict[str, Kind] = {}
        self._lengths: dict[str, int] = {}
        self._more = False
        self._shapes: dict[tuple[Any, ...], list[str]] = {}

    def learn(self, flat: Mapping[str, Any]) -> None:
        """Take in one flattened payload."""
        self.rows += 1
        # Nearly all payloads of a topic have the same keys with values of the same types. What the type alone does not
        # tell, the range of an integer and the content of a list, is looked at each time.
        shape = (*flat, *map(type, flat.values()))
        open_names = self._shapes.get(shape)
        if open_names is None:
            self._learn(flat, flat)
            if len(self._shapes) < _MAX_SHAPES:
                self._shapes[shape] = [name for name, value in flat.items() if type(value) in (int, list)]
        elif open_names:
            self._learn(flat, open_names)

    def _learn(self, flat: Mapping[str, Any], names: Iterable[str]) -> None:
        kinds = self._kinds
        for name in names:
            value = flat[name]
            known = kinds.get(name)
            if known is None:
                if len(kinds) >= MAX_COLUMNS:
                    self._more = True
                    continue
                known = kinds[name] = Kind.NOTHING
            kind = kind_of(value)
            if kind is not known:
                kinds[name] = common_kind(known, kind)
            if kind is Kind.LIST and self._lengths.setdefault(name, len(value)) != len(value):
                self._lengths[name] = 0

    def columns(self) -> list[Column]:
        """Return the columns: the time first, then the keys in the order in which they came."""
        columns = [
            Column(name, kind, unit_of(name), self._lengths.get(name, 0) if kind is Kind.LIST else 0)
            for name, kind in self._kinds.items()
        ]
        return [*TIME_COLUMNS, *columns, *([Column(MORE, Kind.JSON)] if self._more else [])]


class RowMaker:
    """Makes rows of flattened payloads, each cell as its column wants it.

    Args:
        columns: As `SchemaBuilder.columns` gives them.
    """

    def __init__(self, columns: list[Column]) -> None:
        self.columns = columns
        # Most cells are taken as they are; this runs for every one of them.
        self._cells = [
            (column.name, _MAKERS.get(column.kind)) for column in columns[len(TIME_COLUMNS) :] if column.name != MORE
        ]
        self._known = {name for name, _ in self._cells} if columns[-1].name == MORE else None

    def row(self, time_s: float, arrival_s: float, flat: Mapping[str, Any]) -> list[Any]:
        """Return one row."""
        row = [time_s, arrival_s]
        row += [flat.get(name) if make is None else make(flat.get(name)) for name, make in self._cells]
        if self._known is not None:
            more = {name: value for name, value in flat.items() if name not in self._known}
            row.append(to_json(more) if more else None)
        return row


def _as_float(value: Any) -> float | None:
    return None if value is None else float(value)


def _as_json(value: Any) -> str | None:
    return None if value is None else to_json(value)


_MAKERS = {Kind.FLOAT: _as_float, Kind.JSON: _as_json}


def to_json(value: Any) -> str:
    """Return any value of a payload as JSON text; bytes become base64."""
    try:
        return _encoder.encode(value).decode()
    except TypeError:  # a key that JSON cannot have
        return _encoder.encode(_plain(value)).decode()


_encoder = msgspec.json.Encoder(enc_hook=repr)


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {str(key): _plain(inner) for key, inner in cast("dict[Any, Any]", value).items()}
        case list():
            return [_plain(inner) for inner in cast("list[Any]", value)]
        case bytes():
            return base64.b64encode(value).decode()
        case _:
            return value
