"""The Remote, as a foreign client sees it: every command and every reply text, and an answer to everything."""

from __future__ import annotations

import math
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.bus.hub_parts import Hub, answer, receive, running_hub
from tests.packing import pack, unpack


@pytest.fixture(scope="module")
def shared() -> Iterator[Hub]:
    with running_hub() as running:
        yield running


@pytest.fixture
def hub(shared: Hub) -> Hub:
    shared.clock.follow_offset(0.0)
    return shared


# --- commands


def test_ports_and_version(hub: Hub) -> None:
    assert hub.ask(b"PUB_PORT") == str(hub.backbone.pub_port)
    assert hub.ask(b"SUB_PORT") == str(hub.backbone.sub_port)
    assert hub.ask(b"PUSH_PORT") == str(hub.inlet.push_port)
    assert hub.ask(b"RPC_PORT") == str(hub.rpc.port)
    assert hub.ask(b"v") == hub.ask(b"version?") == "1.2.3"


@pytest.mark.parametrize(
    ("request_", "notification"),
    [
        (b"R", {"subject": "recording.should_start", "session_name": ""}),
        (b"R rec_name", {"subject": "recording.should_start", "session_name": "rec_name"}),
        (b"R my session", {"subject": "recording.should_start", "session_name": "my session"}),
        (b"R  x", {"subject": "recording.should_start", "session_name": " x"}),
        ("R grün".encode(), {"subject": "recording.should_start", "session_name": "grün"}),
        (b"Rxyz", {"subject": "recording.should_start", "session_name": "yz"}),
        (b"r", {"subject": "recording.should_stop"}),
        (b"recording", {"subject": "recording.should_stop"}),
        (b"C", {"subject": "calibration.should_start"}),
        (b"c", {"subject": "calibration.should_stop"}),
    ],
)
def test_r_and_c_only_emit_a_notification(hub: Hub, request_: bytes, notification: dict[str, Any]) -> None:
    subscriber = hub.subscriber(b"notify.")
    assert hub.ask(request_) == "OK"
    ((topic, payload),) = receive(subscriber, 1)
    assert topic.decode() == f"notify.{notification['subject']}"
    assert unpack(payload) == {**notification, "topic": topic.decode()}
    assert not subscriber.poll(5), "one notification, no more"
    subscriber.close()


def test_t_gives_the_time_as_a_float_in_text(hub: Hub) -> None:
    for request in (b"t", b"test", b"t now"):
        before, text, after = hub.clock.now(), hub.ask(request), hub.clock.now()
        assert before <= float(text) <= after
        assert text == repr(float(text))


def test_time_can_be_set(hub: Hub) -> None:
    subscriber = hub.subscriber(b"notify.clock.")
    assert hub.ask(b"T 1234.56") == "Timesync successful."
    assert 1234.56 <= float(hub.ask(b"t")) < 1234.56 + 60
    ((_, payload),) = receive(subscriber, 1)
    changed = unpack(payload)
    assert changed["offset_after_s"] == hub.clock.offset_s
    assert changed["offset_before_s"] == 0.0
    for text, value in ((b"T -5", -5.0), (b"T 1e3", 1000.0), (b"T 0", 0.0), (b"Tx3", 3.0)):
        assert hub.ask(text) == "Timesync successful."
        assert value <= float(hub.ask(b"t")) < value + 60
    subscriber.close()


@pytest.mark.parametrize("text", ["abc", "", "1,5", "0x10", "1 2", "'x'"])
def test_what_is_no_number_is_told_in_the_words_of_the_original(hub: Hub, text: str) -> None:
    before = hub.clock.offset_s
    assert hub.ask(f"T {text}".encode()) == f"{text!r} cannot be converted to float."
    assert hub.clock.offset_s == before
    assert hub.ask(b"T") == "'' cannot be converted to float."


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e400", "1e300"])
def test_a_time_that_would_ruin_all_timestamps_is_refused(hub: Hub, text: str) -> None:
    reply = hub.ask(f"T {text}".encode())
    assert reply != "Timesync successful."
    assert "finite" in reply
    assert math.isfinite(float(hub.ask(b"t")))
    assert hub.clock.offset_s == 0.0


@pytest.mark.parametrize(
    "request_", [b"x", b"C now", b"c now", b"PUB_PORT ", b"sub_port", b"notify.x", b"", b" R", b"\0"]
)
def test_unknown_commands(hub: Hub, request_: bytes) -> None:
    assert hub.ask(request_) == "Unknown command."


@pytest.mark.parametrize("request_", [b"\xff", b"R \xff", b"t\xff", b"\xc3"])
def test_what_is_not_text_is_answered(hub: Hub, request_: bytes) -> None:
    assert hub.ask(request_) == "Not understood: not UTF-8 text."


# --- messages


def test_a_notification_is_received_and_anything_else_forwarded(hub: Hub) -> None:
    assert hub.ask(b"notify.x", pack({"subject": "x"})) == "Notification received"
    assert hub.ask(b"annotation", pack({"label": "a", "subject": "me"})) == "Message forwarded."
    assert hub.ask(b"", b"") == "Message forwarded."


def test_the_newer_words_if_the_rig_says_so() -> None:
    with running_hub(replies="pupil3") as hub:
        assert hub.ask(b"notify.x", pack({"subject": "x"})) == "Message forwarded."
        assert hub.ask(b"annotation", b"\x80") == "Message forwarded."
        assert hub.ask(b"R") == "OK"


