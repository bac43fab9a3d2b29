from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import zmq

from labwire.bounded import POLICIES, Policy
from labwire.bus.intake import TypedMessage
from labwire.bus.subscription import Subscription
from labwire.errors import DeadlineError, LabwireError, ProtocolError, QueueFullError, StateError, UsageError
from labwire.wire.bus_message import BusMessage
from labwire.wire.gap_counter import Gap
from tests.bus.fake_hub import LIMIT_S, SubscriberSide, bind_again, own_context, wait_until


class Sample(msgspec.Struct):
    n: int
    timestamp: float = 0.0
    seq: int = 0


@pytest.fixture
def context() -> Iterator[zmq.Context[Any]]:
    with own_context() as context:
        yield context


@pytest.fixture
def hub(context: zmq.Context[Any]) -> SubscriberSide:
    return SubscriberSide(context)


@pytest.fixture
def subscribe(context: zmq.Context[Any], hub: SubscriberSide) -> Iterator[Callable[..., Subscription[Any]]]:
    """Make a subscription that the hub knows; all are closed after the test."""
    made: list[Subscription[Any]] = []

    def subscribe(*prefixes: str, **options: Any) -> Subscription[Any]:
        made.append(Subscription(hub.sub_url, prefixes or ["data"], context=context, **options))
        for _ in prefixes or "1":
            hub.subscription()
        return made[-1]

    yield subscribe
    for subscription in made:
        subscription.close()


Subscribe = Callable[..., Subscription[Any]]


def put_aside(subscription: Subscription[Any], count: int) -> None:
    """Wait until so many messages have come off the socket while nobody receives."""
    wait_until(lambda: subscription.statistics().received >= count, f"{count} messages taken over")


def test_messages_are_decoded(hub: SubscriberSide, subscribe: Subscribe) -> None:
    subscription = subscribe("data.")
    hub.send("data.x", {"n": 1}, b"raw", b"more")
    message = subscription.recv(LIMIT_S)
    assert message == BusMessage("data.x", {"n": 1}, (b"raw", b"more"))
    assert (message.topic, message.payload, message.raw) == message


def test_undecoded_messages_are_lists_of_parts(hub: SubscriberSide, subscribe: Subscribe) -> None:
    subscription = subscribe(decode=False)
    hub.socket.send_multipart([b"data", b"\xc1 garbage", b"raw"])
    hub.socket.send(b"data alone")
    assert subscription.recv(LIMIT_S) == [b"data", b"\xc1 garbage", b"raw"]
    assert subscription.recv(LIMIT_S) == [b"data alone"]


def test_typed_payloads_are_structs_and_misfits_are_counted(hub: SubscriberSide, subscribe: Subscribe) -> None:
    reasons: list[str] = []
    subscription = subscribe(typed=Sample, on_malformed=lambda parts, error: reasons.append(str(error)))
    hub.send("data.odd", {"n": "one"})
    hub.send("data.empty")
    hub.send("data", {"n": 1, "other": [1, 2]}, b"raw")
    assert subscription.recv(LIMIT_S) == TypedMessage("data", Sample(1), (b"raw",))
    assert subscription.statistics().malformed == 2
    assert "data.odd" in reasons[0]
    assert "no payload" in reasons[1]


def test_only_wanted_topics_arrive_and_more_can_be_wanted(hub: SubscriberSide, subscribe: Subscribe) -> None:
    subscription = subscribe("a", "b")
    subscription.subscribe("c", b"d")
    assert [hub.subscription(), hub.subscription()] == [b"\x01c", b"\x01d"]
    subscription.unsubscribe("b")
    assert hub.subscription() == b"\x00b"
    for topic in "abcde":
        hub.send(topic, {})
    assert [subscription.recv(LIMIT_S).topic for _ in "acd"] == ["a", "c", "d"]


def test_prefixes_can_change_while_another_thread_receives(hub: SubscriberSide, subscribe: Subscribe) -> None:
    subscription = subscribe("a")
    received: list[str] = []
    receiver = threading.Thread(target=lambda: received.extend(message.topic for message in subscription))
    receiver.start()
    stop = threading.Event()

    def flood() -> None:
        while not stop.is_set():
            hub.send("a", {})

    flooder = threading.Thread(target=flood)
    flooder.start()
    try:
        subscription.subscribe("b")
    finally:
        stop.set()
        flooder.join()
    assert hub.subscription() == b"\x01b"
    hub.send("b", {})
    wait_until(lambda: "b" in received)
    subscription.close()
    receiver.join(LIMIT_S)
    assert not receiver.is_alive()


