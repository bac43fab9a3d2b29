"""Commands for callers that must not wait: order, room, failures."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import Any

import pytest

from labwire.errors import CommandFailedError, NotFoundError, PeerGoneError, QueueFullError, StateError
from labwire.instruments.calling import dispatch
from labwire.instruments.calling.dispatch import Dispatcher, Outcome
from labwire.instruments.status import InstrumentStatus, State
from labwire.operations.instruments import CommandRequest
from labwire.wire.instrument_message import Command, CommandResponse
from tests.bus.fake_hub import LIMIT_S, wait_until


class FakeServer:
    """Takes commands and answers when the test says so."""

    def __init__(self) -> None:
        self.state = State.READY
        self.waiting = 0
        self.room = threading.Event()
        """While it is not set, sending waits: the queue is full."""
        self.room.set()
        self.sent: list[tuple[Command, Future[CommandResponse]]] = []
        self.senders: list[threading.Thread] = []

    def status(self, name: str) -> InstrumentStatus:
        if name == "nobody":
            raise NotFoundError("no instrument 'nobody'")
        return InstrumentStatus(
            name=name, state=self.state, driver="d", queue="socket", profile="spec", waiting=self.waiting
        )

    def submit_whole(
        self, name: str, verb: str, params: Mapping[str, Any] | None = None, **options: Any
    ) -> tuple[Command, Future[CommandResponse]]:
        assert self.room.wait(LIMIT_S)
        if verb == "NOPE":
            raise NotFoundError("no verb 'NOPE'")
        self.senders.append(threading.current_thread())
        number = len(self.sent) + 1
        command = Command(id=f"{name}-{number}", instrument_name=name, verb=verb, params=dict(params or {}))
        self.sent.append((command, Future()))
        return self.sent[-1]

    def answer(self, number: int, value: Any = None, *, success: bool = True) -> None:
        command, future = self.sent[number]
        future.set_result(
            CommandResponse(command_id=command.id, success=success, return_value=value, error_message="bad")
        )


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def outcomes() -> list[Outcome]:
    return []


@pytest.fixture
def dispatcher(server: FakeServer, outcomes: list[Outcome]) -> Iterator[Dispatcher]:
    made = Dispatcher(server, outcomes.append)
    yield made
    server.room.set()
    made.close()


def request(verb: str = "READ", name: str = "DMM1", **params: Any) -> CommandRequest:
    return CommandRequest(name=name, verb=verb, params=params)


def test_with_room_a_command_is_sent_at_once_by_its_caller(
    server: FakeServer, dispatcher: Dispatcher, outcomes: list[Outcome]
) -> None:
    future = dispatcher.submit(request(range=10))
    assert server.senders == [threading.current_thread()]
    assert not future.done()
    server.answer(0, 3.5)
    outcome = future.result(LIMIT_S)
    assert (outcome.value, outcome.error, outcome.command.id) == (3.5, None, "DMM1-1")
    assert outcome.command.params == {"range": 10}
    assert outcome.duration_s >= 0
    assert outcomes == [outcome]


def test_a_failure_is_an_outcome_with_its_id(
    server: FakeServer, dispatcher: Dispatcher, outcomes: list[Outcome]
) -> None:
    failed, lost = dispatcher.submit(request()), dispatcher.submit(request())
    server.answer(0, success=False)
    error = failed.result(LIMIT_S).error
    assert isinstance(error, CommandFailedError)
    assert error.data["command_id"] == "DMM1-1"
    server.sent[1][1].set_exception(PeerGoneError("Worker died"))
    assert isinstance(lost.result(LIMIT_S).error, PeerGoneError)
    assert [outcome.response is None for outcome in outcomes] == [False, True]


def test_what_cannot_be_sent_is_an_error_and_no_outcome(dispatcher: Dispatcher, outcomes: list[Outcome]) -> None:
    with pytest.raises(NotFoundError, match="NOPE"):
        dispatcher.submit(request("NOPE")).result(LIMIT_S)
    with pytest.raises(NotFoundError, match="nobody"):
        dispatcher.submit(request(name="nobody")).result(LIMIT_S)
    assert outcomes == []


def test_a_bug_on_the_way_reaches_the_caller(server: FakeServer, dispatcher: Dispatcher) -> None:
    future = dispatcher.submit(request())
    server.sent[0][1].set_exception(ZeroDivisionError("oops"))
    with pytest.raises(ZeroDivisionError):
        future.result(LIMIT_S)


def test_a_full_queue_does_not_hold_up_the_caller_nor_other_instruments(
    server: FakeServer, dispatcher: Dispatcher
) -> None:
    server.waiting = 99
    server.room.clear()
    began_s = time.monotonic()
    for number in range(20):
        dispatcher.submit(request(n=number))
    assert server.sent == []
    server.waiting = 0
    dispatcher.submit(request(n=20))  # there is room again, but it must not overtake
    server.room.set()
    dispatcher.submit(request(name="DMM2"))
    wait_until(lambda: len(server.sent) == 22, "all of them")
    ours = [command.params["n"] for command, _ in server.sent if command.instrument_name == "DMM1"]
    assert ours == list(range(21)), f"out of order after {time.monotonic() - began_s:.1f} s"


@pytest.mark.parametrize("state", [State.STARTING, State.BACKING_OFF, State.STOPPED])
def test_a_worker_that_is_not_ready_is_not_waited_for(server: FakeServer, dispatcher: Dispatcher, state: State) -> None:
    server.state = state
    dispatcher.submit(request())
    wait_until(lambda: bool(server.senders), "the command")
    assert server.senders[0] is not threading.current_thread()


def test_there_is_a_bound(server: FakeServer, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "MAX_WAITING", 3)
    server.waiting = 99
    server.room.clear()
    dispatcher.submit(request())
    wait_until(lambda: not dispatcher._lanes["DMM1"]._waiting, "the one that waits for room")
    for _ in range(3):
        dispatcher.submit(request())
    with pytest.raises(QueueFullError, match="3 commands wait already"):
        dispatcher.submit(request()).result(LIMIT_S)


def test_close_fails_what_waits_here(server: FakeServer, dispatcher: Dispatcher) -> None:
    server.waiting = 99
    server.room.clear()
    futures = [dispatcher.submit(request()) for _ in range(3)]
    wait_until(lambda: dispatcher._lanes["DMM1"]._busy, "the first")
    closer = threading.Thread(target=dispatcher.close)
    closer.start()
    wait_until(futures[2].done, "the end")
    server.room.set()
    closer.join()
    for future in futures[1:]:
        with pytest.raises(StateError, match="was stopped"):
            future.result(0)
    with pytest.raises(StateError, match="being stopped"):
        dispatcher.submit(request()).result(LIMIT_S)
    server.answer(0)
    assert futures[0].result(LIMIT_S).error is None, "what was sent is answered"
