"""What waits for a worker: taken from the request queue, ordered by priority, control commands seen to at once."""

from __future__ import annotations

import heapq
import logging
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from labwire.errors import LabwireError, PeerGoneError, ProtocolError
from labwire.instruments.queues.contract import DEPTH, MessageQueue
from labwire.instruments.sparse_log import SparseLog
from labwire.wire.instrument_extras import (
    CANCEL,
    CREDIT,
    RELEASE,
    URGENT,
    Feature,
    decode_commands,
    unpack_payload,
)
from labwire.wire.instrument_message import Command, Message, MessageType, Profile, decode_command, decode_message

MOST_WAITING = 1000
"""Commands that are kept while an acquisition or a barrier looks for control commands behind them; more are refused."""
DRAIN_EVERY_S = 0.001
"""While commands wait here, the queue is looked into for more urgent ones this often."""
_ORDERED_KINDS = frozenset({"boost", "posix"})  # these queues order by priority themselves
_MOST_REMEMBERED = 1000
_MOST_CREDITS = 1 << 31

log = logging.getLogger("labwire.instruments.worker")


class Batch:
    """Commands that came in one message and are answered together."""

    def __init__(self, left: int) -> None:
        self.left = left


class Task(NamedTuple):
    """A command to be executed."""

    header_id: int
    command: Command
    batch: Batch | None = None
    sync_token: int = 0


class Signals:
    """What control commands have said, also ahead of the command that they are about: they may overtake it."""

    def __init__(self) -> None:
        self._credits: dict[str, int] = {}
        self._cancelled: dict[str, int] = {}
        self._released: dict[str, int] = {}

    def take(self, verb: str, params: dict[str, Any]) -> None:
        """Note a control command.

        Raises:
            ProtocolError: Its parameters are not what they must be.
        """
        if verb == CREDIT:
            blocks = params.get("blocks")
            if type(blocks) is not int or not 0 < blocks <= _MOST_CREDITS:
                raise ProtocolError(f"{CREDIT}: params.blocks must be a whole number above 0, not {blocks!r}")
            self._note(self._credits, params.get("id"), blocks)
        elif verb == CANCEL:
            self._note(self._cancelled, params.get("id"), 1)
        elif verb == RELEASE:
            self._note(self._released, params.get("token"), 1)

    def _note(self, notes: dict[str, int], key: object, amount: int) -> None:
        if not isinstance(key, (str, int)) or isinstance(key, bool):
            raise ProtocolError(f"a control command must say what it is about, not {key!r}")
        notes[str(key)] = min(notes.pop(str(key), 0) + amount, _MOST_CREDITS)
        if len(notes) > _MOST_REMEMBERED:
            del notes[next(iter(notes))]

    def take_credit(self, command_id: str) -> bool:
        """Use up one credit of an acquisition; False if there is none."""
        left = self._credits.get(command_id, 0)
        if left:
            self._credits[command_id] = left - 1
        return left > 0

    def is_cancelled(self, command_id: str) -> bool:
        """Tell whether an acquisition is to end."""
        return command_id in self._cancelled

    def is_released(self, token: str) -> bool:
        """Tell whether a barrier is open."""
        return token in self._released

    def forget(self, key: str) -> None:
        """Let go of what was said about an acquisition or a barrier that is over."""
        for notes in (self._credits, self._cancelled, self._released):
            notes.pop(key, None)


