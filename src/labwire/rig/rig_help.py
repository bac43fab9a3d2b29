"""The rig file explained: a commented default file, and a JSON Schema for editors. Both are made from the structs."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple, cast, get_args, get_origin

import msgspec

from labwire.instruments.config import InstrumentConfig
from labwire.rig.rig_config import ActorConfig, RigConfig
from labwire.strict import help_of

_WIDTH = 100
_GROUPED_FROM = 100_000
_HEAD = """\
# A rig. Every key stands here with its default; what you leave out keeps it.
# Lines that begin with # and no space are off: take the # away to switch them on.
#
#   labwire config check rig.toml    says everything that is wrong, at once
#   labwire config schema            a JSON Schema, for editors that complete and check TOML
#   labwire run rig.toml             runs it
"""

# What the tables that are off show: names for them, and keys that have no default.
_EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "cameras.world": {"demo": True},
    "sources.eyes": {"kind": "simulated_eyes"},
    "sources.tracker": {"kind": "pupil", "host": "192.168.1.5"},
    "sources.eeg": {"kind": "lsl", "type": "EEG"},
    "recorder": {},
    "file_ipc": {"camera": "world"},
    "time_sync": {},
    "instruments.DMM1": {"driver": "labwire.instruments.drivers.simulated:Multimeter"},
    "detectors.det1": {},
    "writers.disk1": {"address": "tcp://10.0.0.1:9100"},
    "actors.alarm": {"class": "my_lab:Alarm"},
    "alerts.died": {"on": ["actor.died", "instrument.died"], "notify": "alert.raised"},
}
_WITH_OPTIONS = (ActorConfig, InstrumentConfig)


class _Table(NamedTuple):
    name: str
    struct: type[msgspec.Struct]
    is_on: bool
    """Whether it is there by default."""


def default_toml() -> str:
    """Return a rig file that says what an empty one means, with the help of each key and an example of each table."""
    lines = [_HEAD, *_keys(RigConfig, {}, is_on=True)]
    for table in _tables():
        about = (inspect.getdoc(table.struct) or "").partition("\n")[0]
        lines += ["", *_comment(about), f"{'' if table.is_on else '#'}[{table.name}]"]
        lines += _keys(table.struct, _EXAMPLES.get(table.name, {}), is_on=table.is_on)
    return "\n".join(lines) + "\n"


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the rig file, with the help of each key as its description."""
    made = msgspec.json.schema(RigConfig)
    definitions: dict[str, Any] = made["$defs"]
    for struct in _structs_in(RigConfig):
        definition = definitions[struct.__name__]
        definition["description"] = _plain(inspect.getdoc(struct) or "")
        for key, text in help_of(struct).items():
            definition["properties"][key]["description"] = _plain(text)
    for struct in _WITH_OPTIONS:
        definition = definitions[struct.__name__]
        del definition["properties"]["options"]  # in a file they stand beside the other keys
        definition["additionalProperties"] = True
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "labwire rig file", **made}


@cache
def tables_by_key() -> Mapping[str, list[str]]:
    """Return, for each key, the tables that have it: ``{"pub_port": ["bus"], ...}``."""
    found: dict[str, list[str]] = {}
    for table in _tables():
        if "." not in table.name:
            for field in msgspec.structs.fields(table.struct):
                found.setdefault(field.encode_name, []).append(table.name)
    return found


def _tables() -> Iterator[_Table]:
    for field in msgspec.structs.fields(RigConfig):
        name, wanted = field.encode_name, field.type
        if get_origin(wanted) is dict:
            examples = [one for one in _EXAMPLES if one.startswith(f"{name}.")]
            for example in examples:
                struct = _struct_of(get_args(wanted)[1], _EXAMPLES[example])
                yield _Table(example, struct, is_on=False)
                yield from _tables_inside(example, struct)
        elif struct := _struct_of(wanted):
            yield _Table(name, struct, is_on=field.default is not None)


def _tables_inside(name: str, struct: type[msgspec.Struct]) -> Iterator[_Table]:
    for field in msgspec.structs.fields(struct):
        if inner := _struct_of(field.type):
            yield _Table(f"{name}.{field.encode_name}", inner, is_on=False)


def _struct_of(wanted: Any, example: Mapping[str, Any] | None = None) -> Any:
    """Return the struct in a type: the only one, or the one whose tag an example names."""
    structs = [one for one in [wanted, *get_args(wanted)] if isinstance(one, type) and issubclass(one, msgspec.Struct)]
    tags = [one for one in structs if one.__struct_config__.tag in (example or {}).values()]
    return next(iter([*tags, *structs]), None)


def _structs_in(wanted: Any) -> Iterator[type[msgspec.Struct]]:
    if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
        yield wanted
        for field in msgspec.structs.fields(wanted):
            yield from _structs_in(field.type)
    for arg in get_args(wanted):
        yield from _structs_in(arg)


def _keys(struct: type[msgspec.Struct], example: Mapping[str, Any], *, is_on: bool) -> Iterator[str]:
    off = "" if is_on else "#"
    tag = struct.__struct_config__.tag_field
    if tag:
        yield f"{off}{tag} = {_toml(example.get(tag, struct.__struct_config__.tag))}"
    for field in msgspec.structs.fields(struct):
        key = field.encode_name
        if struct in _WITH_OPTIONS and key == "options":
            yield from _comment(help_of(struct)[key])
            continue
        if _struct_of(field.type) or any(map(_struct_of, get_args(field.type))):
            continue
        yield from _comment(help_of(struct).get(key, ""))
        value = example.get(key, field.default if field.default is not msgspec.NODEFAULT else _made(field))
        yield f"# {key} is not set." if value is None else f"{off}{key} = {_toml(value)}"


def _made(field: msgspec.structs.FieldInfo) -> Any:
    return None if field.required else field.default_factory()


def _comment(text: str) -> Iterator[str]:
    yield from (f"# {line}" for line in textwrap.wrap(_plain(text), _WIDTH))


def _plain(text: str) -> str:
    return re.sub(r"``?([^`]*)``?", r"\1", " ".join(text.split()))


def _toml(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return f"{value:_}" if value >= _GROUPED_FROM else str(value)
        case str():
            return json.dumps(value, ensure_ascii=False)
        case list() | tuple():
            return f"[{', '.join(map(_toml, cast('list[Any]', value)))}]"
        case _:
            return str(value)
