"""A tree of plain values as TOML text, in the form of a rig file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(tree: Mapping[str, Any]) -> str:
    """Return a tree as TOML. A value None is left out: TOML has no word for it.

    >>> print(to_toml({"name": "rig", "bus": {"pub_port": 0}}), end="")
    name = "rig"
    <BLANKLINE>
    [bus]
    pub_port = 0
    """
    return "\n".join(_lines(tree, ())).strip("\n") + "\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    inner: dict[str, Mapping[str, Any]] = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    plain = {key: value for key, value in table.items() if key not in inner and value is not None}
    if path and (plain or not inner):
        yield ""
        yield f"[{'.'.join(map(_key, path))}]"
    for key, value in plain.items():
        yield f"{_key(key)} = {_value(value)}"
    for key, value in inner.items():
        yield from _lines(value, (*path, key))


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _value(key)


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            # JSON's escapes are TOML's, but for DEL, which TOML wants escaped.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list() | tuple():
            return f"[{', '.join(_value(one) for one in cast('list[Any]', value) if one is not None)}]"
        case dict():
            pairs = cast("dict[str, Any]", value).items()
            return f"{{{', '.join(f'{_key(key)} = {_value(inner)}' for key, inner in pairs if inner is not None)}}}"
        case float() if value in {float("inf"), float("-inf")} or value != value:  # noqa: PLR0124
            return str(value)
        case int() | float():
            return repr(value)
        case _:
            return _value(str(value))
