"""Anything that came off the bus, as JSON: bytes become base64, what is not a number becomes null."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec


def encode_json(value: object) -> bytes:
    """Return a value as JSON on one line, whatever a foreign sender put into it."""
    try:
        return _encoder.encode(value)
    except (TypeError, ValueError, OverflowError):  # a key or a value that JSON has no form for
        return _encoder.encode(_plain(value))


def _as_text(value: object) -> str:
    return repr(value)


_encoder = msgspec.json.Encoder(enc_hook=_as_text)


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return _plain(msgspec.structs.asdict(value))
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {key if isinstance(key, str) else repr(key): _plain(inner) for key, inner in items}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in cast("list[Any]", value)]
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        return repr(value)
    return value
