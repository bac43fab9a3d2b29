"""What the process in the middle costs, in percent of a core, at the two rates that the spec names.

The steward is not in the middle, but a rig has one, and it too sees every message.

Source: ipc-backbone, "Throughput": 3 % at 480 and 38 % at 24,000 messages a second, on a MacBook Air of 2012.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from benchmarks.bus.peers import Peer
from benchmarks.bus.throughput import Road, Workers, start_receivers, wait_for_receivers
from benchmarks.common import Case, cpu_s

RATES_HZ = {480: 3.0, 24_000: 38.0}
"""Messages a second, and the percentage that the spec gives."""


class Middle(NamedTuple):
    """A process in the middle, and how many subscribers of ours it serves."""

    name: str
    peer: str
    subscribers: int
    process: str = ""
    """Which process of the peer is looked at, as the peer names it; empty for the peer itself."""


BARE = Middle("bare zmq.proxy", "proxy", 1)
BARE_2 = Middle("bare zmq.proxy, 2 subscribers", "proxy", 2)
MIDDLES = (
    BARE,
    BARE_2,
    Middle("labwire bus alone", "bus", 1),
    Middle("labwire hub of a whole rig", "rig", 1),
    Middle("the steward beside that hub", "rig", 1, "steward_pid"),
)


def case_name(middle: Middle, rate_hz: int) -> str:
    """Return the name of a case."""
    return f"{middle.name}, {rate_hz:,}/s"


def processor_cases(workers: Workers, peers: dict[str, Peer], duration_s: float) -> list[Case]:
    """Give one case per process and rate; a sample is percent of a core."""
    return [
        Case(case_name(middle, rate_hz), _measure(workers, peers[middle.peer], middle, rate_hz, duration_s))
        for rate_hz in RATES_HZ
        for middle in MIDDLES
    ]


def _measure(
    workers: Workers, peer: Peer, middle: Middle, rate_hz: int, duration_s: float
) -> Callable[[], Sequence[float]]:
    pid = peer.told[middle.process] if middle.process else peer.pid
    road, count = Road(middle.name, "zmq", "bare", middle.peer), round(rate_hz * duration_s)

    def run() -> list[float]:
        board, receivers = str(workers.board()), workers.receivers[: middle.subscribers]
        start_receivers(workers, road, peer, receivers, board, count)
        workers.order(workers.sender, do="warm up", board=board, receivers=middle.subscribers)
        start_s, start_cpu_s = time.monotonic(), cpu_s(pid)
        paced = {"rate_hz": rate_hz, "count": count, "board": board, "receivers": middle.subscribers}
        workers.order(workers.sender, do="pace", **paced)
        percent = 100 * (cpu_s(pid) - start_cpu_s) / (time.monotonic() - start_s)
        wait_for_receivers(receivers, board, middle.name)
        workers.order(workers.sender, do="close")
        return [percent]

    return run
