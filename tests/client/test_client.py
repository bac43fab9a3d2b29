from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, cast

import msgspec
import pytest

import labwire
from labwire.bounded import POLICIES, Policy
from labwire.client import Ports, Rig, connect
from labwire.errors import DeadlineError, InvalidNameError, PeerGoneError, ProtocolError, StateError, UsageError
from labwire.operations.bus import BusOperations
from labwire.testing import SmallRig
from labwire.wire.gap_counter import Gap
from tests.bus.fake_hub import LIMIT_S, wait_until
from tests.ports import lasting_port


@pytest.fixture
def small() -> Iterator[SmallRig]:
    with SmallRig(lasting_port()) as small:
        yield small


@pytest.fixture
def rig(small: SmallRig) -> Iterator[Rig]:
    with connect(port=small.port, timeout_s=LIMIT_S) as rig:
        yield rig


def test_connect_learns_the_ports(small: SmallRig, rig: Rig) -> None:
    assert rig.ports == Ports(small.pub_port, small.sub_port, small.push_port, 9)
    assert (rig.host, rig.remote_port) == ("127.0.0.1", small.port)
    assert labwire.connect is connect


def test_connect_finds_the_rig_of_the_environment(small: SmallRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABWIRE_HOST", "localhost")
    monkeypatch.setenv("LABWIRE_PORT", str(small.port))
    with connect() as rig:
        assert rig.host == "localhost"
        assert rig.ports.pub == small.pub_port


def test_where_nobody_is_the_error_says_what_to_do() -> None:
    port = lasting_port()
    with pytest.raises(PeerGoneError, match=rf"no rig answers at tcp://127.0.0.1:{port}; start one with `labwire run`"):
        connect(port=port, timeout_s=0.05)


@pytest.mark.parametrize("host", ["a b", "ex\0mple"])
def test_a_host_that_is_no_name_is_refused_and_nothing_stays_open(host: str) -> None:
    with pytest.raises(UsageError, match="is no address: write tcp://HOST:PORT"):
        connect(host, 50020)


def test_something_else_on_the_port_is_no_rig() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(PeerGoneError, match="no rig answers"):
        connect(port=server.getsockname()[1], timeout_s=0.05)


def test_another_zeromq_service_on_the_port_is_no_rig(small: SmallRig) -> None:
    small.kind = "pupil"
    small.pub_port = -1
    with pytest.raises(ProtocolError, match="is it a rig"):
        connect(port=small.port, timeout_s=LIMIT_S)


def test_pupil_capture_is_a_bus_without_operations_and_records_nothing() -> None:
    with SmallRig(kind="pupil") as pupil, connect(port=pupil.port, timeout_s=LIMIT_S) as rig:
        assert rig.ports == Ports(pupil.pub_port, pupil.sub_port, None, None)
        for ask in (rig.status, rig.record.list, lambda: rig.subscribe("x", last=True)):
            with pytest.raises(StateError, match="not a labwire rig"):
                ask()
        with rig.subscribe("notify.") as notifications:
            rig.notify("hello")
            assert notifications.recv(LIMIT_S).payload["subject"] == "hello"
        assert not [text for text in pupil.texts if text.startswith(("R", "r"))]


def test_an_ancient_pupil_capture_still_works() -> None:
    with SmallRig(kind="ancient") as pupil, connect(port=pupil.port, timeout_s=LIMIT_S) as rig:
        with pytest.raises(ProtocolError, match="mal-formatted"):
            rig.send("annotation", {})
        with rig.subscribe("notify.") as notifications:
            assert notifications.wait_connected(LIMIT_S)
            wait_until(lambda: rig.notify("hello") and _has(notifications, "hello"))


def _has(notifications: Any, subject: str) -> bool:
    try:
        return notifications.recv(0.05).payload["subject"] == subject
    except DeadlineError:
        return False


def test_requests_are_answered(small: SmallRig, rig: Rig) -> None:
    assert rig.request("r") == "OK"
    assert float(rig.request([b"t"])) > small.offset_s
    assert rig.request("what") == "Unknown command."
    assert small.texts[-3:] == ["r", "t", "what"]
    with pytest.raises(UsageError):
        rig.request([])


def test_threads_share_the_remote(rig: Rig) -> None:
    replies: dict[int, list[str]] = {number: [] for number in range(4)}

    def ask(number: int) -> None:
        replies[number] = [rig.request("R" if number % 2 else "what") for _ in range(50)]

    threads = [threading.Thread(target=ask, args=(number,)) for number in replies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replies == {number: ["OK" if number % 2 else "Unknown command."] * 50 for number in replies}


def test_a_rig_that_does_not_answer_costs_the_deadline_and_nothing_else(small: SmallRig, rig: Rig) -> None:
    small.silent = True
    with pytest.raises(DeadlineError, match="is there but did not answer 't'"):
        rig.request("t", timeout_s=0.05)
    small.silent = False
    assert rig.request("r") == "OK"


def test_a_rig_that_goes_away_frees_who_waits_for_its_answer(small: SmallRig, rig: Rig) -> None:
    small.silent = True
    stopper = threading.Thread(target=lambda: (wait_until(lambda: "t" in small.texts), small.close()))
    stopper.start()
    with pytest.raises(PeerGoneError, match="went away before it answered 't'"):
        rig.request("t", timeout_s=LIMIT_S)
    stopper.join()


def test_a_request_that_nobody_took_never_reaches_a_later_rig(small: SmallRig, rig: Rig) -> None:
    small.close()
    wait_until(lambda: not rig._remote.connected, "that its end is seen")
    with pytest.raises(PeerGoneError):
        rig.request("R too late", timeout_s=0.05)
    with SmallRig(small.port) as again:
        assert rig.request("r") == "OK"
        assert "R too late" not in again.texts


def test_a_notification_in_one_dict_is_told_how_to_write_it(rig: Rig) -> None:
    with pytest.raises(UsageError, match=r"write the subject, then the fields"):
        rig.notify(cast("Any", {"subject": "recording.should_stop"}))
    assert repr(rig) == f"<Rig at {rig.host}:{rig.remote_port}>"


def test_notify_is_confirmed_and_its_topic_follows(small: SmallRig, rig: Rig) -> None:
    assert rig.notify("recording.should_start", session_name="x") == "Notification received"
    assert rig.notify("later", delay=2) == "Notification received"
    bodies = [(parts[0], msgspec.msgpack.decode(parts[1])) for parts in small.requests[-2:]]
    assert bodies == [
        (
            b"notify.recording.should_start",
            {
                "subject": "recording.should_start",
                "session_name": "x",
                "topic": "notify.recording.should_start",
            },
        ),
        (b"delayed_notify.later", {"subject": "later", "delay": 2, "topic": "delayed_notify.later"}),
    ]
    with pytest.raises(InvalidNameError):
        rig.notify("")


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ("Not confirmed: the bus did not take the message within 1 s.", DeadlineError),
        ("Not forwarded: the topic is not UTF-8.", ProtocolError),
        ("whatever", ProtocolError),
    ],
)
def test_what_is_not_confirmed_is_an_error(small: SmallRig, rig: Rig, reply: str, error: type[Exception]) -> None:
    small.reply = reply
    with pytest.raises(error, match=reply[:13]):
        rig.send("annotation", {"label": "x"})


