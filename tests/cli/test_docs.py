"""``labwire docs``: gathering and printing what actors say of themselves."""

from __future__ import annotations

from typing import Any

from labwire.cli.docs import QUIET_S, documentation, gather
from labwire.errors import DeadlineError
from labwire.wire.bus_message import BusMessage


class Answers:
    """Actors that answer one after the other, on a clock of their own."""

    def __init__(self, *answers: tuple[float, dict[Any, Any]]) -> None:
        self.now_s = 0.0
        self._answers = list(answers)

    def recv(self, timeout_s: float) -> BusMessage:
        if self._answers and self._answers[0][0] <= timeout_s:
            after_s, payload = self._answers.pop(0)
            self.now_s += after_s
            return BusMessage("notify.meta.doc", payload)
        self.now_s += timeout_s
        raise DeadlineError("none")

    def gather(self, *known: str) -> list[dict[Any, Any]]:
        return gather(self.recv, lambda: self.now_s, set(known))


def test_answers_are_sorted_and_each_actor_is_there_once() -> None:
    answers = Answers((1.9, {"actor": "b"}), (0.4, {"actor": "A"}), (0.4, {"actor": "b", "doc": "again"}))
    assert answers.gather() == [{"actor": "A"}, {"actor": "b", "doc": "again"}]


def test_it_ends_when_nobody_answers_any_more() -> None:
    answers = Answers((0.1, {"actor": "a"}), (QUIET_S + 0.1, {"actor": "late"}))
    assert answers.gather() == [{"actor": "a"}]
    assert Answers().gather() == []


def test_who_is_known_to_run_may_take_longer() -> None:
    answers = Answers((0.1, {"actor": "a"}), (QUIET_S + 0.1, {"actor": "busy"}), (QUIET_S + 0.1, {"actor": "late"}))
    assert answers.gather("a", "busy") == [{"actor": "a"}, {"actor": "busy"}]
    assert Answers((0.1, {"actor": "a"})).gather("hangs") == [{"actor": "a"}]


def test_it_ends_although_somebody_answers_for_ever() -> None:
    answers = Answers(*[(0.3, {"actor": str(n)}) for n in range(1000)])
    assert 30 <= len(answers.gather()) <= 40


def test_it_prints_as_the_example_of_the_specification() -> None:
    doc = "Handles recorder notifications\n\nReacts to notifications:\n    ``recording.should_start``: Starts"
    assert documentation({"actor": "Recorder", "doc": doc}) == (
        "Recorder: Handles recorder notifications\n\n"
        "    Reacts to notifications:\n"
        "        ``recording.should_start``: Starts"
    )


def test_foreign_answers_need_not_be_complete() -> None:
    assert documentation({}) == "?: "
    assert documentation({"actor": 7, "doc": None}) == "7: "
    raw = "Starts eye processes.\n\n        Reacts to:\n            ``x``"
    assert documentation({"actor": "a", "doc": raw}).splitlines()[2] == "    Reacts to:"
