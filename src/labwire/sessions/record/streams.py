"""The recordables of one session, local and remote alike: prepare, start and stop all of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from labwire.errors import DeviceError, LabwireError
from labwire.operations.recordable import Recordable, SessionStart, StreamCounters, StreamDescription
from labwire.operations.recording import StreamFailure


class Streams:
    """Act on recordables one after the other; what one of them raises is kept, and the others go on.

    Args:
        recordables: By stream name, in the order in which they are prepared, started and stopped.
    """

    def __init__(self, recordables: Mapping[str, Recordable]) -> None:
        self._recordables = dict(recordables)
        self.descriptions: dict[str, StreamDescription] = {}
        self.counters: dict[str, StreamCounters] = {}
        """As the streams told when they stopped."""
        self.failures: dict[str, Exception] = {}
        """By stream, the first of each."""
        self.started: list[str] = []
        self.unfinished: set[str] = set()
        """Streams that could not be stopped properly."""
        self._open: list[str] = []

    def prepare(self, session: SessionStart, besides: Collection[str] = ()) -> None:
        """Prepare all that were not yet, besides some."""
        known = {*self.descriptions, *self.failures, *besides}
        for name, recordable in self._recordables.items():
            if name in known:
                continue
            try:
                self.descriptions[name] = recordable.prepare(session)
                self._open.append(name)
            except Exception as error:
                self.fail(name, error)

    def start(self) -> None:
        """Start those that are prepared; one that fails is stopped at once."""
        for name in list(self._open):
            try:
                self._recordables[name].start()
                self.started.append(name)
            except Exception as error:
                self.fail(name, error)
                self._stop(name)

    def stop(self) -> None:
        """Stop those that are prepared or started."""
        for name in list(self._open):
            self._stop(name)

    def _stop(self, name: str) -> None:
        self._open.remove(name)
        try:
            self.counters[name] = self._recordables[name].stop()
            self.descriptions[name] = self._recordables[name].describe()
        except Exception as error:
            self.unfinished.add(name)
            self.fail(name, error)

    def fail(self, name: str, error: Exception) -> None:
        """Keep why a stream failed."""
        self.failures.setdefault(name, error)

    def failed(self) -> list[StreamFailure]:
        """Return the failures as they are told to others."""
        return [StreamFailure(name, str(error) or type(error).__name__) for name, error in self.failures.items()]

    def first_error(self) -> LabwireError | None:
        """Return the first failure as an error of ours; None if all is well."""
        for name, error in self.failures.items():
            if isinstance(error, LabwireError):
                return error
            return DeviceError(f"stream {name!r} cannot record: {error}", stream=name)
        return None
