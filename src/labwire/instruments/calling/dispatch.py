"""Commands for callers that must not wait, the loop of an actor for instance: sent at once where that costs no wait."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple, Protocol

from labwire.errors import LabwireError, QueueFullError, StateError
from labwire.instruments.exchange.calls import check_success
from labwire.instruments.status import InstrumentStatus, State
from labwire.operations.instruments import CommandRequest
from labwire.wire.instrument_message import Command, CommandResponse

MAX_WAITING = 1000
"""Most commands that wait here for one instrument."""
_DIRECT_BELOW = 64
"""An instrument's queue has room for 100 commands: with fewer on their way, sending does not wait."""
_RUNS = {State.READY, State.BUSY, State.STUCK}


class Outcome(NamedTuple):
    """A command that has been sent, and what became of it."""

    request: CommandRequest
    command: Command
    response: CommandResponse | None
    """None if there was no answer."""
    error: LabwireError | None
    done_s: float
    """When the answer came, or was given up, on the monotonic clock."""
    duration_s: float
    block: int | None = None
    """Number of a block of a continuous acquisition; None for the end of a command."""

    @property
    def value(self) -> Any:
        """What the command returned; a numpy array for a waveform."""
        return self.response.return_value if self.response else None


class Server(Protocol):
    """What is needed of `labwire.instruments.server.InstrumentServer`."""

    def status(self, name: str) -> InstrumentStatus:
        """Return how an instrument is."""
        ...

    def submit_whole(
        self,
        name: str,
        verb: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout_ms: float = ...,
        priority: int = 0,
        expects_response: bool = True,
    ) -> tuple[Command, Future[CommandResponse]]:
        """Send a command."""
        ...


class Dispatcher:
    """Sends commands; never makes its caller wait.

    Args:
        server: Where to.
        on_outcome: Called for each command that was sent, when it is done, on the thread that received its answer.
    """

    def __init__(self, server: Server, on_outcome: Callable[[Outcome], None]) -> None:
        self._server, self._on_outcome = server, on_outcome
        self._lanes: dict[str, _Lane] = {}
        self._lock = threading.Lock()
        self._closed = False

    def submit(self, request: CommandRequest, *, expects_response: bool = True) -> Future[Outcome]:
        """Send a command, in its turn; return a future of its outcome.

        The future has an error only if the command was not sent: no such instrument or verb, a wrong parameter, a full
        or stopped instrument.
        """
        future: Future[Outcome] = Future()
        future.set_running_or_notify_cancel()  # what was sent cannot be taken back
        order = _Order(request, future, expects_response)
        try:
            state = self._server.status(request.name)
            with self._lock:
                if self._closed:
                    raise StateError("the instruments are being stopped", instrument=request.name)
                lane = self._lanes.get(request.name)
                if lane is None:
                    lane = self._lanes[request.name] = _Lane(request.name, self._send)
            lane.put(order, at_once=state.state in _RUNS and state.waiting < _DIRECT_BELOW)
        except LabwireError as error:
            future.set_exception(error)
        return future

    def close(self) -> None:
        """Send nothing more; what waits here fails. Safe to call twice."""
        with self._lock:
            self._closed = True
            lanes = list(self._lanes.values())
        for lane in lanes:
            lane.close()

    def _send(self, order: _Order) -> None:
        request = order.request
        began_s = time.monotonic()
        try:
            command, answer = self._server.submit_whole(
                request.name,
                request.verb,
                request.params,
                timeout_ms=request.timeout_ms,
                priority=request.priority,
                expects_response=order.expects_response,
            )
        except Exception as error:
            order.future.set_exception(error)
            return
        answer.add_done_callback(lambda done: self._finish(order, command, done, began_s))

    def _finish(self, order: _Order, command: Command, done: Future[CommandResponse], began_s: float) -> None:
        now_s = time.monotonic()
        response, error = None, None
        try:
            response = done.result()
            check_success(response, command.instrument_name, command.verb)
        except LabwireError as caught:
            error = caught
            error.data.setdefault("command_id", command.id)
        except Exception as caught:  # a bug on the way of the answer
            order.future.set_exception(caught)
            return
        outcome = Outcome(order.request, command, response, error, now_s, now_s - began_s)
        self._on_outcome(outcome)
        order.future.set_result(outcome)


class _Order(NamedTuple):
    request: CommandRequest
    future: Future[Outcome]
    expects_response: bool


class _Lane:
    """The commands of one instrument in their order; a thread sends those that have to wait for room."""

    def __init__(self, name: str, send: Callable[[_Order], None]) -> None:
        self._name, self._send = name, send
        self._waiting: deque[_Order] = deque()
        self._lock = threading.Lock()
        self._there_is = threading.Condition(self._lock)
        self._busy = self._closed = False
        self._thread: threading.Thread | None = None

    def put(self, order: _Order, *, at_once: bool) -> None:
        with self._lock:
            at_once = at_once and not self._waiting and not self._busy
            if not at_once:
                self._append(order)
        if at_once:
            self._send(order)

    def _append(self, order: _Order) -> None:
        if self._closed:
            raise StateError("the instruments are being stopped", instrument=self._name)
        if len(self._waiting) >= MAX_WAITING:
            raise QueueFullError(f"{self._name}: {MAX_WAITING} commands wait already to be sent", instrument=self._name)
        self._waiting.append(order)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"commands for {self._name}", daemon=True)
            self._thread.start()
        self._there_is.notify()

    def _run(self) -> None:
        while True:
            with self._lock:
                self._busy = False
                self._there_is.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                order = self._waiting.popleft()
                self._busy = True
            self._send(order)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            left = list(self._waiting)
            self._waiting.clear()
            self._there_is.notify()
        for order in left:
            order.future.set_exception(StateError(f"{self._name} was stopped", instrument=self._name))
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
