"""What a message queue between server and worker is. Source: instrument-ipc, "Queue Architecture".

A queue carries encoded messages one way: requests from the server to the worker, responses back. A *pair* is both. Each
worker incarnation gets a fresh pair; a pair is never used again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

import msgspec

from labwire.errors import QueueFullError, TooLargeError
from labwire.names import check_actor_name

DEPTH = 100
"""Messages that a queue holds."""
SEND_TIMEOUT_S = 1.0
SLICE_S = 0.1
"""No wait inside the C library is longer than this, so that signals, deadlines and deaths are noticed."""


def request_name(instrument: str) -> str:
    """Return the name of an instrument's request queue: server to worker."""
    return f"instrument_{check_actor_name(instrument)}_req"


def response_name(instrument: str) -> str:
    """Return the name of an instrument's response queue: worker to server."""
    return f"instrument_{check_actor_name(instrument)}_resp"


def too_large(name: str, size_bytes: int, limit_bytes: int) -> TooLargeError:
    """Return the error for a message that is larger than the queue's messages."""
    return TooLargeError(
        f"a message of {size_bytes} bytes does not fit into queue {name}: the limit is {limit_bytes} bytes",
        size_bytes=size_bytes,
        limit_bytes=limit_bytes,
    )


def queue_full(name: str, timeout_s: float, waiting: int) -> QueueFullError:
    """Return the error for a queue that had no room in time."""
    return QueueFullError(
        f"queue {name} stayed full for {timeout_s:g} s: {waiting} messages wait in it, its worker is stuck or slow",
        waiting=waiting,
    )


class QueueState(msgspec.Struct, frozen=True):
    """What can be told of a queue without taking a message out."""

    name: str
    kind: str
    depth: int
    """Messages that it can hold."""
    waiting: int | None
    """Messages in it; None where the system does not tell."""
    waiting_bytes: int | None = None
    blocked_senders: int = 0
    blocked_receivers: int = 0
    types: dict[str, int] = {}
    """Messages in it by type, for instance ``{"COMMAND": 3}``."""
    ids: list[int] = []
    """Ids of the messages in it, in the order in which they will be received."""
    lock_owner: int | None = None
    """Thread that holds the lock."""
    lock_owner_alive: bool = True
    used_by: list[int] = []
    """Processes that have it open, where that can be known."""
    note: str = ""
    """What is wrong with it."""


class MessageQueue(ABC):
    """One direction of a pair. Many threads may send and receive at the same time."""

    name: str
    kind: str

    @abstractmethod
    def send(self, message: bytes, timeout_s: float = SEND_TIMEOUT_S, priority: int = 0) -> None:
        """Put a message in; returns when it is in.

        Args:
            message: Header and payload, without padding; a queue that needs the fixed size adds it.
            timeout_s: How long to wait for room.
            priority: Higher is received first, where the kind of queue can do that.

        Raises:
            QueueFullError: It stayed full.
            PeerGoneError: Nobody will ever receive, or the queue is closed or broken.
            TooLargeError: The message is larger than the queue's messages.
        """

    @abstractmethod
    def receive(self, timeout_s: float) -> bytes | None:
        """Take a message out; None if none came in time. A wait is cut into slices of at most `SLICE_S`.

        Raises:
            PeerGoneError: Nobody will ever send, or the queue is closed or broken.
        """

    @abstractmethod
    def wake(self) -> None:
        """Let one `receive` of this object return None at once; if none waits, the next one does.

        From any thread, and also when the peer died holding the lock.
        """

    @abstractmethod
    def state(self) -> QueueState:
        """Look at it without taking a message out."""

    def adopt(self) -> None:  # noqa: B027  # not all kinds have names
        """See `QueuePair.adopt`."""

    @abstractmethod
    def close(self) -> None:
        """Let go of it; waits in other threads end with `PeerGoneError`. Safe to call twice."""


class QueuePair(ABC):
    """Both queues of one worker incarnation, seen from one side."""

    requests: MessageQueue
    responses: MessageQueue
    worker_fd: int | None = None
    """Descriptor that the worker process must inherit: `WorkerSpec.socket_fd`. None: it needs none."""

    def release_worker_fd(self) -> None:  # noqa: B027  # most kinds have none
        """Close our copy of `worker_fd`, right after the worker has started: only then is its death an end of file."""

    def adopt(self) -> None:
        """Take the names over from a creator that is dead: closing removes them, unless they are others' by now."""
        self.requests.adopt()
        self.responses.adopt()

    @abstractmethod
    def close(self) -> None:
        """Close both; the side that created them also removes their names. Safe to call twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
