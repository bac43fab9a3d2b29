"""The status of a camera's folder: what is wrong at the moment, and when a line is due that says so."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

REPEAT_S = 10.0
"""A status that does not change is written again after so long: a reader that comes late need not wait for a change."""


class StatusCode(IntEnum):
    """Codes that labwire puts into ``status.jsonl``. What looks at the pictures has codes of its own below 100."""

    OK = 0
    PROCESSING_NOT_STARTED = 8
    FRAMES_NOT_WRITTEN = 100
    CAMERA_FAILED = 101
    DISK_LOW = 102
    DISK_FULL = 103
    LOCK_CONFLICT = 104
    CLOCK_STEPPED = 105
    LINES_NOT_WRITTEN = 106


class Status(NamedTuple):
    """One status."""

    code: int
    """0 means all is well."""
    message: str
    """For people: ``OK``, or what is wrong and what to do."""


_ABOVE_PICTURES = (StatusCode.DISK_FULL, StatusCode.LINES_NOT_WRITTEN, StatusCode.CAMERA_FAILED)
_BELOW_PICTURES = (StatusCode.FRAMES_NOT_WRITTEN, StatusCode.DISK_LOW, StatusCode.LOCK_CONFLICT)


class StatusBoard:
    """Alarms that stand until they are cleared, and below them what the pictures show; no file, no clock in here.

    Every method returns the lines that are due. What a reader finds last is always the worst of what is wrong: a full
    disk and a lost camera stand before what the pictures show, everything else behind it.
    """

    def __init__(self) -> None:
        self._base: Status | None = None
        self._alarms: dict[int, Status] = {}
        self._last: Status | None = None
        self._last_s = 0.0

    @property
    def current(self) -> Status | None:
        """The worst of what is wrong now; None before anything is known."""
        for code in _ABOVE_PICTURES:
            if code in self._alarms:
                return self._alarms[code]
        if self._base is not None and self._base.code:
            return self._base
        return next((self._alarms[code] for code in _BELOW_PICTURES if code in self._alarms), self._base)

    def base(self, status: Status) -> list[Status]:
        """Take what the pictures show."""
        self._base = status
        return self._due()

    def first_ok(self) -> list[Status]:
        """Take it that all is well, unless something is known already."""
        return self.base(Status(StatusCode.OK, "OK")) if self._base is None else []

    def alarm(self, status: Status) -> list[Status]:
        """Take what is wrong from now on; it is told once even if something worse stands."""
        known = self._alarms.get(status.code)
        self._alarms[status.code] = status
        if known is not None or self.current == status:
            return self._due()
        return [status, *self._again()]

    def clear(self, code: int) -> list[Status]:
        """Take it that an alarm is over."""
        if self._alarms.pop(code, None) is None:
            return []
        return self._due()

    def event(self, status: Status) -> list[Status]:
        """Take what has happened and is over: it is told, then what is the matter now."""
        return [status, *self._again()]

    def tick(self, now_s: float) -> list[Status]:
        """Return what is due at a time: what could not be written before, or what has not been said for `REPEAT_S`."""
        if now_s - self._last_s >= REPEAT_S:
            return self._again()
        return self._due()

    def written(self, status: Status, now_s: float) -> None:
        """Take it that a line was written."""
        self._last, self._last_s = status, now_s

    def _due(self) -> list[Status]:
        current = self.current
        return [current] if current is not None and current != self._last else []

    def _again(self) -> list[Status]:
        current = self.current
        return [current] if current is not None else []
