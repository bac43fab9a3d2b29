"""What can be chosen about a subscription, and what it counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict

import msgspec
import zmq

from labwire.bounded import Policy
from labwire.errors import ProtocolError
from labwire.wire.gap_counter import Gap

DEPTH = 10_000
DEPTH_BYTES = 64 * 1024 * 1024


class SubscriptionStatistics(msgspec.Struct, frozen=True):
    """What a subscription has counted since it was made."""

    received: int
    """Messages that came off the socket."""
    dropped: int
    """Of these, dropped by the policy."""
    malformed: int
    """Of these, not of the form that was asked for, and skipped."""
    missed: int
    """Messages that did not arrive, as the numbers of labwire's emitters tell."""
    waiting: int
    """Messages in the backlog."""
    reconnections: int
    connected: bool


class Options(TypedDict, total=False):
    """Options of a subscription."""

    policy: Policy
    """What happens when the backlog is full (``drop_old``); see `labwire.bounded.Policy`. ``conflate`` keeps the newest
    of each topic. ``fail`` delivers what was kept and then raises. ``block`` keeps no backlog: messages wait in the
    socket, and a labwire hub cuts a reader that stalls."""
    depth: int
    """Most messages in the backlog (10,000)."""
    depth_bytes: int | None
    """Most bytes in the backlog (64 MiB); ``block`` has no such bound."""
    context: zmq.Context[Any] | None
    """ZeroMQ context; by default the process's own."""
    on_gap: Callable[[Gap], None] | None
    """Called on the receiving thread when messages did not arrive."""
    on_malformed: Callable[[list[bytes], ProtocolError], None] | None
    """Called on the receiving thread with the parts of a message that is skipped."""
    count_gaps: bool
    """Whether to look for gaps. Default: where payloads are decoded or `on_gap` is given; elsewhere it costs time."""
    find_again: Callable[[], str | None] | None
    """Asked about once a second while the bus is not there, on a thread of its own: an address other than the present
    one makes the subscription connect there."""
    name: str
    """Name in error texts and reports."""
