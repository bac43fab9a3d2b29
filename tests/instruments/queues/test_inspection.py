"""Queues are looked at without taking a message out; what nobody has open is found and removed, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from labwire.instruments.queues import inspection
from labwire.instruments.queues.boost import BoostPair
from labwire.instruments.queues.inspection import path_of, queue_states, remove_queue, remove_stale
from labwire.wire.instrument_message import ISS, Message, MessageType, encode_message
from tests.faults.torture import queue_victim, victim

NAME = f"S{os.getpid()}"
REQUESTS, RESPONSES = f"instrument_{NAME}_req", f"instrument_{NAME}_resp"
BOTH = (REQUESTS, RESPONSES)
KILLED = f"""
import os, signal
from labwire.instruments.queues.open import create_pair
pair = create_pair("boost", {NAME!r})
pair.requests.send(b"x")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_is_in_a_queue_in_the_order_of_receiving() -> None:
    with BoostPair.create(NAME) as pair:
        pair.requests.send(encode_message(Message(MessageType.COMMAND, 1, b"{}")))
        pair.requests.send(encode_message(Message(MessageType.COMMAND, 2, b"{}")), priority=5)
        pair.requests.send(encode_message(Message(MessageType.SHUTDOWN, 3)))
        pair.requests.send(b"\x2a\0\0\0" + b"\0" * 12)
        requests, responses = queue_states(BOTH)
        assert (requests.name, requests.kind, requests.depth, requests.waiting) == (REQUESTS, "boost", 100, 4)
        assert requests.types == {"COMMAND": 2, "SHUTDOWN": 1, "unknown type 42": 1}
        assert requests.ids == [2, 1, 3, 0]
        assert requests.used_by == [os.getpid()]
        assert (requests.lock_owner, requests.lock_owner_alive, requests.note) == (None, True, "")
        assert (responses.waiting, responses.types) == (0, {})
        assert pair.requests.state().waiting == 4, "none was taken out"
        assert REQUESTS in [state.name for state in queue_states()]


def test_another_profile_is_told_from_the_size_of_its_messages() -> None:
    with BoostPair.create(NAME, ISS) as pair:
        pair.requests.send(encode_message(Message(MessageType.HEARTBEAT, 9), ISS))
        assert queue_states([REQUESTS])[0].types == {"HEARTBEAT": 1}


@pytest.mark.parametrize("robust", [True, False], ids=["robust", "plain"])
def test_whose_lock_it_is(*, robust: bool) -> None:
    with BoostPair.create(NAME, robust=robust), victim(str(queue_victim()), "hold", REQUESTS) as process:
        [state] = queue_states([REQUESTS])
        assert (state.lock_owner, state.lock_owner_alive) == (process.pid, True)
        assert state.used_by == sorted([os.getpid(), process.pid])
        process.kill()
        process.wait()
        [state] = queue_states([REQUESTS])
        assert (state.lock_owner, state.lock_owner_alive) == (process.pid, False)


def test_stale_ones_are_removed_used_ones_are_not() -> None:
    subprocess.run([sys.executable, "-c", KILLED], check=False)
    assert [state.used_by for state in queue_states(BOTH)] == [[], []]
    assert remove_stale(BOTH) == [f"/dev/shm/{REQUESTS}", f"/dev/shm/{RESPONSES}"]
    assert queue_states(BOTH) == []
    with BoostPair.create(NAME):
        assert remove_stale(BOTH) == []
        [state, _] = queue_states(BOTH)
        assert path_of(state) == f"/dev/shm/{REQUESTS}"
        assert remove_queue(state)
        assert not remove_queue(state)


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (b"", "its file has 0 bytes"),
        (b"\0" * 4096, "not initialised"),
        (b"\3\0\0\0" * 1024, "corrupted"),
        (b"\2\0\0\0" * 1024, "do not fit"),
        (b"\x99" * 4096, "no queue"),
    ],
)
def test_files_that_are_no_queues_are_told_of(content: bytes, note: str) -> None:
    path = Path("/dev/shm", REQUESTS)
    path.write_bytes(content)
    try:
        [state] = queue_states([REQUESTS])
        assert note in state.note
        assert state.waiting is None
    finally:
        path.unlink()


def test_random_bytes_never_raise(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import random

    rng = random.Random(seed)
    monkeypatch.setattr(inspection, "mapped_by", lambda _: {os.getpid()})  # to ask all processes takes long
    with BoostPair.create(NAME) as pair:
        for number in range(20):
            pair.requests.send(encode_message(Message(MessageType.COMMAND, number)))
        path = Path("/dev/shm", REQUESTS)
        whole = path.read_bytes()
        for _ in range(300):
            at = rng.randrange(16, 1100)
            damaged = bytearray(whole)
            damaged[at : at + 8] = rng.randbytes(8)
            with path.open("r+b") as file:
                file.write(damaged[:2000])
            assert queue_states([REQUESTS])[0].name == REQUESTS


def test_on_another_system_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert queue_states() == []
    assert remove_stale() == []
