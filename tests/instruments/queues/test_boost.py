"""Boost queues between labwire's own ends: order, priorities, sizes, waking, closing, files that are no queues."""

from __future__ import annotations

import os
import random
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labwire.errors import (
    NotFoundError,
    PeerGoneError,
    ProtocolError,
    QueueFullError,
    ResourceError,
    TooLargeError,
)
from labwire.instruments.queues import build, native_library, shared_memory
from labwire.instruments.queues.boost import BoostPair, BoostQueue
from labwire.instruments.queues.contract import DEPTH, MessageQueue
from labwire.instruments.queues.open import create_pair, join_pair, open_pair
from labwire.wire.instrument_message import ISS, NATIVE, PROFILES, SPEC, Message, MessageType, Profile, encode_message

LONG_S = 20.0
NAME = f"T{os.getpid()}"
REQUESTS = Path(f"/dev/shm/instrument_{NAME}_req")
RESPONSES = Path(f"/dev/shm/instrument_{NAME}_resp")


def message(payload: bytes, number: int = 0, profile: Profile = SPEC) -> bytes:
    return encode_message(Message(MessageType.COMMAND, number, payload), profile)


@pytest.fixture(params=[True, False], ids=["robust", "plain"])
def server(request: pytest.FixtureRequest) -> Iterator[BoostPair]:
    with BoostPair.create(NAME, robust=request.param) as pair:
        yield pair


@pytest.fixture
def worker(server: BoostPair) -> Iterator[BoostPair]:
    with BoostPair.open(NAME) as pair:
        yield pair


def test_both_ways_in_order(server: BoostPair, worker: BoostPair) -> None:
    for number in range(3):
        server.requests.send(message(b"to", number))
        worker.responses.send(message(b"back", number))
    assert [worker.requests.receive(LONG_S) for _ in range(3)] == [message(b"to", n) for n in range(3)]
    assert [server.responses.receive(LONG_S) for _ in range(3)] == [message(b"back", n) for n in range(3)]
    assert server.responses.receive(0) is None


def test_higher_priorities_overtake_equal_ones_keep_their_order(
    server: BoostPair, worker: BoostPair, seed: int
) -> None:
    rng = random.Random(seed)
    waiting: list[tuple[int, int]] = []
    for number in range(3000):
        if len(waiting) < DEPTH and (not waiting or rng.random() < 0.55):
            priority = rng.choice([0, 0, 1, 5, rng.randrange(2**32)])
            server.requests.send(message(b"", number), 0, priority)
            waiting.append((-priority, number))
            waiting.sort()
        else:
            assert worker.requests.receive(0) == message(b"", waiting.pop(0)[1])


def test_a_full_queue_and_a_priority_out_of_range(server: BoostPair, worker: BoostPair) -> None:
    for number in range(DEPTH - 1):
        server.requests.send(message(b"", number), 0)
    server.requests.send(message(b"lowest", 1000), 0, priority=-5)
    with pytest.raises(QueueFullError, match="100 messages wait in it"):
        server.requests.send(message(b""), 0.15)
    assert [worker.requests.receive(0) for _ in range(DEPTH)][-1] == message(b"lowest", 1000)
    server.requests.send(message(b"a"), priority=2**40)
    assert worker.requests.receive(0) == message(b"a")


def test_a_sender_goes_on_when_there_is_room(server: BoostPair, worker: BoostPair) -> None:
    for _ in range(DEPTH):
        server.requests.send(message(b"old"))
    thread = threading.Thread(target=server.requests.send, args=(message(b"new"), LONG_S))
    thread.start()
    received = [worker.requests.receive(LONG_S) for _ in range(DEPTH + 1)]
    thread.join()
    assert received[-1] == message(b"new")


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_what_a_message_says_is_handed_over_without_padding(profile: Profile) -> None:
    with BoostPair.create(NAME, profile) as server, BoostPair.open(NAME, profile) as worker:
        for payload in (b"", b"{}", b"x" * profile.payload_bytes, b"{}"):
            server.requests.send(message(payload, 7, profile))
            assert worker.requests.receive(0) == message(payload, 7, profile)
        text = message(b"", 7, profile) + b'{"error_message": "by snprintf"}'  # the spec's snippet: no payload size
        server.requests.send(text)
        assert worker.requests.receive(0) == text
        short = b"abc"
        server.requests.send(short)
        assert (worker.requests.receive(0) or b"").startswith(short)
        liar = message(b"", 7, profile)[:-4] + b"\xff\xff\xff\xff"
        server.requests.send(liar)
        assert worker.requests.receive(0) == liar.ljust(profile.size_bytes, b"\0")[: profile.size_bytes]
        with pytest.raises(TooLargeError, match=f"limit is {profile.size_bytes} bytes"):
            server.requests.send(b"x" * (profile.size_bytes + 1))


