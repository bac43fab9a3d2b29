"""The worker: serves one driver to one server over a pair of queues, command after command.

*Source:* instrument-ipc, "Protocol Flow", "Message Ordering", "Error Handling".
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from typing import Any

import msgspec

from labwire.errors import (
    InternalError,
    LabwireError,
    PeerGoneError,
    ProtocolError,
    QueueFullError,
    RefusedError,
)
from labwire.instruments.api import unknown_verb
from labwire.instruments.driver import Answer, Driver, api_of, load_driver, make_driver
from labwire.instruments.queues.contract import QueuePair
from labwire.instruments.waveforms import WaveformWriter
from labwire.instruments.worker.heartbeat import Heartbeat
from labwire.instruments.worker.inbox import MOST_WAITING, Inbox, Task
from labwire.instruments.worker.methods import Methods
from labwire.instruments.worker.outbox import Outbox, worker_code
from labwire.instruments.worker.results import code_and_text, is_bug
from labwire.instruments.worker.spec import WorkerSpec
from labwire.wire.instrument_extras import BARRIER, DESCRIBE, NOOP, Feature
from labwire.wire.instrument_message import PROFILES, Message

WAIT_S = 1.0
"""How long one wait for a command is; what ends a worker wakes it."""
_TRACED_CHARS = 2000

log = logging.getLogger("labwire.instruments.worker")


class Worker:
    """Serves a driver until the server says SHUTDOWN or is gone. All of it runs on the thread that calls `serve`.

    Args:
        spec: Name, options, features.
        pair: The queues.
        driver: Opened already.
        lifeline_fd: See `labwire.instruments.worker.heartbeat.Heartbeat`.
        parent_pid: Likewise.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        pair: QueuePair,
        driver: Driver,
        *,
        lifeline_fd: int | None = None,
        parent_pid: int | None = None,
    ) -> None:
        self._name, self._driver, self._pair = spec.name, driver, pair
        profile, features = PROFILES[spec.profile], frozenset(spec.features)
        self._control = Feature.CONTROL in features
        shared = Feature.WAVEFORMS in features and bool(spec.waveform_prefix)
        self._waveforms = WaveformWriter(spec.waveform_prefix) if shared else None
        trace = _tracer(spec.name) if spec.debug else None
        self._outbox = Outbox(
            pair.responses,
            spec.name,
            profile,
            features,
            waveforms=self._waveforms,
            trace=trace and (lambda message: trace("worker to server", message)),
        )
        self._inbox = Inbox(
            pair.requests,
            profile,
            features,
            on_malformed=self._refuse_malformed,
            on_refused=self._refuse_excess,
            trace=trace and (lambda message: trace("server to worker", message)),
        )
        self._methods = Methods(driver, spec.name)
        self._heartbeat = Heartbeat(
            self._outbox.heartbeat,
            spec.heartbeat_s,
            server_was_here=lambda: self._inbox.heard,
            on_server_gone=self._server_is_gone,
            last_resort=self._leave_nothing,
            lifeline_fd=lifeline_fd,
            parent_pid=parent_pid,
        )

    def serve(self) -> None:
        """Serve until the end; returns after SHUTDOWN, or when the server is gone.

        The first HEARTBEAT says that this worker is ready.

        Raises:
            Exception: The loop itself broke, which is a bug; the server has been told.
        """
        self._heartbeat.start()
        try:
            self._outbox.heartbeat()
            while not self._inbox.shutdown:
                task = self._inbox.next(WAIT_S)
                if task is not None:
                    self._execute(task)
                elif self._outbox.server_gone.is_set():
                    break
        except PeerGoneError as error:
            self._outbox.server_gone.set()
            log.warning("the server is gone: %s", error)
        except BaseException as error:
            code, text = code_and_text(error)
            why = "it was told to" if isinstance(error, KeyboardInterrupt) else text
            self._outbox.error(0, f"the worker ends: {why}", code=code, fatal=True)
            raise
        finally:
            self._close()

    def _close(self) -> None:
        try:
            self._driver.close()
        except Exception:
            log.exception("closing the driver failed")
        if self._outbox.server_gone.is_set():
            self._leave_nothing()
        self._heartbeat.stop()

    def _execute(self, task: Task) -> None:
        try:
            if self._control and task.command.verb.startswith("@"):
                self._control_command(task)
            else:
                value = self._call(task)
                self._outbox.answer(task, value if task.command.expects_response else None)
        except PeerGoneError as error:
            if self._is_ours(error):
                raise
            self._fail(task, error)
        except Exception as error:
            self._fail(task, error)
        self._outbox.finish(task)

    def _is_ours(self, error: PeerGoneError) -> bool:
        # A driver may raise this error too, about its instrument: then the server's queues still work.
        try:
            self._outbox.heartbeat()
        except PeerGoneError:
            return True
        return self._outbox.server_gone.is_set()

    def _fail(self, task: Task, error: Exception) -> None:
        if is_bug(error):
            log.error("%s %s failed", self._name, task.command.verb, exc_info=error)
        self._outbox.fail(task, error)

    def _call(self, task: Task) -> Any:
        call = self._methods.bind(task.command)
        if not call.verb.continuous:
            return call.function(**call.params)
        if not (self._control and task.command.expects_response):
            raise RefusedError(
                f"{self._name} {call.verb.name} sends block after block; this command's sender does not take blocks"
            )
        return self._stream(task, call.function(**call.params))

    def _stream(self, task: Task, blocks: Generator[Any, None, Any]) -> Any:
        """Send what a continuous acquisition yields, never more than was asked for; return what it returns."""
        command_id, number = task.command.id, 0
        try:
            while self._may_send(command_id):
                try:
                    block = next(blocks)
                except StopIteration as end:
                    return end.value
                self._outbox.answer(task, block, number)
                number += 1
        finally:
            self._inbox.signals.forget(command_id)
            blocks.close()
        return None

    def _may_send(self, command_id: str) -> bool:
        signals = self._inbox.signals
        self._inbox.look()
        while not self._is_ending():
            if signals.is_cancelled(command_id):
                return False
            if signals.take_credit(command_id):
                return True
            self._inbox.look(WAIT_S)
        return False

    def _control_command(self, task: Task) -> None:
        verb = task.command.verb
        if verb == NOOP:
            self._outbox.answer(task, None)
        elif verb == DESCRIBE:
            self._outbox.answer(task, Answer(msgspec.to_builtins(api_of(self._driver)), ""))
        elif verb == BARRIER:
            self._wait_at_barrier(task)
        else:
            raise unknown_verb(verb, [NOOP, DESCRIBE, BARRIER], self._name)

    def _wait_at_barrier(self, task: Task) -> None:
        token = task.command.params.get("token")
        if not isinstance(token, (str, int)):
            raise ProtocolError(f"{BARRIER}: params.token must be text or a whole number, not {token!r}")
        key, until = str(token), time.monotonic() + task.command.timeout_ms / 1000
        self._outbox.answer(task, None)
        self._outbox.flush()
        self._inbox.look()
        while not self._inbox.signals.is_released(key) and not self._is_ending():
            left_s = until - time.monotonic()
            if left_s <= 0:
                log.warning("%s: barrier %s was not released within %d ms", self._name, key, task.command.timeout_ms)
                break
            self._inbox.look(min(left_s, WAIT_S))
        self._inbox.signals.forget(key)

    def _is_ending(self) -> bool:
        return self._inbox.shutdown or self._outbox.server_gone.is_set()

    def _refuse_malformed(self, header_id: int, text: str) -> None:
        self._outbox.error(header_id, f"Invalid JSON in command: {text}", code=worker_code(ProtocolError))

    def _refuse_excess(self, task: Task) -> None:
        text = f"{self._name}: {MOST_WAITING} commands wait already behind a command that goes on"
        self._outbox.fail(task, QueueFullError(text, waiting=MOST_WAITING))

    def _server_is_gone(self) -> None:
        self._outbox.server_gone.set()
        self._pair.requests.wake()

    def _leave_nothing(self) -> None:
        if self._waveforms:
            self._waveforms.remove_all()
        self._pair.adopt()
        self._pair.close()


