"""A second look at encoded bytes: every head with its place, by a walk that shares nothing with the reader."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, NamedTuple


class Head(NamedTuple):
    """One item."""

    initial: int
    info: int
    value: Any
    """Number, text, or length."""
    path: str
    """Keys and positions that lead to it."""
    key: str
    """The last of them, if it is text."""
    depth: int
    is_key: bool


def walk(data: bytes) -> Iterator[Head]:
    """Yield every head of exactly one item of definite lengths."""
    end = yield from _item(data, 0, [], is_key=False)
    assert end == len(data)


def _item(data: bytes, at: int, path: list[Any], *, is_key: bool) -> Generator[Head, None, int]:
    initial = data[at]
    major, info = divmod(initial, 32)
    size = {24: 1, 25: 2, 26: 4, 27: 8}.get(info, 0)
    value: Any = int.from_bytes(data[at + 1 : at + 1 + size]) if size else info
    at += 1 + size
    if major in {2, 3}:
        start, at = at, at + value
        value = data[start:at].decode() if major == 3 else value
    last = path[-1] if path else ""
    place = "/".join(map(str, path))
    yield Head(initial, info, value, place, last if isinstance(last, str) else "", len(path), is_key)
    if major == 6:
        return (yield from _item(data, at, path, is_key=is_key))
    for entry in range(value if major in {4, 5} else 0):
        step: Any = entry
        if major == 5:
            step = next(_item(data, at, path, is_key=True)).value
            at = yield from _item(data, at, [*path, step], is_key=True)
        at = yield from _item(data, at, [*path, step], is_key=False)
    return at