GARBAGE = [
    [b"data"],
    [b"data", b""],
    [b"data", b"\xc1"],
    [b"data", b"\x93\x01\x02\x03"],
    [b"data", b"\x81\xa1n"],
    [b"data", b"\x81\xa1n\x01trailing"],
    [b"data\xff", b"\x80"],
    [b"data", b"\x81" * 5000],
    [b"data", b"\xdf\xff\xff\xff\xff"],
]


def test_garbage_is_counted_and_skipped(hub: SubscriberSide, subscribe: Subscribe) -> None:
    seen: list[tuple[list[bytes], ProtocolError]] = []
    subscription = subscribe(on_malformed=lambda parts, error: seen.append((parts, error)))
    for parts in GARBAGE:
        hub.socket.send_multipart(parts)
    hub.send("data", {"n": 1})
    assert subscription.recv(LIMIT_S) == BusMessage("data", {})  # a message of one part is legal
    assert subscription.recv(LIMIT_S).payload == {"n": 1}
    assert subscription.statistics().malformed == len(GARBAGE) - 1
    assert [parts for parts, _ in seen] == GARBAGE[1:]
    assert all(isinstance(error, ProtocolError) for _, error in seen)


def test_garbage_in_the_backlog_is_counted_and_skipped(hub: SubscriberSide, subscribe: Subscribe) -> None:
    subscription = subscribe()
    for parts in GARBAGE:
        hub.socket.send_multipart(parts)
    put_aside(subscription, len(GARBAGE))
    hub.send("data", {"n": 1})
    assert [subscription.recv(LIMIT_S).payload for _ in range(2)] == [{}, {"n": 1}]
    assert subscription.statistics().malformed == len(GARBAGE) - 1


