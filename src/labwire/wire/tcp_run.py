"""One run over several writer connections: all start or none, images by file, and the sum at the end.

Source: image-stream, "TCP/IP image stream" and "Splitting image stream".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import TypeAlias

from labwire.errors import LabwireError, StateError, UsageError, error_from_name
from labwire.wire.run_result import RunResult, sum_up
from labwire.wire.tcp_sender import SenderConnection
from labwire.wire.tcp_states import CLOSED, State, Step
from labwire.wire.tcp_stream import Payload, views_of

PayloadOf: TypeAlias = Callable[[int], Payload]
"""Gives the START or END message for the connection with this socket number."""


class RunPhase(Enum):
    """Where a run is."""

    STARTING = "starting"
    """START is sent on all connections; not all have acknowledged it."""
    RUNNING = "running"
    """Images may be sent."""
    ENDING = "ending"
    """END is sent on all connections that are left."""
    TAKEN_BACK = "taken back"
    """CANCEL is sent, because START failed or because somebody wanted it."""
    DONE = "done"
    """Nothing more will happen; the result is final."""


_RUNNING = RunPhase.RUNNING  # as Python looks up a member of an enumeration anew each time
_SETTLED = frozenset({State.IDLE, State.CLOSED})
_NOT_STARTED = frozenset({State.IDLE, State.CANCELLING, State.CLOSED})


class SenderRun:
    """One run, from START to the last answer.

    It calls its connections, so it belongs to the same owner (and the same lock) as they do; `update` must follow
    whatever happens to one of them. `labwire.wire.tcp_pool` sees to that.

    >>> run = SenderRun(7, "lysozyme_1", images_per_file=100, connections=writers)  # doctest: +SKIP
    >>> run.begin(start_message_of, now_s=0.0)  # doctest: +SKIP

    Args:
        run_number: Echoed by every ACK; a run is told from the one before it by this number alone.
        run_name: For people.
        images_per_file: Images that go to one connection before it is the next one's turn, at least 1.
        connections: Idle ones; their order gives the socket numbers.

    Raises:
        UsageError: `images_per_file` is below 1, or there is no connection.
    """

    def __init__(
        self, run_number: int, run_name: str, *, images_per_file: int, connections: Sequence[SenderConnection]
    ) -> None:
        if images_per_file < 1:
            raise UsageError(f"a file holds at least one image: images_per_file={images_per_file}")
        if not connections:
            raise UsageError("a run needs at least one connection")
        self.run_number = run_number
        self.run_name = run_name
        self.images_per_file = images_per_file
        self.connections = tuple(connections)
        self.phase = RunPhase.STARTING
        self.cancelled = False
        """Somebody took the run back; False if that followed from a START that failed."""
        self._failed_start: LabwireError | None = None
        self._accounts = [connection.account for connection in connections]

    def begin(self, payload_of: PayloadOf, now_s: float) -> None:
        """Send START on all connections.

        Raises:
            StateError: A connection is not idle.
            UsageError: A number does not fit into its field, or a message cannot go out as it is. Nothing is sent then.
        """
        # What can go wrong goes wrong before the first START is on its way.
        payloads = [list(views_of(payload_of(number))) for number in range(len(self.connections))]
        for connection in self.connections:
            connection.check(Step.START)
        for number, (connection, payload) in enumerate(zip(self.connections, payloads, strict=True)):
            connection.start(self.run_number, number, payload, now_s)
        self._accounts = [connection.account for connection in self.connections]

    def update(self, now_s: float) -> None:
        """See what the connections have come to, and do what follows from it."""
        if self.phase is RunPhase.STARTING:
            states = [connection.state for connection in self.connections]
            if not _NOT_STARTED.isdisjoint(states):
                self._failed_start = self._first_fault()
                self._take_back(now_s)
            elif State.STARTING not in states:
                self.phase = RunPhase.RUNNING
        if self.phase in {RunPhase.ENDING, RunPhase.TAKEN_BACK} and all(
            connection.state in _SETTLED for connection in self.connections
        ):
            self.phase = RunPhase.DONE

    @property
    def start_error(self) -> LabwireError | None:
        """Why the run did not start; None if it did, or may still."""
        return self._failed_start

    def connection_of(self, image_number: int) -> SenderConnection:
        """Return the connection that an image belongs to.

        ``(image_number // images_per_file) % connections``: image-stream, "TCP/IP image stream".
        """
        return self.connections[(image_number // self.images_per_file) % len(self.connections)]

    def ready_for(self, image_number: int) -> bool:
        """Whether `send_image` may be called. False while the run is on: its writer must catch up first."""
        connection = self.connection_of(image_number)
        return self.phase is _RUNNING and (connection.state is CLOSED or connection.ready_for_image)

    def send_image(self, image_number: int, payload: Payload, now_s: float) -> bool:
        """Send DATA on the connection that the image belongs to.

        Returns:
            False if that connection is gone: the image counts as missing, and the run goes on.

        Raises:
            StateError: Not `ready_for` it.
            UsageError: The number does not fit into its field, or an image with it is on its way.
        """
        self._need(_RUNNING, "DATA")
        connection = self.connection_of(image_number)
        if connection.state is CLOSED:
            connection.account.note_not_sent(image_number)
            return False
        connection.send_image(image_number, payload, now_s)
        return True

    def send_calibration(self, payload: Payload, now_s: float) -> bool:
        """Send CALIBRATION, on connection 0; False if that is gone.

        Raises:
            StateError: The run is not running, or connection 0 has had an image.
        """
        self._need(RunPhase.RUNNING, "CALIBRATION")
        if self.connections[0].state is State.CLOSED:
            return False
        self.connections[0].send_calibration(payload, now_s)
        return True

    def end(self, payload_of: PayloadOf, now_s: float) -> None:
        """Send END on all connections that are left.

        Raises:
            StateError: The run is not running.
        """
        self._need(RunPhase.RUNNING, "END")
        left = [connection for connection in self.connections if connection.state is not State.CLOSED]
        payloads = [list(views_of(payload_of(connection.socket_number))) for connection in left]
        for connection, payload in zip(left, payloads, strict=True):
            connection.end(payload, now_s)
        self.phase = RunPhase.ENDING
        self.update(now_s)

    def cancel(self, now_s: float) -> None:
        """Take the run back, whatever its phase; harmless if it is over or taken back already."""
        if self.phase not in {RunPhase.TAKEN_BACK, RunPhase.DONE}:
            self.cancelled = True
            self._take_back(now_s)
            self.update(now_s)

    def result(self) -> RunResult:
        """Return what became of the images so far; final when the phase is DONE."""
        return sum_up(self.run_number, self.run_name, self._accounts, cancelled=self.cancelled)

    def _take_back(self, now_s: float) -> None:
        self.phase = RunPhase.TAKEN_BACK
        for connection in self.connections:
            if connection.state is not State.CANCELLING and connection.state not in _SETTLED:
                connection.cancel(now_s)

    def _first_fault(self) -> LabwireError:
        fault = next(fault for account in self._accounts for fault in account.faults)
        message = f"run {self.run_number} does not start: {fault.message}"
        return error_from_name(fault.error, message, {"socket_number": fault.socket_number, "code": fault.code})

    def _need(self, phase: RunPhase, what: str) -> None:
        if self.phase is not phase:
            raise StateError(f"{what} is not possible in run {self.run_number}, which is {self.phase.value}")
