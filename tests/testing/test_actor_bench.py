"""An actor on a bench does what it would do in a rig, at once and at the moments that the test chooses."""

from __future__ import annotations

import threading

import pytest

from labwire import Actor
from labwire.bus.actor import ActorContext, Notification
from labwire.errors import ConfigError, NotFoundError, UsageError
from labwire.operations.actors import Actors
from labwire.strict import Strict
from labwire.testing import ActorBench


class Alarm(Actor):
    """Rings."""

    hears = ("recording.", "alarm.")

    class Config(Strict):
        interval_s: float = 0.5
        word: str = "ring"

    options: Config

    def __init__(self, context: ActorContext) -> None:
        super().__init__(context)
        self.story: list[str] = []

    def on_start(self) -> None:
        self.beats = 0
        self.timer = self.every(self.options.interval_s, self.beat)

    def on_stop(self) -> None:
        self.story.append("stopped")
        self.emit("alarm.end", {"beats": self.beats})

    def say_when(self) -> None:
        self.post(lambda: self.story.append(f"{self.clock.now():.1f}"))

    def beat(self) -> None:
        self.beats += 1
        self.emit("alarm.beat", {"timestamp": self.clock.now(), "place": (1, 2)}, [b"\x00"], numbered=True)

    def on_notify(self, notification: Notification) -> None:
        match notification["subject"]:
            case "recording.failed":
                self.notify("alarm.rang", word=self.options.word, why=notification["reason"])
                self.notify("alarm.quiet", delay=3.0)
            case "alarm.leave":
                self.leave()
            case "alarm.stop":
                self.timer.cancel()
            case "alarm.break":
                raise ZeroDivisionError
            case "alarm.send":
                self.emit("alarm.bad", {"lock": threading.Lock()})
            case "alarm.ask":
                self.service_of(Actors).list()
            case "alarm.later":
                self.call_later(1.0, self.say_when)
            case _:
                self.story.append(notification["subject"])


def test_timers_fall_due_as_time_passes() -> None:
    with ActorBench(Alarm, interval_s=0.25) as bench:
        bench.clock.set_now(10.0)
        bench.advance(0.2)
        assert bench.emitted() == []
        bench.advance(0.55)
        sent = bench.emitted("alarm.beat")
    assert [message.payload["timestamp"] for message in sent] == [10.25, 10.5, 10.75]
    assert [(message.payload["seq"], message.payload["emitter"]) for message in sent] == [
        (number, "bench") for number in range(3)
    ]
    assert sent[0].payload["place"] == [1, 2], "as it arrives"
    assert sent[0].raw == [b"\x00"]
    assert bench.actor.story == ["stopped"]
    assert bench.sent[-1].payload == {"topic": "alarm.end", "beats": 3}


def test_notifications_come_and_go() -> None:
    with ActorBench(Alarm, name="bell", word="clang") as bench:
        bench.notify("recording.failed", reason="disk")
        assert bench.notified("alarm.rang") == [
            {"subject": "alarm.rang", "word": "clang", "why": "disk", "topic": "notify.alarm.rang"}
        ]
        assert bench.notified("alarm.quiet")[0]["delay"] == 3.0
        assert bench.emitted() == []


def test_it_hears_what_its_class_says() -> None:
    with ActorBench(Alarm) as bench:
        bench.notify("recording.started")
        bench.notify("calibration.started")
        assert bench.actor.story == ["recording.started"]


def test_what_is_posted_and_due_later_runs_in_its_moment() -> None:
    with ActorBench(Alarm) as bench:
        bench.clock.set_now(0.0)
        bench.notify("alarm.later")
        bench.notify("alarm.stop")
        bench.advance(0.9)
        assert bench.actor.story == []
        bench.advance(5)
        assert bench.actor.story == ["1.0"]
        assert bench.emitted() == [], "a cancelled timer is quiet"


def test_it_can_leave() -> None:
    with ActorBench(Alarm) as bench:
        assert not bench.has_left
        bench.notify("alarm.leave")
        assert bench.has_left


def test_what_goes_wrong_is_the_tests_to_see() -> None:
    with ActorBench(Alarm) as bench:
        with pytest.raises(ZeroDivisionError):
            bench.notify("alarm.break")
        with pytest.raises(UsageError):
            bench.notify("alarm.send")
        with pytest.raises(NotFoundError, match="running_rig"):
            bench.notify("alarm.ask")
        with pytest.raises(UsageError):
            bench.advance(-1)
    with pytest.raises(ConfigError, match="volume"):
        ActorBench(Alarm, volume=3)
