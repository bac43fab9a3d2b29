"""What an actor's callbacks let out, in the log: the first time with its traceback, then how often it came again."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from labwire.bus.loop import Loop

REPEAT_S = 10.0
"""How long a mistake that comes again is only counted; a timer of 60 Hz would fill the log with one traceback."""
_MAX_PLACES = 100

_Place: TypeAlias = tuple[tuple[str, int], ...]


@dataclass
class _Repeated:
    times: int = 0
    last: str = ""


class FaultLog:
    """Logs mistakes of an actor's code. Everything happens on its loop.

    Args:
        log: The actor's log.
        dotted: Its class, ``module:Class``.
        loop: Its loop.
    """

    def __init__(self, log: logging.Logger, dotted: str, loop: Loop) -> None:
        self._log, self._dotted, self._loop = log, dotted, loop
        self._known: dict[_Place, _Repeated] = {}

    def tell(self, error: BaseException, notification: Mapping[Any, Any] | None = None) -> None:
        """Log an error, or count it if the same lines of code raised it a short while ago.

        Args:
            error: What came out of a callback.
            notification: What the callback was called for, if it was one.
        """
        what = f" on notification {notification.get('subject')!r}" if notification else ""
        text = f"{what}: {type(error).__name__}: {error}"
        place = tuple((frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__))
        if known := self._known.get(place):
            known.times, known.last = known.times + 1, text
            return
        self._log.error("%s failed%s", self._dotted, text, exc_info=error)
        if len(self._known) < _MAX_PLACES:
            self._known[place] = _Repeated()
            self._loop.call_later(REPEAT_S, lambda: self._look_again(place))

    def close(self) -> None:
        """Log what was only counted."""
        for known in self._known.values():
            self._tell_again(known)
        self._known.clear()

    def _look_again(self, place: _Place) -> None:
        known = self._known.pop(place, None)
        if known and known.times:
            self._tell_again(known)
            self._known[place] = _Repeated()
            self._loop.call_later(REPEAT_S, lambda: self._look_again(place))

    def _tell_again(self, known: _Repeated) -> None:
        if known.times:
            text = "%s failed %d times more in the same place, the last time%s"
            self._log.error(text, self._dotted, known.times, known.last)