def test_nothing_is_missed_from_the_moment_of_subscribing(rig: Rig) -> None:
    for number in range(50):
        form: dict[str, Any] = {"decode": bool(number % 2)}
        with rig.subscribe(f"data.{number}", **form) as subscription:
            rig.send(f"data.{number}", {"n": number}, [b"raw"])
            message = subscription.recv(LIMIT_S)
            assert message[0] in {f"data.{number}", f"data.{number}".encode()}
            with pytest.raises(DeadlineError):
                subscription.recv(0)


@pytest.mark.parametrize("policy", POLICIES)
def test_nothing_is_missed_with_any_policy(rig: Rig, policy: Policy) -> None:
    with rig.subscribe("data", policy=policy, depth=1) as subscription:
        rig.send("data", {"n": 1})
        assert subscription.recv(LIMIT_S).payload == {"n": 1}


def test_a_bus_that_takes_messages_and_delivers_none_is_not_there(small: SmallRig) -> None:
    with connect(port=small.port, timeout_s=2.0) as rig:
        small.reply = "Message forwarded."
        with pytest.raises(PeerGoneError, match=r"the bus at .* does not answer"):
            rig.subscribe("data")


def test_what_comes_while_subscribing_is_kept_in_order(small: SmallRig, rig: Rig) -> None:
    stop = threading.Event()

    def publish() -> None:
        with connect(port=small.port, timeout_s=LIMIT_S) as other:
            number = 0
            while not stop.is_set():
                other.publish("data", {"n": number})
                number += 1

    publisher = threading.Thread(target=publish)
    publisher.start()
    try:
        for _ in range(10):
            with rig.subscribe("data") as subscription:
                numbers = [subscription.recv(LIMIT_S).payload["n"] for _ in range(200)]
            assert numbers == list(range(numbers[0], numbers[0] + 200))
    finally:
        stop.set()
        publisher.join()


