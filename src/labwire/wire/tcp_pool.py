"""The writers that are connected to one detector, and the run that they take part in.

Source: image-stream, "TCP/IP image stream", "TCP/IP configuration", "Keepalive".
"""

from __future__ import annotations

from collections import deque

import msgspec

from labwire.errors import LabwireError, RefusedError, StateError, UsageError
from labwire.wire.run_result import no_writer_error
from labwire.wire.tcp_events import SenderEvent
from labwire.wire.tcp_frame import Readable
from labwire.wire.tcp_run import PayloadOf, RunPhase, SenderRun
from labwire.wire.tcp_sender import MAX_UNACKNOWLEDGED, MAX_UNSENT_BYTES, SenderConnection
from labwire.wire.tcp_states import State
from labwire.wire.tcp_timeouts import SENDER_TIMEOUTS, SenderTimeouts

DEFAULT_NWRITERS = 32
"""The broker's own default; it allows 1 to 100."""
MAX_LOST_KEPT = 16


class PoolCounters(msgspec.Struct):
    """What a pool has counted since it was made."""

    accepted: int = 0
    """Writers that came and were taken."""
    refused: int = 0
    """Writers that came when there were enough."""
    lost: int = 0
    """Writers that were taken and are gone."""
    stray_frames: int = 0
    """Of writers that are gone: answers to nothing, or to another run."""
    unknown_frames: int = 0
    """Of writers that are gone: frames of a type that the spec does not have."""


class SenderPool:
    """Persistent writer connections, in the order in which they came.

    The owner accepts sockets and gives each its connection::

        connection = pool.connect("10.0.0.5:41234", now_s)
        events = pool.receive_data(connection, sock.recv(65536), now_s)
        pool.bytes_sent(connection, sock.sendmsg(connection.data_to_send()), now_s)

    After each call here, any connection of the pool may have something to send or be CLOSED: look at `unsent` and close
    the sockets of the closed ones when what they still have to say is sent. One lock guards the pool, its run and all
    connections; only the system calls happen outside it.

    Args:
        address: Where the detector listens, for messages.
        nwriters: Most writers at a time.
        timeouts: See `SenderTimeouts`.
        max_unacknowledged: Images of one connection that wait for their ACK.
        max_unsent_bytes: Bytes of one connection that wait for the socket, see `SenderConnection`.

    Raises:
        UsageError: `nwriters` is below 1.
    """

    def __init__(
        self,
        address: str,
        *,
        nwriters: int = DEFAULT_NWRITERS,
        timeouts: SenderTimeouts = SENDER_TIMEOUTS,
        max_unacknowledged: int = MAX_UNACKNOWLEDGED,
        max_unsent_bytes: int = MAX_UNSENT_BYTES,
    ) -> None:
        if nwriters < 1:
            raise UsageError(f"a detector needs room for at least one writer: nwriters={nwriters}")
        self.address = address
        self.connections: list[SenderConnection] = []
        """Those that are open."""
        self.run: SenderRun | None = None
        """The current run, or the last one."""
        self.counters = PoolCounters()
        self.lost: deque[LabwireError] = deque(maxlen=MAX_LOST_KEPT)
        """Why the last few writers are gone."""
        self._nwriters = nwriters
        self._timeouts = timeouts
        self._max_unacknowledged = max_unacknowledged
        self._max_unsent_bytes = max_unsent_bytes

    def connect(self, peer: str, now_s: float) -> SenderConnection:
        """Take a writer, or refuse it: then its connection is CLOSED and only has the reason to send."""
        connection = SenderConnection(
            peer,
            now_s=now_s,
            timeouts=self._timeouts,
            max_unacknowledged=self._max_unacknowledged,
            max_unsent_bytes=self._max_unsent_bytes,
        )
        if len(self.connections) >= self._nwriters:
            self.counters.refused += 1
            full = f"{self.address} takes {self._nwriters} writers (nwriters), and as many are connected"
            connection.close(now_s, RefusedError(full))
        else:
            self.counters.accepted += 1
            self.connections.append(connection)
        return connection

    @property
    def idle(self) -> list[SenderConnection]:
        """Writers that would take part in a run that starts now."""
        return [connection for connection in self.connections if connection.state is State.IDLE]

    def unsent(self) -> list[SenderConnection]:
        """Return the open connections that have something to send."""
        return [connection for connection in self.connections if connection.unsent_bytes]

    # --- what happens to a connection

    def receive_data(self, connection: SenderConnection, data: Readable, now_s: float) -> list[SenderEvent]:
        """Take bytes that came from a writer."""
        return self._after(connection, connection.receive_data(data, now_s), now_s)

    def receive_eof(
        self, connection: SenderConnection, now_s: float, reason: str = "closed the connection"
    ) -> list[SenderEvent]:
        """Note that a writer's socket has ended, and how."""
        return self._after(connection, connection.receive_eof(now_s, reason), now_s)

    def bytes_sent(self, connection: SenderConnection, count: int, now_s: float) -> None:
        """Note that a write is over and the socket took `count` bytes, maybe none."""
        connection.bytes_sent(count, now_s)

    def close(self, connection: SenderConnection, now_s: float, error: LabwireError | None = None) -> list[SenderEvent]:
        """Give one writer up; it is told the reason, if given."""
        return self._after(connection, connection.close(now_s, error), now_s)

    def next_deadline(self) -> float | None:
        """Return when `tick` is due."""
        return min(
            (due_s for connection in self.connections if (due_s := connection.next_deadline()) is not None),
            default=None,
        )

    def tick(self, now_s: float) -> list[tuple[SenderConnection, SenderEvent]]:
        """Do what is due on all connections."""
        events: list[tuple[SenderConnection, SenderEvent]] = []
        for connection in tuple(self.connections):
            happened = self._after(connection, connection.tick(now_s), now_s)
            events += [(connection, event) for event in happened]
        return events

    def _after(self, connection: SenderConnection, events: list[SenderEvent], now_s: float) -> list[SenderEvent]:
        if connection.state is State.CLOSED and connection in self.connections:
            self.connections.remove(connection)
            self.counters.lost += 1
            self.counters.stray_frames += connection.counters.stray
            self.counters.unknown_frames += connection.counters.unknown
            if connection.error is not None:
                self.lost.append(connection.error)
        if self.run is not None and events:
            self.run.update(now_s)
        return events

    # --- runs

    def start_run(
        self, run_number: int, run_name: str, payload_of: PayloadOf, now_s: float, *, images_per_file: int
    ) -> SenderRun:
        """Send START to all idle writers.

        A writer that comes later, or comes back, waits for the next run.

        Args:
            run_number: Unsigned, 64 bits; it must differ from the run before.
            run_name: For people.
            payload_of: Gives the START message for each socket number; `idle` tells how many there are.
            now_s: The time.
            images_per_file: See `SenderRun`.

        Raises:
            StateError: The run before is not over.
            PeerGoneError: No writer is connected.
            UsageError: A number is out of range.
        """
        if self.run is not None and self.run.phase is not RunPhase.DONE:
            raise StateError(f"run {self.run.run_number} is not over: it is {self.run.phase.value}")
        if self.run is not None and self.run.run_number == run_number:
            raise UsageError(f"run {run_number} was the last one: its stray frames could not be told from new ones")
        if not self.idle:
            raise no_writer_error(run_number, [self.address])
        run = SenderRun(run_number, run_name, images_per_file=images_per_file, connections=self.idle)
        run.begin(payload_of, now_s)
        self.run = run
        return run
