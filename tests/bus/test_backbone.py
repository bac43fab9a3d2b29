"""The backbone: whatever is published comes out unchanged at whoever wants it."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest
import zmq

from labwire.bus.backbone import Backbone
from labwire.errors import PortTakenError, ResourceError
from tests.bus.fake_hub import own_context
from tests.bus.hub_parts import Hub, receive, running_hub
from tests.ports import lasting_port


@pytest.fixture(scope="module")
def shared() -> Iterator[Hub]:
    with running_hub() as running:
        yield running


@pytest.fixture
def hub(shared: Hub) -> Hub:
    return shared


MESSAGES = [
    [b"pupil.0", b"\x81\xa1x\xca" + struct.pack(">f", 1.5)],  # float32, as hmd-eyes sends it
    [b"gaze", b"\x81\x00\x01"],  # an integer key
    [b"frame.world", b"\x80", bytes(1_000_000), b"", b"more"],
    [b"single"],
    [b"", b""],
    [b"\xff\xfe", b"not MessagePack"],
]


def test_what_is_published_comes_out_unchanged_and_in_order(hub: Hub) -> None:
    everything, publisher = hub.subscriber(b""), hub.publisher()
    for parts in MESSAGES:
        publisher.send_multipart(parts)
    found: list[list[bytes]] = []
    while len(found) < len(MESSAGES):
        found += [parts for parts in receive(everything, 1) if not parts[0].startswith(b"probe.")]
    assert found == MESSAGES
    everything.close()
    publisher.close()


def test_topics_are_matched_by_their_first_bytes(hub: Hub) -> None:
    topics = [b"notify.a", b"notify.", b"notif", b"notify", b"Notify.a", b"\xffx", b"\xff", b"logging.error", b"x"]
    prefixes = [b"notify.", b"\xff", b"logging.err"]
    readers = {prefix: hub.subscriber(prefix) for prefix in prefixes}
    publisher = hub.publisher()
    for topic in topics:
        publisher.send_multipart([topic, b"\x80"])
    for prefix, reader in readers.items():
        expected = [topic for topic in topics if topic.startswith(prefix)]
        assert [parts[0] for parts in receive(reader, len(expected))] == expected
        assert not reader.poll(5)
        reader.close()
    publisher.close()


def test_every_subscriber_gets_what_every_publisher_sends(hub: Hub) -> None:
    readers, publishers = [hub.subscriber(b"n.") for _ in range(4)], [hub.publisher() for _ in range(3)]
    for number in range(100):
        for index, publisher in enumerate(publishers):
            publisher.send_multipart([b"n.%d" % index, b"%d" % number])
    for reader in readers:
        found = receive(reader, 300)
        for index in range(3):
            assert [parts[1] for parts in found if parts[0] == b"n.%d" % index] == [b"%d" % n for n in range(100)]
        reader.close()
    for publisher in publishers:
        publisher.close()


def test_a_late_joiner_gets_what_is_sent_after_it_came(hub: Hub) -> None:
    hub.ask(b"story", b"1")
    reader = hub.subscriber(b"story")
    hub.ask(b"story", b"2")
    assert receive(reader, 1) == [[b"story", b"2"]]
    reader.close()


def test_peers_may_come_before_the_hub() -> None:
    port = lasting_port()
    with own_context() as peers:
        reader = peers.socket(zmq.SUB)
        reader.subscribe(b"x")
        reader.rcvtimeo = 20_000
        reader.connect(f"tcp://127.0.0.1:{port}")
        with running_hub(sub_port=port) as hub:
            assert hub.backbone.sub_port == port, "a fixed port is kept"
            while not reader.poll(5):
                hub.ask(b"x", b"\x80")
            assert reader.recv_multipart() == [b"x", b"\x80"]
    assert hub.backbone.counters() == (0, 0, 0, 0), "after its end there is nothing to count"


@pytest.mark.parametrize("option", ["pub_port", "sub_port"])
def test_a_port_that_cannot_be_had_leaves_nothing_open(option: str) -> None:
    with own_context() as context, socket.create_server(("127.0.0.1", 0)) as taken:
        ports = {"pub_port": 0, "sub_port": 0, option: taken.getsockname()[1]}
        with pytest.raises(PortTakenError, match=option):
            Backbone(context, host="127.0.0.1", slow_subscriber_s=2, max_message_bytes=1 << 20, **ports)


def test_an_address_that_is_not_ours_is_named() -> None:
    with own_context() as context, pytest.raises(ResourceError, match=r"192\.0\.2\.1"):
        Backbone(context, host="192.0.2.1", pub_port=0, sub_port=0, slow_subscriber_s=2, max_message_bytes=1 << 20)
