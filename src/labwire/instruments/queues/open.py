"""Make, open or join the pair of queues of an instrument; one kind's code is loaded only when it is asked for."""

from __future__ import annotations

from typing import assert_never

from labwire.errors import UsageError
from labwire.instruments.config import QueueKind
from labwire.instruments.queues.contract import QueuePair
from labwire.wire.instrument_message import SPEC, Profile


def create_pair(kind: QueueKind, name: str, profile: Profile = SPEC) -> QueuePair:
    """Create a fresh pair of queues; closing it removes their names.

    What stands under the names already is replaced: hold the name's lock, so that it is nobody's
    (`labwire.instruments.supervision.name_lock`).

    Args:
        kind: See `labwire.instruments.config.InstrumentConfig.queue`.
        name: Name of the instrument.
        profile: Layout of the messages, which gives their size.

    Raises:
        ResourceError: The system does not give them; the message names the limit and what to set.
    """
    match kind:
        case "socket":
            from labwire.instruments.queues.seqpacket import SeqpacketPair

            return SeqpacketPair.create(name, profile)
        case "boost":
            from labwire.instruments.queues.boost import BoostPair

            return BoostPair.create(name, profile)
        case "posix":
            from labwire.instruments.queues.posix_mq import PosixPair

            return PosixPair.create(name, profile)
    assert_never(kind)


def open_pair(kind: QueueKind, name: str, profile: Profile = SPEC, *, socket_fd: int | None = None) -> QueuePair:
    """Open a pair that somebody else has created; closing it leaves the names alone.

    Args:
        kind: As for `create_pair`.
        name: Name of the instrument.
        profile: Layout of the messages.
        socket_fd: For kind ``socket``: the descriptor that this process has inherited.

    Raises:
        NotFoundError: No such queues. Who wants to wait for them tries again.
        ProtocolError: What stands under the names is no queue of this kind, depth and message size.
        ResourceError: The system does not give them.
    """
    match kind:
        case "socket":
            if socket_fd is None:
                raise UsageError("a socket queue cannot be opened by its name: the worker inherits a descriptor")
            from labwire.instruments.queues.seqpacket import SeqpacketPair

            return SeqpacketPair.open(name, socket_fd, profile)
        case "boost":
            from labwire.instruments.queues.boost import BoostPair

            return BoostPair.open(name, profile)
        case "posix":
            from labwire.instruments.queues.posix_mq import PosixPair

            return PosixPair.open(name, profile)
    assert_never(kind)


def join_pair(kind: QueueKind, name: str, profile: Profile = SPEC) -> QueuePair:
    """Open what a foreign program has created and still uses, create the rest; closing removes what was created here.

    For a peer that may come first or second, whichever side it plays. A queue that no living process has open is what
    a dead one left: it is replaced.

    Raises:
        ProtocolError: A queue is in use, but not of this kind, depth and message size.
        ResourceError: The system does not give them.
        UsageError: The kind is ``socket``, which has no names.
    """
    match kind:
        case "socket":
            raise UsageError("socket queues have no names that a foreign program could find: use boost or posix")
        case "boost":
            from labwire.instruments.queues.boost import BoostPair

            return BoostPair.join(name, profile)
        case "posix":
            from labwire.instruments.queues.posix_mq import PosixPair

            return PosixPair.join(name, profile)
    assert_never(kind)
