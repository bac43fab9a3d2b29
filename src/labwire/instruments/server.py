"""The instrument server: calls drivers in isolated worker processes; a library that needs neither bus nor rig.

*Source:* instrument-ipc.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from labwire.instruments.api import InstrumentApi
from labwire.instruments.calling.acquisition import Acquisition, BlockCall, check_credits
from labwire.instruments.calling.barrier import Barrier, run_barrier
from labwire.instruments.calling.pipeline import DEFAULT_WINDOW, Pipeline
from labwire.instruments.exchange.calls import Call, FutureCall, ValueOf, deadline_of
from labwire.instruments.instrument import Instrument
from labwire.instruments.queues.contract import QueueState
from labwire.instruments.roster import Roster
from labwire.wire.instrument_extras import NOOP, Feature
from labwire.wire.instrument_message import DEFAULT_TIMEOUT_MS, Command, CommandResponse

__all__ = ["Acquisition", "Barrier", "InstrumentServer"]

DEFAULT_CREDITS = 8


class InstrumentServer(Roster):
    """Runs instruments, each in a worker process of its own, and calls their verbs.

    >>> from labwire.instruments.config import InstrumentConfig
    >>> config = InstrumentConfig(driver="labwire.instruments.drivers.simulated:Multimeter", queue="socket")
    >>> with InstrumentServer() as server:
    ...     server.add("DMM1", config)
    ...     voltage_v = server.call("DMM1", "MEASURE_VOLTAGE", {"range": 10.0, "samples": 100})
    >>> 3.1 < voltage_v < 3.2
    True

    Any number of threads may call; commands of one instrument are executed one after the other, in the order in which
    they were sent, those of different instruments at the same time. A worker that dies fails the commands that wait for
    it at once with PeerGoneError "Worker died: …" and is started again: at once, then after 0.2 s, doubling to 10 s.

    Args:
        on_event: Called with kind, instrument and data, on a thread of the server's own and in order. Kinds:
            ``started``, ``restarted``, ``died``, ``given_up``, ``stopped``, ``stuck``, ``unstuck``, ``late_response``,
            ``queue_full``, ``protocol_error``, and ``log`` for what a worker has logged or printed.
        on_result: Called with instrument, command, response, and the moments (seconds, monotonic clock) when it was
            sent and answered. It runs on the thread that received the response and holds up whoever waits there.
        python_path: Folders in which workers look for drivers, besides what is installed.
    """

    def describe(self, name: str, *, timeout_ms: float = DEFAULT_TIMEOUT_MS) -> InstrumentApi:
        """Return what an instrument can do; empty for a foreign worker, which does not tell.

        Raises:
            LabwireError: As for `call`, if it has not told yet.
        """
        instrument = self._find(name)
        if Feature.CONTROL not in instrument.features:
            return InstrumentApi()
        maker = instrument.maker
        if maker.api is None:
            exchange = instrument.usable_exchange(deadline_of(timeout_ms))
            exchange.learned.wait(timeout_ms / 1000)
        return maker.api or InstrumentApi()

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
        deadline_s = deadline_of(timeout_ms)
        exchange, maker = instrument.usable_exchange(deadline_s), instrument.maker
        number, command = maker.make(
            verb, params, timeout_ms=timeout_ms, priority=priority, expects_response=expects_response
        )
        call = Call(command, number, deadline_s)
        exchange.send(call, maker.encode(number, command), priority)
        return instrument.value_of(exchange.wait(call), command.verb)

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
        deadline_s = deadline_of(timeout_ms)
        exchange, maker = instrument.usable_exchange(deadline_s), instrument.maker
        number, command = maker.make(
            verb, params, timeout_ms=timeout_ms, priority=priority, expects_response=expects_response
        )
        call = Call(command, number, deadline_s)
        exchange.send(call, maker.encode(number, command), priority)
        return instrument.whole(exchange.wait(call))

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
        number, command = instrument.maker.make(
            verb, params, timeout_ms=timeout_ms, priority=priority, expects_response=expects_response
        )
        return _send_future(instrument, number, command, deadline_s, lambda r: instrument.value_of(r, command.verb))

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
        """Send a command and return it, with its id, and a future of the whole response as `execute` returns it.

        Raises:
            LabwireError: It could not be sent; what happens later stands in the future.
        """
        instrument = self._find(name)
        deadline_s = deadline_of(timeout_ms)
        number, command = instrument.maker.make(
            verb, params, timeout_ms=timeout_ms, priority=priority, expects_response=expects_response
        )
        return command, _send_future(instrument, number, command, deadline_s, instrument.whole)

    def map(
        self,
        name: str,
        verb: str,
        params: Iterable[Mapping[str, Any] | None],
        *,
        timeout_ms: float = DEFAULT_TIMEOUT_MS,
        priority: int = 0,
        window: int = DEFAULT_WINDOW,
    ) -> Iterator[Any]:
        """Let an instrument execute a verb with one set of parameters after the other; yield the values in order.

        The fastest way for many commands: up to `window` are on their way at any time, several in one message where
        the worker is our own and the commands are quick. Nothing is sent before the first value is asked for.

        Args:
            name: The instrument.
            verb: Of all commands.
            params: One mapping for each command.
            timeout_ms: How long each may take once the one before is answered.
            priority: Of all commands.
            window: From 1 to 100.

        Raises:
            LabwireError: As for `call`, at the value that it concerns; nothing comes after it, and what is on its way
                is executed for nobody.
        """
        pipeline = Pipeline(self._find(name), verb, timeout_ms=timeout_ms, priority=priority, window=window)
        return pipeline.run(params)

    def acquire(
        self,
        name: str,
        verb: str,
        params: Mapping[str, Any] | None = None,
        *,
        credits: int = DEFAULT_CREDITS,  # noqa: A002 (the protocol's word)
        timeout_ms: float = DEFAULT_TIMEOUT_MS,
        priority: int = 0,
    ) -> Acquisition:
        """Let an instrument acquire continuously: an iterator of blocks, and a context manager that ends it.

        Args:
            name: The instrument; it executes nothing else meanwhile.
            verb: A continuous one.
            params: By name.
            credits: Blocks that may be made before the caller takes one, from 1 to 50.
            timeout_ms: How long to wait for a block.
            priority: As for `call`.

        Raises:
            LabwireError: As for `call`; it could not be sent.
            UsageError: The verb is not continuous, or the worker is a foreign one, which cannot do this.
        """
        instrument = self._find(name)
        instrument.need(Feature.CONTROL, "a continuous acquisition")
        deadline_s = deadline_of(timeout_ms)
        exchange = instrument.usable_exchange(deadline_s)
        number, command = instrument.maker.make(verb, params, timeout_ms=timeout_ms, priority=priority, continuous=True)
        call = BlockCall(command, number, check_credits(credits))
        acquisition = Acquisition(instrument, exchange, call, timeout_ms / 1000)
        acquisition.begin(instrument.maker.encode(number, command), priority)
        return acquisition

    def barrier(self, names: Sequence[str], timeout_s: float = 5.0) -> Barrier:
        """Let instruments wait for each other: none goes on before all have finished what was sent before.

        Args:
            names: The instruments, each once.
            timeout_s: How long to wait for the last of them.

        Raises:
            DeadlineError: Some did not get there in time; data ``missing`` names them. The others go on.
            LabwireError: As for `call`; the others go on.
            UsageError: One of them has a foreign worker, which knows no barriers.
        """
        return run_barrier([self._find(name) for name in dict.fromkeys(names)], timeout_s)

    def ping(self, name: str, *, timeout_ms: float = DEFAULT_TIMEOUT_MS) -> float:
        """Return how long a command that does nothing takes there and back, in seconds; it waits for its turn.

        A foreign worker does not know that command; it answers that, which takes as long.

        Raises:
            LabwireError: As for `call`.
        """
        instrument = self._find(name)
        deadline_s = deadline_of(timeout_ms)
        exchange, maker = instrument.usable_exchange(deadline_s), instrument.maker
        start_s = time.perf_counter()
        number, command = maker.make_control(NOOP, {}, timeout_ms=timeout_ms)
        call = Call(command, number, deadline_s)
        exchange.send(call, maker.encode(number, command))
        exchange.wait(call)
        return time.perf_counter() - start_s

    def queue_states(self, name: str) -> list[QueueState]:
        """Return how both queues of an instrument are, without taking a message out; none if it has no worker."""
        return self._find(name).queue_states()


def _send_future(
    instrument: Instrument, number: int, command: Command, deadline_s: float, value_of: ValueOf
) -> Future[Any]:
    exchange = instrument.usable_exchange(deadline_s)
    call = FutureCall(command, number, deadline_s, value_of)
    call.future.help_out = lambda: exchange.help_out(call)
    exchange.send(call, instrument.maker.encode(number, command), command.priority)
    return call.future
