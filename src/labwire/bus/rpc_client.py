"""The caller's side of the RPC port."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import zmq

from labwire.bus.connection_watch import ConnectionWatch
from labwire.bus.far_peer import notice_loss
from labwire.errors import CancelledError, DeadlineError, PeerGoneError, ProtocolError, StateError
from labwire.operations.job import Job
from labwire.operations.service import Operation
from labwire.wire.bus_message import encode_payload
from labwire.wire.rpc_message import Kind, RpcMessage, decode_rpc, encode_rpc, read_error

_SLICE_MS = 100  # so that Ctrl-C is never far
MAX_IDLE_CONNECTIONS = 8


class RpcClient:
    """Calls operations of a rig; safe to use from many threads, each call on a connection of its own.

    >>> rpc = RpcClient("tcp://127.0.0.1:50021")  # doctest: +SKIP
    >>> rig = client_of(RigOperations, rpc.call)  # doctest: +SKIP

    Args:
        url: Address of the RPC port.
        timeout_s: How long a call waits for its answer unless it says otherwise.
        context: ZeroMQ context to use; by default the process's own.
    """

    def __init__(self, url: str, *, timeout_s: float = 10.0, context: zmq.Context[Any] | None = None) -> None:
        self.url = url
        self.timeout_s = timeout_s
        self._context: zmq.Context[Any] = context or zmq.Context.instance()
        self._idle: list[_Line] = []
        self._jobs: set[_Line] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._gone = ""

    def call(
        self, operation: Operation, request: msgspec.Struct, *, target: str = "", timeout_s: float | None = None
    ) -> Any:
        """Call an operation and wait for its reply; an operation that starts a job gives a `Job` at once.

        Args:
            operation: Row of the table.
            request: The request struct of that row.
            target: Name of the actor to ask; empty means whoever offers the service.
            timeout_s: Overrides the client's.

        Raises:
            DeadlineError: No answer in time; the request has been cancelled.
            PeerGoneError: The rig went away before it answered.
            UsageError: An argument cannot be sent.
            LabwireError: What the operation raised.
        """
        body = encode_payload(request)
        line = self._take()
        line.send(Kind.CALL, [target.encode(), operation.full_name.encode(), body])
        if operation.progress is not None:
            self._jobs.add(line)
            return RemoteJob(self, line, operation)
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        answered = False
        try:
            body = line.wait_answer(limit_s, f"{operation.full_name} at {self.url}")
            answered = True
        finally:
            # A failed call that was answered leaves the line clean; one that was not may still get a late reply.
            self.give_back(line, clean=answered or line.answered)
        return _decode(body, operation.reply, operation)

    def give_back(self, line: _Line, *, clean: bool) -> None:
        """Return a connection to the pool, or close it if it may still carry a late reply."""
        with self._lock:
            self._jobs.discard(line)
            if clean and not self._closed and len(self._idle) < MAX_IDLE_CONNECTIONS:
                self._idle.append(line)
                return
        if not clean:
            line.send(Kind.CANCEL, [])
        line.close()

    def give_up(self, reason: str) -> None:
        """Hear that the rig is gone for good: calls from now on fail at once, instead of after their time.

        Args:
            reason: What their `PeerGoneError` says.
        """
        self._gone = reason

    def close(self) -> None:
        """Close all connections but those that carry a call; each of them is closed when its call ends.

        Jobs that nobody waits for go on; no thread may be waiting for one now.
        """
        with self._lock:
            self._closed = True
            lines = [*self._idle, *self._jobs]
            self._idle, self._jobs = [], set()
        for line in lines:
            line.close()

    def _take(self) -> _Line:
        with self._lock:
            if self._closed:
                raise StateError(f"the RPC client of {self.url} is closed")
            if self._gone:
                raise PeerGoneError(f"{self._gone}: nobody answers at {self.url}", url=self.url)
            while self._idle:
                line = self._idle.pop()
                if not line.broken:
                    return line
                line.close()
        return _Line(self._context, self.url)


class _Line:
    """One connection, used for one request at a time."""

    def __init__(self, context: zmq.Context[Any], url: str) -> None:
        self._socket = context.socket(zmq.DEALER)
        self._socket.linger = 200
        notice_loss(self._socket, url)
        self._url = url
        self._watch = ConnectionWatch(context, self._socket)
        self._was_connected = False
        self._watch.connect(url)
        self._numbers = itertools.count(1)
        self._number = 0
        self.answered = True

    def send(self, kind: Kind, parts: list[bytes]) -> None:
        if kind is Kind.CALL:
            self._number = next(self._numbers)
            self.answered = False
        try:
            self._socket.send_multipart(encode_rpc(RpcMessage(kind, self._number, parts)), zmq.NOBLOCK)
        except zmq.Again:
            pass  # nobody there and the queue full: the deadline tells

    def wait_answer(self, limit_s: float, what: str) -> bytes:
        deadline = time.monotonic() + limit_s
        while True:
            message = self.receive(deadline - time.monotonic())
            if message is None:
                raise DeadlineError(f"{what}: no answer within {limit_s:g} s", limit_s=limit_s)
            if message.kind is Kind.OK:
                return message.parts[0]
            if message.kind is Kind.ERROR:
                raise read_error(message.parts[0])

    def receive(self, timeout_s: float) -> RpcMessage | None:
        """Return the next message of the present request, or None when the time is up.

        Raises:
            PeerGoneError: The connection broke; what was asked is lost.
        """
        end = time.monotonic() + timeout_s
        while True:
            left_ms = int((end - time.monotonic()) * 1000) + 1
            if left_ms <= 0:
                return None
            if not self._socket.poll(min(left_ms, _SLICE_MS)):
                if self.broken:
                    raise PeerGoneError(f"the rig at {self._url} went away before it answered")
                continue
            self._was_connected = True
            message = decode_rpc(self._socket.recv_multipart())
            if message.number in {self._number, 0}:
                self.answered = message.kind is not Kind.PROGRESS
                return message

    @property
    def broken(self) -> bool:
        """Whether the connection ended at least once; a new one knows nothing of old requests."""
        connected = self._watch.connected
        if self._was_connected and not connected:
            return True
        self._was_connected |= connected
        return self._watch.reconnections > 0

    def close(self) -> None:
        self._watch.close()
        self._socket.close()


class RemoteJob(Job[Any, Any]):
    """Long work on the rig, seen from the caller."""

    def __init__(self, client: RpcClient, line: _Line, operation: Operation) -> None:
        self._client, self._line, self._operation = client, line, operation
        self._end: tuple[Any, BaseException | None] | None = None

    def progress(self) -> Iterator[Any]:
        """Yield progress reports until the work ends."""
        while self._end is None:
            report = self._step(None)
            if report is not None:
                yield report

    def result(self, timeout_s: float | None = None) -> Any:
        """Wait for the result; see `Job.result`."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while self._end is None:
            if deadline is not None and time.monotonic() > deadline:
                raise DeadlineError(f"{self._operation.full_name} is not done within {timeout_s} s; it goes on")
            self._step(deadline)
        value, error = self._end
        if error is not None:
            raise error
        return value

    def cancel(self) -> None:
        """Ask the work to end early; `result` then raises `CancelledError`."""
        if self._end is None:
            self._line.send(Kind.CANCEL, [])

    def _step(self, deadline: float | None) -> Any:
        timeout_s = 1.0 if deadline is None else max(0.0, deadline - time.monotonic())
        message = self._line.receive(timeout_s)
        match message.kind if message else None:
            case Kind.PROGRESS if message:
                return _decode(message.parts[0], self._operation.progress, self._operation)
            case Kind.OK if message:
                self._finish(_decode(message.parts[0], self._operation.reply, self._operation), None)
            case Kind.ERROR if message:
                self._finish(None, read_error(message.parts[0]))
            case _:
                pass
        return None

    def _finish(self, value: Any, error: BaseException | None) -> None:
        self._end = value, error
        self._client.give_back(self._line, clean=True)


def _decode(body: bytes, kind: Any, operation: Operation) -> Any:
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"{operation.full_name}: the reply does not fit: {error}") from error


__all__ = ["CancelledError", "RemoteJob", "RpcClient"]