def run_worker(
    spec: WorkerSpec,
    pair: QueuePair,
    *,
    confine: Callable[[], None] | None = None,
    lifeline_fd: int | None = None,
    parent_pid: int | None = None,
) -> int:
    """Make and open the driver and serve it to whoever holds the other end of the queues.

    Towards a foreign server leave ``spec.features`` empty: nothing is then sent that the spec does not know.

    Args:
        spec: What to run; ``queue``, ``socket_fd``, ``limits`` and ``python_path`` are the caller's business.
        pair: The queues.
        confine: Called before the driver's code is imported; takes privileges away and sets limits.
        lifeline_fd: Descriptor whose end of file means that the server is dead.
        parent_pid: The server's process, if it has started this one.

    Returns:
        The exit status: 0 after SHUTDOWN, or when the server is gone; else that of the error, which has been logged and
        told to the server as a fatal ERROR.
    """
    outbox = Outbox(pair.responses, spec.name, PROFILES[spec.profile], frozenset(spec.features))
    try:
        if confine:
            confine()
        driver = make_driver(load_driver(spec.driver), spec.options, spec.name)
        driver.open()
        worker = Worker(spec, pair, driver, lifeline_fd=lifeline_fd, parent_pid=parent_pid)
    except Exception as error:
        return _cannot_start(spec, outbox, error)
    try:
        worker.serve()
    except SystemExit:
        raise
    except Exception as error:
        log.critical("%s: the worker's loop broke", spec.name, exc_info=error)
        return InternalError().codes.exit_code
    return 0


def _cannot_start(spec: WorkerSpec, outbox: Outbox, error: Exception) -> int:
    code, text = code_and_text(error)
    why = text if spec.driver in text else f"driver {spec.driver} cannot start: {text}"
    log.error("%s: %s", spec.name, why, exc_info=error if is_bug(error) else None)
    outbox.error(0, why, code=code, fatal=True)
    return (error if isinstance(error, LabwireError) else InternalError()).codes.exit_code


def _tracer(name: str) -> Callable[[str, Message], None]:
    def trace(way: str, message: Message) -> None:
        text = message.payload[:_TRACED_CHARS].decode("utf-8", "backslashreplace")
        log.info("%s: %s: %s id=%d %d bytes %s", name, way, message.type.value, message.id, len(message.payload), text)

    return trace
