"""Many commands of one verb, sent ahead by the caller itself: no thread stands between it and the queue."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from labwire.errors import UsageError
from labwire.instruments.exchange.calls import Call, deadline_of
from labwire.instruments.exchange.commands import BatchMessage
from labwire.instruments.exchange.exchange import Exchange
from labwire.instruments.instrument import Instrument
from labwire.instruments.queues.contract import DEPTH
from labwire.wire.instrument_extras import Feature
from labwire.wire.instrument_message import Command

DEFAULT_WINDOW = 50
MAX_WINDOW = DEPTH
_QUICK_S = 0.001
"""Commands that take less than this are worth sending several in one message."""


class Pipeline:
    """Keeps up to `window` commands on their way and yields the values in order.

    Args:
        instrument: Which.
        verb: Of all commands.
        timeout_ms: How long each may take once the one before is answered.
        priority: Of all commands.
        window: How many may be on their way.

    Raises:
        UsageError: The window is no number from 1 to `MAX_WINDOW`.
    """

    def __init__(self, instrument: Instrument, verb: str, *, timeout_ms: float, priority: int, window: int) -> None:
        if not 1 <= window <= MAX_WINDOW:
            raise UsageError(f"a window is a whole number from 1 to {MAX_WINDOW}, not {window!r}")
        self._exchange: Exchange = instrument.usable_exchange(deadline_of(timeout_ms))
        self._instrument, self._verb = instrument, verb
        self._timeout_ms, self._priority, self._window = timeout_ms, priority, window
        self._timeout_s = timeout_ms / 1000
        self._sent: deque[Call] = deque()
        self._most_in_batch = max(1, window // 2) if Feature.BATCHES in instrument.features else 1
        self._in_batch = 1
        self._left_of_batch = 0
        self._batch_began_s = 0.0

    def run(self, params: Iterable[Mapping[str, Any] | None]) -> Iterator[Any]:
        """Yield the value of each command; arguments and errors as for `InstrumentServer.map`."""
        source = iter(params)
        exchange, sent, value_of, verb = self._exchange, self._sent, self._instrument.value_of, self._verb
        try:
            self._fill(source)
            while sent:
                call = sent[0]
                if call.answer is None:
                    call.deadline_s = time.monotonic() + self._timeout_s
                response = exchange.wait(call)
                sent.popleft()
                self._left_of_batch -= 1
                if self._window - len(sent) >= self._in_batch:
                    self._fill(source)
                yield value_of(response, verb)
        finally:
            for call in sent:
                if not exchange.ledger.abandon(call):
                    exchange.forget_answer(call)

    def _fill(self, source: Iterator[Mapping[str, Any] | None]) -> None:
        self._adapt()
        while (room := self._window - len(self._sent)) > 0:
            some = [self._make(params) for params in islice(source, min(room, self._in_batch))]
            if not some:
                return
            for batch in self._instrument.maker.encode_batch(some):
                self._send(batch)

    def _make(self, params: Mapping[str, Any] | None) -> tuple[int, Command]:
        return self._instrument.maker.make(self._verb, params, timeout_ms=self._timeout_ms, priority=self._priority)

    def _send(self, batch: BatchMessage) -> None:
        deadline_s = time.monotonic() + self._timeout_s
        calls = [Call(command, number, deadline_s) for number, command in batch.commands]
        self._exchange.send_batch(calls, batch.message, self._priority)
        self._sent.extend(calls)

    def _adapt(self) -> None:
        """Send more in one message as long as that much is answered quickly."""
        now_s = time.monotonic()
        if self._left_of_batch <= 0 and self._batch_began_s:
            quick = now_s - self._batch_began_s < _QUICK_S * self._in_batch
            self._in_batch = min(self._most_in_batch, self._in_batch * 2) if quick else max(1, self._in_batch // 2)
        if self._left_of_batch <= 0:
            self._batch_began_s, self._left_of_batch = now_s, self._in_batch
