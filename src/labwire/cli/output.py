"""Where the commands write: what was asked for to standard output, remarks to standard error."""

from __future__ import annotations

import contextlib
import re
import sys
from typing import TYPE_CHECKING, Any, TextIO, cast

from labwire.wire.json_text import encode_json

if TYPE_CHECKING:
    from rich.console import Console

_PADDING = re.compile(r" +(?=\n)")
_WIDTH_OF_FILES = 1000  # a table that goes into a file or a pipe is not cut at 80 columns


def write_line(text: str = "") -> None:
    """Write a line to standard output, at once: somebody may be reading the pipe."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def write_json(value: object) -> None:
    """Write a value as one line of JSON; bytes become base64, what is not a number becomes null."""
    write_line(to_json(value))


def remark(text: str) -> None:
    """Write a line to standard error; if nobody is there to read it, go on."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


class _Unpadded:
    """Writes to a stream without the spaces by which tables fill their last column."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(_PADDING.sub("", text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def console(*, stderr: bool = False) -> Console:
    """Return a rich console on standard output or standard error."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    if stream.isatty():
        return Console(file=stream, highlight=False)
    return Console(file=cast("TextIO", _Unpadded(stream)), highlight=False, width=_WIDTH_OF_FILES)


def to_json(value: object) -> str:
    """Return a value as JSON on one line, whatever a foreign sender put into it."""
    return encode_json(value).decode()
