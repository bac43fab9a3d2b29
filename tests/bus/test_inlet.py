"""The push port, and delayed notifications on the wire."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq

from labwire.bus.ports import connections
from tests.bus.fake_hub import wait_until
from tests.bus.hub_parts import Hub, receive, running_hub
from tests.packing import pack, unpack


@pytest.fixture(scope="module")
def shared() -> Iterator[Hub]:
    with running_hub() as running:
        yield running


@pytest.fixture
def hub(shared: Hub) -> Hub:
    return shared


STEPS_S = (0.03, 0.3, 3.0)
"""Between moments of a test: a machine that was too busy for short ones is given longer ones."""


def delay(hub: Hub, subject: str, delay_s: Any, *raw: bytes, **more: Any) -> float:
    """Send a delayed notification; return when it may come at the earliest, on the monotonic clock."""
    asked_s = time.monotonic()
    topic = f"delayed_notify.{subject}".encode()
    assert hub.ask(topic, pack({"subject": subject, "delay": delay_s, **more}), *raw) == "Message forwarded."
    return asked_s + delay_s if isinstance(delay_s, (int, float)) else asked_s


# --- push port


def test_what_is_pushed_is_published_byte_for_byte_and_in_order(hub: Hub) -> None:
    subscriber = hub.subscriber(b"notify.", b"logging.")
    push = hub.connect(zmq.PUSH, hub.inlet.push_port)
    messages = [[b"notify.x", b"%d" % n, bytes(n)] for n in range(1500)]
    for parts in messages:
        push.send_multipart(parts)
    assert receive(subscriber, len(messages)) == messages
    push.send_multipart([b"notify.single part"])
    push.send_multipart([b"notify.\xff", b"", b""])
    assert receive(subscriber, 2) == [[b"notify.single part"], [b"notify.\xff", b"", b""]]
    subscriber.close()
    push.close()


def test_a_busy_push_port_does_not_starve_the_remote(hub: Hub) -> None:
    push = hub.connect(zmq.PUSH, hub.inlet.push_port)
    for _ in range(20):
        for _ in range(500):
            push.send_multipart([b"data", bytes(300)])
        assert hub.ask(b"v") == "1.2.3"
    push.close()


# --- delayed notifications


def test_never_early_and_hardly_late(hub: Hub, soak: Callable[[int, int], int]) -> None:
    subscriber = hub.subscriber(b"notify.")
    late_s: list[float] = []
    for number in range(soak(25, 500)):
        earliest_s = delay(hub, "d", 0.001 * (number % 20), n=number)
        ((topic, payload),) = receive(subscriber, 1)
        late_s.append(time.monotonic() - earliest_s)
        assert (topic, unpack(payload)) == (b"notify.d", {"subject": "d", "n": number})
    print(f"late: median {statistics.median(late_s) * 1e3:.3f} ms, most {max(late_s) * 1e3:.3f} ms")
    assert min(late_s) >= 0
    subscriber.close()


def test_the_request_itself_is_seen_too(hub: Hub) -> None:
    subscriber = hub.subscriber(b"delayed_notify", b"notify.")
    delay(hub, "d", 0)
    assert [parts[0] for parts in receive(subscriber, 2)] == [b"delayed_notify.d", b"notify.d"]
    subscriber.close()


def test_order_is_by_time_and_raw_parts_come_along(hub: Hub) -> None:
    subscriber, came = hub.subscriber(b"notify."), list[list[bytes]]()
    for step_s in STEPS_S:
        due_s = {number: delay(hub, f"d{number}", step_s * number, b"raw%d" % number, b"") for number in (3, 1, 2)}
        asked_within_a_step = time.monotonic() < due_s[3] - 2 * step_s
        came = receive(subscriber, 3)
        if asked_within_a_step:  # so that the third, which was asked for first, is due last
            break
    assert came == [[b"notify.d%d" % n, pack({"subject": f"d{n}"}), b"raw%d" % n, b""] for n in (1, 2, 3)]
    subscriber.close()


def test_a_newer_one_replaces_an_older_one(hub: Hub) -> None:
    subscriber = hub.subscriber(b"notify.")
    for step_s in STEPS_S:
        first_due_s = delay(hub, "d", step_s, n=1)
        earliest_s = delay(hub, "d", 3 * step_s, n=2)
        replaced_in_time = time.monotonic() < first_due_s
        while unpack(receive(subscriber, 1)[0][1])["n"] != 2:
            assert not replaced_in_time
        assert time.monotonic() >= earliest_s
        if replaced_in_time:
            break
    else:
        pytest.fail("this machine is too busy")
    delay(hub, "d", 3600, n=3)
    delay(hub, "d", 0, n=4)
    ((_, payload),) = receive(subscriber, 1)
    assert unpack(payload)["n"] == 4
    wait_until(lambda: hub.inlet.counters.delayed_pending == 0, "that nothing waits")
    subscriber.close()


def test_what_is_taken_back_does_not_come(hub: Hub, soak: Callable[[int, int], int]) -> None:
    subscriber = hub.subscriber(b"notify.")
    taken_back: set[int] = set()
    for number in range(soak(50, 2000)):
        earliest_s = delay(hub, "d", 0.5 if number % 10 == 0 else 0.002, n=number)
        assert hub.ask(b"delayed_notify.cancel", pack({"subject": "d"})) == "Message forwarded."
        if time.monotonic() < earliest_s:
            taken_back.add(number)
    delay(hub, "end", 0.6)
    came: set[int] = set()
    while (parts := receive(subscriber, 1)[0])[0] != b"notify.end":
        came.add(unpack(parts[1])["n"])
    assert came & taken_back == set(), "after the answer it does not come any more"
    assert taken_back
    subscriber.close()


def test_topic_is_not_needed_and_rewritten_where_it_is(hub: Hub) -> None:
    subscriber = hub.subscriber(b"notify.")
    delay(hub, "without", 0)
    delay(hub, "with", 0.001, topic="delayed_notify.with")
    (_, without), (_, with_topic) = receive(subscriber, 2)
    assert unpack(without) == {"subject": "without"}
    assert unpack(with_topic) == {"subject": "with", "topic": "notify.with"}
    subscriber.close()


def test_every_road_leads_to_the_delay(hub: Hub) -> None:
    subscriber = hub.subscriber(b"notify.")
    message = [b"delayed_notify.d", pack({"subject": "d", "delay": 0.001})]
    publisher, push = hub.publisher(), hub.connect(zmq.PUSH, hub.inlet.push_port)
    for send in (publisher.send_multipart, push.send_multipart, lambda parts: hub.ask(*parts)):
        send(message)
        assert receive(subscriber, 1) == [[b"notify.d", pack({"subject": "d"})]]
    for socket in (subscriber, publisher, push):
        socket.close()


def test_a_delay_in_a_plain_notification_is_only_data(hub: Hub) -> None:
    subscriber = hub.subscriber(b"notify.")
    payload = pack({"subject": "x", "delay": 3600})
    assert hub.ask(b"notify.x", payload) == "Notification received"
    assert receive(subscriber, 1) == [[b"notify.x", payload]]
    subscriber.close()


def test_garbage_is_counted_told_and_harms_nobody(hub: Hub) -> None:
    before, told = hub.inlet.counters.malformed, len(hub.warnings)
    garbage: list[list[bytes]] = [
        [b"delayed_notify.x", b"junk"],
        [b"delayed_notify.x", b""],
        [b"delayed_notify", pack({"subject": "x"})],
        [b"delayed_notify.x", pack({"subject": "x", "delay": "soon"})],
        [b"delayed_notify.x", pack({"subject": "x", "delay": -1})],
        [b"delayed_notify.x", pack({"delay": 1})],
        [b"delayed_notify.cancel", b"junk"],
    ]
    publisher = hub.publisher()
    for parts in garbage:
        hub.ask(*parts)
        publisher.send_multipart(parts)
    publisher.send_multipart([b"delayed_notify.x"])
    publisher.send_multipart([b"delayed_notify.cancel"])
    wait_until(lambda: len(hub.warnings) - told == 2 * len(garbage) + 2, "all told")
    assert hub.inlet.counters.malformed - before == 2 * len(garbage) + 2
    assert "delay" in hub.warnings[-3]
    hub.ask(b"delayed_notify.cancel", pack({"subject": "nothing waits under this"}))
    wait_until(lambda: hub.inlet.counters.delayed_pending == 0, "that nothing waits")
    publisher.close()


def test_a_subject_that_is_called_cancel_can_be_delayed(hub: Hub) -> None:
    subscriber = hub.subscriber(b"notify.")
    delay(hub, "cancel", 0)
    assert receive(subscriber, 1)[0][0] == b"notify.cancel"
    subscriber.close()


def test_counters_count(hub: Hub) -> None:
    requests, refused = hub.inlet.counters.remote_requests, hub.inlet.counters.remote_refused
    for request in (b"t", b"x", b"T abc", b"T nan", b"R"):
        hub.ask(request)
    assert hub.inlet.counters.remote_requests - requests == 5
    assert hub.inlet.counters.remote_refused - refused == 2 + 1
    parts_before = hub.backbone.counters()
    assert hub.ask(b"data", b"\x80", b"raw") == "Message forwarded."
    parts_after = hub.backbone.counters()
    assert parts_after.parts_in - parts_before.parts_in == 3 + 2, "the message and its fence"
    assert parts_after.bytes_in > parts_before.bytes_in


def test_stopping_frees_the_ports_at_once() -> None:
    with running_hub() as hub:
        ports = hub.inlet.remote_port, hub.inlet.push_port, hub.backbone.pub_port, hub.backbone.sub_port
    for port in ports:
        assert not list(connections(port))
