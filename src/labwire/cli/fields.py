"""Payloads on the command line: ``key=value`` words in, and payloads back out as one line of text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import msgspec

from labwire.cli.units import size
from labwire.errors import UsageError

_SHOWN_CHARS = 120
_SHOWN_ITEMS = 6
_SHOWN_INSIDE_CHARS = 60
_SIX_DIGITS, _MANY_DIGITS = 1e3, 1e12
_NAMES = ("topic", "subject")


def parse_fields(words: Iterable[str]) -> dict[str, Any]:
    """Return the payload that the words of a command line give.

    A word is ``key=value`` or a JSON object. A value is JSON if it can be read so, otherwise text.

    >>> parse_fields(["name=pilot 1", "delay=0.5", '{"eyes": [0, 1]}'])
    {'name': 'pilot 1', 'delay': 0.5, 'eyes': [0, 1]}

    Raises:
        UsageError: A word is neither.
    """
    payload: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if word.lstrip().startswith("{"):
            payload |= _object(word)
        elif equals and key:
            payload[key] = _value(value)
        else:
            raise UsageError(f"{word!r} is neither key=value nor a JSON object")
    return payload


def _object(word: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(word, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise UsageError(f"{word!r} is not a JSON object: {error}") from error


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return text


def compact(payload: Mapping[Any, Any], topic: str = "") -> str:
    """Return a payload as one line for people: numbers and texts shortened, what only repeats the topic left out."""
    pairs = (
        f"{_safe(str(key))}={_short(value)}"
        for key, value in payload.items()
        if not (key in _NAMES and isinstance(value, str) and topic.endswith(value))
    )
    return " ".join(pairs)


def printable(text: str) -> str:
    """Return a text that cannot steer a terminal."""
    return _safe(text)


def raw_sizes(parts: Sequence[bytes]) -> str:
    """Return the sizes of raw parts: ``+2 raw: 45.2 kB, 10 B``; empty if there are none."""
    return f"+{len(parts)} raw: {', '.join(size(len(part)) for part in parts)}" if parts else ""


def _short(value: Any) -> str:
    match value:
        case bool() | None:
            return msgspec.json.encode(value).decode()
        case float():
            # A timestamp has to show its milliseconds.
            return f"{value:.3f}" if _SIX_DIGITS < abs(value) < _MANY_DIGITS else f"{value:.6g}"
        case str():
            text = value if len(value) <= _SHOWN_CHARS else f"{value[:_SHOWN_CHARS]}…"
            return _safe(text if text.isidentifier() else f'"{text}"')
        case bytes():
            return f"<{size(len(value))}>"
        case list() | tuple():
            items = cast("list[Any]", value)
            shown = ", ".join(map(_short, items[:_SHOWN_ITEMS]))
            return _cut(f"[{shown}{f', … {len(items)}' if len(items) > _SHOWN_ITEMS else ''}]")
        case dict():
            return _cut(f"{{{compact(cast('dict[Any, Any]', value))}}}")
        case _:
            return _safe(str(value))


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_INSIDE_CHARS else f"{text[:_SHOWN_INSIDE_CHARS]}…"


def _safe(text: str) -> str:
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(char, "\N{REPLACEMENT CHARACTER}")
