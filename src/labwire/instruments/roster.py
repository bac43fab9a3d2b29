"""The instruments of a server: taken in, started, stopped, looked at."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from labwire.errors import ConfigError, LabwireError, NotFoundError, StateError
from labwire.instruments.config import InstrumentConfig
from labwire.instruments.instrument import Instrument
from labwire.instruments.linux import check_linux
from labwire.instruments.status import InstrumentStatus
from labwire.instruments.supervision.life import House
from labwire.instruments.supervision.reporter import Reporter
from labwire.instruments.supervision.supervisor import Supervisor
from labwire.names import check_actor_name
from labwire.wire.instrument_message import Command, CommandResponse

DEBUG_VARIABLE = "INSTRUMENT_IPC_DEBUG"


class Roster:
    """What `labwire.instruments.server.InstrumentServer` is without its commands."""

    def __init__(
        self,
        *,
        on_event: Callable[[str, str, dict[str, Any]], None] = lambda kind, name, data: None,
        on_result: Callable[[str, Command, CommandResponse, float, float], None] | None = None,
        python_path: Sequence[str] = (),
    ) -> None:
        check_linux("an instrument server")
        self._reporter = Reporter(on_event)
        self._supervisor = Supervisor()
        debug = os.environ.get(DEBUG_VARIABLE, "") not in {"", "0"}
        self._house = House(self._supervisor, self._reporter.report, on_result, tuple(python_path), debug)
        self._instruments: dict[str, Instrument] = {}
        self._lock = threading.Lock()
        self._closed = False
        atexit.register(self.close)

    def add(self, name: str, config: InstrumentConfig, *, wait: bool = True) -> None:
        """Take an instrument in and start its worker.

        Args:
            name: Letters, digits, ``_`` and ``-``.
            config: Its options.
            wait: Return when it is ready. An external one is never waited for, only its queues.

        Raises:
            ConfigError: An external worker cannot use a socket, which has no name.
            DeadlineError: It was not ready within its ``start_timeout_s``; it is not in the server then.
            InvalidNameError: The name breaks the grammar.
            PeerGoneError: Its worker died while it started; it is not in the server then.
            RefusedError: Another process serves an instrument of that name; data ``pid``. It is not in the server then.
            ResourceError: The system does not give what its queues or its process need; it is not in the server then.
            StateError: There is one of that name.
        """
        check_actor_name(name)
        if config.external and config.queue == "socket":
            raise ConfigError(f"{name} is external, and a socket has no name that its worker could find: use boost")
        with self._lock:
            if self._closed:
                raise StateError("this instrument server is closed")
            if name in self._instruments:
                raise StateError(f"there is an instrument {name!r} already", instrument=name)
            instrument = self._instruments[name] = Instrument(name, config, self._house)
        try:
            instrument.claim()
        except BaseException:
            with self._lock:
                del self._instruments[name]
            raise
        wait_until_ready = instrument.begin()
        if not wait:
            return
        try:
            wait_until_ready(config.start_timeout_s)
        except BaseException:
            self.remove(name)
            raise

    def remove(self, name: str) -> None:
        """Stop an instrument and forget it.

        Raises:
            NotFoundError: There is none of that name.
        """
        self.stop(name)
        with self._lock:
            removed = self._instruments.pop(name, None)
        if removed:
            removed.release()

    def start(self, name: str, *, wait: bool = True) -> None:
        """Start an instrument that was stopped or given up; one that runs is left alone.

        Raises:
            DeadlineError: It was not ready within its ``start_timeout_s``.
            NotFoundError: There is none of that name.
            PeerGoneError: Its worker died while it started.
        """
        instrument = self._find(name)
        wait_until_ready = instrument.begin()
        if wait:
            wait_until_ready(instrument.config.start_timeout_s)

    def stop(self, name: str) -> None:
        """Let an instrument finish its running command, shut its driver down, and end its worker.

        A worker that does not end within ``stop_timeout_s`` is terminated, then killed. Commands that still wait fail.

        Raises:
            NotFoundError: There is none of that name.
        """
        instrument = self._find(name)
        instrument.finish()
        instrument.wait_until_ended()

    def restart(self, name: str, *, wait: bool = True) -> None:
        """Stop an instrument and start it.

        Raises:
            DeadlineError: It was not ready in time.
            NotFoundError: There is none of that name.
            PeerGoneError: Its worker died while it started.
        """
        instrument = self._find(name)
        instrument.finish(start_again=True)
        wait_until_ready = instrument.begin()
        if wait:
            wait_until_ready(instrument.config.stop_timeout_s + instrument.config.start_timeout_s)

    def names(self) -> list[str]:
        """Return the names of all instruments, in the order in which they were added."""
        return list(self._instruments)

    def status(self, name: str) -> InstrumentStatus:
        """Return how an instrument is, without asking its worker.

        Raises:
            NotFoundError: There is none of that name.
        """
        return self._find(name).status()

    def statuses(self) -> list[InstrumentStatus]:
        """Return how all instruments are."""
        return [instrument.status() for instrument in list(self._instruments.values())]

    def close(self) -> None:
        """Stop all instruments, at the same time, and end. Safe to call twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        atexit.unregister(self.close)
        instruments = list(self._instruments.values())
        for instrument in instruments:
            instrument.finish()
        for instrument in instruments:
            try:
                instrument.wait_until_ended()
            except LabwireError as error:
                self._reporter.report("protocol_error", instrument.name, {"error": str(error)})
            instrument.release()
        self._supervisor.close()
        self._reporter.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _find(self, name: str) -> Instrument:
        try:
            return self._instruments[name]
        except KeyError:
            known = ", ".join(self._instruments) or "none"
            raise NotFoundError(f"no instrument {name!r}; there are: {known}", instrument=name) from None
