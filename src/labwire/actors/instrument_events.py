"""What happens to instruments, as log records and notifications."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from labwire.errors import LabwireError, NotFoundError
from labwire.instruments.worker.log import read_line

_NOTIFIED = {"started", "restarted", "died", "given_up", "stopped", "stuck", "unstuck"}
_IN_WORDS = {
    "started": "is ready",
    "restarted": "is ready again",
    "stopped": "is stopped",
    "unstuck": "answers again",
}


class InstrumentEvents:
    """Takes the events of an instrument server, on its thread for events.

    Args:
        log: Of the actor.
        tell: Sends a notification: kind, instrument, and what else it says.
        publish_state: Publishes the state of an instrument anew.
    """

    def __init__(
        self,
        log: logging.Logger,
        tell: Callable[[str, str, dict[str, Any]], None],
        publish_state: Callable[[str], None],
    ) -> None:
        self._log, self._tell, self._publish_state = log, tell, publish_state

    def __call__(self, kind: str, name: str, data: dict[str, Any]) -> None:
        """Log an event; notify all actors of those that change what can be asked of the instrument."""
        if kind == "log":
            self._pass_on(name, data)
            return
        self._log_event(kind, name, data)
        if kind in _NOTIFIED:
            self._tell(kind, name, _sendable(data))
            with contextlib.suppress(NotFoundError):  # it was stopped because it was taken out
                self._publish_state(name)

    def _log_event(self, kind: str, name: str, data: dict[str, Any]) -> None:
        match kind:
            case "died":
                again_s = data.get("starts_again_in_s")
                then = "" if again_s is None else f"; it starts again{f' in {again_s:g} s' if again_s else ''}"
                if data.get("external"):
                    then = "; its worker is external, and whoever started it has to start it again"
                self._log.error("instrument %s died: %s%s", name, data.get("why"), then)
            case "stuck":
                text = "instrument %s is stuck: command %s is past its timeout, and nothing was answered since"
                self._log.warning(text, name, data.get("command_id"))
            case "given_up":
                self._log.error("instrument %s is given up: %s (%s)", name, data.get("why"), data.get("last_error"))
            case _ if kind in _IN_WORDS:
                self._log.info("instrument %s %s", name, _IN_WORDS[kind])
            case _:
                said = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in data.items() if key != "error")
                what = ": ".join(filter(None, (kind.replace("_", " "), str(data.get("error", "")))))
                self._log.warning("instrument %s: %s%s", name, what, f" ({said})" if said else "")

    def _pass_on(self, name: str, data: dict[str, Any]) -> None:
        """Make what a worker has logged a record of this process again; the bus has it as ``logging.<level>``."""
        record = read_line(msgspec.json.encode(data).decode())
        if record is None or not record.msg:
            self._log.warning("%s wrote: %s", name, data.get("message", data))
            return
        record.name, record.msg = name, str(record.msg).removeprefix(f"{name}: ")
        logging.getLogger().handle(record)


def _sendable(data: dict[str, Any]) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, LabwireError) else value for key, value in data.items()}
