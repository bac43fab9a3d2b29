"""Lists of commands: their order, what runs at the same time, where they stop."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Any

import pytest

from labwire.errors import CancelledError, CommandFailedError, InternalError, LabwireError, NotFoundError
from labwire.instruments.calling.command_list import WINDOW, CommandList, Done
from labwire.instruments.calling.dispatch import Outcome
from labwire.operations.instruments import CommandRequest, RunProgress
from labwire.wire.instrument_message import Command, CommandResponse
from tests.bus.fake_hub import LIMIT_S, wait_until


class Desk:
    """Takes commands; answers those whose verb does not say otherwise at once, or when the test says so."""

    def __init__(self, *, holding: bool = False) -> None:
        self.holding = holding
        self.sent: list[CommandRequest] = []
        self.futures: list[Future[Outcome]] = []

    def submit(self, request: CommandRequest) -> Future[Outcome]:
        future: Future[Outcome] = Future()
        self.sent.append(request)
        self.futures.append(future)
        if not self.holding:
            self.finish(len(self.sent) - 1)
        return future

    def finish(self, number: int) -> None:
        request, future = self.sent[number], self.futures[number]
        if request.verb == "NOPE":
            future.set_exception(NotFoundError("no verb 'NOPE'"))
            return
        if request.verb == "BUG":
            future.set_exception(ZeroDivisionError("oops"))
            return
        error = CommandFailedError("it failed") if request.verb == "FAIL" else None
        command = Command(id=f"{request.name}-{number}", instrument_name=request.name, verb=request.verb)
        response = CommandResponse(command_id=command.id, success=error is None, return_value=request.params.get("n"))
        future.set_result(Outcome(request, command, response, error, 0.0, 0.0))


def commands(*verbs: str, name: str = "A") -> list[CommandRequest]:
    return [CommandRequest(name=name, verb=verb, params={"n": n}) for n, verb in enumerate(verbs)]


def run(desk: Desk, listed: list[CommandRequest], *, stop_on_error: bool = True) -> list[tuple[int, Done]]:
    return CommandList(listed, desk.submit, stop_on_error=stop_on_error).run(lambda _: None, lambda: False)


def values(results: list[tuple[int, Done]]) -> list[Any]:
    return [type(done).__name__ if isinstance(done, LabwireError) else done.value for _, done in results]


def test_results_stand_in_the_order_of_the_commands() -> None:
    listed = [CommandRequest(name="AB"[n % 2], verb="READ", params={"n": n}) for n in range(1000)]
    assert values(run(Desk(), listed)) == list(range(1000))


def test_nothing_is_sent_after_a_failure() -> None:
    desk = Desk()
    results = run(desk, commands("READ", "FAIL", "READ", "READ"))
    assert [number for number, _ in results] == [0, 1]
    assert [request.verb for request in desk.sent] == ["READ", "FAIL"]
    assert values(run(Desk(), commands("NOPE", "READ"))) == ["NotFoundError"]


def test_or_everything_is() -> None:
    assert values(run(Desk(), commands("READ", "FAIL", "NOPE", "BUG", "READ"), stop_on_error=False)) == [
        0,
        1,
        "NotFoundError",
        "InternalError",
        4,
    ]
    assert issubclass(InternalError, LabwireError)


@pytest.mark.parametrize(("stop_on_error", "ahead"), [(True, 1), (False, WINDOW)])
def test_instruments_run_at_the_same_time(stop_on_error: bool, ahead: int) -> None:  # noqa: FBT001
    desk = Desk(holding=True)
    listed = [*commands(*["READ"] * 200), *commands(*["READ"] * 200, name="B")]
    ended: list[list[tuple[int, Done]]] = []
    runner = threading.Thread(target=lambda: ended.append(run(desk, listed, stop_on_error=stop_on_error)))
    runner.start()
    wait_until(lambda: len(desk.sent) == 2 * ahead, "those that may be on their way")
    assert {request.name for request in desk.sent} == {"A", "B"}
    desk.holding = False
    for number in range(2 * ahead):
        desk.finish(number)
    runner.join(LIMIT_S)
    assert len(ended[0]) == 400
    in_order = [request.params["n"] for request in desk.sent if request.name == "B"]
    assert in_order == list(range(200))


def test_a_list_can_be_cancelled() -> None:
    desk, cancelled = Desk(holding=True), threading.Event()
    reports: list[RunProgress] = []
    errors: list[Exception] = []

    def work() -> None:
        try:
            CommandList(commands(*["READ"] * 9), desk.submit, stop_on_error=True).run(reports.append, cancelled.is_set)
        except CancelledError as error:
            errors.append(error)

    runner = threading.Thread(target=work)
    runner.start()
    wait_until(lambda: len(desk.sent) == 1, "the first")
    desk.finish(0)
    wait_until(lambda: len(desk.sent) == 2, "the second")
    cancelled.set()
    desk.finish(1)
    runner.join(LIMIT_S)
    assert len(errors) == 1
    assert len(desk.sent) == 2, "what was on its way is waited for, nothing follows"


def test_it_tells_how_far_it_is() -> None:
    reports: list[RunProgress] = []
    CommandList(commands("READ", "FAIL", "READ"), Desk().submit, stop_on_error=False).run(reports.append, lambda: False)
    assert reports[-1] == RunProgress("commands", 3, 3, 1)
