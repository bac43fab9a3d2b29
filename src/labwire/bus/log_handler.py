"""Log records on the bus: topic ``logging.<level>``, payload the attributes of the record.

Source: ipc-backbone, "Log Messages".
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from typing import Any, cast

from labwire.bus.publisher import Publisher
from labwire.names import LOGGING

RECORDS_PER_S = 200.0
BURST = 500
MAX_TEXT_CHARS = 32_768
"""Longer texts are cut: a log record is no place for a picture."""


class BusLogHandler(logging.Handler):
    """Publishes log records; never blocks, never logs about itself, and says how many it held back.

    Args:
        publisher: Where the records go.
        level: Records below it stay off the bus.
    """

    def __init__(self, publisher: Publisher, level: int = logging.INFO) -> None:
        super().__init__(level)
        self._publisher = publisher
        self._busy = threading.local()
        self._tokens = float(BURST)
        self._filled_s = time.monotonic()
        self.held_back = 0
        """Records that were not published because there were too many."""

    def emit(self, record: logging.LogRecord) -> None:
        """Publish one record."""
        if getattr(self._busy, "now", False):
            return  # publishing logged something: that way lies an endless loop
        self._busy.now = True
        try:
            if not self._take_token():
                self.held_back += 1
                return
            payload = record_payload(record)
            if self.held_back:
                payload["held_back_before"], self.held_back = self.held_back, 0
            self._publisher.notify_raw(payload["topic"], payload)
        except Exception:
            self.handleError(record)
        finally:
            self._busy.now = False

    def _take_token(self) -> bool:
        now_s = time.monotonic()
        self._tokens = min(BURST, self._tokens + (now_s - self._filled_s) * RECORDS_PER_S)
        self._filled_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def record_payload(record: logging.LogRecord) -> dict[str, Any]:
    """Return the attributes of a record in a form that MessagePack holds.

    As in the original, arguments that cannot be sent are merged into ``msg``, and an exception becomes its traceback.
    """
    payload = dict(record.__dict__)
    payload["topic"] = LOGGING + record.levelname.lower()
    if record.exc_info:
        text = "".join(traceback.format_exception(*record.exc_info))
        payload["exc_info"] = payload["exc_text"] = text
    args = record.args
    if isinstance(args, tuple) and all(_is_plain(arg) for arg in args):
        payload["args"] = list(args)
    elif args:
        payload["msg"], payload["args"] = _merged(record), []
    return {key: _sendable(value) for key, value in payload.items()}


def _merged(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # the caller's format and arguments do not fit, or an argument cannot be shown
        return f"{record.msg} {record.args!r}"


def _is_plain(value: object) -> bool:
    if isinstance(value, int):
        return -(1 << 63) <= value < 1 << 64  # MessagePack has no larger integers
    return isinstance(value, (str, float, type(None))) and not (isinstance(value, str) and len(value) > MAX_TEXT_CHARS)


def _sendable(value: object) -> object:
    if isinstance(value, list):
        return [_sendable(item) for item in cast("list[object]", value)]
    if not _is_plain(value):
        value = value if isinstance(value, str) else repr(value)
        value = value[:MAX_TEXT_CHARS]
    # A file name that is not UTF-8 reaches Python as lone surrogates, which UTF-8 does not hold.
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