def test_wake_frees_one_receiver(server: BoostPair, worker: BoostPair) -> None:
    freed: list[bytes | None] = []
    threads = [threading.Thread(target=lambda: freed.append(server.responses.receive(LONG_S))) for _ in range(2)]
    for thread in threads:
        thread.start()
    server.responses.wake()
    while not freed:
        time.sleep(0.001)
    worker.responses.send(message(b"m"))
    for thread in threads:
        thread.join()
    assert freed == [None, message(b"m")]
    server.responses.wake()
    worker.responses.send(message(b"m"))
    assert server.responses.receive(LONG_S) == message(b"m"), "messages go first"
    assert server.responses.receive(LONG_S) is None, "a wake is kept for the next"


@pytest.mark.parametrize("marked", [True, False], ids=["ours", "foreign"])
def test_closing_ends_our_own_waits(server: BoostPair, *, marked: bool) -> None:
    queue = server.requests if marked else server.responses  # nobody has marked responses as a labwire sender's
    outcomes: list[str] = []
    threads = [threading.Thread(target=lambda: outcomes.append(_outcome(queue))) for _ in range(3)]
    for thread in threads:
        thread.start()
    server.close()
    server.close()
    for thread in threads:
        thread.join()
    assert outcomes == ["PeerGoneError"] * 3
    server.responses.wake()
    with pytest.raises(PeerGoneError, match="closed"):
        server.requests.send(b"x")


def _outcome(queue: MessageQueue) -> str:
    try:
        return repr(queue.receive(LONG_S))
    except Exception as error:
        return type(error).__name__


def test_counting_the_messages_of_a_queue_that_is_closed_meanwhile(soak: Any) -> None:
    """As a sender does that finds its queue full: memory that is gone already would end the process."""
    count, current, is_over = native_library.library().lw_boost_count, list[Any](), threading.Event()

    def look() -> None:
        while not is_over.is_set():
            assert [count(file.handle) for file in current[-1:] * 10] in ([], [0] * 10)

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(soak(2_000, 100_000)):
        file = shared_memory.create_file(f"instrument_{NAME}_req")
        current[:] = [file]
        file.close()
    is_over.set()
    for thread in threads:
        thread.join()


def test_many_threads_lose_and_double_nothing(server: BoostPair, worker: BoostPair, seed: int) -> None:
    rng = random.Random(seed)
    sent = [message(bytes([rng.randrange(1, 256)]) * rng.randrange(1, 2000), n) for n in range(900)]
    received: list[bytes] = []

    def receive() -> None:
        while (one := worker.requests.receive(LONG_S)) != b"end".ljust(SPEC.header_bytes, b"\0"):
            assert one is not None
            received.append(one)

    receivers = [threading.Thread(target=receive) for _ in range(3)]
    senders = [
        threading.Thread(target=lambda at=at: [server.requests.send(m, LONG_S) for m in sent[at::3]]) for at in range(3)
    ]
    for thread in receivers + senders:
        thread.start()
    for thread in senders:
        thread.join()
    for _ in receivers:
        server.requests.send(b"end".ljust(SPEC.header_bytes, b"\0"), LONG_S)
    for thread in receivers:
        thread.join()
    assert sorted(received) == sorted(sent)