def test_a_failing_callback_costs_no_message(
    hub: SubscriberSide, subscribe: Subscribe, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("mine")

    subscription = subscribe(on_malformed=fail)
    hub.socket.send_multipart([b"data", b"\xc1"])
    hub.send("data", {"n": 1})
    assert subscription.recv(LIMIT_S).payload == {"n": 1}
    assert "callback failed" in caplog.text


def test_order_holds_while_messages_take_both_ways(
    hub: SubscriberSide, subscribe: Subscribe, seed: int, soak: Callable[[int, int], int]
) -> None:
    count, dice = soak(20_000, 1_000_000), random.Random(seed)
    subscription = subscribe(depth=count)

    def publish() -> None:
        for number in range(count):
            hub.send("data", {"n": number})

    publisher = threading.Thread(target=publish)
    publisher.start()
    for number in range(count):
        assert subscription.recv(LIMIT_S).payload["n"] == number
        if dice.random() < 20 / count:  # go away for so long that the backlog is used
            put_aside(subscription, min(subscription.statistics().received + 200, count))
    publisher.join()
    assert subscription.statistics().received == count


@pytest.mark.parametrize(
    ("policy", "kept"), [("drop_old", [97, 98, 99]), ("drop_new", [0, 1, 2]), ("conflate", [98, 99])]
)
def test_a_consumer_that_was_away_gets_what_its_policy_keeps(
    hub: SubscriberSide, subscribe: Subscribe, policy: Policy, kept: list[int]
) -> None:
    subscription = subscribe(policy=policy, depth=3)
    for number in range(100):
        hub.send(f"data.{number % 2}", {"n": number})
    put_aside(subscription, 100)
    assert [subscription.recv(LIMIT_S).payload["n"] for _ in kept] == kept
    with pytest.raises(DeadlineError):
        subscription.recv(0)
    assert subscription.statistics().dropped == 100 - len(kept)


def test_a_slow_consumer_stays_within_its_depth(hub: SubscriberSide, subscribe: Subscribe) -> None:
    subscription = subscribe(policy="drop_old", depth=5)
    for number in range(500):
        hub.send("data", {"n": number})
        if number % 50 == 49:
            wait_until(lambda: subscription.recv(LIMIT_S).payload["n"] >= number - 5, "a fresh message")  # noqa: B023


def test_fail_delivers_what_it_kept_and_then_says_that_it_failed(hub: SubscriberSide, subscribe: Subscribe) -> None:
    subscription = subscribe(policy="fail", depth=3)
    for number in range(10):
        hub.send("data", {"n": number})
    put_aside(subscription, 4)
    assert [subscription.recv(LIMIT_S).payload["n"] for _ in range(3)] == [0, 1, 2]
    for _ in range(2):
        with pytest.raises(QueueFullError, match="full"):
            subscription.recv(LIMIT_S)


def test_block_leaves_messages_in_the_socket(hub: SubscriberSide, subscribe: Subscribe) -> None:
    threads = threading.active_count()
    subscription = subscribe(policy="block", depth=100)
    assert threading.active_count() == threads
    for number in range(500):
        hub.send("data", {"n": number})
    assert [subscription.recv(LIMIT_S).payload["n"] for _ in range(500)] == list(range(500))


def test_the_backlog_is_bounded_in_bytes(hub: SubscriberSide, subscribe: Subscribe) -> None:
    subscription = subscribe(depth_bytes=10_000)
    for number in range(50):
        hub.send("data", {"n": number}, bytes(1000))
    put_aside(subscription, 50)
    statistics = subscription.statistics()
    assert statistics.waiting * 1000 <= 10_000
    assert subscription.recv(LIMIT_S).payload["n"] == 50 - statistics.waiting


def test_gaps_are_counted_once_and_told(hub: SubscriberSide, subscribe: Subscribe) -> None:
    told: list[Gap] = []
    subscription = subscribe(on_gap=told.append)
    for seq in (5, 6, 9, 0, 1):
        hub.send("data", {"seq": seq, "emitter": "camera"})
    hub.send("data", {"seq": 100, "emitter": "another"})
    hub.send("data", {"seq": 4, "emitter": "camera"})
    for _ in range(7):
        subscription.recv(LIMIT_S)
    assert told == [Gap("camera", "data", 2), Gap("camera", "data", 2)]
    assert subscription.gaps == {("camera", "data"): 4}
    assert subscription.statistics().missed == 4


@pytest.mark.parametrize("form", [{}, {"typed": Sample}, {"decode": False}])
def test_gaps_are_counted_in_every_form(hub: SubscriberSide, subscribe: Subscribe, form: dict[str, Any]) -> None:
    subscription = subscribe(count_gaps=True, **form)
    for seq in (0, 3):
        hub.send("data", {"n": 1, "seq": seq, "emitter": "camera"})
        subscription.recv(LIMIT_S)
    assert subscription.gaps == {("camera", "data"): 2}


def test_what_the_policy_drops_is_no_gap(hub: SubscriberSide, subscribe: Subscribe) -> None:
    subscription = subscribe(policy="drop_old", depth=2)
    for seq in (0, 1, 2, 3, 5, 6, 7):
        hub.send("data", {"seq": seq, "emitter": "camera"})
    put_aside(subscription, 7)
    assert [subscription.recv(LIMIT_S).payload["seq"] for _ in range(2)] == [6, 7]
    assert (subscription.statistics().dropped, subscription.statistics().missed) == (5, 1)


def test_what_was_not_subscribed_is_no_gap(hub: SubscriberSide, subscribe: Subscribe) -> None:
    subscription = subscribe("data", "other")
    hub.send("data", {"seq": 0, "emitter": "camera"})
    subscription.recv(LIMIT_S)
    subscription.unsubscribe("data")
    assert hub.subscription() == b"\x00data"
    subscription.subscribe("data")
    assert hub.subscription() == b"\x01data"
    hub.send("data", {"seq": 9, "emitter": "camera"})
    subscription.recv(LIMIT_S)
    assert not subscription.gaps


@pytest.mark.parametrize(
    "odd", [{"seq": 7}, {"seq": "7", "emitter": "x"}, {"seq": True, "emitter": "x"}, {"seq": 1.5, "emitter": ["x"]}]
)
def test_foreign_numbers_are_not_taken_for_ours(hub: SubscriberSide, subscribe: Subscribe, odd: dict[str, Any]) -> None:
    subscription = subscribe()
    for payload in ({"seq": 1, "emitter": "x"}, odd, {"seq": 2, "emitter": "x"}):
        hub.send("data", payload)
        assert subscription.recv(LIMIT_S).payload == payload
    assert not subscription.gaps


def test_recv_keeps_its_deadline(subscribe: Subscribe) -> None:
    subscription = subscribe()
    for timeout_s in (0, 0.001, 0.12):
        with pytest.raises(DeadlineError, match="no message"):
            subscription.recv(timeout_s)
    subscription.subscribe("pupil", b"gaze")
    with pytest.raises(DeadlineError, match="no message that begins with 'data' or 'pupil' or 'gaze' within 0 s"):
        subscription.recv(0)
    subscription.unsubscribe("pupil")
    with pytest.raises(DeadlineError, match="no message that begins with 'data' or 'gaze' within 0 s"):
        subscription.recv(0)
    subscription.subscribe("")
    with pytest.raises(DeadlineError, match="no message within 0 s"):
        subscription.recv(0)


def test_garbage_does_not_use_up_the_time(hub: SubscriberSide, subscribe: Subscribe) -> None:
    subscription = subscribe()
    hub.socket.send_multipart([b"data", b"\xc1"])
    hub.send("data", {"n": 1})
    assert subscription.recv(LIMIT_S).payload == {"n": 1}


@pytest.mark.parametrize("policy", POLICIES)
def test_closing_ends_the_iteration_of_another_thread(subscribe: Subscribe, policy: Policy) -> None:
    subscription = subscribe(policy=policy)
    iteration = threading.Thread(target=lambda: list(subscription))
    iteration.start()
    subscription.close()
    iteration.join(LIMIT_S)
    assert not iteration.is_alive()
    subscription.close()
    with pytest.raises(StateError, match="closed"):
        subscription.recv(0)
    with pytest.raises(StateError, match="closed"):
        subscription.subscribe("x")
    assert list(subscription) == []
    assert not subscription.wait_connected(0)
    assert not subscription.statistics().connected


def test_ending_the_context_ends_the_subscription(hub: SubscriberSide) -> None:
    context: zmq.Context[Any] = zmq.Context()
    subscription = Subscription(hub.sub_url, [""], context=context)
    iteration = threading.Thread(target=lambda: list(subscription))
    iteration.start()
    context.term()
    iteration.join(LIMIT_S)
    assert not iteration.is_alive()
    subscription.close()


def test_it_reconnects_and_counts_it(hub: SubscriberSide, subscribe: Subscribe, context: zmq.Context[Any]) -> None:
    subscription = subscribe()
    assert subscription.wait_connected(LIMIT_S)
    hub.socket.close()
    wait_until(lambda: not subscription.statistics().connected)
    again = context.socket(zmq.XPUB)
    bind_again(again, hub.sub_url)
    assert again.poll(int(LIMIT_S * 1000))
    assert again.recv() == b"\x01data"
    again.send_multipart([b"data", b"\x80"])
    assert subscription.recv(LIMIT_S).topic == "data"
    assert subscription.statistics().reconnections == 1


def test_a_signal_interrupts_a_waiting_consumer(subscribe: Subscribe) -> None:
    class Ring(Exception):  # noqa: N818
        pass

    def ring(*_: object) -> None:
        raise Ring

    subscription = subscribe()
    before = signal.signal(signal.SIGUSR1, ring)
    try:
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
        with pytest.raises(Ring):  # from here on: it may ring before the consumer waits
            timer.start()
            subscription.recv(LIMIT_S)
        timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)


