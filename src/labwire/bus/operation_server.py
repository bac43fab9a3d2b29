"""The actor's side of the RPC port: takes requests on the loop, runs long work on threads, sends replies."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import msgspec
import zmq

from labwire.bus.far_peer import notice_loss
from labwire.bus.loop import Loop
from labwire.errors import InternalError, LabwireError, NotFoundError, QueueFullError
from labwire.operations.job import LocalJob
from labwire.operations.service import Operation, invoke, offered_by
from labwire.wire.bus_message import encode_payload
from labwire.wire.rpc_message import Hello, Kind, RpcMessage, decode_rpc, encode_rpc, read_error, report_error

MAX_JOBS = 16
_BATCH = 100
_RETRY_S = 0.05


class OperationServer:
    """Serves the operations of one implementation.

    Args:
        implementation: An object whose classes include services.
        loop: The loop that owns the socket and calls the implementation.
        hello: How it introduces itself.
        rpc_url: Address of the broker.
        context: ZeroMQ context.
        on_refused: Called with the reason if the rig does not take the actor.
    """

    def __init__(
        self,
        implementation: object,
        loop: Loop,
        hello: Hello,
        rpc_url: str,
        context: zmq.Context[Any],
        on_refused: Callable[[LabwireError], None] = lambda _: None,
    ) -> None:
        self._on_refused = on_refused
        self._loop = loop
        self._hello = hello
        self._log = logging.getLogger(hello.actor)
        self._operations: dict[str, tuple[object, Operation]] = {
            operation.full_name: (implementer, operation)
            for implementer, service in offered_by(implementation)
            for operation in service.operations().values()
        }
        self._jobs: dict[int, LocalJob[Any, Any]] = {}
        self._threads: set[threading.Thread] = set()
        self.unsent = 0
        self._socket = context.socket(zmq.DEALER)
        self._socket.linger = 500
        notice_loss(self._socket, rpc_url)
        self._socket.connect(rpc_url)

    def start(self) -> None:
        """Introduce the actor to the broker and serve from now on."""
        self._loop.watch(self._socket, self._take)
        self.say_hello()

    def say_hello(self) -> None:
        """Tell the broker who this is, and that the loop still turns."""
        self._send(Kind.HELLO, 0, [msgspec.msgpack.encode(self._hello)])

    def close(self) -> None:
        """Cancel long work, wait a moment for it, and leave."""
        for job in self._jobs.values():
            job.cancel()
        for thread in list(self._threads):
            thread.join(timeout=2)
        self._loop.run_posted()  # the last replies of those threads
        self._loop.unwatch(self._socket)
        self._send(Kind.BYE, 0, [])
        self._socket.close()

    def _take(self) -> None:
        for _ in range(_BATCH):
            try:
                message = decode_rpc(self._socket.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return
            if message.kind is Kind.CALL:
                self._call(message)
            elif message.kind is Kind.CANCEL and (job := self._jobs.get(message.number)):
                job.cancel()
            elif message.kind is Kind.GONE and (job := self._jobs.get(message.number)):
                job.caller_gone()
            elif message.kind is Kind.ERROR:
                self._on_refused(read_error(message.parts[0]))

    def _call(self, message: RpcMessage) -> None:
        name = message.parts[1].decode("utf-8", "replace")
        try:
            if name not in self._operations:
                raise NotFoundError(
                    f"{self._hello.actor} has no operation {name!r}; it has: {', '.join(self._operations)}"
                )
            implementer, operation = self._operations[name]
            reply = invoke(implementer, operation, message.parts[2])
            if isinstance(reply, Future):
                self._answer_later(message.number, name, reply)  # pyright: ignore[reportUnknownArgumentType]
                return
            if isinstance(reply, LocalJob):
                self._start_job(message.number, operation, reply)  # pyright: ignore[reportUnknownArgumentType]
                return
        except Exception as error:
            self._send_error(message.number, name, error)
            return
        self._send_reply(message.number, name, reply)

    def _start_job(self, number: int, operation: Operation, job: LocalJob[Any, Any]) -> None:
        if len(self._jobs) >= MAX_JOBS:
            raise QueueFullError(f"{MAX_JOBS} long operations are running already; try again later")
        # A daemon: work that does not listen to `cancelled` must not keep the process of a dead rig.
        thread = threading.Thread(
            target=self._run_job, args=(number, operation, job), name=operation.full_name, daemon=True
        )
        self._jobs[number] = job
        self._threads.add(thread)
        thread.start()

    def _run_job(self, number: int, operation: Operation, job: LocalJob[Any, Any]) -> None:
        """Run long work on its own thread; only the loop touches the socket."""

        def report(progress: Any) -> None:
            self._loop.post(lambda: self._send(Kind.PROGRESS, number, [encode_payload(progress)]))

        end: Callable[[], None]
        try:
            result = job.run(report)
            end = lambda: self._send_reply(number, operation.full_name, result)  # noqa: E731
        except Exception as error:
            caught = error
            end = lambda: self._send_error(number, operation.full_name, caught)  # noqa: E731
        thread = threading.current_thread()
        self._post_surely(lambda: self._end_job(number, thread, end))

    def _answer_later(self, number: int, name: str, future: Future[Any]) -> None:
        """Send a reply when it is there: from whatever thread finishes the future, by way of the loop."""
        loop_thread = threading.get_ident()

        def send() -> None:
            try:
                reply = future.result()
            except Exception as error:
                self._send_error(number, name, error)
            else:
                self._send_reply(number, name, reply)

        def on_done(_: object) -> None:
            if threading.get_ident() == loop_thread:
                send()  # it must not wait for itself
            else:
                self._post_surely(send)

        future.add_done_callback(on_done)

    def _post_surely(self, callback: Callable[[], None]) -> None:
        while not self._loop.post(callback) and not self._loop.closed:
            time.sleep(_RETRY_S)  # progress reports may be refused, the end may not

    def _end_job(self, number: int, thread: threading.Thread, end: Callable[[], None]) -> None:
        self._jobs.pop(number, None)
        self._threads.discard(thread)
        end()

    def _send_reply(self, number: int, name: str, reply: Any) -> None:
        try:
            self._send(Kind.OK, number, [encode_payload(reply)])
        except LabwireError as error:
            self._log.error("%s: the reply cannot be sent: %s", name, error)
            self._send_error(
                number, name, InternalError(f"{name}: the reply of {self._hello.actor} cannot be sent: {error}")
            )

    def _send_error(self, number: int, name: str, error: Exception) -> None:
        if not isinstance(error, LabwireError):
            self._log.error("%s failed", name, exc_info=error)
            error = InternalError(f"{name} failed in {self._hello.actor}: {type(error).__name__}: {error}")
        self._send(Kind.ERROR, number, [report_error(error)])

    def _send(self, kind: Kind, number: int, parts: list[bytes]) -> None:
        try:
            self._socket.send_multipart(encode_rpc(RpcMessage(kind, number, parts)), zmq.NOBLOCK)
        except zmq.Again:
            self.unsent += 1  # the broker has gone; the supervisor ends us