@pytest.mark.parametrize(
    "parts",
    [
        [b"notify.x", b"not MessagePack"],
        [b"notify.x", b""],
        [b"notify.x", pack({"subject": "x"}), b"raw", b"", bytes(range(256)), b"\0" * 100_000],
        [b"frame.world", pack({"width": 2, 1: "integer key"}), b"\xff\xd8"],
        [b"", b"an empty topic"],
        ["größe".encode(), b"\x80"],
        [b"two\nlines\0", b"\x80"],
    ],
)
def test_a_message_is_forwarded_byte_for_byte(hub: Hub, parts: list[bytes]) -> None:
    subscriber = hub.subscriber(b"")
    assert hub.ask(*parts) in {"Notification received", "Message forwarded."}
    assert receive(subscriber, 1) == [parts]
    subscriber.close()


def test_a_topic_that_is_not_text_is_not_forwarded(hub: Hub) -> None:
    subscriber = hub.subscriber(b"")
    assert hub.ask(b"\xff\xfe", b"\x80") == "Not forwarded: the topic is not UTF-8."
    hub.ask(b"next", b"\x80")
    assert receive(subscriber, 1)[0][0] == b"next"
    subscriber.close()


requests = st.lists(
    st.binary(max_size=40)
    | st.sampled_from(
        [
            b"R",
            b"r",
            b"T ",
            b"t",
            b"C",
            b"v",
            b"notify.x",
            b"delayed_notify.x",
            b"delayed_notify.cancel",
            b"bus.fence",
            b"",
        ]
    )
    | st.text(max_size=10).map(lambda text: b"T " + text.encode("utf-8", "replace")),
    min_size=1,
    max_size=5,
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests)
def test_every_input_gets_an_answer(hub: Hub, request_: list[bytes]) -> None:
    reply = hub.ask(*request_)
    assert reply
    assert not reply.startswith("Internal error")
    assert hub.inlet._thread.is_alive()


@pytest.mark.parametrize("first", [b"x", b"R ", b"T ", b"t", b"\xff"])
def test_a_hundred_megabytes_of_command_are_answered(hub: Hub, first: bytes) -> None:
    assert hub.ask(first + b"1" * 100_000_000) == "Unknown command."
    assert re.match(r"[\d.]+$", hub.ask(b"t"))


def test_a_hundred_megabytes_of_message_are_answered(hub: Hub) -> None:
    subscriber = hub.subscriber(b"notify.")
    big = bytes(100_000_000)
    assert hub.ask(b"notify.big", b"\x80", big) == "Notification received"
    assert hub.ask(b"\xff", big) == "Not forwarded: the topic is not UTF-8."
    assert receive(subscriber, 1) == [[b"notify.big", b"\x80", big]]
    subscriber.close()


def test_above_the_limit_only_that_peer_is_cut() -> None:
    with running_hub(max_message_bytes=1 << 16) as hub:
        guilty, innocent = hub.remote(), hub.remote()
        innocent.send(b"v")
        assert answer(innocent) == "1.2.3"
        guilty.send_multipart([b"notify.x", bytes((1 << 16) + 1)])
        assert not guilty.poll(200), "cut without an answer"
        innocent.send_multipart([b"notify.x", bytes(1 << 16)])
        assert answer(innocent) == "Notification received"
        again = hub.remote()
        again.send(b"v")
        assert answer(again) == "1.2.3"


@pytest.mark.parametrize("port", ["remote", "push", "pub", "sub"])
def test_a_port_scan_is_survived(hub: Hub, port: str) -> None:
    number = {
        "remote": hub.inlet.remote_port,
        "push": hub.inlet.push_port,
        "pub": hub.backbone.pub_port,
        "sub": hub.backbone.sub_port,
    }[port]
    junk = [
        b"",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00NULL",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        bytes(10_000),
        bytes(range(256)) * 40,
    ]
    for data in junk:
        with socket.create_connection(("127.0.0.1", number)) as peer:
            try:
                peer.sendall(data)
                peer.shutdown(socket.SHUT_WR)
                while peer.recv(4096):
                    pass
            except OSError:
                pass  # cut already
    subscriber, publisher = hub.subscriber(b"alive"), hub.publisher()
    publisher.send_multipart([b"alive", b"\x80"])
    assert receive(subscriber, 1) == [[b"alive", b"\x80"]]
    assert hub.ask(b"v") == "1.2.3"
    subscriber.close()
    publisher.close()


def test_a_client_that_leaves_without_taking_its_answer(hub: Hub) -> None:
    for _ in range(20):
        client = hub.remote()
        client.send_multipart([b"notify.x", b"\x80"])
        client.close()
    dealer = hub.connect(zmq.DEALER, hub.inlet.remote_port)
    for request in ([b"no delimiter"], [b""], [b"a", b"b", b"c"], [b"", b"v"], [b"id", b"", b"v"]):
        dealer.send_multipart(request)
    replies = [dealer.recv_multipart() for _ in range(2)]
    assert replies == [[b"", b"1.2.3"], [b"id", b"", b"1.2.3"]]
    dealer.close()


def test_many_clients_at_once(hub: Hub) -> None:
    clients = [hub.remote() for _ in range(50)]
    for round_ in range(5):
        for number, client in enumerate(clients):
            client.send_multipart([b"data", b"%d" % number] if round_ % 2 else [b"t"])
        for client in clients:
            assert answer(client)
    for client in clients:
        client.close()
