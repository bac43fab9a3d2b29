"""What a child process writes to standard error: as lines, and no more of them than the log can bear."""

from __future__ import annotations

from collections.abc import Iterator

LINES_PER_S = 100
MAX_LINE_BYTES = 16_384


class StderrLines:
    """Cuts what was read into lines; leaves lines out, and says how many, when there are too many in a second."""

    def __init__(self) -> None:
        self.last = ""
        """The newest line."""
        self._rest = b""
        self._second = self._lines = self._left_out = 0

    def take(self, data: bytes, now_s: float) -> Iterator[str]:
        """Yield the lines that are to be passed on.

        Args:
            data: What was read; nothing means that the end is reached, and a line without an end is one.
            now_s: The monotonic clock.
        """
        *lines, rest = (self._rest + (data or b"\n")).split(b"\n")
        self._rest = rest[-MAX_LINE_BYTES:]
        for line in lines:
            text = line[-MAX_LINE_BYTES:].decode("utf-8", "replace").rstrip()
            if text:
                self.last = text
                yield from self._pass_on(text, int(now_s))
        if not data:
            yield from self._tell_left_out()

    def _pass_on(self, text: str, second: int) -> Iterator[str]:
        if second != self._second:
            yield from self._tell_left_out()
            self._second, self._lines = second, 0
        self._lines += 1
        if self._lines <= LINES_PER_S:
            yield text
        else:
            self._left_out += 1

    def _tell_left_out(self) -> Iterator[str]:
        if self._left_out:
            yield f"({self._left_out} more lines left out)"
            self._left_out = 0
