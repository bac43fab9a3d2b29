from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
import zmq

from labwire import zmq_tools
from labwire.errors import PeerGoneError, ProtocolError, UsageError
from labwire.zmq_tools import RAW_KEY, Msg_Dispatcher, Msg_Receiver, Msg_Streamer, ZMQ_handler
from tests.bus.fake_hub import LIMIT_S, PublisherSide, SubscriberSide, own_context, unpack


@pytest.fixture
def ctx() -> Iterator[zmq.Context[Any]]:
    with own_context() as context:
        yield context


@pytest.fixture
def hub(ctx: zmq.Context[Any]) -> SubscriberSide:
    return SubscriberSide(ctx)


@pytest.fixture
def pull(ctx: zmq.Context[Any]) -> PublisherSide:
    return PublisherSide(ctx)


def test_a_receiver_returns_topic_and_payload(ctx: zmq.Context[Any], hub: SubscriberSide) -> None:
    receiver = Msg_Receiver(ctx, hub.sub_url, topics=("notify.", "frame."))
    assert [hub.subscription(), hub.subscription()] == [b"\x01notify.", b"\x01frame."]
    assert not receiver.new_data
    hub.send("notify.x", {"subject": "x"})
    hub.send("frame.world", {"format": "gray"}, b"one", b"two")
    assert receiver.recv() == ("notify.x", {"subject": "x"})
    assert receiver.recv() == ("frame.world", {"format": "gray", RAW_KEY: (b"one", b"two")})
    receiver.unsubscribe("frame.")
    assert hub.subscription() == b"\x00frame."
    receiver.subscribe("pupil.")
    assert hub.subscription() == b"\x01pupil."
    hub.send("pupil.0", {})
    assert receiver.socket.poll(int(LIMIT_S * 1000))
    assert receiver.new_data


def test_garbage_is_skipped_and_counted(ctx: zmq.Context[Any], hub: SubscriberSide) -> None:
    receiver = Msg_Receiver(ctx, hub.sub_url, topics=("notify.",))
    hub.subscription()
    for parts in ([b"notify.x", b"\xc1"], [b"notify.x", b"\x91\x01"], [b"notify.\xff", b"\x80"]):
        hub.socket.send_multipart(parts)
    hub.send("notify.alone")
    hub.send("notify.ints", {1: 2})
    assert receiver.recv() == ("notify.alone", {})
    assert receiver.recv() == ("notify.ints", {1: 2})
    assert receiver.malformed == 3


def test_a_message_can_be_taken_piece_by_piece(ctx: zmq.Context[Any], hub: SubscriberSide) -> None:
    receiver = Msg_Receiver(ctx, hub.sub_url, topics=("a",))
    hub.subscription()
    hub.send("a", {"n": 1}, b"raw")
    hub.send("a", {"n": 2})
    assert receiver.recv_topic() == "a"
    assert receiver.deserialize_payload(*receiver.recv_remaining_frames()) == {"n": 1, RAW_KEY: (b"raw",)}
    assert receiver.recv_topic() == "a"
    assert receiver.deserialize_payload(*receiver.recv_remaining_frames()) == {"n": 2}
    with pytest.raises(ProtocolError):
        receiver.deserialize_payload(b"\xc1")


def test_a_receiver_waits_for_the_bus_but_not_for_ever(ctx: zmq.Context[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zmq_tools, "_CONNECT_LIMIT_S", 0.01)
    with pytest.raises(PeerGoneError, match=r"tcp://127\.0\.0\.1:9 "):
        Msg_Receiver(ctx, "tcp://127.0.0.1:9")
    Msg_Receiver(ctx, "tcp://127.0.0.1:9", block_until_connected=False, hwm=5).close()


def test_one_topic_instead_of_a_list_is_a_mistake(ctx: zmq.Context[Any]) -> None:
    with pytest.raises(UsageError, match="list"):
        Msg_Receiver(ctx, "tcp://127.0.0.1:9", topics="notify.")


def test_a_streamer_sends_to_the_topic_that_the_payload_names(ctx: zmq.Context[Any], hub: SubscriberSide) -> None:
    sub = ctx.socket(zmq.SUB)
    sub.subscribe("")
    url = f"tcp://127.0.0.1:{sub.bind_to_random_port('tcp://127.0.0.1')}"
    streamer = Msg_Streamer(ctx, url, hwm=1000)
    streamer.send({"topic": "early"})
    while not sub.poll(5):  # a PUB loses what it sends before the connection stands
        streamer.send({"topic": "early"})
    payload = {"topic": "frame.world", "n": 1, RAW_KEY: [b"one", bytearray(b"two")]}
    streamer.send(payload)
    streamer.send("old", {"n": 2})
    while (first := sub.recv_multipart())[0] == b"early":
        pass
    assert first == [b"frame.world", msgpack.packb({"topic": "frame.world", "n": 1}), b"one", b"two"]
    assert payload[RAW_KEY] == [b"one", bytearray(b"two")]
    topic, body = sub.recv_multipart()
    assert (topic, unpack(body)) == (b"old", {"n": 2, "topic": "old"})


def test_what_cannot_be_sent_leaves_the_socket_whole(ctx: zmq.Context[Any], pull: PublisherSide) -> None:
    dispatcher = Msg_Dispatcher(ctx, pull.push_url)
    for bad in (
        {"n": 1},
        {"topic": 7},
        {"topic": "\ud800"},
        {"topic": "x", "n": object()},
        {"topic": "x", RAW_KEY: [b"good", 7]},
    ):
        with pytest.raises(UsageError):
            dispatcher.send(bad)
    dispatcher.send({"topic": "good", RAW_KEY: []})
    assert pull.pulled() == [b"good", msgpack.packb({"topic": "good"})]


@pytest.mark.parametrize(
    ("extra", "prefix"),
    [({}, "notify."), ({"delay": 1.5}, "delayed_notify."), ({"remote_notify": "all"}, "remote_notify.")],
)
def test_a_dispatcher_sends_notifications_by_their_subject(
    ctx: zmq.Context[Any], pull: PublisherSide, extra: dict[str, Any], prefix: str
) -> None:
    dispatcher = Msg_Dispatcher(ctx, pull.push_url)
    dispatcher.notify({"subject": "x", **extra})
    topic, body = pull.pulled()
    assert (topic.decode(), unpack(body)) == (f"{prefix}x", {"subject": "x", **extra, "topic": f"{prefix}x"})
    with pytest.raises(UsageError, match="subject"):
        dispatcher.notify({"topic": "x"})


def test_log_records_go_to_the_bus(ctx: zmq.Context[Any], pull: PublisherSide) -> None:
    handler = ZMQ_handler(ctx, pull.push_url)
    log = logging.Logger("mine")  # noqa: LOG001  one that no other test can see
    log.addHandler(handler)
    try:
        raise ValueError("why")
    except ValueError:
        log.exception("it failed: %s", object())
    topic, body = pull.pulled()
    payload = unpack(body)
    assert (topic, payload["topic"], payload["levelname"]) == (b"logging.error", "logging.error", "ERROR")
    assert payload["msg"].startswith("it failed: <object")
    assert "ValueError: why" in payload["exc_text"]
    handler.close()
