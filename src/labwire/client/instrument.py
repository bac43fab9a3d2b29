"""An instrument of a rig, seen from a program that commands it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import msgspec

from labwire.bus.rpc_client import RpcClient
from labwire.client.instrument_blocks import Blocks, Values
from labwire.client.verb_method import by_name, doc_of, signature_of
from labwire.errors import LabwireError, NotFoundError, UsageError, error_from_name
from labwire.operations.instrument_api import InstrumentApi, Verb
from labwire.operations.instruments import (
    DEFAULT_TIMEOUT_MS,
    WINDOW,
    CommandRequest,
    CommandResult,
    Instruments,
    InstrumentStatus,
)
from labwire.operations.service import Operation, client_of
from labwire.strict import nearest

MAX_SUBMITTED = 32
"""Most commands that `Instrument.submit` has on their way; the next one waits."""

_MARGIN_S = 10.0
_SLOW = frozenset({"start", "stop", "restart"})
_SLOW_S = 60.0
"""A driver may take its time to get ready, and to finish."""


def rig_instruments(rpc: Callable[[], RpcClient]) -> RigInstruments:
    """Return the instruments of a rig.

    Args:
        rpc: Returns the present connection to the rig's RPC port.
    """

    def call(operation: Operation, request: msgspec.Struct) -> Any:
        command_s = getattr(request, "timeout_ms", 0) / 1000 + getattr(request, "timeout_s", 0.0)
        margin_s = _SLOW_S if operation.name in _SLOW else _MARGIN_S
        return rpc().call(operation, request, timeout_s=command_s + margin_s)

    return client_of(RigInstruments, call)


class RigInstruments(Instruments):
    """The instruments of a rig: the operations on them, and each of them by its name.

    >>> rig.instruments["DMM1"].measure_voltage(range=10.0)  # doctest: +SKIP
    >>> [status.state for status in rig.instruments.list()]  # doctest: +SKIP
    """

    def __getitem__(self, name: str) -> Instrument:
        return Instrument(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter([status.name for status in self.list()])

    def __len__(self) -> int:
        return len(self.list())


class Instrument:
    """One instrument. Its verbs are methods: ``MEASURE_VOLTAGE`` is ``measure_voltage``.

    >>> dmm = rig.instrument("DMM1")  # doctest: +SKIP
    >>> dmm.measure_voltage(range=10.0, samples=100)  # doctest: +SKIP
    3.14159

    A failure is an error: `CommandFailedError` if the instrument says so, `DeadlineError` if it does not answer in
    time, `PeerGoneError` if its worker dies. Safe to use from many threads.
    """

    def __init__(self, instruments: Instruments, name: str) -> None:
        self._instruments = instruments
        self._name = name
        self._api: InstrumentApi | None = None
        self._room = threading.Semaphore(MAX_SUBMITTED)

    @property
    def name(self) -> str:
        """Its name in the rig."""
        return self._name

    @property
    def api(self) -> InstrumentApi:
        """What it can do; asked once."""
        if self._api is None:
            self._api = self._instruments.describe(self._name)
        return self._api

    @property
    def status(self) -> InstrumentStatus:
        """How it is.

        Raises:
            NotFoundError: The rig has no such instrument.
        """
        found = {status.name: status for status in self._instruments.list()}
        if self._name not in found:
            raise NotFoundError(f"no instrument {self._name!r} in this rig; there are: {', '.join(found) or 'none'}")
        return found[self._name]

    def call(
        self,
        verb: str,
        params: Mapping[str, Any] | None = None,
        /,
        *,
        timeout_ms: int = DEFAULT_TIMEOUT_MS,
        priority: int = 0,
        **more: Any,
    ) -> Any:
        """Send a command and return what it returns; a waveform is a numpy array.

        Args:
            verb: Name of the command.
            params: Its parameters; those that are no Python names, or are called as an argument here, stand here.
            timeout_ms: How long the answer may take.
            priority: Higher goes first among the commands that wait.
            **more: Further parameters.

        Raises:
            CommandFailedError: The instrument says that it failed.
            DeadlineError: No answer in time; the instrument goes on all the same.
            PeerGoneError: Its worker died.
            UsageError: The verb, or a parameter, is not one of this instrument.
        """
        return self.execute(verb, params, timeout_ms=timeout_ms, priority=priority, **more).result

    def execute(
        self,
        verb: str,
        params: Mapping[str, Any] | None = None,
        /,
        *,
        timeout_ms: int = DEFAULT_TIMEOUT_MS,
        priority: int = 0,
        **more: Any,
    ) -> CommandResult:
        """Like `call`, but return everything: id of the command, text, time, duration."""
        sent = _plain({**(params or {}), **more})
        return self._instruments.call(self._name, verb, sent, timeout_ms=timeout_ms, priority=priority)

    def submit(
        self,
        verb: str,
        params: Mapping[str, Any] | None = None,
        /,
        *,
        timeout_ms: int = DEFAULT_TIMEOUT_MS,
        priority: int = 0,
        **more: Any,
    ) -> Future[Any]:
        """Like `call`, but do not wait: return a future. At most `MAX_SUBMITTED` are on their way, the next waits."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()  # what was sent cannot be taken back
        self._room.acquire()

        def work() -> None:
            try:
                value = self.call(verb, params, timeout_ms=timeout_ms, priority=priority, **more)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(value)
            finally:
                self._room.release()

        threading.Thread(target=work, name=f"{self._name} {verb}", daemon=True).start()
        return future

    def map(
        self, verb: str, params: Sequence[Mapping[str, Any]], *, timeout_ms: int = DEFAULT_TIMEOUT_MS
    ) -> Iterator[Any]:
        """Send the command once for each set of parameters, one behind the other without waiting; yield the values.

        Raises:
            CommandFailedError: One failed; the others have been run all the same.
        """
        commands = [
            CommandRequest(name=self._name, verb=verb, params=_plain(one), timeout_ms=timeout_ms) for one in params
        ]
        for result in self._instruments.run(commands, stop_on_error=False).result():
            if result.error:
                raise error_from_name(result.error_type, result.error, {"command_id": result.command_id})
            yield result.result

    def blocks(
        self,
        verb: str,
        params: Mapping[str, Any] | None = None,
        /,
        *,
        timeout_ms: int = DEFAULT_TIMEOUT_MS,
        window: int = WINDOW,
        publish: bool = True,
        **more: Any,
    ) -> Blocks:
        """Acquire continuously; iterate over what is returned for the blocks, and close it to end.

        >>> with scope.blocks("ACQUIRE", points=1000) as blocks:  # doctest: +SKIP
        ...     for block in blocks:
        ...         print(block.number, block.result.mean())

        Args:
            verb: Name of a continuous command.
            params: Its parameters.
            timeout_ms: How long a block may take.
            window: Blocks that may wait here; the instrument makes no more before one was taken.
            publish: Put each block on the bus, too.
            **more: Further parameters.
        """
        if window < 1:
            raise UsageError("a window is at least 1: without blocks there is nothing to iterate over", window=window)
        sent = _plain({**(params or {}), **more})
        job = self._instruments.acquire(self._name, verb, sent, timeout_ms=timeout_ms, window=window, publish=publish)
        return Blocks(job, self._instruments, window)

    def ping(self) -> float:
        """Return the round trip to its worker and back, in seconds."""
        return self._instruments.ping(self._name).round_trip_us / 1e6

    def restart(self) -> InstrumentStatus:
        """Start its worker anew."""
        return self._instruments.restart(self._name)

    # --- verbs as methods

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if method.startswith("_"):
            raise AttributeError(method)
        verb = self._find(method)

        def command(*values: Any, timeout_ms: int = DEFAULT_TIMEOUT_MS, priority: int = 0, **params: Any) -> Any:
            params = by_name(verb, values, params)
            if verb.continuous:
                return Values(self.blocks(verb.name, params, timeout_ms=timeout_ms))
            return self.call(verb.name, params, timeout_ms=timeout_ms, priority=priority)

        command.__name__ = command.__qualname__ = method
        command.__doc__ = doc_of(verb)
        command.__signature__ = signature_of(verb)
        return command

    def _find(self, method: str) -> Verb:
        verbs = {verb.method: verb for verb in self.api.verbs}
        if method in verbs:
            return verbs[method]
        if not verbs:  # a foreign worker does not tell what it can do
            return Verb(name=method.upper(), method=method)
        near = nearest(method, verbs)
        hint = f"did you mean {near}?" if near else f"it has: {', '.join(verbs)}"
        raise AttributeError(f"instrument {self._name} has no {method}; {hint}", name=method, obj=self)

    def __dir__(self) -> list[str]:
        try:
            return [*super().__dir__(), *(verb.method for verb in self.api.verbs)]
        except LabwireError:
            return list(super().__dir__())  # completion must not fail because the rig does

    def __repr__(self) -> str:
        return f"<instrument {self._name}>"


def _plain(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with numpy's numbers and arrays as Python's."""
    return {name: value.tolist() if hasattr(value, "tolist") else value for name, value in params.items()}