class _Interrupt(BaseException):
    """Stands for Ctrl-C."""


@pytest.mark.parametrize("after", [1, 2])
@pytest.mark.parametrize("form", [{}, {"decode": False}])
def test_ctrl_c_inside_a_message_does_not_tear_the_next(
    hub: SubscriberSide, subscribe: Subscribe, after: int, form: dict[str, Any]
) -> None:
    subscription = subscribe(**form)
    recv = subscription._socket.recv
    parts = 0

    def interrupted(flags: int, copy: bool) -> Any:  # noqa: FBT001
        nonlocal parts
        part = recv(flags, copy)
        parts += 1
        if parts == after:
            raise _Interrupt
        return part

    subscription._intake._recv = interrupted
    hub.send("data.torn", {}, b"raw")
    with pytest.raises(_Interrupt):
        subscription.recv(LIMIT_S)
    hub.send("data.whole", {})
    message = subscription.recv(LIMIT_S)
    assert message[0] in {"data.whole", b"data.whole"}


def test_one_prefix_instead_of_a_list_is_a_mistake(hub: SubscriberSide) -> None:
    with pytest.raises(UsageError, match="list"):
        Subscription(hub.sub_url, "data")


def test_an_impossible_depth_leaves_nothing_open(hub: SubscriberSide) -> None:
    with pytest.raises(LabwireError):
        Subscription(hub.sub_url, ["data"], depth=0)
