"""The error of a rig file: one line per mistake, in the order of the file, each with its place."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, cast

from labwire.errors import ConfigError
from labwire.rig.toml_lines import lines_of, nearest_line
from labwire.strict import KeyPath, Mistake, show_value

COMMAND_LINE = "the command line"

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_WHERE = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)
_TWICE = re.compile(r"overwrite a value|twice")  # how the standard parser speaks of what is repeated


class RigReport:
    """Makes the error of a rig file.

    Args:
        file: What the file is called.
        text: What it holds.
        overrides: What the command line says, by dotted key.
    """

    def __init__(self, file: str, text: str, overrides: Mapping[str, Any]) -> None:
        self._file, self._text = file, text
        self.overrides: dict[KeyPath, Any] = {tuple(key.split(".")): value for key, value in overrides.items()}

    def is_spoken(self, path: KeyPath) -> bool:
        """Tell whether the command line says what stands at a path."""
        return any(path[: len(said)] == said for said in self.overrides)

    def of_syntax(self, error: tomllib.TOMLDecodeError) -> ConfigError:
        """Make the error of a text that is not TOML; the parser stops at the first thing it cannot read."""
        match = _WHERE.fullmatch(str(error))
        what = match[1] if match else str(error)
        rows = self._text.split("\n")
        line = int(match[2]) if match and match[2] else len(rows)
        shown = rows[line - 1].strip() if line <= len(rows) else ""
        hint = "it stands there twice" if _TWICE.search(what) else _hint_of_row(shown)
        entry = {"file": self._file, "line": line, "key": "", "text": what, "hint": hint}
        lines = [f"{self._file}, line {line}: this is not TOML: {what}", *([f"    {shown}"] if shown else [])]
        return ConfigError("\n".join([*lines, *([f"    {hint}"] if hint else [])]), file=self._file, mistakes=[entry])

    def of_mistakes(self, mistakes: Sequence[Mistake], tree: Mapping[str, Any]) -> ConfigError:
        """Make the error that lists all mistakes, in the order of the file."""
        lines = lines_of(self._text)
        entries = [self._entry(mistake, tree, lines) for mistake in mistakes]
        entries.sort(key=lambda entry: entry["line"] or 0)
        rows = [_row(entry) for entry in entries]
        if len(rows) == 1:
            place = entries[0]["file"] + (f", line {entries[0]['line']}" if entries[0]["line"] else "")
            return ConfigError(f"{place}: {rows[0][1]}", file=self._file, mistakes=entries)
        width = max(len(place) for place, _ in rows)
        listed = [f"  {place:<{width}}  {text}" for place, text in rows]
        return ConfigError(
            "\n".join([f"{self._file}: {len(rows)} mistakes", *listed]), file=self._file, mistakes=entries
        )

    def _entry(self, mistake: Mistake, tree: Mapping[str, Any], lines: Mapping[KeyPath, int]) -> dict[str, Any]:
        spoken = self.is_spoken(mistake.path)
        return {
            "file": COMMAND_LINE if spoken else self._file,
            "line": None if spoken else nearest_line(lines, mistake.path),
            "key": _name_of(mistake.path, tree),
            "text": mistake.text,
            "hint": mistake.hint,
        }


def _row(entry: Mapping[str, Any]) -> tuple[str, str]:
    place = f"line {entry['line']}" if entry["line"] else entry["file"]
    return place, f"{entry['key']}: {entry['text']}" + (f"; {entry['hint']}" if entry["hint"] else "")


def _name_of(path: KeyPath, tree: Mapping[str, Any]) -> str:
    """Write a path as somebody who has the file before them would find it: ``[cameras.world] fps``."""
    tables, inner = 0, cast("Any", tree)
    for part in path:
        inner = cast("dict[str, Any]", inner).get(str(part))
        if not isinstance(inner, dict):
            break
        tables += 1
    header = f"[{_dotted(path[:tables])}]" if tables else ""
    return " ".join(filter(None, [header, _dotted(path[tables:])]))


def _dotted(path: KeyPath) -> str:
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f", entry {part + 1}"
        else:
            text += f"{'.' if text else ''}{part if _BARE.fullmatch(part) else show_value(part)}"
    return text


def _hint_of_row(row: str) -> str:
    """Guess what is wrong with a line that the parser could not read."""
    key, equals, value = (part.strip() for part in row.partition("="))
    if row.startswith("[") and "]" not in row:
        return "a table's name stands in [ ]"
    if not equals and key and not key.startswith(("[", "#")):
        return "a line is a table's name in [ ], or key = value"
    if value[:1].isalpha() and value not in {"true", "false", "inf", "nan"}:
        return (
            f'text stands in quotes: {key} = "{value}"'
            if value.casefold() not in {"true", "false"}
            else (f"true and false are written small: {key} = {value.casefold()}")
        )
    return ""
