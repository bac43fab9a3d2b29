"""The instrument server: calls drivers in isolated worker processes; a library that needs neither bus nor rig.

*Source:* instrument-ipc.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

import msgspec

from labwire.errors import LabwireError, NotFoundError, StateError
from labwire.instruments.api import InstrumentApi
from labwire.instruments.calls import Call, FutureCall, check_success, deadline_of, has_waveform, plain_value
from labwire.instruments.config import InstrumentConfig
from labwire.instruments.instrument import House, Instrument
from labwire.instruments.reporter import Reporter
from labwire.instruments.status import InstrumentStatus
from labwire.instruments.supervision import Supervisor
from labwire.instruments.waveforms import open_waveform
from labwire.names import check_actor_name
from labwire.wire.instrument_extras import NOOP, WaveformHandle
from labwire.wire.instrument_message import DEFAULT_TIMEOUT_MS, Command, CommandResponse

DEBUG_VARIABLE = "INSTRUMENT_IPC_DEBUG"


class InstrumentServer:
    """Runs instruments, each in a worker process of its own, and calls their verbs.

    >>> from labwire.instruments.config import InstrumentConfig
    >>> config = InstrumentConfig(driver="labwire.instruments.drivers.simulated:Multimeter", queue="socket")
    >>> with InstrumentServer() as server:  # doctest: +SKIP
    ...     server.add("DMM1", config)
    ...     server.call("DMM1", "MEASURE_VOLTAGE", {"range": 10.0, "samples": 100})
    3.14159

    Any number of threads may call; commands of one instrument are executed one after the other, in the order in which
    they were sent, those of different instruments at the same time. A worker that dies fails the commands that wait for
    it at once with PeerGoneError "Worker died: …" and is started again.

    Args:
        on_event: Called with kind, instrument and data, on a thread of the server's own and in order. Kinds:
            ``started``, ``restarted``, ``died``, ``given_up``, ``stopped``, ``stuck``, ``unstuck``, ``late_response``,
            ``queue_full``, ``protocol_error``, and ``log`` for what a worker has logged or printed.
        on_result: Called with instrument, command, response, and the moments (seconds, monotonic clock) when it was
            sent and answered. It runs on the thread that received the response and holds up whoever waits there.
        python_path: Folders in which workers look for drivers, besides what is installed.
    """

    def __init__(
        self,
        *,
        on_event: Callable[[str, str, dict[str, Any]], None] = lambda kind, name, data: None,
        on_result: Callable[[str, Command, CommandResponse, float, float], None] | None = None,
        python_path: Sequence[str] = (),
    ) -> None:
        self._reporter = Reporter(on_event)
        self._supervisor = Supervisor()
        debug = os.environ.get(DEBUG_VARIABLE, "") not in {"", "0"}
        self._house = House(self._supervisor, self._reporter.report, on_result, tuple(python_path), debug)
        self._instruments: dict[str, Instrument] = {}
        self._lock = threading.Lock()
        self._closed = False
        atexit.register(self.close)

    # --- instruments

    def add(self, name: str, config: InstrumentConfig, *, wait: bool = True) -> None:
        """Take an instrument in and start its worker.

        Args:
            name: Letters, digits, ``_`` and ``-``.
            config: Its options.
            wait: Return when it is ready. An external one is never waited for, only its queues.

        Raises:
            DeadlineError: It was not ready within its ``start_timeout_s``; it is not in the server then.
            InvalidNameError: The name breaks the grammar.
            PeerGoneError: Its worker died while it started; it is not in the server then.
            StateError: There is one of that name.
        """
        check_actor_name(name)
        with self._lock:
            if self._closed:
                raise StateError("this instrument server is closed")
            if name in self._instruments:
                raise StateError(f"there is an instrument {name!r} already", instrument=name)
            instrument = self._instruments[name] = Instrument(name, config, self._house)
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
            self._instruments.pop(name, None)

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

    def describe(self, name: str) -> InstrumentApi:
        """Return what an instrument can do; empty for a foreign worker, which does not tell.

        Raises:
            NotFoundError: There is no instrument of that name.
        """
        api = self._find(name).maker.api
        return api if api is not None else InstrumentApi()

    # --- commands

    def call(
        self,
        name: str,
        verb: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout_ms: float = DEFAULT_TIMEOUT_MS,
        priority: int = 0,
        expects_response: bool = True,
    ) -> Any:
        """Let an instrument execute a command and return the value.

        Args:
            name: The instrument.
            verb: As on the wire or in Python: ``MEASURE_VOLTAGE`` or ``measure_voltage``.
            params: By name. Checked, and defaults filled in, where the instrument's API is known.
            timeout_ms: How long to wait for the answer. The worker goes on after that; its late answer is dropped.
            priority: From 0 to 1000; higher overtakes among the commands that wait in the worker's queue.
            expects_response: False tells the worker that no value is wanted; it answers all the same, with none.

        Returns:
            What the verb returns: a number, a text, a list, None; a numpy array for a waveform.

        Raises:
            CommandFailedError: The instrument answered that it failed.
            DeadlineError: No answer in time, or (data ``queue_full``) no room in its queue.
            NotFoundError: No such instrument or verb.
            PeerGoneError: Its worker died.
            ProtocolError: Its worker answered with garbage.
            StateError: It is stopped.
            TooLargeError: The command does not fit into a message.
            UsageError: A parameter is wrong, or is a number that JSON has no form for.
        """
        instrument = self._find(name)
        response = self._execute(instrument, verb, params, timeout_ms, priority, expects_response)
        check_success(response, name, verb)
        return _array(instrument, response) if has_waveform(response) else plain_value(response)

    def execute(
        self,
        name: str,
        verb: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout_ms: float = DEFAULT_TIMEOUT_MS,
        priority: int = 0,
        expects_response: bool = True,
    ) -> CommandResponse:
        """Let an instrument execute a command and return its whole response, also one that says failure.

        The value is as `call` returns it. Raises what `call` raises, but no CommandFailedError.
        """
        instrument = self._find(name)
        return _whole(instrument, self._execute(instrument, verb, params, timeout_ms, priority, expects_response))

    def _execute(
        self,
        instrument: Instrument,
        verb: str,
        params: Mapping[str, Any] | None,
        timeout_ms: float,
        priority: int,
        expects_response: bool,  # noqa: FBT001 (private: positional because this is the fast path)
    ) -> CommandResponse:
        deadline_s = deadline_of(timeout_ms)
        exchange = instrument.exchange or instrument.usable_exchange(deadline_s)
        maker = instrument.maker
        number, command = maker.make(
            verb, params, timeout_ms=timeout_ms, priority=priority, expects_response=expects_response
        )
        call = Call(command, number, deadline_s)
        exchange.send(call, maker.encode(number, command), priority)
        return exchange.wait(call)

    def submit(
        self,
        name: str,
        verb: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout_ms: float = DEFAULT_TIMEOUT_MS,
        priority: int = 0,
        expects_response: bool = True,
    ) -> Future[Any]:
        """Send a command and return a future of its value; arguments as for `call`.

        A command that has been sent cannot be taken back: the future cannot be cancelled. Its callbacks run on the
        thread that received the answer.

        Raises:
            LabwireError: It could not be sent; what happens later stands in the future.
        """
        instrument = self._find(name)
        deadline_s = deadline_of(timeout_ms)
        exchange = instrument.exchange or instrument.usable_exchange(deadline_s)
        maker = instrument.maker
        number, command = maker.make(
            verb, params, timeout_ms=timeout_ms, priority=priority, expects_response=expects_response
        )
        call = FutureCall(command, number, deadline_s, lambda response: _value(instrument, response, verb))
        exchange.send(call, maker.encode(number, command), priority)
        return call.future

    def submit_whole(
        self,
        name: str,
        verb: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout_ms: float = DEFAULT_TIMEOUT_MS,
        priority: int = 0,
        expects_response: bool = True,
    ) -> tuple[Command, Future[CommandResponse]]:
        """Like `submit`, but return the command with its id, and a future of what `execute` returns.

        Raises:
            LabwireError: It could not be sent.
        """
        instrument = self._find(name)
        deadline_s = deadline_of(timeout_ms)
        exchange = instrument.exchange or instrument.usable_exchange(deadline_s)
        maker = instrument.maker
        number, command = maker.make(
            verb, params, timeout_ms=timeout_ms, priority=priority, expects_response=expects_response
        )
        call = FutureCall(command, number, deadline_s, lambda response: _whole(instrument, response))
        exchange.send(call, maker.encode(number, command), priority)
        return command, call.future

    def ping(self, name: str, *, timeout_ms: float = DEFAULT_TIMEOUT_MS) -> float:
        """Return how long a command that does nothing takes there and back, in seconds. Only our own workers answer it.

        Raises:
            LabwireError: As for `call`.
        """
        start_s = time.perf_counter()
        self.call(name, NOOP, timeout_ms=timeout_ms)
        return time.perf_counter() - start_s

    # --- the end

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


def _value(instrument: Instrument, response: CommandResponse, verb: str) -> Any:
    check_success(response, instrument.name, verb)
    return _array(instrument, response) if has_waveform(response) else plain_value(response)


def _whole(instrument: Instrument, response: CommandResponse) -> CommandResponse:
    value = _array(instrument, response) if has_waveform(response) else plain_value(response)
    return msgspec.structs.replace(response, return_value=value, waveform=msgspec.UNSET)


def _array(instrument: Instrument, response: CommandResponse) -> Any:
    handle = msgspec.convert(response.waveform, WaveformHandle)
    return open_waveform(handle, prefix=instrument.waveform_prefix)
