"""Continuous acquisition: block after block, never more on the way than there is room for.

*Source:* instrument-ipc, "Future Enhancements": bidirectional streaming.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from labwire.errors import DeadlineError, LabwireError, ProtocolError, UsageError
from labwire.instruments.exchange.calls import Answer, Call, check_success, ring
from labwire.instruments.exchange.commands import URGENT_PRIORITY
from labwire.instruments.exchange.exchange import Exchange
from labwire.instruments.instrument import Instrument
from labwire.instruments.queues.contract import DEPTH
from labwire.wire.instrument_extras import CANCEL, CREDIT, control_command
from labwire.wire.instrument_message import Command, CommandResponse

MAX_CREDITS = DEPTH // 2
_CLOSE_TIMEOUT_S = 5.0


class BlockCall(Call):
    """A command that is answered with blocks, then with a last response."""

    __slots__ = ("blocks", "last", "lock", "most", "next_block")

    def __init__(self, command: Command, number: int, most: int) -> None:
        super().__init__(command, number, math.inf)
        self.blocks: deque[CommandResponse] = deque()
        self.last: Answer | None = None
        self.lock = threading.Lock()
        self.most = most
        self.next_block = 0

    def deliver(self, answer: Answer) -> None:
        """Note that no more blocks come, and why."""
        with self.lock:
            self.last = self.answer = answer
            if self.wake is not None:
                ring(self.wake)

    def deliver_block(self, response: CommandResponse) -> bool:
        """Keep a block until somebody takes it.

        Raises:
            ProtocolError: A block is missing, or the worker sent more than it was asked for.
        """
        with self.lock:
            if response.block != self.next_block:
                raise ProtocolError(f"block {response.block} came where {self.next_block} was due")
            if len(self.blocks) >= self.most:
                raise ProtocolError(f"more than the {self.most} blocks that were asked for came at once")
            self.next_block += 1
            self.blocks.append(response)
            self.answer = response
            if self.wake is not None:
                ring(self.wake)
        return True

    def take(self) -> CommandResponse | None:
        """Return the oldest block; None if there is none, and then `answer` is None too unless it has ended."""
        with self.lock:
            if self.blocks:
                return self.blocks.popleft()
            self.answer, self.wake = self.last, None
            return None


class Acquisition:
    """Blocks of a continuous verb, as an iterator and a context manager; made by `InstrumentServer.acquire`.

    >>> with server.acquire("SCOPE", "ACQUIRE", {"points": 1000}) as blocks:  # doctest: +SKIP
    ...     for block in blocks:
    ...         print(block.mean())

    The instrument makes a block only when there is room for it: while the caller does not take blocks, at most
    `credits` of them are made. Leaving the context ends the acquisition after the block that is being made. For one
    thread; `cancel` may be called from any.
    """

    def __init__(self, instrument: Instrument, exchange: Exchange, call: BlockCall, timeout_s: float) -> None:
        self._instrument, self._exchange, self._call = instrument, exchange, call
        self._timeout_s = timeout_s
        self._taken = self._owed = 0
        self._over = False

    @property
    def command_id(self) -> str:
        """Id of the command that all blocks answer."""
        return self._call.command.id

    @property
    def taken(self) -> int:
        """How many blocks the caller has taken."""
        return self._taken

    def begin(self, message: bytes, priority: int) -> None:
        """Send the command, and the first credits."""
        self._exchange.send(self._call, message, priority)
        try:
            self._tell(CREDIT, blocks=self._call.most)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        """Return the value of the next block.

        Raises:
            CommandFailedError: The instrument failed; there are no more blocks.
            DeadlineError: No block came in time; the next call goes on waiting.
            PeerGoneError: The worker died.
            StopIteration: There are no more blocks.
        """
        block = self._next_block()
        if block is None:
            raise StopIteration
        self._taken += 1
        self._owed += 1
        if self._owed * 2 >= self._call.most and self._call.last is None:
            owed, self._owed = self._owed, 0
            self._tell(CREDIT, blocks=owed)
        return self._instrument.value_of(block, self._call.command.verb)

    def cancel(self) -> None:
        """Let the instrument make no more blocks; those on their way still come. From any thread, also twice."""
        if self._call.last is None and self._exchange.death is None:
            self._tell(CANCEL)

    def close(self) -> None:
        """End the acquisition and throw away what still comes. Safe to call twice."""
        if self._over:
            return
        self._over = True
        until_s = time.monotonic() + _CLOSE_TIMEOUT_S
        with contextlib.suppress(LabwireError):  # its worker is dead, or so stuck that its queue is full
            self.cancel()
            while self._call.last is None and self._wait(until_s):
                self._drop()
        self._drop()
        self._exchange.ledger.abandon(self._call)

    def _drop(self) -> None:
        while (block := self._call.take()) is not None:
            self._exchange.forget(block)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _next_block(self) -> CommandResponse | None:
        call = self._call
        until_s = time.monotonic() + self._timeout_s
        while not self._over:
            block = call.take()
            if block is not None:
                return block
            if call.last is not None:
                self._over = True
                if isinstance(call.last, LabwireError):
                    raise call.last
                check_success(call.last, self._instrument.name, call.command.verb)
            elif not self._wait(until_s):
                raise DeadlineError(
                    f"{self._instrument.name} {call.command.verb}: no block within {self._timeout_s:g} s",
                    instrument=self._instrument.name,
                    command_id=self.command_id,
                )
        return None

    def _wait(self, until_s: float) -> bool:
        """Wait for a block or the end; False if neither came.

        Raises:
            PeerGoneError: The worker died.
        """
        call, exchange = self._call, self._exchange
        call.deadline_s = until_s
        try:
            exchange.attend(call)
        finally:
            call.deadline_s = math.inf
        if call.answer is None and exchange.death is not None:
            raise exchange.died()
        return call.answer is not None

    def _tell(self, verb: str, **params: int) -> None:
        payload = control_command(verb, id=self.command_id, **params)
        message = self._instrument.maker.message(self._call.number, payload)
        self._exchange.put(message, URGENT_PRIORITY)


def check_credits(credits_: int) -> int:
    """Check how many blocks may be on the way.

    Raises:
        UsageError: It is no number from 1 to `MAX_CREDITS`.
    """
    if not 1 <= credits_ <= MAX_CREDITS:
        raise UsageError(f"credits is a whole number from 1 to {MAX_CREDITS}, not {credits_!r}")
    return credits_
