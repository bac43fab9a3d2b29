from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from labwire.bus.parts import SendPart, send_part
from labwire.bus.publisher import Publisher
from labwire.errors import StateError, UsageError
from labwire.wire.bus_message import Part
from tests.bus.fake_hub import LIMIT_S, PublisherSide, bind_again, own_context, unpack, wait_until


@pytest.fixture
def context() -> Iterator[zmq.Context[Any]]:
    with own_context() as context:
        yield context


@pytest.fixture
def hub(context: zmq.Context[Any]) -> PublisherSide:
    return PublisherSide(context)


@pytest.fixture
def publisher(context: zmq.Context[Any], hub: PublisherSide) -> Iterator[Publisher]:
    with Publisher(hub.pub_url, hub.push_url, context=context, name="camera") as publisher:
        hub.meet(publisher)
        yield publisher


def test_a_message_is_topic_payload_and_raw_parts(publisher: Publisher, hub: PublisherSide) -> None:
    assert publisher.publish("weather", {"wind": 3.5}, [b"one", bytearray(b"two"), memoryview(b"three")])
    topic, payload, *raw = hub.recv()
    assert (topic, unpack(payload), raw) == (b"weather", {"wind": 3.5}, [b"one", b"two", b"three"])


@pytest.mark.parametrize("parts", [[b"a"], [b"a", b"\xc1 no map"], [b"bad\xff", b"\x80", bytearray(b"raw"), b"raw"]])
def test_a_message_that_is_encoded_already_is_forwarded_as_it_is(
    publisher: Publisher, hub: PublisherSide, parts: list[bytes]
) -> None:
    assert publisher.forward(parts)
    assert hub.recv() == parts
    with pytest.raises(UsageError):
        publisher.forward([])
    assert publisher.statistics().published == 1


def test_nothing_is_lost_once_connected(publisher: Publisher, hub: PublisherSide) -> None:
    for number in range(5_000):
        assert publisher.publish("count", {"n": number})
    assert [unpack(hub.recv()[1])["n"] for _ in range(5_000)] == list(range(5_000))
    assert publisher.statistics().published == 5_000
    assert publisher.statistics().dropped == 0


def test_numbered_messages_count_per_topic_and_name_their_emitter(publisher: Publisher, hub: PublisherSide) -> None:
    for topic in ("a", "b", "a"):
        publisher.publish_numbered(topic, {"topic": topic})
    payloads = [unpack(hub.recv()[1]) for _ in range(3)]
    assert [(p["topic"], p["seq"], p["emitter"]) for p in payloads] == [
        ("a", 0, "camera"),
        ("b", 0, "camera"),
        ("a", 1, "camera"),
    ]


@pytest.mark.parametrize("payload", ["text", b"bytes", [1], 7, None])
def test_a_payload_that_is_no_map_is_refused(publisher: Publisher, payload: Any) -> None:
    with pytest.raises(UsageError, match=f"a map of keys and values, not {type(payload).__name__}"):
        publisher.publish("a", payload)
    with pytest.raises(UsageError, match=r"payload of 'a' cannot be sent: \['x'\]: .*complex has no MessagePack form"):
        publisher.publish("a", {"x": 1j})
    with pytest.raises(UsageError, match="payload of 'a' cannot be sent"):
        publisher.publish_numbered("a", {"x": 1j})


def test_a_number_is_used_up_only_by_a_payload_that_can_be_sent(publisher: Publisher, hub: PublisherSide) -> None:
    with pytest.raises(UsageError):
        publisher.publish_numbered("a", {"what": object()})
    publisher.publish_numbered("a", {})
    assert unpack(hub.recv()[1])["seq"] == 0


