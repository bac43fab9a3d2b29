"""Log records off the bus: into a rotating file, and onto the terminal above one line that shows the rig at work."""

from __future__ import annotations

import logging
import os
import re
import select
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, cast

from labwire.errors import ResourceError

_COLOURS = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[1;31m", "DEBUG": "\x1b[2m"}
_RESET = "\x1b[0m"
_ERASE = "\r\x1b[K"
MAX_LINE_CHARS = 16_384
_USUAL_WIDTH = 80
_PIECE_BYTES = 512  # a pipe that has room takes so many whole (POSIX), so that writing never waits
_WIDE_FIELD = re.compile(r"%[^%a-zA-Z]*(\d{4,}|\*)")


def format_record(payload: dict[Any, Any]) -> str:
    """Return a log record as text: time, level, name, message, and a traceback below if there is one.

    Raises nothing: what a foreign sender left out or filled with nonsense is shown as it is.
    """
    message = record_message(payload)
    created = payload.get("created")
    moment = created if isinstance(created, (int, float)) and 0 <= created < 1e11 else time.time()
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment)) + f".{int(moment % 1 * 1000):03d}"
    line = f"{stamp} {payload.get('levelname', '?')!s:<8} {payload.get('name', '?')}: {message}"
    trace = payload.get("exc_text")
    return (f"{line}\n{trace}" if isinstance(trace, str) and trace else line)[:MAX_LINE_CHARS]


def record_message(payload: dict[Any, Any]) -> str:
    """Return what a log record says, with its arguments in their places; raises nothing either."""
    return _merge(str(payload.get("msg", ""))[:MAX_LINE_CHARS], payload.get("args"))


def _merge(message: str, args: object) -> str:
    if not args:
        return message
    if _WIDE_FIELD.search(message):
        return f"{message} {args!r}"  # '%999999999d' from a stranger must not cost a gigabyte
    values: object = tuple(cast("list[object]", args)) if isinstance(args, list) else args
    try:
        return message % values
    except (TypeError, ValueError, KeyError, OverflowError):
        return f"{message} {args!r}"


class LogFile:
    """The rotating log file.

    Args:
        path: Where; folders are made.
        max_bytes: Size at which it is rotated.
        backups: How many old ones are kept.

    Raises:
        ResourceError: It cannot be written to.
    """

    def __init__(self, path: str, *, max_bytes: int, backups: int) -> None:
        self.failed = 0
        """Lines that could not be written, because the disk is full for instance."""
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._handler = RotatingFileHandler(path, maxBytes=max_bytes, backupCount=backups, encoding="utf-8")
        except OSError as error:
            raise ResourceError(f"cannot write the log file {path}: {error.strerror}; choose [log] folder") from error
        self._handler.setFormatter(logging.Formatter("%(message)s"))
        self._handler.handleError = self._count_failure

    def write(self, text: str) -> None:
        """Write one record; a failure is counted, not raised."""
        self._handler.emit(logging.LogRecord("", logging.INFO, "", 0, text.replace("\x00", "\\0"), None, None))

    def close(self) -> None:
        """Close the file; what a full disk does not take is lost, and counted."""
        try:
            self._handler.close()
        except OSError:
            self.failed += 1

    def _count_failure(self, record: logging.LogRecord) -> None:
        self.failed += 1


class Console:
    """The terminal of ``labwire run``: records scroll, the last line shows the rig at work.

    A terminal that takes nothing, because somebody pressed Ctrl-S or a pager waits, is not waited for.

    Args:
        fd: Descriptor to write to; None prints nothing.
    """

    def __init__(self, fd: int | None) -> None:
        self._fd = fd
        self._line = ""
        self.left_out = 0
        """Texts that were not shown, or not whole, because the terminal took no more."""
        self.has_status_line = fd is not None and os.isatty(fd)

    def show_record(self, text: str, level: str) -> None:
        """Print a record above the status line."""
        safe = "".join(char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text)
        if self.has_status_line:
            colour = _COLOURS.get(level, "")
            self._write(f"{_ERASE}{colour}{safe}{_RESET if colour else ''}\n{self._line}")
        else:
            self._write(safe + "\n")

    def show_status(self, line: str) -> None:
        """Replace the status line."""
        if self.has_status_line and self._fd is not None:
            try:
                width = os.get_terminal_size(self._fd).columns or _USUAL_WIDTH
            except OSError:
                width = _USUAL_WIDTH  # it has gone: writing finds out
            self._line = line[: max(10, width - 1)]
            self._write(_ERASE + self._line)

    def end_status(self) -> None:
        """Take the status line away."""
        if self._line:
            self._line = ""
            self._write(_ERASE)

    def _write(self, text: str) -> None:
        if self._fd is None:
            return
        data = text.encode("utf-8", "replace")
        try:
            room = select.poll()
            room.register(self._fd, select.POLLOUT)
            for start in range(0, len(data), _PIECE_BYTES):
                if not room.poll(0):
                    self.left_out += 1
                    return
                os.write(self._fd, data[start : start + _PIECE_BYTES])
        except OSError:
            self._fd = None  # the terminal has gone; the log file goes on
            self.has_status_line = False
