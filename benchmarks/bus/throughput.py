"""How many messages a second one publisher gets to one and to four subscribers, each in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from benchmarks.bus.peers import Child, Peer
from benchmarks.bus.worker import Board
from benchmarks.common import Case

LIMIT_S = 20.0
SUBSCRIBERS = (1, 4)


class Road(NamedTuple):
    """Who sends, over what, and who receives."""

    name: str
    api: str
    how: str
    peer: str
    """Name of the peer between; empty if the publisher binds and there is none."""


PUPIL_WAY = "pyzmq + msgpack, bare proxy"
ROADS = (
    Road("pyzmq + msgpack, no proxy", "zmq", "pupil", ""),
    Road(PUPIL_WAY, "zmq", "pupil", "proxy"),
    Road("pyzmq + msgpack, bare proxy, undecoded", "zmq", "bare", "proxy"),
    *(
        Road(f"labwire {how}, {peer_name}", "labwire", how, peer)
        for peer, peer_name in (("bus", "bus alone"), ("rig", "whole rig"))
        for how in ("decoded", "undecoded", "typed")
    ),
    Road("pyzmq + msgpack, labwire bus alone", "zmq", "pupil", "bus"),
)


class Workers:
    """One sending and several receiving processes, used by all cases in turn."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._runs = 0
        self.sender, *self.receivers = [
            self._stack.enter_context(Child("benchmarks.bus.worker")) for _ in range(1 + max(SUBSCRIBERS))
        ]

    def board(self) -> Path:
        """Make a fresh board."""
        self._runs += 1
        path = self._folder / f"board-{self._runs}"
        Board.create(path)
        return path

    def order(self, worker: Child, **order: object) -> dict[str, float]:
        """Give an order and wait for its answer."""
        worker.tell(order)
        return worker.hear(LIMIT_S)

    def close(self) -> None:
        """End all of them."""
        self._stack.close()


def throughput_cases(workers: Workers, peers: dict[str, Peer], count: int) -> list[Case]:
    """Give one case per road and number of subscribers; a sample is messages per second at each subscriber."""
    return [
        Case(case_name(road.name, subscribers), _measure(workers, peers.get(road.peer), road, subscribers, count))
        for subscribers in SUBSCRIBERS
        for road in ROADS
    ]


def case_name(road: str, subscribers: int) -> str:
    """Return the name of a case."""
    return f"{road}, to {subscribers}"


def _measure(
    workers: Workers, peer: Peer | None, road: Road, subscribers: int, count: int
) -> Callable[[], Sequence[float]]:
    def run() -> list[float]:
        board, receivers = str(workers.board()), workers.receivers[:subscribers]
        start_receiving = start_receivers(workers, road, peer, receivers, board, count)
        workers.order(workers.sender, do="warm up", board=board, receivers=subscribers)
        start_s = workers.order(workers.sender, do="send", count=count, board=board, receivers=subscribers)["start_s"]
        end_s = wait_for_receivers(start_receiving, board, road.name)
        workers.order(workers.sender, do="close")
        return [count / (end_s - start_s)]

    return run


def start_receivers(
    workers: Workers, road: Road, peer: Peer | None, receivers: Sequence[Child], board: str, count: int
) -> Sequence[Child]:
    """Open the sender and tell the receivers to wait for `count` messages; they answer when they have them all."""
    pub_url = peer.url("pub_port") if peer else ""
    opened = workers.order(workers.sender, do="open", api=road.api, url=pub_url, bind=peer is None)
    sub_url = peer.url("sub_port") if peer else opened["url"]
    for slot, receiver in enumerate(receivers):
        receiver.tell({"do": "receive", "how": road.how, "url": sub_url, "count": count, "board": board, "slot": slot})
    return receivers


def wait_for_receivers(receivers: Sequence[Child], board: str, name: str) -> float:
    """Return when the last receiver had its last message; RuntimeError if one does not get them all."""
    try:
        return max(receiver.hear(LIMIT_S)["end_s"] for receiver in receivers)
    except TimeoutError as error:
        raise RuntimeError(f"{name}: messages were lost; the receivers have {Board(board).counts()}") from error
