"""A continuous acquisition at the client: blocks one after the other, and room granted as they are taken."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Self

from labwire.errors import CancelledError
from labwire.operations.instruments import Block, Instruments
from labwire.operations.job import Job


class Blocks:
    """The blocks of a continuous acquisition, as they come.

    A context manager: its end ends the acquisition. So does dropping it; the instrument then hears of it later.
    """

    def __init__(self, job: Job[Block, Any], instruments: Instruments, window: int) -> None:
        self._ended = False
        self._job, self._instruments = job, instruments
        self._reports = job.progress()
        self._grant_at = max(1, window // 2)
        self._taken = 0

    def __iter__(self) -> Iterator[Block]:
        return self

    def __next__(self) -> Block:
        for block in self._reports:
            self._taken += 1
            if self._taken == self._grant_at:
                self._taken = 0
                self._instruments.grant(block.acquisition, self._grant_at)
            return block
        if not self._ended:
            self._ended = True
            self._job.result()  # raises what ended it early
        raise StopIteration

    def close(self) -> None:
        """End the acquisition after the block that is being made. Safe to call twice."""
        if self._ended:
            return
        self._ended = True
        self._job.cancel()
        for _ in self._reports:
            pass  # blocks that were on their way
        try:
            self._job.result()
        except CancelledError:
            pass

    def __del__(self) -> None:
        if not self._ended:
            with contextlib.suppress(Exception):  # the connection may be closed already
                self._job.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Values:
    """What a continuous verb yields, called as a method: the values of its blocks, without what stands around them."""

    def __init__(self, blocks: Blocks) -> None:
        self.blocks = blocks

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self.blocks).result

    def close(self) -> None:
        """End the acquisition; see `Blocks.close`."""
        self.blocks.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
