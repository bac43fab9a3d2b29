"""A feed hands pictures over, counts what it drops, and opens again what failed."""

from __future__ import annotations

import queue
import threading
from typing import Any

import numpy as np
import pytest

from labwire.errors import DeadlineError, DeviceError, StateError, UsageError
from labwire.picture import Picture, encode_jpeg
from labwire.sources.feed import PictureFeed
from labwire.sources.picture_source import SourceDescription

JPEG = encode_jpeg(np.zeros((48, 64, 3), np.uint8))
WAIT_S = 10.0


def picture(index: int, data: bytes = JPEG) -> Picture:
    return Picture(index=index, monotonic_s=index / 10, epoch_us=index, width=64, height=48, format="jpeg", data=data)


class ScriptedSource:
    """Delivers what the test puts in; an exception is raised, None ends."""

    malformed = 0

    def __init__(self, *script: Picture | Exception | None) -> None:
        self.script: queue.Queue[Picture | Exception | None] = queue.Queue()
        for item in script:
            self.script.put(item)
        self.opened = self.closed = 0
        self.fail_open = 0
        self._closing = threading.Event()

    def open(self) -> None:
        self._closing.clear()
        if self.fail_open:
            self.fail_open -= 1
            raise DeviceError("no such camera")
        self.opened += 1

    def read(self) -> Picture | None:
        while not self._closing.is_set():
            try:
                item = self.script.get(timeout=0.005)
            except queue.Empty:
                continue
            if isinstance(item, Exception):
                raise item
            return item
        return None

    def close(self) -> None:
        self.closed += 1
        self._closing.set()

    def describe(self) -> SourceDescription:
        return SourceDescription(kind="camera", name="scripted")


class Events(list[tuple[str, dict[str, Any]]]):
    """Collects what a feed reports."""

    def __call__(self, kind: str, data: dict[str, Any]) -> None:
        self.append((kind, data))

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self]


def test_pictures_come_in_order_and_the_end_is_told() -> None:
    events = Events()
    with PictureFeed(ScriptedSource(*map(picture, range(3)), None), on_event=events) as feed:
        assert [taken.index for taken in feed] == [0, 1, 2]
    assert events.kinds() == ["opened", "ended"]
    assert events[0][1]["name"] == "scripted"


def test_full_queue_drops_the_oldest_and_counts() -> None:
    with PictureFeed(ScriptedSource(*map(picture, range(10)), None), depth=2, policy="drop_old") as feed:
        feed._thread.join(WAIT_S)
        assert [taken.index for taken in feed] == [8, 9]
        counters = feed.counters()
    assert (counters.read, counters.dropped) == (10, 8)


def test_what_a_source_drops_itself_is_counted() -> None:
    with PictureFeed(ScriptedSource(*map(picture, (5, 6, 9, 10)), None), depth=8) as feed:
        assert [taken.index for taken in feed] == [5, 6, 9, 10]
        assert feed.counters().dropped == 2


def test_blocked_feed_can_be_closed() -> None:
    source = ScriptedSource(*map(picture, range(10)))
    with PictureFeed(source, depth=1, policy="block") as feed:
        assert feed.get(WAIT_S).index == 0
    assert source.closed
    assert not feed._thread.is_alive()


def test_jpeg_passes_as_it_came() -> None:
    with PictureFeed(ScriptedSource(picture(0), None)) as feed:
        assert feed.get(WAIT_S).data is JPEG


def test_format_can_be_changed_while_it_runs() -> None:
    source = ScriptedSource(picture(0))
    with PictureFeed(source) as feed:
        assert feed.get(WAIT_S).format == "jpeg"
        feed.set_format("gray")
        source.script.put(picture(1))
        taken = feed.get(WAIT_S)
        assert (taken.format, len(taken.data)) == ("gray", 64 * 48)
        with pytest.raises(UsageError, match="jpeg, bgr, gray"):
            feed.set_format("yuv")
        assert feed.format == "gray"


def test_broken_picture_is_counted_and_the_next_one_comes() -> None:
    with PictureFeed(ScriptedSource(picture(0, b"torn"), picture(1)), format="bgr") as feed:
        assert feed.get(WAIT_S).index == 1
        assert feed.counters().malformed == 1


def test_source_that_fails_is_opened_again() -> None:
    events = Events()
    source = ScriptedSource(picture(0), DeviceError("unplugged"), picture(1))
    source.fail_open = 2
    with PictureFeed(source, on_event=events, first_retry_s=0.001) as feed:
        assert [feed.get(WAIT_S).index for _ in range(2)] == [0, 1]
        assert feed.counters().failures == 3
    assert events.kinds() == ["failed", "failed", "opened", "failed", "opened"]
    retries = [data["retry_in_s"] for kind, data in events if kind == "failed"]
    assert retries == [0.001, 0.002, 0.001]  # doubles; begins again once a picture came
    assert events[3][1]["reason"] == "unplugged"


def test_what_is_played_once_does_not_begin_anew() -> None:
    events = Events()
    source = ScriptedSource(picture(0), DeviceError("torn"), picture(1))
    with PictureFeed(source, on_event=events, once=True) as feed:
        assert [taken.index for taken in feed] == [0]
    assert events[1:] == [("failed", {"reason": "torn", "retry_in_s": None})]
    assert source.opened == 1


def test_pause_between_attempts_has_a_limit() -> None:
    events = Events()
    source = ScriptedSource(picture(0))
    source.fail_open = 8
    with PictureFeed(source, on_event=events, first_retry_s=0.0001) as feed:
        feed.get(WAIT_S)
    assert max(data["retry_in_s"] for kind, data in events if kind == "failed") == pytest.approx(0.0016)


def test_error_that_nobody_foresaw_does_not_end_the_feed(caplog: pytest.LogCaptureFixture) -> None:
    with PictureFeed(ScriptedSource(ZeroDivisionError("oops"), picture(1)), first_retry_s=0.001) as feed:
        assert feed.get(WAIT_S).index == 1
    assert "not foreseen" in caplog.text


def test_listener_that_raises_does_not_end_the_feed(caplog: pytest.LogCaptureFixture) -> None:
    def listener(kind: str, data: dict[str, Any]) -> None:
        raise RuntimeError(kind)

    with PictureFeed(ScriptedSource(picture(0)), on_event=listener) as feed:
        assert feed.get(WAIT_S).index == 0
    assert "telling of opened" in caplog.text


def test_get_says_when_nothing_came_and_when_all_is_over() -> None:
    feed = PictureFeed(ScriptedSource()).start()
    with pytest.raises(DeadlineError):
        feed.get(0)
    feed.close()
    feed.close()
    with pytest.raises(StateError):
        feed.get(0)


def test_closed_while_it_waits_to_try_again() -> None:
    source = ScriptedSource()
    source.fail_open = 1000
    failed = threading.Event()
    feed = PictureFeed(source, on_event=lambda *_: failed.set(), first_retry_s=3600).start()
    assert failed.wait(WAIT_S)
    feed.close()
    assert not feed._thread.is_alive()
