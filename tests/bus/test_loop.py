"""The loop of an actor: everything on one thread, nothing early, nothing lost, nothing fatal."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
import zmq

from labwire.bus import loop as loop_module
from labwire.bus.loop import Loop
from labwire.errors import UsageError
from tests.bus.fake_hub import LIMIT_S, own_context


class Faults(list[BaseException]):
    pass


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def loop(faults: Faults) -> Iterator[Loop]:
    made = Loop(faults.append)
    # A test that waits for something that never comes must end too.
    made.call_later(LIMIT_S, made.stop)
    yield made
    made.close()


class Hands:
    """The clock of a loop, in the test's own hands."""

    def __init__(self) -> None:
        self.now_s = float(math.floor(time.monotonic()))  # whole, so that sums are exact

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    made = Hands()
    monkeypatch.setattr(loop_module, "time", made)
    return made


def test_timers_come_in_order_and_not_early(loop: Loop, hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    started_s, seen = hands.now_s, list[tuple[str, float]]()

    def see(name: str, delay_s: float) -> None:
        loop.call_later(delay_s, lambda: seen.append((name, time.monotonic() - started_s - delay_s)))

    for name, delay_s in (("c", 0.03), ("a", 0.01), ("b", 0.02), ("now", 0.0), ("past", -1.0)):
        see(name, delay_s)
    loop.call_later(0.04, loop.stop)
    monkeypatch.setattr(loop_module, "time", time)  # all were asked for in one moment; from here on time passes
    loop.run()
    assert [name for name, _ in seen] == ["past", "now", "a", "b", "c"]
    assert all(late_s >= 0 for _, late_s in seen)


def test_a_rhythm_is_kept_and_missed_turns_are_skipped(loop: Loop, hands: Hands) -> None:
    seen: list[float] = []
    started_s = hands.now_s
    loop.every(1.0, lambda: seen.append(hands.now_s - started_s))
    for at_s in (0.5, 0.999, 1.25, 1.999, 2.0, 2.5, 7.5, 7.75, 7.999, 8.0, 9.5, 10.0):
        hands.now_s = started_s + at_s
        loop.run_once(0)
        loop.run_once(0)
    assert seen == pytest.approx([1.25, 2.0, 7.5, 8.0, 9.5, 10.0]), "no turn comes twice, none is made up for"


def test_a_cancelled_timer_does_not_come(loop: Loop) -> None:
    seen: list[str] = []
    came_before: list[str] = []

    def cancel() -> None:
        once.cancel()
        often.cancel()
        came_before.extend(seen)

    once = loop.call_later(0.05, lambda: seen.append("once"))
    often = loop.every(0.001, lambda: seen.append("often"))
    loop.call_later(0.005, cancel)
    loop.call_later(0.1, loop.stop)
    loop.run()
    assert "often" in seen
    assert seen == came_before


def test_what_is_cancelled_in_the_turn_in_which_it_is_due_does_not_come(loop: Loop, hands: Hands) -> None:
    seen: list[str] = []

    def cancel() -> None:
        once.cancel()
        often.cancel()

    loop.call_later(1.0, cancel)
    once = loop.call_later(2.0, lambda: seen.append("once"))
    often = loop.every(2.0, lambda: seen.append("often"))
    hands.now_s += 5.0
    loop.run_once(0)
    hands.now_s += 5.0
    loop.run_once(0)
    assert seen == []


def test_a_timer_may_cancel_itself(loop: Loop) -> None:
    seen: list[int] = []

    def turn() -> None:
        seen.append(1)
        timer.cancel()
        loop.call_later(0.01, loop.stop)

    timer = loop.every(0.001, turn)
    loop.run()
    assert seen == [1]


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, -1.0])
def test_an_interval_that_makes_no_sense_is_refused(loop: Loop, value: float) -> None:
    with pytest.raises(UsageError):
        loop.every(value, loop.stop)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_delay_that_makes_no_sense_is_refused(loop: Loop, value: float) -> None:
    with pytest.raises(UsageError):
        loop.call_later(value, loop.stop)


