"""Recordings of another rig as a stream of the sessions here: started, stopped and described with them."""

from __future__ import annotations

from typing import Any

from labwire.client.joined_rig import JoinedRig
from labwire.errors import DeviceError, LabwireError, StateError
from labwire.operations.recordable import Recordable, SessionStart, StreamCounters, StreamDescription

_OK = "OK"


class PupilRecording(Recordable):
    """Has another rig record while a session runs here; its files stay there.

    Args:
        name: Of the source.
        host: Computer of the other rig.
        joined: The other rig.
    """

    def __init__(self, name: str, host: str, joined: JoinedRig) -> None:
        self._name, self._host, self._joined = name, host, joined
        self._session = ""
        self._about: dict[str, Any] = {}
        self._running = False

    def prepare(self, session: SessionStart) -> StreamDescription:
        """See `Recordable.prepare`."""
        if not self._joined.connected:
            raise DeviceError(f"{self._name} is not there: nobody answers at {self._host}")
        self._session, self._about = session.name, {"format": "recorded there"}
        return self.describe()

    def start(self) -> None:
        """See `Recordable.start`."""
        self._command(f"R {self._session}".rstrip())
        self._running = True

    def stop(self) -> StreamCounters:
        """See `Recordable.stop`."""
        if self._running:
            self._running = False
            self._command("r")
        return StreamCounters()

    def describe(self) -> StreamDescription:
        """See `Recordable.describe`."""
        return StreamDescription(self._name, [], self._host, dict(self._about))

    def counters(self) -> StreamCounters:
        """See `Recordable.counters`."""
        return StreamCounters()

    def started_there(self, notification: dict[Any, Any]) -> None:
        """Note where the other rig says that it records."""
        if isinstance(path := notification.get("rec_path"), str):
            self._about["rec_path"] = path

    def _command(self, command: str) -> None:
        try:
            reply = self._joined.request(command)
        except LabwireError as error:
            raise StateError(f"{self._name} at {self._host}: {command!r} was not passed on: {error.message}") from error
        if reply != _OK:
            raise StateError(f"{self._name} at {self._host} answered {command!r} with {reply!r:.80}")
