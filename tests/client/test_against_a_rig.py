"""The client against a real rig: operations, last values, a rig that is killed and comes back."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from labwire.client import Rig, connect
from labwire.client.latecomer import LatecomerSubscription
from labwire.errors import DeadlineError, LabwireError, NotFoundError
from labwire.operations.bus import LastValue
from labwire.wire.bus_message import BusMessage
from tests.bus.fake_hub import LIMIT_S, SubscriberSide, own_context, wait_until
from tests.ports import lasting_port
from tests.rig_fixture import EYES, RunningRig, running_rig, shared_rig  # noqa: F401  a fixture is used by its name


@pytest.fixture
def rig(shared_rig: RunningRig) -> Iterator[Rig]:  # noqa: F811
    with connect(port=shared_rig.port, timeout_s=LIMIT_S) as rig:
        yield rig


def test_operations_are_methods(shared_rig: RunningRig, rig: Rig) -> None:  # noqa: F811
    status = rig.status()
    assert (status.name, status.pid, status.pub_port) == ("test-rig", shared_rig.ready.pid, rig.ports.pub)
    assert "eyes" in {actor.name for actor in rig.actors.list()} <= set(shared_rig.ready.actors)
    assert rig.record.list() == []
    with pytest.raises(NotFoundError, match="nobody"):
        rig.actors.restart("nobody")


def test_last_values_come_first_and_each_message_once(rig: Rig) -> None:
    for number in range(5):
        rig.send("weather.wind", {"n": number, "timestamp": float(number)})
    rig.send("weather.rain", {"n": 9})
    wait_until(lambda: len(rig.bus.last("weather.")) == 2, "the steward's note")
    with rig.subscribe("weather.", last=True) as late:
        rig.send("weather.wind", {"n": 5, "timestamp": 5.0})
        rig.send("weather.rain", {"n": 9})
        messages = [late.recv(LIMIT_S) for _ in range(4)]
        assert sorted(message.topic for message in messages[:2]) == ["weather.rain", "weather.wind"]
        assert [message.payload["n"] for message in messages if message.topic == "weather.wind"] == [4, 5]
        assert [message.payload["n"] for message in messages if message.topic == "weather.rain"] == [9, 9]
        with pytest.raises(DeadlineError):
            late.recv(0)


def test_a_latecomer_to_a_stream_sees_no_message_twice_and_none_out_of_order(rig: Rig) -> None:
    wait_until(lambda: rig.bus.last("pupil.0.2d"), "the eyes")
    for _ in range(10):
        with rig.subscribe("pupil.0.2d", last=True) as late:
            times = [late.recv(LIMIT_S).payload["timestamp"] for _ in range(10)]
        assert times == sorted(set(times))


def test_typed_and_undecoded_forms(rig: Rig) -> None:
    class Pupil(msgspec.Struct):
        confidence: float
        norm_pos: tuple[float, float]

    with rig.subscribe("pupil.0.2d", typed=Pupil) as typed, rig.subscribe("pupil.", decode=False) as parts:
        assert 0 <= typed.recv(LIMIT_S).payload.confidence <= 1
        assert parts.recv(LIMIT_S)[0].startswith(b"pupil.")


def test_a_rig_that_was_killed_and_started_again_is_found(tmp_path: Path) -> None:
    first_folder, second_folder = tmp_path / "1", tmp_path / "2"
    first_folder.mkdir()
    second_folder.mkdir()
    port = lasting_port()
    with running_rig(first_folder, remote_port=port) as first, connect(port=port, timeout_s=LIMIT_S) as client:
        ports = client.ports
        with client.subscribe("pupil.") as subscription:
            subscription.recv(LIMIT_S)
            assert first.stop(signal.SIGTERM) == 0
            with pytest.raises(LabwireError):
                client.service(type(client.rig).__bases__[0], timeout_s=1).status()
            with running_rig(second_folder, EYES, remote_port=port) as second:
                assert second.port == port
                assert client.status().pid == second.ready.pid
                assert client.ports != ports
                wait_until(lambda: subscription.statistics().reconnections, "the subscription's return")
                before = subscription.statistics().received
                wait_until(lambda: subscription.statistics().received > before, "fresh messages")


@pytest.mark.parametrize(
    ("kept", "waiting", "fresh"),
    [
        ({"seq": 5}, [{"seq": 4}, {"seq": 5}, {"seq": 6}], [{"seq": 6}]),
        ({"index": 5}, [{"index": 4}, {"index": 6}], [{"index": 6}]),
        ({"timestamp": 5.0}, [{"timestamp": 5.0}, {"timestamp": 5.1}], [{"timestamp": 5.1}]),
        ({"on": True}, [{"on": True}, {"on": False}], [{"on": False}]),
        ({"seq": "x"}, [{"seq": 1}], [{"seq": 1}]),
    ],
)
def test_what_waits_and_is_not_after_the_last_value_is_dropped(
    kept: dict[str, Any], waiting: list[dict[str, Any]], fresh: list[dict[str, Any]]
) -> None:
    with own_context() as context:
        hub = SubscriberSide(context)
        with LatecomerSubscription(hub.sub_url, ["a"], context=context) as late:
            hub.subscription()
            hub.send("a.other", {"seq": 0})
            for payload in waiting:
                hub.send("a", payload)
            wait_until(lambda: late.statistics().waiting == len(waiting) + 1)
            late.begin_with([LastValue("a", kept, 0.0)])
            hub.send("a", kept)  # the same again, from now on, is news
            expected = [("a", kept), ("a.other", {"seq": 0}), *(("a", payload) for payload in fresh), ("a", kept)]
            assert [late.recv(LIMIT_S) for _ in expected] == [BusMessage(*pair) for pair in expected]
