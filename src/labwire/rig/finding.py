"""What the doctor says: one line, how bad it is, and what to do."""

from __future__ import annotations

from enum import Enum

import msgspec


class Level(Enum):
    """How bad a finding is."""

    OK = "ok"
    WARN = "warn"
    """Works, but not well; or cannot be known."""
    FAIL = "fail"
    """Keeps the rig from running."""


class Finding(msgspec.Struct, frozen=True):
    """One line of the doctor's report."""

    level: Level
    text: str
    advice: str = ""


def ok(text: str) -> Finding:
    """Make a finding that all is well."""
    return Finding(Level.OK, text)


def warn(text: str, advice: str = "") -> Finding:
    """Make a finding that something could be better, or cannot be known."""
    return Finding(Level.WARN, text, advice)


def fail(text: str, advice: str) -> Finding:
    """Make a finding that keeps a rig from running."""
    return Finding(Level.FAIL, text, advice)
