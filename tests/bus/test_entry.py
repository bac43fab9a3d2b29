"""The confirmation is true: whoever is subscribed gets what was confirmed, and nothing overtakes it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq

from labwire.bus import entry
from tests.bus.fake_hub import LIMIT_S, wait_until
from tests.bus.hub_parts import Hub, answer, in_background, receive, running_hub
from tests.packing import pack, unpack


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as running:
        yield running


def overtaking(hub: Hub, subscriber: zmq.Socket[Any], count: int) -> Iterator[int]:
    """Confirm numbered notifications; behind each answer send a marker on another road; yield where order broke."""
    marker = hub.publisher()
    for number in range(count):
        text = b"%d" % number
        assert hub.ask(b"notify.number", text) == "Notification received"
        marker.send_multipart([b"notify.marker", text])
        first, second = receive(subscriber, 2)
        if (first, second) != ([b"notify.number", text], [b"notify.marker", text]):
            yield number


def test_no_connected_subscriber_misses_one_and_nothing_overtakes(hub: Hub, soak: Callable[[int, int], int]) -> None:
    assert list(overtaking(hub, hub.subscriber(b"notify."), soak(700, 10_000))) == []


def test_nor_on_a_busy_bus_with_readers_that_come_and_go(hub: Hub, soak: Callable[[int, int], int]) -> None:
    def flood(stop: threading.Event) -> None:
        publisher = hub.connect(zmq.PUB, hub.backbone.pub_port)
        while not stop.wait(0.001):
            for _ in range(24):
                publisher.send_multipart([b"pupil.0", bytes(300)])
        publisher.close()

    def come_and_go(stop: threading.Event) -> None:
        while not stop.is_set():
            reader = hub.connect(zmq.SUB, hub.backbone.sub_port)
            reader.subscribe(b"")
            reader.subscribe(b"notify.")
            reader.poll(5)
            reader.close()

    subscriber = hub.subscriber(b"notify.")
    with in_background(flood), in_background(come_and_go):
        assert list(overtaking(hub, subscriber, soak(300, 10_000))) == []


def test_several_clients_each_see_their_own_message_first(hub: Hub, soak: Callable[[int, int], int]) -> None:
    def confirm(_: threading.Event, name: bytes, count: int) -> None:
        client, subscriber = hub.remote(), own[name]
        for number in range(count):
            client.send_multipart([b"notify." + name, b"%d" % number])
            assert answer(client) == "Notification received"
            assert receive(subscriber, 1) == [[b"notify." + name, b"%d" % number]]

    names = [b"a", b"b", b"c"]
    own = {name: hub.subscriber(b"notify." + name) for name in names}
    count = soak(100, 3000)
    with (
        in_background(confirm, b"a", count),
        in_background(confirm, b"b", count),
        in_background(confirm, b"c", count),
    ):
        pass


def test_a_subscription_that_has_just_taken_hold_misses_nothing(hub: Hub, soak: Callable[[int, int], int]) -> None:
    publisher = hub.publisher()
    for number in range(soak(40, 1000)):
        reader = hub.connect(zmq.SUB, hub.backbone.sub_port)
        reader.subscribe(b"x.%d." % number)
        while not reader.poll(1):
            publisher.send_multipart([b"x.%d.data" % number, b"\x80"])
        assert hub.ask(b"x.%d.asked" % number, b"\x80") == "Message forwarded."
        while reader.recv_multipart()[0] != b"x.%d.asked" % number:
            pass
        reader.close()


def test_a_hasty_script_hears_what_it_asks_for(hub: Hub, soak: Callable[[int, int], int]) -> None:
    # A script that subscribes and asks at once, as the spec's overview does. Nobody can promise that its connection
    # arrives before its question, so a few may miss the answer; without the waiting it is more than half of them.
    count, heard = soak(40, 400), 0
    for _ in range(count):
        reader = hub.connect(zmq.SUB, hub.backbone.sub_port)
        reader.subscribe(b"notify.")
        hub.ask(b"notify.asked", b"\x80")
        heard += bool(reader.poll(100))
        reader.close()
    print(f"{heard} of {count} hasty scripts heard the answer")
    assert heard > count / 2


def test_a_message_waits_for_a_reader_that_has_come_and_is_about_to_subscribe(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry, "HASTY_SUBSCRIBER_S", LIMIT_S)
    reader, client = hub.connect(zmq.SUB, hub.backbone.sub_port), hub.remote()
    wait_until(lambda: hub.inlet.entry.readers_connected == 1, "the reader")
    client.send_multipart([b"notify.asked", b"\x80"])
    assert not client.poll(50), "it waits"
    reader.subscribe(b"notify.")
    assert answer(client) == "Notification received"
    assert receive(reader, 1) == [[b"notify.asked", b"\x80"]]
    reader.close()


def test_a_connection_that_never_subscribes_holds_nothing_up_for_long(hub: Hub) -> None:
    idle = [hub.connect(zmq.SUB, hub.backbone.sub_port) for _ in range(20)]
    wait_until(lambda: hub.inlet.entry.readers_connected == 20, "20 readers")
    for _ in range(50):
        assert hub.ask(b"notify.x", b"\x80") == "Notification received"
    for reader in idle:
        reader.close()
    wait_until(lambda: hub.inlet.entry.readers_connected == 0, "no reader")


def test_fences_are_messages_that_anybody_can_read(hub: Hub) -> None:
    subscriber = hub.subscriber(b"")
    assert subscriber.recv_multipart()[0] == b"bus.fence", "of the last message before"
    for request in (b"R", b"C"):
        hub.ask(request)
    hub.ask(b"data", b"\x80")
    hub.ask(b"t")
    hub.ask(b"v")
    messages = [subscriber.recv_multipart() for _ in range(6)]
    fences = [parts for parts in messages if parts[0] == b"bus.fence"]
    assert len(fences) == 3, "one for each message, none for a question"
    for _, payload in fences:
        assert isinstance(unpack(payload), dict)
    assert not subscriber.poll(5)


def test_foreign_fences_confirm_nothing_and_do_no_harm(hub: Hub) -> None:
    publisher = hub.publisher()
    for number in range(500):
        publisher.send_multipart([b"bus.fence", pack({"nonce": number})])
        publisher.send_multipart([b"bus.fence.more"])
    for _ in range(20):
        assert hub.ask(b"notify.x", b"\x80") == "Notification received"


def test_a_bus_that_stands_still_is_not_said_to_have_taken_it(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.inlet.entry, "publish", lambda parts: parts[0] != b"bus.fence")
    assert hub.ask(b"notify.x", b"\x80") == "Not confirmed: the bus did not take the message within 1 s."
    assert hub.ask(b"R") == "Not confirmed: the bus did not take the message within 1 s."
    monkeypatch.undo()
    assert hub.ask(b"notify.x", b"\x80") == "Notification received"
    assert hub.inlet.counters.unconfirmed == 2


# --- subscriptions


def test_the_blanket_subscription_survives_readers_of_everything(hub: Hub) -> None:
    for _ in range(3):
        readers = [hub.subscriber(b"") for _ in range(3)]
        for reader in readers:
            reader.close()
        wait_until(lambda: hub.inlet.entry.readers_connected == 0, "no reader")
        late = hub.connect(zmq.XPUB, hub.backbone.pub_port)
        assert late.recv() == b"\x01", "a publisher that comes later is subscribed to as well"
        late.close()


def test_subscriptions_of_readers_that_left_are_forgotten(hub: Hub) -> None:
    for _ in range(3):
        readers = [hub.subscriber(b"only.for.a.while") for _ in range(3)]
        for reader in readers:
            reader.close()
    wait_until(lambda: hub.inlet.entry.readers_connected == 0, "no reader")
    late = hub.connect(zmq.XPUB, hub.backbone.pub_port)
    hold: set[bytes] = set()
    while hold != {b"", b"delayed_notify", b"bus.fence"} or late.poll(20):
        change = late.recv()  # the bus may have yet to hear that a reader has left
        (hold.add if change[:1] == b"\x01" else hold.discard)(change[1:])
    late.close()
