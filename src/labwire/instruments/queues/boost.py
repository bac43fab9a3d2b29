"""Queues in shared memory that C++ programs open as ``boost::interprocess::message_queue``: the spec's own kind.

The work is done in C (``native/boost_queue.c``), one call for each message, without the interpreter lock. Every call is
bounded, whatever the other process did to the memory: it died waiting, writing or holding the lock, or wrote garbage.

Source: instrument-ipc, "Queue Architecture"; the layout is that of Boost 1.74 to 1.91.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from labwire.errors import LabwireError, NotFoundError, PeerGoneError, QueueFullError
from labwire.instruments.queues import native_library as native
from labwire.instruments.queues.contract import QueuePair, QueueState, request_name, response_name
from labwire.instruments.queues.native_queue import NativeQueue
from labwire.instruments.queues.shared_memory import FOLDER, KIND, SharedFile, create_file, open_file
from labwire.instruments.queues.users import mapped_by
from labwire.wire.instrument_message import SPEC, Profile

_MAX_PRIORITY = 2**32 - 1


class BoostQueue(NativeQueue):
    """One queue in shared memory. Higher priorities are received first, equal ones in the order of sending."""

    kind = KIND

    def __init__(self, file: SharedFile) -> None:
        self._library = library = native.library()
        super().__init__(
            file.name,
            file.handle,
            size_bytes=file.size_bytes,
            send=library.lw_boost_send,
            receive=library.lw_boost_receive,
            max_priority=_MAX_PRIORITY,
        )
        self.depth = file.depth
        self.file = file

    def _waiting(self) -> int:
        return self._library.lw_boost_count(self._handle)

    def _error(self, code: int, timeout_s: float) -> LabwireError:
        if code == native.LOCKED:
            holder = self._library.lw_boost_holder(self._handle)
            return QueueFullError(
                f"queue {self.name} stayed locked for {timeout_s:g} s: thread {holder} lives but does not go on",
                holder=holder,
            )
        return PeerGoneError(f"queue {self.name} is broken: {self.file.text}")

    def wake(self) -> None:
        """Let one `receive` return None at once; frees the lock as well, if its owner is dead."""
        self._library.lw_boost_wake(self._handle)

    def state(self) -> QueueState:
        """Look into the memory, without the lock."""
        return self.file.state()

    def adopt(self) -> None:
        """Let `close` remove the name, if it is still this file's."""
        self.file.owned = True

    def close(self) -> None:
        """Let go of it; who created it removes the name."""
        self.file.close()


class BoostPair(QueuePair):
    """Both queues of an instrument in shared memory."""

    def __init__(self, requests: BoostQueue, responses: BoostQueue) -> None:
        self.requests = requests
        self.responses = responses

    @classmethod
    def create(cls, instrument: str, profile: Profile = SPEC, *, robust: bool = True) -> BoostPair:
        """Create both queues, in place of what stands under their names; for the server's side.

        Args:
            instrument: Name of the instrument.
            profile: Layout of the messages.
            robust: Locks that survive their owner, as Boost makes them since 1.78.
        """
        return cls._of(
            lambda: create_file(request_name(instrument), profile, sends=True, robust=robust),
            lambda: create_file(response_name(instrument), profile, robust=robust),
        )

    @classmethod
    def open(cls, instrument: str, profile: Profile = SPEC) -> BoostPair:
        """Open both queues, for the worker's side."""
        return cls._of(
            lambda: open_file(request_name(instrument), profile),
            lambda: open_file(response_name(instrument), profile, sends=True),
        )

    @classmethod
    def join(cls, instrument: str, profile: Profile = SPEC) -> BoostPair:
        """Open what is in use, create the rest."""
        return cls._of(
            lambda: _join(request_name(instrument), profile),
            lambda: _join(response_name(instrument), profile),
        )

    @classmethod
    def _of(cls, make_requests: Callable[[], SharedFile], make_responses: Callable[[], SharedFile]) -> BoostPair:
        requests = make_requests()
        try:
            responses = make_responses()
        except BaseException:
            requests.close()
            raise
        return cls(BoostQueue(requests), BoostQueue(responses))

    def close(self) -> None:
        """Close both queues; the names that were created here go away."""
        self.requests.close()
        self.responses.close()


def _join(name: str, profile: Profile) -> SharedFile:
    if mapped_by(FOLDER / name) - {os.getpid()}:
        try:
            return open_file(name, profile)
        except NotFoundError:  # removed meanwhile
            pass
    return create_file(name, profile)
