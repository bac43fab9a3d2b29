"""What a worker says: responses, heartbeats, errors. Nothing is cut, and no response is lost while a server lives."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, cast

import msgspec

from labwire.errors import PeerGoneError, QueueFullError, TooLargeError, UsageError, codes_of
from labwire.instruments.queues.contract import SEND_TIMEOUT_S, MessageQueue
from labwire.instruments.sparse_log import SparseLog
from labwire.instruments.waveforms import WaveformWriter
from labwire.instruments.worker.inbox import Task
from labwire.instruments.worker.results import code_and_text, read_result
from labwire.wire.instrument_extras import Feature, encode_batch, pack_payload
from labwire.wire.instrument_message import (
    ISS,
    CommandResponse,
    Message,
    MessageType,
    Profile,
    WorkerError,
    encode_message,
    encode_payload,
)

BATCH_HOLD_S = 0.005
"""Responses of a batch are held back for so long at most, unless a command runs longer."""
_ERROR_TIMEOUT_S = 0.1
"""Garbage may come by the thousand; a worker does not wait long for room to complain about it."""
_ISS_TYPES: dict[Any, str] = {float: "double", int: "int64", str: "string", bool: "bool", list: "array"}

log = logging.getLogger("labwire.instruments.worker")


class Outbox:
    """The responses of a worker. All but `heartbeat` are called by one thread.

    Args:
        queue: Where responses go.
        name: Name of the instrument.
        profile: Layout of the messages.
        features: What the server understands.
        waveforms: Writes arrays; None if the server cannot fetch them.
        trace: Called with each message if all traffic is logged.
    """

    def __init__(
        self,
        queue: MessageQueue,
        name: str,
        profile: Profile,
        features: frozenset[Feature],
        *,
        waveforms: WaveformWriter | None = None,
        trace: Callable[[Message], None] | None = None,
    ) -> None:
        self.server_gone = threading.Event()
        self._queue, self._name, self._profile = queue, name, profile
        self._compress = Feature.COMPRESSION in features
        self._waveforms, self._trace = waveforms, trace
        self._held: list[bytes] = []
        self._held_id = 0
        self._held_bytes = 0
        self._held_since_s = 0.0
        self._full = SparseLog(log)
        self._heartbeat = encode_message(Message(MessageType.HEARTBEAT), profile)

    def answer(self, task: Task, value: Any, block: int | msgspec.UnsetType = msgspec.UNSET) -> None:
        """Answer a command with what the driver returned.

        A response that does not fit is left without its text, then compressed if it may be, then refused: the caller
        gets a failure with size and limit.

        Raises:
            PeerGoneError: The server is gone.
            UsageError: JSON has no form for the value.
            LimitError: The value does not fit, see `WaveformWriter.write` for arrays.
        """
        result = read_result(value)
        returned, handle = result.value, msgspec.UNSET
        if result.array is not None:
            if self._waveforms is None:
                returned = result.array.tolist()
            else:
                handle = msgspec.to_builtins(self._waveforms.write(result.array))
        response = CommandResponse(
            command_id=self._id_of(task),
            instrument_name=self._name,
            success=True,
            text_response=result.text,
            return_value=returned,
            waveform=handle,
            block=block,
            return_type=_ISS_TYPES.get(cast("Any", type(returned)), "") if self._profile is ISS else msgspec.UNSET,
        )
        payload = encode_payload(response)
        if len(payload) > self._profile.payload_bytes and result.value is not None:
            payload = encode_payload(msgspec.structs.replace(response, text_response=""))
        payload = pack_payload(payload, self._profile.payload_bytes, compress=self._compress)
        self._put(task, payload, joined=block is msgspec.UNSET)

    def fail(self, task: Task, error: BaseException) -> None:
        """Answer that a command failed.

        Raises:
            PeerGoneError: The server is gone.
        """
        code, text = code_and_text(error)
        response = CommandResponse(
            command_id=self._id_of(task),
            instrument_name=self._name,
            success=False,
            error_code=code,
            error_message=text,
            return_type="" if self._profile is ISS else msgspec.UNSET,
        )
        limit = self._profile.payload_bytes
        try:
            payload = pack_payload(encode_payload(response), limit, compress=self._compress)
        except (TooLargeError, UsageError):  # an absurd id, or an error text that JSON makes several times as long
            short = msgspec.structs.replace(response, error_message=ascii(text[:100]), command_id="")
            payload = encode_payload(short)
        self._put(task, payload)

    def finish(self, task: Task) -> None:
        """Note that a command is done with.

        Raises:
            PeerGoneError: The server is gone.
        """
        if task.batch is not None:
            task.batch.left -= 1
            if task.batch.left <= 0:
                self.flush()
        if task.sync_token:
            self._send(Message(MessageType.SYNC_ACK, task.header_id, b"", task.sync_token))

    def flush(self) -> None:
        """Send what is held back of a batch.

        Raises:
            PeerGoneError: The server is gone.
        """
        if self._held:
            held, self._held, self._held_bytes = self._held, [], 0
            payload = held[0] if len(held) == 1 else encode_batch(held)
            self._send(Message(MessageType.RESPONSE, self._held_id, payload))

    def error(self, header_id: int, text: str, *, code: int, fatal: bool = False) -> None:
        """Say that something went wrong; if there is no room for that, it is only logged."""
        message = self._error_message(header_id, text, code, fatal=fatal)
        if message is None:
            return
        try:
            self._send_once(message, _ERROR_TIMEOUT_S)
        except QueueFullError as error:
            self._full.warning("an ERROR could not be sent: %s", error)
        except PeerGoneError:
            self.server_gone.set()

    def heartbeat(self) -> bool:
        """Say that the worker is alive; False if there is no room. From any thread.

        Raises:
            PeerGoneError: The server is gone.
        """
        if self._trace:
            self._trace(Message(MessageType.HEARTBEAT))
        try:
            self._queue.send(self._heartbeat, 0.0)
        except QueueFullError:
            return False
        return True

    def _error_message(self, header_id: int, text: str, code: int, *, fatal: bool) -> Message | None:
        if self._profile is not ISS:
            payload = encode_payload(WorkerError(text, code, fatal))
            if len(payload) > self._profile.payload_bytes:
                payload = encode_payload(WorkerError(ascii(text[:200]), code, fatal))
            return Message(MessageType.ERROR, header_id, payload)
        if not header_id:
            return None
        # That server knows no ERROR: a response at least ends the wait of the command's caller.
        failed = CommandResponse(
            command_id=f"{self._name}-{header_id}", success=False, error_code=code, error_message=ascii(text[:200])
        )
        return Message(MessageType.RESPONSE, header_id, encode_payload(failed))

    def _id_of(self, task: Task) -> str:
        return task.command.id or f"{self._name}-{task.header_id}"

    def _put(self, task: Task, payload: bytes, *, joined: bool = True) -> None:
        if task.batch is None or not joined or payload.startswith(b"\0"):
            self.flush()
            self._send(Message(MessageType.RESPONSE, task.header_id, payload))
            return
        if self._held and (
            self._held_id != task.header_id
            or self._held_bytes + len(payload) + 2 > self._profile.payload_bytes
            or time.monotonic() - self._held_since_s > BATCH_HOLD_S
        ):
            self.flush()
        if not self._held:
            self._held_id, self._held_since_s = task.header_id, time.monotonic()
        self._held.append(payload)
        self._held_bytes += len(payload) + 1

    def _send(self, message: Message) -> None:
        while True:
            try:
                self._send_once(message, SEND_TIMEOUT_S)
            except QueueFullError as error:
                if self.server_gone.is_set():
                    raise PeerGoneError("the server is gone, and nobody fetches the responses") from error
                self._full.warning("the server does not fetch its responses: %s", error)
            else:
                return

    def _send_once(self, message: Message, timeout_s: float) -> None:
        if self._trace:
            self._trace(message)
        self._queue.send(encode_message(message, self._profile), timeout_s)


def worker_code(error: type[Any]) -> int:
    """Return the ``error_code`` of a class of errors."""
    return codes_of(error).worker_code