def test_files_are_for_this_user_only_and_go_away() -> None:
    old = os.umask(0)
    try:
        with create_pair("boost", NAME):
            for path in (REQUESTS, RESPONSES):
                assert stat.S_IMODE(path.stat().st_mode) == 0o600
                assert path.stat().st_size == 823_408
            with open_pair("boost", NAME):
                pass
            assert REQUESTS.exists(), "who opened it does not remove it"
    finally:
        os.umask(old)
    assert not REQUESTS.exists()
    assert not RESPONSES.exists()


def test_a_name_that_belongs_to_a_successor_is_left_alone() -> None:
    first = create_pair("boost", NAME)
    second = create_pair("boost", NAME)
    first.requests.send(message(b"nobody"))
    assert "removed" in first.requests.state().note
    first.close()
    with second:
        assert REQUESTS.exists()
        with open_pair("boost", NAME) as worker:
            assert worker.requests.receive(0) is None, "fresh"


def test_join_takes_what_is_in_use_and_replaces_what_is_stale() -> None:
    with BoostPair.create(NAME) as left:
        left.requests.send(message(b"stale"))
        for queue in (left.requests, left.responses):
            assert isinstance(queue, BoostQueue)
            queue.file.owned = False
    assert REQUESTS.exists(), "as if its process had been killed"
    with join_pair("boost", NAME) as fresh:
        assert fresh.requests.receive(0) is None
    assert not REQUESTS.exists()


def test_what_is_no_queue(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no queue"):
        open_pair("boost", NAME)
    with create_pair("boost", NAME), pytest.raises(ProtocolError, match="profile 'spec' fits"):
        open_pair("boost", NAME, ISS)
    try:
        for content, expected in [
            (b"\2\0\0\0" + b"\0" * 5000, "do not fit"),
            (b"\2\0\0\0" + b"\xff" * 5000, "do not fit"),
            (b"\3\0\0\0", "corrupted"),
            (b"\2\0\0\0" * 6 + b"\1\0\0\0\0\0\0\0" * 2 + b"\0" * 500, "lock is of kind 0"),
        ]:
            REQUESTS.write_bytes(content)
            with pytest.raises(ProtocolError, match=expected):
                open_pair("boost", NAME)
    finally:
        REQUESTS.unlink()


def test_a_queue_that_never_gets_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_memory, "_READY_TIMEOUT_S", 0.02)
    REQUESTS.touch()
    try:
        with pytest.raises(NotFoundError, match="does not get it ready"):
            open_pair("boost", NAME)
    finally:
        REQUESTS.unlink()


def test_no_room_for_a_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    huge = SPEC._replace(size_bytes=1 << 50)
    with pytest.raises(ResourceError, match="shared memory"):
        create_pair("boost", NAME, huge)
    assert not REQUESTS.exists()


def test_the_library_is_built_from_these_sources() -> None:
    built = native_library.library().lw_sources().decode()
    assert built == build.source_hash(), "run: python -m labwire.instruments.queues.build"


def test_a_missing_or_foreign_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    load = native_library.library.__wrapped__
    monkeypatch.setattr(native_library, "LIBRARY", tmp_path / "none.so")
    with pytest.raises(ResourceError, match=r"cannot be loaded .* -m labwire\.instruments\.queues\.build"):
        load()
    monkeypatch.setattr(native_library, "LIBRARY", "libc.so.6")
    with pytest.raises(ResourceError, match="of version 0"):
        load()
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(ResourceError, match="need Linux, not win32"):
        load()


def test_building(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CC", "no-such-compiler -O2")
    with pytest.raises(build.BuildError, match=r"no C compiler \(no-such-compiler\)"):
        build.compile_library(tmp_path / "x.so")
    monkeypatch.setenv("CC", "false")
    with pytest.raises(build.BuildError, match="failed"):
        build.compile_library(tmp_path / "x.so")
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(build.BuildError, match="not darwin"):
        build.compile_library(tmp_path / "x.so")


def test_profiles_do_not_mix() -> None:
    with create_pair("boost", NAME, NATIVE), pytest.raises(ProtocolError, match="profile 'native' fits"):
        open_pair("boost", NAME)
