"""What instruments put on the bus: results that are dropped rather than waited for, blocks that wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from labwire.actors import instrument_bus
from labwire.actors.instrument_bus import InstrumentBus
from labwire.actors.instrument_replies import result_of, status_of
from labwire.errors import CommandFailedError, PeerGoneError, UsageError
from labwire.instruments.calling.dispatch import Outcome
from labwire.instruments.status import InstrumentStatus, State
from labwire.operations.instruments import CommandRequest
from labwire.wire.instrument_message import Command, CommandResponse
from tests.bus.fake_hub import LIMIT_S, wait_until


class FakePublisher:
    """Keeps what it is given; refuses it when the test says so."""

    name = "instruments"

    def __init__(self) -> None:
        self.messages: list[tuple[str, dict[str, Any], list[bytes]]] = []
        self.takes = threading.Event()
        self.takes.set()
        self.refusals = 0

    def publish(self, topic: str, payload: Mapping[str, Any], raw: Sequence[Any] = ()) -> bool:
        if not self.takes.is_set():
            self.refusals += 1
            return False
        if payload.get("value") == "unsendable":
            raise UsageError("payload cannot be sent")
        self.messages.append((topic, dict(payload), [bytes(part) for part in raw]))
        return True

    publish_numbered = publish


def outcome(value: Any = None, error: Any = None, *, name: str = "DMM1", block: int | None = None) -> Outcome:
    request = CommandRequest(name=name, verb="READ", params={"n": 1})
    command = Command(id=f"{name}-7", instrument_name=name, verb="READ", params=request.params)
    response = CommandResponse(command_id=command.id, success=not error, return_value=value, text_response="said")
    return Outcome(request, command, None if error else response, error, 10.0, 0.25, block)


@pytest.fixture
def publisher() -> FakePublisher:
    return FakePublisher()


@pytest.fixture
def faults() -> list[Exception]:
    return []


@pytest.fixture
def bus(publisher: FakePublisher, faults: list[Exception]) -> Iterator[InstrumentBus]:
    made = InstrumentBus(publisher, lambda monotonic_s: monotonic_s + 100, faults.append)  # type: ignore[arg-type]
    made.start()
    yield made
    made.close()
    made.close()


def test_a_result_has_all_its_fields(bus: InstrumentBus, publisher: FakePublisher) -> None:
    bus.put(outcome(3.5))
    bus.put(outcome(error=PeerGoneError("Worker died: DMM1")))
    wait_until(lambda: len(publisher.messages) == 2, "both")
    topic, payload, raw = publisher.messages[0]
    assert topic == "instrument.DMM1.result"
    assert payload == {
        "topic": topic,
        "command_id": "DMM1-7",
        "instrument": "DMM1",
        "verb": "READ",
        "params": {"n": 1},
        "success": True,
        "timestamp": 110.0,
        "duration_s": 0.25,
        "text": "said",
        "value": 3.5,
    }
    assert raw == []
    lost = publisher.messages[1][1]
    assert (lost["success"], lost["error"], lost["error_type"]) == (False, "Worker died: DMM1", "PeerGoneError")
    assert "text" not in lost


def test_an_array_is_a_raw_part(bus: InstrumentBus, publisher: FakePublisher) -> None:
    arrays = [np.arange(6, dtype="<f4").reshape(2, 3), np.empty((0,), "<f8")]
    for array in arrays:
        bus.put(outcome(array))
    wait_until(lambda: len(publisher.messages) == 2, "both")
    for (_, payload, raw), array in zip(publisher.messages, arrays, strict=True):
        assert (np.frombuffer(raw[0], payload["dtype"]).reshape(payload["shape"]) == array).all()
        assert "value" not in payload


def test_what_the_bus_does_not_take_is_counted_and_nobody_waits(
    publisher: FakePublisher, faults: list[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instrument_bus, "DEPTH", 5)
    bus = InstrumentBus(publisher, lambda _: 0.0, faults.append)  # type: ignore[arg-type]
    for _ in range(8):
        bus.put(outcome(1.0))
    bus.put(outcome(1.0, name="SCOPE1"))
    assert bus.dropped == {"DMM1": 3, "SCOPE1": 1}
    bus.start()
    wait_until(lambda: len(publisher.messages) == 5, "those that had room")
    publisher.takes.clear()
    bus.put(outcome(1.0))
    wait_until(lambda: bus.dropped["DMM1"] == 4, "one that the hub refuses")
    bus.close()


def test_one_that_cannot_be_sent_does_not_end_the_others(
    bus: InstrumentBus, publisher: FakePublisher, faults: list[Exception]
) -> None:
    bus.put(outcome("unsendable"))
    bus.put(outcome(1.0))
    wait_until(lambda: len(publisher.messages) == 1, "the other")
    assert len(faults) == 1
    assert bus.dropped == {"DMM1": 1}


def test_what_waits_is_published_at_the_end(publisher: FakePublisher, faults: list[Exception]) -> None:
    bus = InstrumentBus(publisher, lambda _: 0.0, faults.append)  # type: ignore[arg-type]
    for _ in range(10):
        bus.put(outcome(1.0))
    bus.start()
    bus.close()
    assert len(publisher.messages) == 10


def test_a_block_waits_until_the_bus_takes_it(bus: InstrumentBus, publisher: FakePublisher) -> None:
    bus.put_block(outcome(np.ones(2), block=0), lambda: False)
    publisher.takes.clear()
    waiting = threading.Thread(target=bus.put_block, args=(outcome(np.ones(2), block=1), lambda: False))
    waiting.start()
    wait_until(lambda: publisher.refusals > 2, "a bus that takes nothing")
    assert waiting.is_alive()
    publisher.takes.set()
    waiting.join(LIMIT_S)
    assert [(payload["block"], payload["seq"]) for _, payload, _ in publisher.messages] == [(0, 0), (1, 1)]
    assert publisher.messages[0][0] == "instrument.DMM1.block"
    assert bus.dropped == {}


def test_a_block_of_an_acquisition_that_is_cancelled_does_not_wait(
    bus: InstrumentBus, publisher: FakePublisher
) -> None:
    publisher.takes.clear()
    bus.put_block(outcome(1.0, block=0), lambda: True)
    assert bus.dropped == {"DMM1": 1}


def test_replies_of_the_operations() -> None:
    done = result_of(outcome(np.ones(3, "<f4")), lambda monotonic_s: monotonic_s)
    assert (done.command_id, done.value, done.text, done.error, done.duration_s) == ("DMM1-7", None, "said", "", 0.25)
    assert done.result.tolist() == [1.0, 1.0, 1.0]
    failed = result_of(outcome(error=CommandFailedError("overload")), lambda monotonic_s: monotonic_s)
    assert (failed.error, failed.error_type, failed.value) == ("overload", "CommandFailedError", None)
    known = InstrumentStatus(
        name="D", state=State.STUCK, driver="m:C", queue="boost", profile="spec", ok=3, stuck_s=1.0
    )
    status = status_of(known, dropped=4, acquisitions=2)
    assert (status.state, status.ok, status.stuck_s, status.dropped, status.acquisitions) == ("stuck", 3, 1.0, 4, 2)
    shared = set(known.__struct_fields__) & set(status.__struct_fields__)
    assert set(known.__struct_fields__) - shared == set(), "all that the server tells"
    assert msgspec.structs.asdict(status)["profile"] == "spec"
