"""Torture of the Boost queues and of who supervises them, without the server that will stand on them.

Workers killed while they wait, hold the lock or write, with both kinds of lock and both creators; random bytes in the
header. No thread is lost, no process of ours is lost, and every call that is under way is answered.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labwire.errors import NotFoundError, PeerGoneError, QueueFullError
from labwire.instruments.queues.boost import BoostPair
from labwire.instruments.queues.contract import MessageQueue
from labwire.instruments.queues.open import join_pair, open_pair
from labwire.instruments.queues.shared_memory import remove_name
from labwire.wire.instrument_message import Message, MessageType, encode_message
from tests.faults.torture import JOIN_S, kill, kill_under_load, queue_victim, victim
from tests.interop.peers import boost_peer

NAME = f"F{os.getpid()}"
REQUESTS, RESPONSES = f"instrument_{NAME}_req", f"instrument_{NAME}_resp"
LOCKS = pytest.mark.parametrize("robust", [True, False], ids=["robust", "plain"])
PYTHON_ECHO = f"""
from labwire.instruments.queues.open import open_pair
pair = open_pair("boost", {NAME!r})
print("ready", flush=True)
while True:
    if message := pair.requests.receive(1.0):
        pair.responses.send(message)
"""


@pytest.fixture(autouse=True)
def no_names_left() -> Iterator[None]:
    yield
    for name in (REQUESTS, RESPONSES):
        assert not Path("/dev/shm", name).exists()


def message(number: int) -> bytes:
    return encode_message(Message(MessageType.COMMAND, number, b"{}"))


class Waiter(threading.Thread):
    """Receives until it is woken or told that the queue is no good."""

    def __init__(self, queue: MessageQueue) -> None:
        super().__init__(daemon=True)
        self.queue = queue
        self.got: list[object] = []
        self.start()

    def run(self) -> None:
        try:
            while (data := self.queue.receive(60.0)) is not None:
                self.got.append(data)
        except PeerGoneError as error:
            self.got.append(error)

    def assert_freed(self) -> None:
        self.join(JOIN_S)
        assert not self.is_alive(), "lost in the queue"


def wait_until(holds: Callable[[], object]) -> None:
    until = time.monotonic() + JOIN_S
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.001)


# --- deaths at chosen moments


def die_while_we_wait(pair: BoostPair, *mode: str, foreign: bool) -> Waiter:
    """A worker dies inside of the responses while we wait there; returns who waited, freed."""
    if not foreign:
        pair.responses.send(message(0))  # one of ours has sent: we then wait without the condition variable
        assert pair.responses.receive(0)
    waiter = Waiter(pair.responses)
    if foreign:
        wait_until(lambda: pair.responses.state().blocked_receivers)
    with victim(str(queue_victim()), mode[0], RESPONSES, *mode[1:]) as process:
        kill(process)
    pair.responses.wake()
    waiter.assert_freed()
    return waiter


def use_once_more(queue: MessageQueue) -> str:
    """Send and receive, bounded, in a thread that may be lost."""
    results: list[str] = []

    def use() -> None:
        try:
            queue.send(message(7), JOIN_S / 4)
            results.append("works" if queue.receive(JOIN_S / 4) == message(7) else "gives something else")
        except (PeerGoneError, QueueFullError) as error:
            results.append(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=use, daemon=True)
    thread.start()
    thread.join(JOIN_S)
    assert results, "lost in the queue"
    return results[0]


WAYS = pytest.mark.parametrize("foreign", [True, False], ids=["foreign", "ours"])


@LOCKS
@WAYS
def test_died_holding_the_lock(*, robust: bool, foreign: bool) -> None:
    with BoostPair.create(NAME, robust=robust) as pair:
        die_while_we_wait(pair, "hold", foreign=foreign)
        assert use_once_more(pair.responses) == "works"


@WAYS
def test_died_before_it_wrote_its_name_on_a_plain_lock(*, foreign: bool) -> None:
    with BoostPair.create(NAME, robust=False) as pair:
        die_while_we_wait(pair, "nameless", foreign=foreign)
        assert use_once_more(pair.responses) == "works"


@LOCKS
@WAYS
@pytest.mark.parametrize("step", ["1", "2", "3", "4"])
def test_died_writing(step: str, *, robust: bool, foreign: bool) -> None:
    with BoostPair.create(NAME, robust=robust) as pair:
        waiter = die_while_we_wait(pair, "write", step, foreign=foreign)
        result = use_once_more(pair.responses)
        if step == "4":
            assert "broken" in f"{waiter.got} {result}"
        else:
            assert "broken" not in f"{waiter.got} {result}", "what can be mended is"
        assert all(isinstance(one, bytes | PeerGoneError) for one in waiter.got)


@LOCKS
def test_what_waited_is_kept_when_a_writer_dies(*, robust: bool) -> None:
    for step in ("1", "2", "3"):
        with BoostPair.create(NAME, robust=robust) as pair:
            for number in range(10):
                pair.responses.send(message(number))
            with victim(str(queue_victim()), "write", RESPONSES, step) as process:
                kill(process)
            assert [pair.responses.receive(JOIN_S) for _ in range(10)] == [message(number) for number in range(10)]


@LOCKS
def test_died_waiting(*, robust: bool) -> None:
    with BoostPair.create(NAME, robust=robust) as pair:
        for _ in range(3):
            with victim(str(queue_victim()), "wait", REQUESTS) as process:
                wait_until(lambda: pair.requests.state().blocked_receivers)
                kill(process)
        for number in range(100):
            pair.requests.send(message(number), JOIN_S)
        with pytest.raises(QueueFullError):
            pair.requests.send(message(100), 0.02)


@LOCKS
def test_died_inside_of_the_condition_variable(*, robust: bool) -> None:
    with BoostPair.create(NAME, robust=robust) as pair:
        waiter = die_while_we_wait(pair, "signal", foreign=True)
        assert "died inside a condition variable" in f"{waiter.got} {use_once_more(pair.responses)}"


@LOCKS
def test_stopped_holding_the_lock(*, robust: bool) -> None:
    with BoostPair.create(NAME, robust=robust) as pair:
        with victim(str(queue_victim()), "hold", RESPONSES) as process:
            with pytest.raises(QueueFullError, match=rf"locked for 0\.15 s: thread {process.pid} lives"):
                pair.responses.send(message(1), 0.15)
            assert pair.responses.receive(0.15) is None
            state = pair.responses.state()
            assert (state.lock_owner, state.lock_owner_alive) == (process.pid, True)
            waiter = Waiter(pair.responses)
            kill(process)
            pair.responses.wake()
            waiter.assert_freed()
        assert use_once_more(pair.responses) == "works"


# --- deaths at random moments


def report(what: str, outcomes: Counter[str]) -> None:
    print(f"{what}: {dict(outcomes)}")
    assert outcomes["good"]
    assert not outcomes["wrong"]


@LOCKS
def test_killed_under_load_a_worker_of_ours(seed: int, soak: Callable[[int, int], int], *, robust: bool) -> None:
    rng, outcomes = random.Random(seed), Counter[str]()
    for _ in range(soak(40, 2000)):
        with (
            BoostPair.create(NAME, robust=robust) as pair,
            victim(str(queue_victim()), "echo", REQUESTS, RESPONSES) as process,
        ):
            outcomes += kill_under_load(pair, process, rng)
    report("ours, in C", outcomes)


def test_killed_under_load_a_worker_in_python(seed: int, soak: Callable[[int, int], int]) -> None:
    rng, outcomes = random.Random(seed), Counter[str]()
    for _ in range(soak(8, 300)):
        with BoostPair.create(NAME) as pair, victim(sys.executable, "-c", PYTHON_ECHO) as process:
            outcomes += kill_under_load(pair, process, rng)
    report("ours, in Python", outcomes)


@LOCKS
def test_killed_under_load_a_foreign_worker(seed: int, soak: Callable[[int, int], int], *, robust: bool) -> None:
    rng, outcomes = random.Random(seed), Counter[str]()
    for _ in range(soak(40, 2000)):
        with (
            BoostPair.create(NAME, robust=robust) as pair,
            victim(str(boost_peer()), "echo-worker", NAME, "open", wait_ready=False) as process,
        ):
            outcomes += kill_under_load(pair, process, rng)
    report("Boost", outcomes)


def test_killed_under_load_a_foreign_worker_that_created_the_queues(seed: int, soak: Callable[[int, int], int]) -> None:
    rng, outcomes = random.Random(seed), Counter[str]()
    for _ in range(soak(15, 1000)):
        with victim(str(boost_peer()), "echo-worker", NAME, "create", wait_ready=False) as process:
            wait_until(can_open)
            with join_pair("boost", NAME) as pair:
                outcomes += kill_under_load(pair, process, rng)
        for name in (REQUESTS, RESPONSES):
            assert remove_name(name), "what the dead one left"
    report("Boost, as creator", outcomes)


def can_open() -> bool:
    try:
        open_pair("boost", NAME).close()
    except NotFoundError:
        return False
    return True


@pytest.mark.parametrize(("late_ms", "told"), [("60", "whole"), ("-60", "broken")], ids=["begins", "ends"])
def test_a_wake_that_comes_late_touches_no_memory_that_is_gone(late_ms: str, told: str) -> None:
    """On a busy machine its thread may run when the queue has been closed by everybody else."""
    outcomes: set[str] = set()
    for _ in range(5):  # on a very busy one it may be late in both ways, once
        with BoostPair.create(NAME):
            done = subprocess.run(
                [queue_victim(), "leave", RESPONSES, late_ms], capture_output=True, text=True, check=False
            )
        assert done.returncode == 0, done
        outcomes.add(done.stdout.strip())
        if told in outcomes:
            return
    raise AssertionError(outcomes)


# --- random bytes


@pytest.mark.parametrize("live", ["0", "1", "2"], ids=["before-calls", "while-we-wait", "again-and-again"])
def test_random_bytes_in_the_header(live: str, seed: int, soak: Callable[[int, int], int]) -> None:
    count = soak(60, 5000) if live == "2" else soak(400, 50_000)
    done = subprocess.run(
        [queue_victim(), "scribble", str(seed), str(count), live], capture_output=True, text=True, check=True
    )
    well, hung, aborted, crashed, bus = map(int, done.stdout.split())
    print(f"{count} scribbled queues: {well} well, {hung} hung, {aborted} aborted, {crashed} crashed, {bus} bus errors")
    print(done.stderr)
    # For a foreign sender we wait in glibc: bytes that change between our look and its own are not to be caught.
    assert well >= count - (count // 10_000 if live == "1" else 0)


def test_queues_deleted_under_a_running_pair() -> None:
    with BoostPair.create(NAME) as pair, victim(str(queue_victim()), "echo", REQUESTS, RESPONSES) as process:
        for name in (REQUESTS, RESPONSES):
            assert remove_name(name)
        pair.requests.send(message(1))
        assert pair.responses.receive(JOIN_S) == message(1)
        kill(process)
