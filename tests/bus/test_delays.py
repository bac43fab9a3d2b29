"""Delayed notifications against a model, with a clock in the test's own hands."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from labwire.bus import delays
from labwire.bus.delays import MAX_DELAY_S, DelayQueue
from labwire.errors import LabwireError, LimitError, ProtocolError
from tests.packing import pack, unpack


def delayed(subject: str, delay_s: float, *raw: bytes, **more: Any) -> list[bytes]:
    payload = {"subject": subject, "delay": delay_s, **more}
    return [b"delayed_notify." + subject.encode(), pack(payload), *raw]


class Model(RuleBasedStateMachine):
    """One pending per subject, the newest counts, never early, never lost."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = DelayQueue()
        self.now_s = 1000.0
        self.number = 0
        self.pending: dict[str, tuple[float, int]] = {}

    subjects = st.sampled_from(["a", "b", "c", "é.x"])

    @rule(subject=subjects, delay_s=st.floats(0, 20) | st.integers(0, 20))
    def add(self, subject: str, delay_s: float) -> None:
        self.number += 1
        self.queue.add(delayed(subject, delay_s, b"raw", n=self.number), self.now_s)
        self.pending[subject] = self.now_s + delay_s, self.number

    @rule(subject=subjects)
    def cancel(self, subject: str) -> None:
        assert self.queue.cancel(subject) == (self.pending.pop(subject, None) is not None)

    @rule(step_s=st.floats(0, 5))
    def wait(self, step_s: float) -> None:
        self.now_s += step_s
        fired = self.queue.take_due(self.now_s)
        due = sorted(
            (due_s, number, subject) for subject, (due_s, number) in self.pending.items() if due_s <= self.now_s
        )
        assert [message[0].decode() for message in fired] == [f"notify.{subject}" for _, _, subject in due]
        for message, (_, number, subject) in zip(fired, due, strict=True):
            assert unpack(message[1]) == {"subject": subject, "n": number}
            assert message[2:] == [b"raw"]
            del self.pending[subject]

    @invariant()
    def agrees(self) -> None:
        assert len(self.queue) == len(self.pending)
        assert self.queue.next_due_s() == min((due_s for due_s, _ in self.pending.values()), default=math.inf)


TestModel = Model.TestCase


def test_the_topic_in_the_payload_follows_only_if_it_was_there() -> None:
    queue = DelayQueue()
    queue.add(delayed("x", 0, topic="delayed_notify.x"), 0.0)
    queue.add(delayed("y", 0), 0.0)
    with_topic, without = queue.take_due(0.0)
    assert unpack(with_topic[1]) == {"subject": "x", "topic": "notify.x"}
    assert unpack(without[1]) == {"subject": "y"}


def test_what_comes_out_is_encoded_as_the_reference_encoder_would() -> None:
    queue = DelayQueue()
    more: dict[str, Any] = {"a": [1, -1, 2**63], "b": None, "c": 0.1, "d": b"\0\xff", "e": {"f": "ü"}, "g": 1 << 40}
    queue.add(delayed("x", 1, **more), 0.0)
    assert queue.take_due(1.0)[0][1] == pack({"subject": "x", **more})


def test_not_a_moment_early() -> None:
    queue = DelayQueue()
    queue.add(delayed("x", 0.3), 100.0)
    assert queue.take_due(math.nextafter(100.3, 0)) == []
    assert len(queue.take_due(100.3)) == 1


@pytest.mark.parametrize("delay", [-0.001, MAX_DELAY_S + 1, math.inf, math.nan, -math.inf, "1", None, True, [1], b"1"])
def test_a_delay_that_makes_no_sense_is_refused(delay: Any) -> None:
    queue = DelayQueue()
    with pytest.raises(ProtocolError, match="delay"):
        queue.add(delayed("x", delay), 0.0)
    assert len(queue) == 0


@pytest.mark.parametrize("subject", ["", 5, None, b"x", ["x"]])
def test_a_subject_that_is_none_is_refused(subject: Any) -> None:
    with pytest.raises(ProtocolError, match="subject"):
        DelayQueue().add([b"delayed_notify.x", pack({"subject": subject, "delay": 1})], 0.0)


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=4))
def test_garbage_is_refused_and_nothing_else(parts: list[bytes]) -> None:
    queue = DelayQueue()
    try:
        queue.add(parts, 0.0)
    except LabwireError:
        assert len(queue) == 0


def test_number_is_bounded_but_a_known_subject_can_still_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delays, "MAX_PENDING", 3)
    queue = DelayQueue()
    for subject in "abc":
        queue.add(delayed(subject, 5), 0.0)
    with pytest.raises(LimitError):
        queue.add(delayed("d", 5), 0.0)
    queue.add(delayed("a", 1, n=2), 0.0)
    assert queue.cancel("b")
    queue.add(delayed("d", 5), 0.0)
    assert [message[0] for message in queue.take_due(10.0)] == [b"notify.a", b"notify.c", b"notify.d"]


def test_bytes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delays, "MAX_PENDING_BYTES", 1000)
    queue = DelayQueue()
    queue.add(delayed("a", 5, bytes(600)), 0.0)
    with pytest.raises(LimitError, match="bytes"):
        queue.add(delayed("b", 5, bytes(600)), 0.0)
    queue.add(delayed("a", 5, bytes(700)), 0.0)  # what it replaces makes room
    assert queue.cancel("a")
    queue.add(delayed("b", 5, bytes(600)), 0.0)
    assert queue.take_due(5.0)
    queue.add(delayed("c", 5, bytes(900)), 0.0)


def test_a_subject_that_is_replaced_without_end_takes_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delays, "MAX_PENDING", 50)
    queue = DelayQueue()
    for n in range(10_000):
        queue.add(delayed("a", 1000, n=n), float(n))
        assert len(queue._heap) <= 101
    assert unpack(queue.take_due(1e9)[0][1])["n"] == 9999