class Inbox:
    """The requests of a worker; used by one thread.

    Args:
        queue: Where requests come from.
        profile: Layout of the messages.
        features: What the server may use.
        on_malformed: Called with the id in the header (0 if it has none) and a text for what cannot be understood.
        on_refused: Called with a command for which there is no room.
        trace: Called with each message if all traffic is logged.
    """

    def __init__(
        self,
        queue: MessageQueue,
        profile: Profile,
        features: frozenset[Feature],
        *,
        on_malformed: Callable[[int, str], None],
        on_refused: Callable[[Task], None],
        trace: Callable[[Message], None] | None = None,
    ) -> None:
        self.shutdown = False
        """The server has asked this worker to end."""
        self.heard = False
        """Anything has ever been received."""
        self.signals = Signals()
        self.malformed = 0
        self._queue, self._profile = queue, profile
        self._control = Feature.CONTROL in features
        self._packed = Feature.COMPRESSION in features
        self._batches = Feature.BATCHES in features
        self._on_malformed, self._on_refused, self._trace = on_malformed, on_refused, trace
        self._orders_itself = queue.kind in _ORDERED_KINDS
        self._waiting: list[tuple[int, int, Task]] = []
        self._arrived = 0
        self._drained_s = 0.0
        self._odd = SparseLog(log)

    def next(self, timeout_s: float) -> Task | None:
        """Return the command that is to be executed next; None if none came in time or the worker is to end.

        Raises:
            PeerGoneError: The server is gone.
        """
        if self._waiting:
            if time.monotonic() - self._drained_s > DRAIN_EVERY_S:
                self._drain(DEPTH)
        elif not self._orders_itself:
            self._drain(DEPTH)
        if not self._waiting and not self.shutdown:
            data = self._queue.receive(timeout_s)
            if data is None:
                return None
            if (task := self._read(data)) is not None:
                return task  # nothing else waits
        if self.shutdown or not self._waiting:
            return None
        return heapq.heappop(self._waiting)[2]

    def look(self, timeout_s: float = 0.0) -> None:
        """Look for control commands; what else there is waits for its turn, or is refused if too much waits.

        Args:
            timeout_s: How long to wait for a first message.

        Raises:
            PeerGoneError: The server is gone.
        """
        if timeout_s > 0 and not self.shutdown:
            data = self._queue.receive(timeout_s)
            if data is None:
                return
            self._take(data)
        self._drain(MOST_WAITING + DEPTH)

    def _drain(self, most: int) -> None:
        self._drained_s = time.monotonic()
        while not self.shutdown and len(self._waiting) < most:
            data = self._queue.receive(0)
            if data is None:
                return
            self._take(data)

    def _take(self, data: bytes) -> None:
        if (task := self._read(data)) is not None:
            self._add(task)

    def _read(self, data: bytes) -> Task | None:
        """Return the command that a message is; see to everything else that it may be."""
        self.heard = True
        header_id = 0
        try:
            message = decode_message(data, self._profile)
            header_id = message.id
            if self._trace:
                self._trace(message)
            if message.type is MessageType.COMMAND:
                return self._read_command(message)
            if message.type is MessageType.SHUTDOWN:
                self.shutdown = True
            elif message.type is not MessageType.SYNC_CONTINUE:
                self._odd.warning("a %s is nothing for a worker, ignored", message.type.value)
        except PeerGoneError:
            raise
        except LabwireError as error:
            self.malformed += 1
            self._odd.warning("a request cannot be understood: %s", error)
            self._on_malformed(header_id, str(error))
        return None

    def _read_command(self, message: Message) -> Task | None:
        payload = unpack_payload(message.payload) if self._packed else message.payload
        if not self._batches or not payload.startswith(b"["):
            command = decode_command(payload)
            if self._control and command.verb in URGENT:
                self.signals.take(command.verb, command.params)
                return None
            return Task(message.id, command, None, message.sync_token)
        commands = decode_commands(payload)
        if not commands:
            raise ProtocolError("a batch without commands")
        batch = Batch(len(commands))
        for command in commands:
            self._add(Task(message.id, command, batch))
        return None

    def _add(self, task: Task) -> None:
        if len(self._waiting) >= MOST_WAITING and task.batch is None:
            self._on_refused(task)
            return
        self._arrived += 1
        heapq.heappush(self._waiting, (-task.command.priority, self._arrived, task))