def test_threads_do_not_mix_their_messages(publisher: Publisher, hub: PublisherSide) -> None:
    def publish(name: str) -> None:
        for _ in range(500):
            publisher.publish_numbered(name, {"name": name}, [name.encode()])

    threads = [threading.Thread(target=publish, args=(f"t{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    seen: dict[str, int] = {}
    for _ in range(2000):
        topic, payload, raw = hub.recv()
        body = unpack(payload)
        assert topic == raw == body["name"].encode()
        assert body["seq"] == seen.get(body["name"], 0)
        seen[body["name"]] = body["seq"] + 1
    for thread in threads:
        thread.join()


def test_notifications_take_the_reliable_road(publisher: Publisher, hub: PublisherSide) -> None:
    notification = {"subject": "recording.should_start", "session_name": "x"}
    assert publisher.notify(notification)
    topic, payload = hub.pulled()
    assert topic == b"notify.recording.should_start"
    assert unpack(payload) == {**notification, "topic": topic.decode()}
    assert "topic" not in notification


@pytest.mark.parametrize(
    ("extra", "prefix"),
    [({"delay": 0.5}, b"delayed_notify."), ({"delay": 0}, b"notify."), ({"remote_notify": "all"}, b"remote_notify.")],
)
def test_the_topic_follows_from_the_notification(
    publisher: Publisher, hub: PublisherSide, extra: dict[str, Any], prefix: bytes
) -> None:
    publisher.notify({"subject": "x", **extra})
    topic, payload = hub.pulled()
    assert topic == prefix + b"x"
    assert unpack(payload) == {"subject": "x", "topic": topic.decode(), **extra}


@pytest.mark.parametrize("notification", [{}, {"subject": ""}, {"subject": 7}])
def test_a_notification_without_a_subject_is_refused(publisher: Publisher, notification: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="subject"):
        publisher.notify(notification)


def test_without_a_push_road_notifications_are_published(context: zmq.Context[Any], hub: PublisherSide) -> None:
    with Publisher(hub.pub_url, context=context) as publisher:
        hub.meet(publisher)
        publisher.notify({"subject": "x"})
        assert hub.recv()[0] == b"notify.x"


@pytest.mark.parametrize("raw", [["text"], [b"good", 7], [memoryview(b"abcd")[::2]]])
def test_raw_parts_that_cannot_be_sent_leave_the_stream_whole(
    publisher: Publisher, hub: PublisherSide, raw: list[Any]
) -> None:
    with pytest.raises(UsageError, match="raw part"):
        publisher.publish("bad", {}, raw)
    publisher.publish("good", {})
    assert hub.recv() == [b"good", b"\x80"]


def test_a_topic_that_is_no_unicode_leaves_the_stream_whole(publisher: Publisher, hub: PublisherSide) -> None:
    with pytest.raises(UsageError, match="topic"):
        publisher.publish("\ud800", {})
    publisher.publish("good", {})
    assert hub.recv()[0] == b"good"


class _Interrupt(BaseException):
    """Stands for Ctrl-C."""


def _interrupted_after(parts: int) -> SendPart:
    """Let a number of parts through and be interrupted then, once."""
    left = iter([True] * parts + [False])

    def send(socket: zmq.Socket[Any], part: Part, flags: int) -> None:
        if not next(left, True):
            raise _Interrupt
        send_part(socket, part, flags)

    return send


@pytest.mark.parametrize("parts", [0, 1, 2])
@pytest.mark.parametrize("road", ["_pub", "_push"])
def test_ctrl_c_inside_a_message_does_not_tear_the_next(
    context: zmq.Context[Any], hub: PublisherSide, monkeypatch: pytest.MonkeyPatch, parts: int, road: str
) -> None:
    with Publisher(hub.pub_url, hub.push_url, context=context, block_s=LIMIT_S) as publisher:
        hub.meet(publisher)
        send, recv = (publisher.publish, hub.recv) if road == "_pub" else (publisher.notify_raw, hub.pulled)
        send("first", {})
        assert recv()[0] == b"first"  # so that this road is there as well
        send("before", {})
        monkeypatch.setattr("labwire.bus.publisher.send_part", _interrupted_after(parts))
        with pytest.raises(_Interrupt):
            send("interrupted", {}, [b"raw"])
        hub.meet(publisher)
        send("after", {})
        assert [recv()[0], recv()[0]] == [b"before", b"after"]


def test_what_is_published_before_the_hub_is_there_is_counted(context: zmq.Context[Any]) -> None:
    with Publisher("tcp://127.0.0.1:9", context=context) as publisher:
        assert not publisher.publish("nobody", {})
        assert not publisher.wait_connected(0.01)
        statistics = publisher.statistics()
        assert (statistics.published, statistics.unconnected, statistics.connected) == (0, 1, False)


def test_a_hub_that_went_away_is_noticed_and_found_again(context: zmq.Context[Any], hub: PublisherSide) -> None:
    with Publisher(hub.pub_url, context=context) as publisher:
        hub.meet(publisher)
        hub.socket.close()
        wait_until(lambda: not publisher.statistics().connected)
        wait_until(lambda: not publisher.publish("void", {}), "the publisher's notice")
        with context.socket(zmq.XSUB) as again:
            bind_again(again, hub.pub_url)
            again.send(b"\x01")
            wait_until(lambda: not again.poll(1) and publisher.publish("back", {}), "the reconnection")
            assert again.poll(int(LIMIT_S * 1000))
            assert again.recv() == b"back"  # and nothing that was published while no hub was there


def test_a_stalled_hub_costs_one_wait_and_every_loss_is_counted(context: zmq.Context[Any]) -> None:
    hub = PublisherSide(context, hwm=1)
    with Publisher(hub.pub_url, context=context, sndhwm=1, block_s=0.01) as publisher:
        hub.meet(publisher)
        big = bytes(1_000_000)  # fills the system's buffers too
        sent = [number for number in range(200) if publisher.publish("big", {"n": number}, [big])]
        statistics = publisher.statistics()
        assert statistics.dropped > 0
        assert (statistics.published, statistics.dropped) == (len(sent), 200 - len(sent))
        assert [unpack(hub.recv()[1])["n"] for _ in sent] == sent
        wait_until(lambda: publisher.publish("again", {}), "room again")


def test_a_hub_without_a_blanket_subscription_counts_as_connected(context: zmq.Context[Any]) -> None:
    hub = PublisherSide(context, blanket=False)
    with Publisher(hub.pub_url, context=context) as publisher:
        assert publisher.wait_connected(LIMIT_S)
        hub.socket.send(b"\x01wanted")
        wait_until(lambda: not hub.socket.poll(1) and publisher.publish("wanted", {}))
        assert hub.recv()[0] == b"wanted"


def test_a_closed_publisher_says_so(publisher: Publisher) -> None:
    publisher.close()
    publisher.close()
    for send in (publisher.publish, publisher.publish_numbered, publisher.notify_raw):
        with pytest.raises(StateError, match="closed"):
            send("x", {})
    assert not publisher.wait_connected(0.01)
    assert not publisher.statistics().connected


def test_what_was_sent_before_closing_arrives(context: zmq.Context[Any], hub: PublisherSide) -> None:
    with Publisher(hub.pub_url, hub.push_url, context=context) as publisher:
        hub.meet(publisher)
        for number in range(500):
            publisher.publish("last", {"n": number})
            publisher.notify_raw("words", {"n": number})
    assert [unpack(hub.recv()[1])["n"] for _ in range(500)] == list(range(500))
    assert [unpack(hub.pulled()[1])["n"] for _ in range(500)] == list(range(500))
