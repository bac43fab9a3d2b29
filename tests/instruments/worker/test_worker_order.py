"""The worker: priorities, batches, control commands, barriers, acquisitions."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from labwire.errors import (
    DeviceError,
    NotFoundError,
    QueueFullError,
    RefusedError,
    codes_of,
)
from labwire.instruments.worker import inbox as inbox_module
from labwire.instruments.worker.worker import Worker
from labwire.operations.instrument_api import InstrumentApi
from labwire.wire.instrument_extras import BARRIER, CANCEL, CREDIT, DESCRIBE, NOOP, RELEASE
from labwire.wire.instrument_message import (
    SPEC,
    MessageType,
)
from tests.instruments.bench import TOLD, Bench, wait_in_front
from tests.instruments.worker_kit import LIMIT_S, MemoryPair, Peer, spec_of, wait_until, worker_thread

CODES = {kind: codes_of(kind).worker_code for kind, _ in TOLD.values()}


@pytest.fixture
def peer() -> Iterator[Peer]:
    with worker_thread(Bench) as peer:
        yield peer


# --- order


@pytest.mark.parametrize("kind", ["socket", "boost"])
def test_the_same_priority_is_first_in_first_out(kind: str) -> None:
    with worker_thread(Bench, kind=kind) as peer:
        wait_in_front(peer)
        for value in range(50):
            peer.command("ECHO", {"value": float(value)})
        Bench.last.gate.set()
        assert peer.response().return_value == "waited"
        assert [peer.response().return_value for _ in range(50)] == list(range(50))


@pytest.mark.parametrize("kind", ["socket", "boost"])
def test_a_higher_priority_overtakes_what_waits(kind: str) -> None:
    with worker_thread(Bench, kind=kind) as peer:
        wait_in_front(peer)
        for value, priority in ((1, 0), (2, 0), (3, 5), (4, -5), (5, 5), (6, 9)):
            peer.command("ECHO", {"value": float(value)}, priority=priority)
        Bench.last.gate.set()
        assert peer.response().return_value == "waited"
        assert [peer.response().return_value for _ in range(6)] == [6, 3, 5, 1, 2, 4]


def test_a_higher_priority_overtakes_what_was_taken_out_already(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "DRAIN_EVERY_S", 0.0)
    with worker_thread(Bench) as peer:
        wait_in_front(peer)
        peer.command("ECHO", {"value": 1.0})
        peer.command("WAIT")
        peer.command("ECHO", {"value": 2.0})
        Bench.last.entered.clear()
        Bench.last.gate.set()
        assert [peer.response().return_value for _ in range(3)] == ["waited", 1.0, "waited"]
        assert peer.response().return_value == 2.0
        Bench.last.gate.clear()
        Bench.last.entered.clear()
        peer.command("WAIT")
        for value in (1.0, 2.0):
            peer.command("ECHO", {"value": value})
        peer.command("WAIT", priority=1)
        assert Bench.last.entered.wait(LIMIT_S)
        peer.command("ECHO", {"value": 3.0}, priority=2)
        Bench.last.gate.set()
        values = [peer.response().return_value for _ in range(5)]
        assert values[0] == "waited"
        assert values.index(3.0) < values.index(1.0) < values.index(2.0)


# --- control commands


def test_a_no_op(peer: Peer) -> None:
    response = peer.call(NOOP)
    assert (response.success, response.return_value, response.text_response) == (True, None, "")


def test_a_worker_describes_its_driver(peer: Peer) -> None:
    api = msgspec.convert(peer.call(DESCRIBE).return_value, InstrumentApi)
    assert api.driver == "tests.instruments.bench:Bench"
    assert [verb.name for verb in api.verbs][:2] == ["ECHO", "RESULT"]


@pytest.mark.parametrize("verb", [NOOP, DESCRIBE, BARRIER, CREDIT, CANCEL, RELEASE])
def test_a_foreign_server_meets_no_control_verb(verb: str) -> None:
    with worker_thread(Bench, features=[]) as peer:
        response = peer.call(verb, {"id": "a", "token": 1, "blocks": 1})
        assert (response.success, response.error_code) == (False, codes_of(NotFoundError).worker_code)
        peer.command("COUNT")
        refused = peer.response()
        assert (refused.success, refused.error_code) == (False, codes_of(RefusedError).worker_code)


@pytest.mark.parametrize("kind", ["socket", "boost"])
def test_a_barrier_holds_until_it_is_released(kind: str) -> None:
    with worker_thread(Bench, kind=kind) as peer:
        assert peer.call(BARRIER, {"token": 7}, timeout_ms=60_000).success
        peer.command("ECHO", {"value": 1.0})
        peer.control(RELEASE, token=8)
        peer.command("ECHO", {"value": 2.0})
        wait_until(lambda: not peer.pair.requests.state().waiting, "the worker took all requests")
        assert Bench.last.done == []
        peer.control(RELEASE, token=7)
        assert [peer.response().return_value for _ in range(2)] == [1.0, 2.0]


def test_a_barrier_that_was_released_before_it_was_reached_does_not_hold(peer: Peer) -> None:
    wait_in_front(peer)
    peer.command(BARRIER, {"token": "x"}, timeout_ms=60_000)
    peer.command("ECHO", {"value": 1.0})
    peer.control(RELEASE, token="x")
    Bench.last.gate.set()
    assert [peer.response().return_value for _ in range(3)] == ["waited", None, 1.0]


def test_a_barrier_that_nobody_releases_ends_with_its_timeout(peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    assert peer.call(BARRIER, {"token": 7}, timeout_ms=50).success
    assert peer.call("ECHO", {"value": 1.0}).success
    assert "barrier 7 was not released within 50 ms" in caplog.text


@pytest.mark.parametrize("token", [None, [1], {}, 1.5])
def test_a_barrier_needs_a_token(peer: Peer, token: object) -> None:
    assert not peer.call(BARRIER, {"token": token}).success


@pytest.mark.parametrize(
    ("verb", "params"),
    [
        (CREDIT, {}),
        (CREDIT, {"id": "a"}),
        (CREDIT, {"id": "a", "blocks": 0}),
        (CREDIT, {"id": "a", "blocks": -1}),
        (CREDIT, {"id": "a", "blocks": 1.5}),
        (CREDIT, {"id": "a", "blocks": 2**40}),
        (CREDIT, {"id": [], "blocks": 1}),
        (CANCEL, {}),
        (RELEASE, {"token": None}),
    ],
)
def test_a_control_command_that_says_nothing_is_an_error_and_no_more(
    peer: Peer, verb: str, params: dict[str, Any]
) -> None:
    peer.control(verb, **params)
    assert peer.receive().type is MessageType.ERROR
    assert peer.call("ECHO", {"value": 1.0}).success


def test_control_commands_about_nothing_take_no_memory_for_ever() -> None:
    signals = inbox_module.Signals()
    for number in range(5000):
        signals.take(CREDIT, {"id": f"x-{number}", "blocks": 1})
        signals.take(CANCEL, {"id": f"x-{number}"})
    assert len(signals._credits) == len(signals._cancelled) == 1000
    assert signals.is_cancelled("x-4999")
    assert not signals.is_cancelled("x-0")


# --- continuous acquisition


@pytest.mark.parametrize("kind", ["socket", "boost"])
def test_an_acquisition_sends_as_many_blocks_as_there_are_credits(kind: str) -> None:
    with worker_thread(Bench, kind=kind) as peer:
        number = peer.command("COUNT", {"blocks": 5})
        peer.control(CREDIT, id=f"DMM1-{number}", blocks=2)
        assert [(one.block, one.return_value) for one in (peer.response(), peer.response())] == [(0, 0), (1, 1)]
        peer.command("ECHO", {"value": 1.0})  # waits its turn
        wait_until(lambda: not peer.pair.requests.state().waiting, "the worker took all requests")
        assert Bench.last.done == [0, 1]
        peer.control(CREDIT, id=f"DMM1-{number}", blocks=100)
        assert [(one.block, one.return_value) for one in (peer.response() for _ in range(3))] == [
            (2, 2),
            (3, 3),
            (4, 4),
        ]
        last = peer.response()
        assert (last.success, last.block, last.return_value) == (True, msgspec.UNSET, "all")
        assert peer.response().return_value == 1.0


def test_an_acquisition_can_be_cancelled_in_the_middle_and_before_it_starts(peer: Peer) -> None:
    number = peer.command("COUNT")
    peer.control(CREDIT, id=f"DMM1-{number}", blocks=10**6)
    assert peer.response().block == 0
    peer.control(CANCEL, id=f"DMM1-{number}")
    while (response := peer.response()).block is not msgspec.UNSET:
        pass
    assert response.success
    assert response.command_id == f"DMM1-{number}"
    assert Bench.last.done[-1] == -1  # the generator was closed
    wait_in_front(peer)
    number = peer.command("COUNT")
    peer.control(CREDIT, id=f"DMM1-{number}", blocks=5)
    peer.control(CANCEL, id=f"DMM1-{number}")
    Bench.last.gate.set()
    assert peer.response().return_value == "waited"
    ended = peer.response()
    assert (ended.success, ended.block, ended.return_value) == (True, msgspec.UNSET, None)


def test_an_acquisition_that_fails_says_so_in_its_last_response(peer: Peer) -> None:
    number = peer.command("COUNT", {"fail_at": 2})
    peer.control(CREDIT, id=f"DMM1-{number}", blocks=10)
    assert [peer.response().block for _ in range(2)] == [0, 1]
    last = peer.response()
    assert (last.success, last.block, last.error_code) == (False, msgspec.UNSET, CODES[DeviceError])
    assert last.error_message == "the trigger is gone"


def test_an_acquisition_that_nobody_expects_blocks_of_is_refused(peer: Peer) -> None:
    assert peer.call("COUNT", expects_response=False).error_code == codes_of(RefusedError).worker_code


def test_too_many_commands_behind_an_acquisition_are_refused(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labwire.instruments.worker.inbox.MOST_WAITING", 5)
    number = peer.command("COUNT", {"blocks": 1})
    for _ in range(7):
        peer.command("ECHO", {"value": 1.0})
    peer.control(CREDIT, id=f"DMM1-{number}", blocks=2)
    answers = [peer.response() for _ in range(9)]
    refused = [one for one in answers if one.error_code == codes_of(QueueFullError).worker_code]
    assert [one.command_id for one in refused] == ["DMM1-7", "DMM1-8"]
    assert [one.return_value for one in answers if one.success] == [0, "all", *[1.0] * 5]


@pytest.mark.parametrize("what", ["acquisition", "barrier"])
def test_shutdown_ends_what_waits_for_control_commands(what: str) -> None:
    pair = MemoryPair()
    worker = Worker(spec_of(), pair, Bench(None))
    thread = threading.Thread(target=worker.serve)
    thread.start()
    peer = Peer(pair)
    if what == "barrier":
        assert peer.call(BARRIER, {"token": 1}, timeout_ms=60_000).success
    else:
        number = peer.command("COUNT")
        peer.control(CREDIT, id=f"DMM1-{number}", blocks=1)
        assert peer.response().block == 0
    peer.shut_down()
    thread.join(LIMIT_S)
    assert not thread.is_alive()
    assert Bench.last.closed == 1
    pair.close()


# --- batches


def test_the_commands_of_a_batch_are_answered_together(peer: Peer) -> None:
    header_id, ids = peer.batch([("ECHO", {"value": 1.0}), ("ECO", {}), ("ECHO", {"value": 2.0})])
    message = peer.receive()
    assert message.id == header_id
    responses = json.loads(message.payload)
    assert [one["command_id"] for one in responses] == ids
    assert [one["success"] for one in responses] == [True, False, True]


def test_a_batch_whose_responses_do_not_fit_together_comes_in_several(peer: Peer) -> None:
    _, ids = peer.batch([("TEXT", {"length": 1500})] * 7)
    messages = []
    while sum(len(json.loads(one.payload)) if one.payload[:1] == b"[" else 1 for one in messages) < 7:
        messages.append(peer.receive())
        assert len(messages[-1].payload) <= SPEC.payload_bytes
    assert 1 < len(messages) < 7
    read = [
        one for m in messages for one in (json.loads(m.payload) if m.payload[:1] == b"[" else [json.loads(m.payload)])
    ]
    assert [one["command_id"] for one in read] == ids


def test_a_batch_of_a_thousand_commands_comes_compressed_and_is_done(peer: Peer) -> None:
    _, ids = peer.batch([("ECHO", {"value": float(n)}) for n in range(1000)])
    assert [peer.response().command_id for _ in ids] == ids
    assert Bench.last.done == list(range(1000))


def test_a_batch_with_one_broken_command_is_an_error_and_none_is_done(peer: Peer) -> None:
    peer.send(MessageType.COMMAND, b'[{"verb":"ECHO"},{"verb":1}]', 5)
    message = peer.receive()
    assert (message.type, message.id) == (MessageType.ERROR, 5)
    assert Bench.last.done == []


def test_a_single_command_is_not_kept_waiting_by_a_batch_before_it(peer: Peer) -> None:
    peer.batch([("ECHO", {"value": 1.0}), ("WAIT", {})])
    assert Bench.last.entered.wait(LIMIT_S)
    number = peer.command("ECHO", {"value": 2.0})
    Bench.last.gate.set()
    assert [peer.response().return_value for _ in range(3)] == [1.0, "waited", 2.0]
    assert number


def test_an_acquisition_in_a_batch_streams(peer: Peer) -> None:
    _, ids = peer.batch([("ECHO", {"value": 9.0}), ("COUNT", {"blocks": 2}), ("ECHO", {"value": 8.0})])
    peer.control(CREDIT, id=ids[1], blocks=5)
    answers = [peer.response() for _ in range(5)]
    assert [one.return_value for one in answers] == [9.0, 0, 1, "all", 8.0]


def test_without_the_feature_an_array_is_no_command() -> None:
    with worker_thread(Bench, features=[]) as peer:
        peer.batch([("ECHO", {})])
        assert peer.receive().type is MessageType.ERROR
