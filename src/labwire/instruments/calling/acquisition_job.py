"""A continuous acquisition for a caller behind the RPC port: no block is taken before the caller has room for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from labwire.errors import CancelledError, DeadlineError
from labwire.operations.instruments import AcquisitionDone, Block
from labwire.operations.job import LocalJob

GRANT_LIMIT_S = 60.0
"""A caller that takes nothing for so long is taken for gone."""
NEWS_S = 1.0
"""How often a caller that takes no blocks hears how far it is; so it is noticed when that caller has gone."""


class Acquisition(Protocol):
    """What is needed of the server's acquisition."""

    @property
    def command_id(self) -> str:
        """Id of its command."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """Yield the blocks."""
        ...

    def cancel(self) -> None:
        """End it after the block that is being made."""
        ...


class BlockMade(NamedTuple):
    """A block as it came from the instrument."""

    command_id: str
    number: int
    value: Any
    made_s: float
    """On the monotonic clock."""


class AcquisitionJob(LocalJob[Block, AcquisitionDone]):
    """Takes blocks from an instrument, hands each on, and reports it to the caller.

    Args:
        begin: Starts the acquisition, as a context manager that ends it.
        window: Blocks that the caller takes unasked; 0: it takes none, and hears how far it is each `NEWS_S`.
        on_block: Called with each block; may wait, which holds the instrument up.
        make_report: Makes what the caller gets of a block.
        on_end: Called when it has ended, however that came.
    """

    def __init__(
        self,
        begin: Callable[[], AbstractContextManager[Acquisition]],
        *,
        window: int,
        on_block: Callable[[BlockMade, Callable[[], bool]], None],
        make_report: Callable[[BlockMade], Block],
        on_end: Callable[[], None],
    ) -> None:
        super().__init__(self._work)
        self._begin, self._window, self._room = begin, window, window
        self._on_block, self._make_report, self._on_end = on_block, make_report, on_end
        self._changed = threading.Condition()
        self._running: Acquisition | None = None
        self._news_due_s = 0.0

    def grant(self, blocks: int) -> None:
        """Take note that the caller has room for more blocks; from any thread."""
        with self._changed:
            self._room += blocks
            self._changed.notify_all()

    def cancel(self) -> None:
        """End it after the block that is being made; from any thread."""
        super().cancel()
        with self._changed:
            running = self._running
            self._changed.notify_all()
        if running is not None:
            running.cancel()

    def caller_gone(self) -> None:
        """End it: nobody else would."""
        self.cancel()

    def _work(self, report: Callable[[Block], None], cancelled: Callable[[], bool]) -> AcquisitionDone:
        began_s, blocks = time.monotonic(), 0
        try:
            with self._begin() as acquisition:
                with self._changed:
                    self._running = acquisition
                if not cancelled():
                    for blocks, value in enumerate(acquisition, 1):
                        self._hand_on(
                            BlockMade(acquisition.command_id, blocks - 1, value, time.monotonic()), report, cancelled
                        )
                        if cancelled():
                            break
        finally:
            with self._changed:
                self._running = None
            self._on_end()
        if cancelled():
            raise CancelledError(f"the acquisition was ended after {blocks} blocks", blocks=blocks)
        return AcquisitionDone(blocks, time.monotonic() - began_s)

    def _hand_on(self, block: BlockMade, report: Callable[[Block], None], cancelled: Callable[[], bool]) -> None:
        self._on_block(block, cancelled)
        if not self._window:
            self._tell_number(block, report)
            return
        with self._changed:
            if not self._changed.wait_for(lambda: self._room > 0 or cancelled(), GRANT_LIMIT_S):
                raise DeadlineError(
                    f"the caller of the acquisition has taken no block for {GRANT_LIMIT_S:g} s", block=block.number
                )
            self._room -= 1
        if not cancelled():
            report(self._make_report(block))

    def _tell_number(self, block: BlockMade, report: Callable[[Block], None]) -> None:
        if block.made_s >= self._news_due_s:
            self._news_due_s = block.made_s + NEWS_S
            report(self._make_report(block._replace(value=None)))
