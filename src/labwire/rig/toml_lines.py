"""On which line each key of a TOML text stands: the standard parser does not tell.

Only for text that the standard parser has accepted: what is wrong TOML never comes here, so this scanner need not
judge, only walk. *Source:* TOML 1.0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast

from labwire.strict import KeyPath

_BLANK = re.compile(r"[ \t]*")
_FILLER = re.compile(r"(?:[ \t\r\n,]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\n]*")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}'
    r"|'''(?:[^']|'(?!''))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_SIMPLE_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)


def lines_of(text: str) -> dict[KeyPath, int]:
    """Return the line, counted from 1, on which each key and each list element of a valid TOML text begins.

    A table that has a header stands where its header stands; one that only dotted keys make, where the first is.
    """
    return _Scanner(text).scan()


def nearest_line(lines: Mapping[KeyPath, int], path: KeyPath) -> int | None:
    """Return the line of a path, or of the closest part above it that the text has."""
    return next((lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in lines), None)


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text.replace("\r\n", "\n")
        self._at = 0
        self._line, self._counted_to = 1, 0
        self._lines: dict[KeyPath, int] = {}
        self._list_sizes: dict[KeyPath, int] = {}

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while self._skip(_FILLER) < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
        return self._lines

    def _header(self) -> KeyPath:
        line = self._line_here()
        of_list = self._text.startswith("[[", self._at)
        self._at += 2 if of_list else 1
        path = self._inside_lists(self._key())
        if of_list:
            self._mark(path, line)
            index = self._list_sizes.get(path, 0)
            self._list_sizes[path] = index + 1
            path = (*path, index)
        self._lines[path] = line
        self._mark(path, line)
        self._skip(_BLANK)
        self._at += 2 if of_list else 1
        return path

    def _inside_lists(self, key: KeyPath) -> KeyPath:
        """Turn a header's key into a path: below a list of tables it means the newest element."""
        path: KeyPath = ()
        for place, part in enumerate(key):
            path = (*path, part)
            if path in self._list_sizes and place < len(key) - 1:
                path = (*path, self._list_sizes[path] - 1)
        return path

    def _pair(self, table: KeyPath) -> None:
        line = self._line_here()
        path = (*table, *self._key())
        self._mark(path, line)
        self._skip(_BLANK)
        self._at += 1  # the equals sign
        self._value(path)

    def _mark(self, path: KeyPath, line: int) -> None:
        for n in range(1, len(path) + 1):
            self._lines.setdefault(path[:n], line)

    def _key(self) -> KeyPath:
        parts: list[str] = []
        while True:
            self._skip(_BLANK)
            parts.append(self._key_part())
            self._skip(_BLANK)
            if not self._text.startswith(".", self._at):
                return tuple(parts)
            self._at += 1

    def _key_part(self) -> str:
        if self._text[self._at] not in "\"'":
            return self._take(_BARE_KEY)
        quoted = self._take(_STRING)
        return quoted[1:-1] if quoted[0] == "'" else _ESCAPE.sub(_unescape, quoted[1:-1])

    def _value(self, path: KeyPath) -> None:
        self._skip(_BLANK)
        match self._text[self._at : self._at + 1]:
            case "[":
                self._list(path)
            case "{":
                self._inline_table(path)
            case '"' | "'":
                self._take(_STRING)
            case _:
                self._take(_SCALAR)

    def _list(self, path: KeyPath) -> None:
        self._at += 1
        index = 0
        while self._text[self._skip(_FILLER)] != "]":
            self._mark((*path, index), self._line_here())
            self._value((*path, index))
            index += 1
        self._at += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._at += 1
        while self._text[self._skip(_FILLER)] != "}":
            self._pair(path)
        self._at += 1

    def _line_here(self) -> int:
        self._line += self._text.count("\n", self._counted_to, self._at)
        self._counted_to = self._at
        return self._line

    def _skip(self, pattern: re.Pattern[str]) -> int:
        self._take(pattern)
        return self._at

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = cast("re.Match[str]", pattern.match(self._text, self._at))
        self._at = match.end()
        return match[0]


def _unescape(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    return chr(int(code, 16)) if code else _SIMPLE_ESCAPES[match[3]]