def test_sockets_and_descriptors_call_back(loop: Loop) -> None:
    seen: list[bytes] = []
    read, write = os.pipe()
    with own_context() as context:
        bound, connected = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        bound.bind("inproc://x")
        connected.connect("inproc://x")
        loop.watch(bound, lambda: seen.append(bound.recv()))
        loop.watch(read, lambda: seen.append(os.read(read, 10)))
        connected.send(b"socket")
        os.write(write, b"pipe")
        while len(seen) < 2:
            loop.run_once(LIMIT_S)
        assert set(seen) == {b"socket", b"pipe"}
        loop.unwatch(bound)
        loop.unwatch(bound)
        connected.send(b"unseen")
        loop.run_once(0)
        assert len(seen) == 2
        os.close(write)
        loop.watch(read, loop.stop)
        loop.run()
        loop.unwatch(read)
    os.close(read)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_a_stream_is_taken_in_bulk_and_what_comes_alone_at_once(loop: Loop, pipe: tuple[int, int]) -> None:
    read, write = pipe
    seen: list[bytes] = []
    clock_s: list[float] = []

    def take() -> None:
        seen.append(os.read(read, 1000))
        clock_s.append(time.monotonic())

    loop.watch(read, take, rest_s=0.05)
    os.write(write, b"a")
    loop.run_once(LIMIT_S)
    assert seen == [b"a"], "no rest before the first"

    def send() -> None:
        os.write(write, b"s")

    feed = loop.every(0.001, send)
    deadline = time.monotonic() + LIMIT_S
    while len(seen) < 4 or max(map(len, seen)) == 1:
        assert time.monotonic() < deadline, "nothing comes in bulk"
        loop.run_once(LIMIT_S)
    feed.cancel()
    loop.unwatch(read)
    assert all(after_s - before_s >= 0.05 for before_s, after_s in pairwise(clock_s))


def test_what_rests_may_be_unwatched_and_watched_again(loop: Loop, pipe: tuple[int, int]) -> None:
    read, write = pipe
    seen: list[str] = []

    def note(what: str) -> Callable[[], None]:
        return lambda: seen.append(f"{what} {os.read(read, 1000).decode()}")

    loop.watch(read, note("first"), rest_s=LIMIT_S)
    os.write(write, b"a")
    loop.run_once(LIMIT_S)
    loop.unwatch(read)
    loop.unwatch(read)
    os.write(write, b"b")
    loop.run_once(0)
    assert seen == ["first a"]
    loop.watch(read, note("second"))
    loop.run_once(LIMIT_S)
    loop.unwatch(read)
    assert seen == ["first a", "second b"]


def test_the_end_of_a_rest_does_not_wake_what_was_unwatched(loop: Loop, pipe: tuple[int, int]) -> None:
    read, write = pipe
    seen: list[bytes] = []

    def take_and_go() -> None:
        seen.append(os.read(read, 1000))
        loop.unwatch(read)

    loop.watch(read, take_and_go, rest_s=0.001)
    os.write(write, b"a")
    loop.run_once(LIMIT_S)
    loop.watch(read, lambda: seen.append(os.read(read, 1000)), rest_s=0.001)
    os.write(write, b"b")
    loop.run_once(LIMIT_S)
    loop.unwatch(read)
    os.write(write, b"c")
    loop.call_later(0.01, loop.stop)
    loop.run()
    assert seen == [b"a", b"b"]


def test_a_callback_may_unwatch_another_that_is_ready(loop: Loop) -> None:
    pipes = [os.pipe() for _ in range(2)]
    seen: list[int] = []

    def serve(index: int) -> None:
        seen.append(index)
        for read, _ in pipes:
            loop.unwatch(read)

    for index, (read, write) in enumerate(pipes):
        loop.watch(read, lambda index=index: serve(index))
        os.write(write, b"x")
    loop.run_once(0)
    assert len(seen) == 1
    for fd in sum(pipes, ()):
        os.close(fd)