def test_publish_reaches_a_subscriber_at_its_first_use(rig: Rig) -> None:
    class Wind(msgspec.Struct):
        speed: float

    with rig.subscribe("weather", typed=Wind) as subscription:
        assert rig.publish("weather.wind", {"speed": 3.5}, [b"raw"])
        assert subscription.recv(LIMIT_S) == ("weather.wind", Wind(3.5), (b"raw",))


def test_gaps_are_told_and_reported_to_the_bus(rig: Rig) -> None:
    gaps: list[Gap] = []
    with rig.subscribe("data", on_gap=gaps.append) as data, rig.subscribe("bus.report") as reports:
        for seq in (0, 5):
            rig.send("data", {"seq": seq, "emitter": "camera"})
            data.recv(LIMIT_S)
        assert gaps == [Gap("camera", "data", 4)]
        assert reports.recv(LIMIT_S).payload["gaps"] == {"data": 4}


def test_a_rig_that_comes_back_with_other_ports_is_found_again(small: SmallRig, rig: Rig) -> None:
    ports = rig.ports
    assert rig.publish("before", {})
    with rig.subscribe("data") as subscription:
        small.close()
        wait_until(lambda: not rig.publish("void", {}))
        with SmallRig(small.port) as again:
            wait_until(lambda: rig.publish("data", {"n": 1}), "publishing")
            wait_until(lambda: subscription.statistics().reconnections, "the subscription's return")
            assert rig.request("r") == "OK"
            assert rig.ports == Ports(again.pub_port, again.sub_port, again.push_port, 9) != ports
            wait_until(lambda: rig.publish("data", {"n": 2}) and _received(subscription, 2), "messages")
            with rig.subscribe("more") as more:
                rig.send("more", {})
                assert more.recv(LIMIT_S).topic == "more"


def _received(subscription: Any, number: int) -> bool:
    try:
        return subscription.recv(0.05).payload["n"] == number
    except DeadlineError:
        return False


def test_the_clock_offset_lies_within_its_uncertainty(small: SmallRig, rig: Rig) -> None:
    offset = rig.clock_offset()
    assert abs(offset.offset_s - small.offset_s) <= offset.uncertainty_s
    assert offset.uncertainty_s <= offset.round_trip_s / 2
    assert abs(rig.now() - time.monotonic() - small.offset_s) < 1
    small.offset_s = -1000.0
    rig.request("T 5")  # whoever sets the clock himself is not told an old time
    assert rig.now() - time.monotonic() < 0


def test_a_rig_that_is_started_again_has_a_clock_of_its_own(small: SmallRig, rig: Rig) -> None:
    assert abs(rig.now() - time.monotonic() - small.offset_s) < 1
    small.close()
    with SmallRig(small.port) as again:
        again.offset_s = -5000.0
        wait_until(lambda: abs(rig.now() - time.monotonic() - again.offset_s) < 1, "the other rig's time")


def test_a_clock_that_is_no_number_is_an_error(small: SmallRig, rig: Rig) -> None:
    small._answer = lambda _: "soon"  # type: ignore[method-assign]
    with pytest.raises(ProtocolError, match="soon"):
        rig.clock_offset()


def test_operations_of_a_rig_that_does_not_answer_keep_their_deadline(small: SmallRig, rig: Rig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        small.rpc_port = nobody.getsockname()[1]
        rig.refresh()
        with pytest.raises((DeadlineError, PeerGoneError)):
            rig.service(BusOperations, timeout_s=0.05).stats()


def test_closing_ends_everything(small: SmallRig) -> None:
    rig = connect(port=small.port, timeout_s=LIMIT_S)
    subscription = rig.subscribe("data")
    rig.publish("x", {})
    iteration = threading.Thread(target=lambda: list(subscription))
    iteration.start()
    rig.close()
    rig.close()
    iteration.join(LIMIT_S)
    assert not iteration.is_alive()
    for use in (lambda: rig.request("t"), lambda: rig.publish("x", {}), lambda: rig.subscribe("x")):
        with pytest.raises(StateError, match="closed"):
            use()


def test_closing_frees_who_waits_for_an_answer(small: SmallRig) -> None:
    rig = connect(port=small.port, timeout_s=LIMIT_S)
    small.silent = True
    closer = threading.Thread(target=lambda: (wait_until(lambda: "t" in small.texts), rig.close()))
    closer.start()
    with pytest.raises(StateError, match="closed"):
        rig.request("t")
    closer.join()
