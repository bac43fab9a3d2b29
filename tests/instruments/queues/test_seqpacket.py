"""Socket queues: order, the counted depth, the end of either side, waking, descriptors that a stranger hands over."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from labwire.errors import PeerGoneError, ProtocolError, QueueFullError, TooLargeError, UsageError
from labwire.instruments.queues.contract import DEPTH
from labwire.instruments.queues.open import create_pair, join_pair, open_pair
from labwire.instruments.queues.seqpacket import SeqpacketPair
from labwire.wire.instrument_message import SPEC

LONG_S = 20.0


@pytest.fixture
def server() -> Iterator[SeqpacketPair]:
    with SeqpacketPair.create("DMM1") as pair:
        yield pair


@pytest.fixture
def worker(server: SeqpacketPair) -> Iterator[SeqpacketPair]:
    assert server.worker_fd is not None
    with SeqpacketPair.open("DMM1", os.dup(server.worker_fd)) as pair:
        server.release_worker_fd()
        yield pair


def test_both_ways_in_order(server: SeqpacketPair, worker: SeqpacketPair) -> None:
    for number in range(3):
        server.requests.send(b"to %d" % number)
        worker.responses.send(b"back %d" % number)
    assert [worker.requests.receive(LONG_S) for _ in range(3)] == [b"to 0", b"to 1", b"to 2"]
    assert [server.responses.receive(LONG_S) for _ in range(3)] == [b"back 0", b"back 1", b"back 2"]
    assert server.responses.receive(0) is None


def test_the_depth_is_counted_in_messages(server: SeqpacketPair, worker: SeqpacketPair) -> None:
    for number in range(DEPTH):
        server.requests.send(b"%d" % number)
    assert server.requests.state().waiting == worker.requests.state().waiting == DEPTH
    with pytest.raises(QueueFullError, match=r"instrument_DMM1_req stayed full for 0\.01 s: 100 messages"):
        server.requests.send(b"one too many", 0.01)
    assert worker.requests.receive(0) == b"0"
    server.requests.send(b"fits", 0)
    assert [worker.requests.receive(0) for _ in range(DEPTH)][-1] == b"fits"
    assert worker.requests.receive(0) is None
    assert server.requests.state().waiting == 0


def test_full_size_messages_are_limited_by_count_or_by_the_system(server: SeqpacketPair, worker: SeqpacketPair) -> None:
    sent = 0
    with pytest.raises(QueueFullError):
        while True:
            server.requests.send(b"x" * SPEC.size_bytes, 0)
            sent += 1
    assert 10 < sent <= DEPTH
    assert worker.requests.state().waiting == sent
    with pytest.raises(TooLargeError, match="8209 bytes"):
        server.requests.send(b"x" * (SPEC.size_bytes + 1))


def test_a_sender_goes_on_when_there_is_room(server: SeqpacketPair, worker: SeqpacketPair) -> None:
    for _ in range(DEPTH):
        server.requests.send(b"old")
    thread = threading.Thread(target=server.requests.send, args=(b"new", LONG_S))
    thread.start()
    received = [worker.requests.receive(LONG_S) for _ in range(DEPTH + 1)]
    thread.join()
    assert received[-1] == b"new"


def test_what_a_dead_peer_sent_is_read_before_the_end(server: SeqpacketPair, worker: SeqpacketPair) -> None:
    server.requests.send(b"never read: the system then reports a reset first")
    for number in range(5):
        worker.responses.send(b"%d" % number)
    worker.close()
    assert [server.responses.receive(LONG_S) for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
    for _ in range(2):
        with pytest.raises(PeerGoneError, match="end of file"):
            server.responses.receive(LONG_S)
        with pytest.raises(PeerGoneError):
            server.requests.send(b"to nobody")


def test_a_peer_that_dies_ends_waits(server: SeqpacketPair, worker: SeqpacketPair) -> None:
    for _ in range(DEPTH):
        server.requests.send(b"fill")
    outcomes: list[str] = []
    threads = [
        threading.Thread(target=lambda: outcomes.append(_outcome(lambda: server.responses.receive(LONG_S)))),
        threading.Thread(target=lambda: outcomes.append(_outcome(lambda: server.requests.send(b"x", LONG_S)))),
    ]
    for thread in threads:
        thread.start()
    worker.close()
    for thread in threads:
        thread.join()
    assert outcomes == ["PeerGoneError"] * 2


def test_closing_ends_our_own_waits(server: SeqpacketPair, worker: SeqpacketPair) -> None:
    outcomes: list[str] = []
    threads = [
        threading.Thread(target=lambda: outcomes.append(_outcome(lambda: server.responses.receive(LONG_S))))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    server.close()
    server.close()
    for thread in threads:
        thread.join()
    assert outcomes == ["PeerGoneError"] * 3
    server.responses.wake()
    assert "closed" in server.responses.state().note


def test_wake_frees_one_receiver(server: SeqpacketPair, worker: SeqpacketPair) -> None:
    freed: list[bytes | None] = []
    threads = [threading.Thread(target=lambda: freed.append(server.responses.receive(LONG_S))) for _ in range(2)]
    for thread in threads:
        thread.start()
    server.responses.wake()
    while not freed:
        time.sleep(0.001)
    worker.responses.send(b"message")
    for thread in threads:
        thread.join()
    assert freed == [None, b"message"]
    server.responses.wake()
    assert server.responses.receive(LONG_S) is None, "a wake is kept for the next"
    assert server.responses.receive(0) is None


def test_messages_of_strange_sizes_are_handed_on(server: SeqpacketPair) -> None:
    assert server.worker_fd is not None
    with socket.socket(fileno=os.dup(server.worker_fd)) as raw:
        raw.send(b"")
        raw.send(b"x" * 20_000)
        assert server.responses.receive(LONG_S) == b""
        assert len(server.responses.receive(LONG_S) or b"") == SPEC.size_bytes + 1, "for the decoder to refuse"


def test_scribbled_counters_are_the_peers_end(server: SeqpacketPair) -> None:
    assert server.worker_fd is not None
    with socket.socket(fileno=os.dup(server.worker_fd)) as raw:
        _hello, [page], _flags, _address = socket.recv_fds(raw, 100, 1)
        os.pwrite(page, b"\xef\xbe\xad\xde\0\0\0\0" * 4, 0)
        with pytest.raises(OSError, match="not permitted"):
            os.ftruncate(page, 0)
        os.close(page)
        with pytest.raises(PeerGoneError, match="nonsense"):
            server.requests.send(b"x")
        assert server.requests.state().waiting == 0
        raw.send(b"still read")
        assert server.responses.receive(LONG_S) == b"still read"


def test_many_threads(server: SeqpacketPair, worker: SeqpacketPair, seed: int) -> None:
    rng = random.Random(seed)
    sent = [bytes([rng.randrange(256)]) * rng.randrange(1, 2000) for _ in range(600)]
    received: list[bytes] = []

    def receive() -> None:
        while (message := worker.requests.receive(LONG_S)) != b"end":
            assert message is not None
            received.append(message)

    receivers = [threading.Thread(target=receive) for _ in range(3)]
    senders = [
        threading.Thread(target=lambda at=at: [server.requests.send(m, LONG_S) for m in sent[at::3]]) for at in range(3)
    ]
    for thread in receivers + senders:
        thread.start()
    for thread in senders:
        thread.join()
    for _ in receivers:
        server.requests.send(b"end", LONG_S)
    for thread in receivers:
        thread.join()
    assert sorted(received) == sorted(sent)


ECHO = """
import sys
from labwire.errors import PeerGoneError
from labwire.instruments.queues.open import open_pair
pair = open_pair("socket", "DMM1", socket_fd=int(sys.argv[1]))
try:
    while True:
        if message := pair.requests.receive(1.0):
            pair.responses.send(message[::-1])
