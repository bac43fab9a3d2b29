"""What a worker logs: one JSON object per line on standard error, made into log records again by its server.

What is no such line (what a driver prints, the last words of a segfault) is text of its own.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from typing import Any

import msgspec

MAX_TEXT_CHARS = 8000
"""Longer texts are shortened, so that a line stays below what the reader takes."""
_LEVELS = logging.getLevelNamesMapping()
_MAX_LINE_BYTES = 16_000  # labwire.stderr_lines cuts at 16384


class LogLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One record."""

    level: str
    name: str
    text: str
    created: float = 0.0
    """Seconds since the epoch."""
    pathname: str = ""
    lineno: int = 0
    func: str = ""
    thread: str = ""
    process: int = 0
    exc_text: str = ""


class JsonLinesHandler(logging.Handler):
    """Writes each record as one line; never raises, never mixes two lines.

    Args:
        fd: Where to.
    """

    def __init__(self, fd: int = 2) -> None:
        super().__init__()
        self._fd = fd

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            os.write(self._fd, encode_record(record))
        except Exception:  # nobody reads any more, or the record cannot be shown: logging must not break its caller
            pass


def encode_record(record: logging.LogRecord) -> bytes:
    """Return the line of a record."""
    try:
        text = record.getMessage()
    except Exception:  # the caller's format and arguments do not fit
        text = f"{record.msg} {record.args!r}"
    trace = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else record.exc_text or ""
    for most in (MAX_TEXT_CHARS, MAX_TEXT_CHARS // 8):
        line = msgspec.json.encode(
            LogLine(
                level=record.levelname,
                name=record.name,
                text=_shown(text, most),
                created=record.created,
                pathname=record.pathname,
                lineno=record.lineno,
                func=record.funcName or "",
                thread=record.threadName or "",
                process=record.process or 0,
                exc_text=_shown(trace[-most:], most),
            )
        )
        if len(line) <= _MAX_LINE_BYTES:
            break
    return line + b"\n"


def read_line(line: str) -> logging.LogRecord | None:
    """Make a worker's line into a log record again; None if it is plain text."""
    if not line.startswith("{"):
        return None
    try:
        read = msgspec.json.decode(line.encode(), type=LogLine)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    level = _LEVELS.get(read.level, logging.INFO)
    record = logging.LogRecord(read.name, level, read.pathname, read.lineno, read.text, (), None)
    record.exc_text = read.exc_text or None
    attributes: dict[str, Any] = {"funcName": read.func, "threadName": read.thread, "process": read.process}
    if read.created > 0:
        attributes |= {"created": read.created, "msecs": read.created % 1 * 1000}
    record.__dict__.update(attributes)
    return record


def log_to_stderr(level: str) -> None:
    """Let all log records of this process go to standard error as JSON lines; what is printed goes there too."""
    os.dup2(2, 1)
    root = logging.getLogger()
    root.handlers[:] = [JsonLinesHandler()]
    root.setLevel(_LEVELS.get(level, logging.INFO))
    sys.excepthook = _log_uncaught


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    logging.getLogger("labwire.instruments.worker").critical(
        "the worker ends: %s", error, exc_info=(kind, error, trace)
    )


def _shown(text: str, most: int) -> str:
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters in all)"
