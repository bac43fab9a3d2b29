"""A replay sends everything in order, and does what it is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from labwire.errors import DeviceError, UsageError
from labwire.operations.replay import ReplayStatus
from labwire.sessions.replay.replay_source import ReplaySource, Timed
from labwire.sessions.replay.replayer import Replayer
from tests.sessions.making import wait_for


class Numbers(ReplaySource):
    """A message each millisecond, its number as topic."""

    def __init__(self, count: int = 1000, *, broken_at: int | None = None) -> None:
        self.count, self.broken_at = count, broken_at
        self.duration_s = count / 1000
        self.closed = False

    def messages(self, from_s: float) -> Iterator[Timed]:
        for number in range(round(from_s * 1000), self.count):
            if number == self.broken_at:
                raise DeviceError("the disk fails")
            yield Timed(number / 1000, (str(number).encode(),))

    def rig_time_s(self, time_s: float) -> float:
        return 500.0 + time_s

    def close(self) -> None:
        self.closed = True


class Stage:
    """A replay and what came of it."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.clock: list[float] = []
        self.states: list[ReplayStatus] = []
        self.trouble: list[str] = []
        self.takes = True
        self.gate = threading.Event()
        self.gate.set()
        self.replays: list[Replayer] = []

    def play(self, source: ReplaySource, **options: Any) -> Replayer:
        replayer = Replayer(
            source, "numbers", send=self.send, set_clock=self.clock.append,
            on_change=self.states.append, on_trouble=self.trouble.append, **options,
        )  # fmt: skip
        self.replays.append(replayer)
        replayer.start()
        return replayer

    def send(self, parts: tuple[bytes, ...]) -> bool:
        assert self.gate.wait(20)
        self.sent.append(int(parts[0]))
        return self.takes


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.gate.set()
    for replayer in stage.replays:
        replayer.close()
        replayer.close()


def test_everything_goes_out_once_in_order_and_it_ends(stage: Stage) -> None:
    source = Numbers()
    replayer = stage.play(source, speed=20)
    wait_for(lambda: replayer.status().state == "ended")
    assert stage.sent == list(range(1000))
    status = replayer.status()
    assert (status.messages, status.lost, status.time_s) == (1000, 0, 1.0)
    assert status.late_median_us is not None
    assert [one.state for one in stage.states] == ["ended"]
    assert 500.0 <= stage.clock[0] <= 501.0
    replayer.close()
    assert source.closed


def test_rig_time_is_set_to_that_of_the_place_where_it_begins(stage: Stage) -> None:
    stage.play(Numbers(), speed=0.01, from_s=0.5)  # so slow that it is there for long
    wait_for(lambda: bool(stage.clock))
    assert stage.clock[0] == pytest.approx(500.5, abs=0.2)


def test_pause_holds_and_resume_goes_on_without_a_loss(stage: Stage) -> None:
    replayer = stage.play(Numbers(), speed=0.2)
    wait_for(lambda: len(stage.sent) > 20)
    paused = replayer.pause()
    wait_for(lambda: replayer.status().messages == len(stage.sent))
    count = len(stage.sent)
    assert paused.state == "paused"
    assert replayer.pause().time_s == paused.time_s
    assert len(stage.sent) - count <= 1, "one may have been on its way"
    replayer.set_speed(100)
    replayer.resume()
    wait_for(lambda: replayer.status().state == "ended")
    assert stage.sent == list(range(1000))


def test_seek_forward_and_back(stage: Stage) -> None:
    replayer = stage.play(Numbers(), speed=0.01)
    replayer.seek(0.9)
    replayer.set_speed(10)
    wait_for(lambda: replayer.status().state == "ended")
    assert stage.sent[-100:] == list(range(900, 1000))
    assert len(stage.sent) < 300, "few of the first 900"
    replayer.seek(0.95)
    wait_for(lambda: len(stage.states) > 0 and stage.states[-1].state == "ended" and stage.sent[-50] == 950)
    assert stage.sent[-50:] == list(range(950, 1000))


def test_a_paused_replay_that_is_moved_stays_paused_there(stage: Stage) -> None:
    replayer = stage.play(Numbers(), speed=0.01)
    replayer.pause()
    assert (replayer.seek(0.5).state, replayer.status().time_s) == ("paused", 0.5)
    replayer.set_speed(50)
    replayer.resume()
    wait_for(lambda: 999 in stage.sent)
    assert stage.sent[-500:] == list(range(500, 1000))


def test_a_loop_begins_anew_where_it_began(stage: Stage) -> None:
    replayer = stage.play(Numbers(30), speed=10, from_s=0.02, loop=True)
    wait_for(lambda: replayer.status().loops >= 3)
    replayer.pause()
    assert stage.sent[:30] == list(range(20, 30)) * 3


def test_an_ended_replay_begins_anew(stage: Stage) -> None:
    replayer = stage.play(Numbers(10), speed=100)
    wait_for(lambda: replayer.status().state == "ended")
    replayer.resume()
    wait_for(lambda: len(stage.sent) == 20)
    assert stage.sent == list(range(10)) * 2


def test_an_ended_replay_that_is_paused_and_moved_waits_there(stage: Stage) -> None:
    replayer = stage.play(Numbers(10), speed=100)
    wait_for(lambda: replayer.status().state == "ended")
    assert replayer.pause().state == "paused"
    assert (replayer.seek(0.005).state, len(stage.sent)) == ("paused", 10)
    replayer.resume()
    wait_for(lambda: len(stage.sent) == 15)
    wait_for(lambda: replayer.status().state == "ended")
    replayer.pause()
    replayer.resume()
    wait_for(lambda: len(stage.sent) == 25)


def test_a_bus_that_stands_still_makes_it_late_and_loses_nothing(stage: Stage) -> None:
    stage.gate.clear()
    replayer = stage.play(Numbers(200), speed=10)
    wait_for(lambda: replayer.status().time_s >= 0.2)
    stage.gate.set()
    wait_for(lambda: replayer.status().state == "ended")
    assert stage.sent == list(range(200))
    late = replayer.status().late_max_us
    assert late is not None
    assert late > 10_000


def test_what_the_bus_does_not_take_is_counted(stage: Stage) -> None:
    stage.takes = False
    replayer = stage.play(Numbers(10), speed=100)
    wait_for(lambda: replayer.status().state == "ended")
    assert replayer.status().lost == 10


def test_a_recording_that_cannot_be_read_on_pauses_and_says_so(stage: Stage) -> None:
    replayer = stage.play(Numbers(broken_at=5), speed=100)
    wait_for(lambda: bool(stage.trouble))
    assert "the disk fails" in stage.trouble[0]
    wait_for(lambda: replayer.status().state == "paused")
    replayer.seek(0.9)
    replayer.resume()
    wait_for(lambda: 999 in stage.sent)


@pytest.mark.parametrize("options", [{"speed": 0}, {"speed": -1.0}, {"speed": float("nan")}, {"from_s": 2.0}])
def test_refusals(options: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Replayer(Numbers(), "numbers", send=lambda parts: True, **options)  # pyright: ignore[reportArgumentType]


def test_refusals_while_it_runs(stage: Stage) -> None:
    replayer = stage.play(Numbers(), speed=0.01)
    for wrong in (-1.0, 5.0, float("nan")):
        with pytest.raises(UsageError):
            replayer.seek(wrong)
    with pytest.raises(UsageError):
        replayer.set_speed(1e6)