except PeerGoneError:
    sys.exit(7)
"""


def test_a_worker_process_inherits_one_descriptor() -> None:
    with create_pair("socket", "DMM1") as pair:
        fd = pair.worker_fd
        assert fd is not None
        with subprocess.Popen([sys.executable, "-c", ECHO, str(fd)], pass_fds=[fd]) as process:
            pair.release_worker_fd()
            pair.requests.send(b"abc")
            assert pair.responses.receive(LONG_S) == b"cba"
            pair.close()
            assert process.wait(LONG_S) == 7


def test_what_cannot_be_opened(tmp_path: object) -> None:
    with pytest.raises(UsageError, match="inherits a descriptor"):
        open_pair("socket", "DMM1")
    with pytest.raises(UsageError, match="no names"):
        join_pair("socket", "DMM1")
    with pytest.raises(UsageError, match="is no socket"):
        open_pair("socket", "DMM1", socket_fd=9999)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        ours.send(b"hello?")
        with pytest.raises(ProtocolError, match="first message"):
            open_pair("socket", "DMM1", socket_fd=theirs.detach())
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.close()
    with pytest.raises(PeerGoneError):
        open_pair("socket", "DMM1", socket_fd=theirs.detach())


def test_one_side_of_a_direction(server: SeqpacketPair, worker: SeqpacketPair) -> None:
    with pytest.raises(UsageError, match="only receives"):
        server.responses.send(b"x")
    with pytest.raises(UsageError, match="only sends"):
        server.requests.receive(0)
    server.requests.wake()


def _outcome(call: object) -> str:
    assert callable(call)
    try:
        return repr(call())
    except Exception as error:
        return type(error).__name__