def test_a_descriptor_opened_in_place_of_one_that_was_ready_is_not_called_for_it(loop: Loop) -> None:
    (first, first_write), (second, second_write) = os.pipe(), os.pipe()
    fresh, fresh_write = os.pipe()
    called: list[str] = []

    def replace(name: str, other: int) -> None:
        called.append(name)
        for source in (first, second):
            loop.unwatch(source)
        os.dup2(fresh, other)  # closed and opened again: the number is the same, and nothing is in it
        loop.watch(other, lambda: called.append("fresh"))

    loop.watch(first, lambda: replace("first", second))
    loop.watch(second, lambda: replace("second", first))
    for end in (first_write, second_write):
        os.write(end, b"x")
    loop.run_once(LIMIT_S)
    assert len(called) == 1, "nobody is called for what another had"
    os.write(fresh_write, b"x")
    loop.run_once(LIMIT_S)
    assert called[1:] == ["fresh"]
    for source in (first, second):
        loop.unwatch(source)
    for end in (first, first_write, second, second_write, fresh, fresh_write):
        os.close(end)


def test_posts_from_many_threads_all_run_on_the_loops_thread(loop: Loop) -> None:
    seen: list[tuple[int, int, int]] = []
    threads = [threading.Thread(target=lambda n=n: [post(n, i) for i in range(200)]) for n in range(4)]

    def post(n: int, i: int) -> None:
        assert loop.post(lambda: seen.append((n, i, threading.get_ident())))

    for thread in threads:
        thread.start()
    while len(seen) < 800:
        loop.run_once(LIMIT_S)
    for thread in threads:
        thread.join()
    assert {ident for _, _, ident in seen} == {threading.get_ident()}
    for n in range(4):
        assert [i for m, i, _ in seen if m == n] == list(range(200))


def test_a_post_wakes_a_waiting_loop(loop: Loop) -> None:
    thread = threading.Thread(target=lambda: loop.post(loop.stop))
    thread.start()
    loop.run()
    thread.join()


def test_posts_are_bounded_and_the_refused_are_counted(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "MAX_POSTED", 3)
    seen: list[int] = []
    assert [loop.post(lambda n=n: seen.append(n)) for n in range(5)] == [True, True, True, False, False]
    assert loop.refused_posts == 2
    loop.run_posted()
    assert seen == [0, 1, 2]
    assert loop.post(lambda: seen.append(9))


def test_a_callback_that_posts_itself_does_not_starve_the_rest(loop: Loop) -> None:
    seen: list[str] = []

    def again() -> None:
        seen.append("again")
        loop.post(again)

    again()
    loop.call_later(0, lambda: seen.append("timer"))
    loop.run_once(0)
    loop.run_once(0)
    assert "timer" in seen


def test_a_mistake_in_one_callback_does_not_end_the_others(loop: Loop, faults: Faults) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    loop.post(fail)
    loop.call_later(0.001, fail)
    turns: list[int] = []

    def turn() -> None:
        turns.append(1)
        if len(turns) == 3:
            loop.stop()
        fail()

    loop.every(0.002, turn)
    loop.run()
    assert len(turns) == 3
    assert [type(fault) for fault in faults] == [ZeroDivisionError] * 5


def test_exit_and_ctrl_c_are_no_mistakes(loop: Loop, faults: Faults) -> None:
    def leave() -> None:
        raise SystemExit(3)

    loop.post(leave)
    with pytest.raises(SystemExit):
        loop.run()
    assert faults == []


def test_a_closed_loop_refuses_and_touches_no_foreign_file() -> None:
    loop = Loop(Faults().append)
    wake = loop._wake_write
    loop.close()
    read, write = os.pipe()
    foreign = os.dup2(write, wake) if wake not in {read, write} else None  # the number means another file now
    assert not loop.post(lambda: None)
    assert loop.closed
    os.set_blocking(read, False)
    with pytest.raises(BlockingIOError):
        os.read(read, 1)
    loop.close()
    for fd in filter(None, (read, write, foreign)):
        os.close(fd)


def test_a_signal_may_post_while_its_own_thread_is_posting(loop: Loop) -> None:
    seen: list[str] = []
    before = signal.signal(signal.SIGUSR1, lambda *_: loop.post(lambda: seen.append("signal")))
    try:
        with loop._posted_lock:  # as inside of post
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    loop.run_once(LIMIT_S)
    assert seen == ["signal"]


def test_the_end_of_the_context_ends_the_loop(loop: Loop, faults: Faults) -> None:
    def ended() -> None:
        raise zmq.ContextTerminated

    loop.post(ended)
    loop.run()
    assert faults == []
