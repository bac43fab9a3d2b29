"""The live WebSocket of a real rig."""

from __future__ import annotations

import itertools

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from labwire.testing import wait_until
from labwire.testing.rig import RunningRig
from labwire.web.live_frame import Tag
from labwire.web.mailbox import IN_FLIGHT
from tests.web.http_kit import get, post
from tests.web.live_kit import browser

PICTURE = b"\xff\xd8" + bytes(200_000) + b"\xff\xd9"


def browsers(url: str) -> float:
    [line] = [
        line for line in get(url, "/metrics").body.decode().splitlines() if line.startswith("labwire_web_browsers ")
    ]
    return float(line.split()[1])


def test_it_says_hello_and_how_it_is(url: str) -> None:
    with browser(url) as page:
        hello = page.frame(Tag.HELLO).header
        assert hello["rig"] == "test-rig"
        assert hello["read_only"] is False
        status = page.frame(Tag.STATUS, lambda frame: frame.header["browsers"] >= 1).header
        assert status["rig"] is True
        assert status["dropped"] == {}
    wait_until(lambda: browsers(url) == 0)


def test_newest_messages_come_at_once_and_go_on(url: str) -> None:
    with browser(url) as page:
        page.wish(newest=["recorder."])
        for _ in range(2):
            frame = page.frame(Tag.MESSAGES, lambda frame: bool(frame.header["newest"]))
            assert {row[0] for row in frame.header["newest"]} == {"recorder.state"}


def test_every_notification_in_order(web_rig: RunningRig, url: str) -> None:
    with browser(url) as page, web_rig.connect() as rig:
        page.wish(all=["notify.n"], newest=["recorder."])
        page.frame(Tag.MESSAGES)  # the wish holds now
        for n in range(50):
            rig.notify("n", n=n)
        seen: list[int] = []
        while len(seen) < 50:
            seen += [row[1]["n"] for row in page.frame(Tag.MESSAGES).header["all"]]
        assert seen == list(range(50))


def test_a_page_begins_with_the_last_lines_of_the_log(web_rig: RunningRig, url: str) -> None:
    def lines() -> list[str]:
        with browser(url) as page:
            page.wish(all=["logging."], newest=["recorder."])
            return [row[1]["msg"] for row in page.frame(Tag.MESSAGES).header["all"]]

    assert post(url, "/api/notify", {"subject": "before_it_was_opened"}).status == 200
    wait_until(lambda: any("before_it_was_opened" in line for line in lines()))


def test_series_of_the_eyes(url: str) -> None:
    with browser(url) as page:
        page.wish(series=[{"id": "d", "topic": "pupil.0.2d", "field": "diameter"}])
        seen: list[tuple[float, float]] = []
        while len(seen) < 100:
            frame = page.frame(Tag.SERIES)
            [[key, count, dropped]] = frame.header["series"]
            numbers = frame.body.cast("d")
            assert (key, dropped, len(numbers)) == ("d", 0, 2 * count)
            seen += zip(numbers[:count], numbers[count:], strict=True)
        times = [time_s for time_s, _ in seen]
        assert times == sorted(times)
        assert all(value > 0 for _, value in seen)


def test_a_picture_comes_as_it_is_and_a_slow_browser_gets_the_newest(web_rig: RunningRig, url: str) -> None:
    with browser(url) as slow, browser(url) as quick, web_rig.connect() as rig:
        for page in (slow, quick):
            page.wish(pictures=["frame.test"], newest=["recorder."])
            page.frame(Tag.MESSAGES)
        for n in range(30):
            rig.publish("frame.test", {"index": n, "format": "jpeg"}, [PICTURE])
            frame = quick.frame(Tag.PICTURE)
            assert frame.header["payload"]["index"] == n
            assert bytes(frame.body) == PICTURE
            quick.shown("frame.test")
        first = [slow.frame(Tag.PICTURE).header["payload"]["index"] for _ in range(IN_FLIGHT)]
        assert first == [0, 1]
        slow.shown("frame.test")
        last = slow.frame(Tag.PICTURE).header
        assert last["payload"]["index"] == 29, "never an old one"
        assert last["dropped"] == 27
        dropped = slow.frame(Tag.STATUS, lambda frame: bool(frame.header["dropped"])).header["dropped"]
        assert dropped == {"frame.test": 27}


def test_one_who_never_reads_keeps_nobody_up(web_rig: RunningRig, url: str) -> None:
    with browser(url) as stuck, browser(url) as quick, web_rig.connect() as rig:
        stuck.wish(all=[""], pictures=["frame.test"])
        quick.wish(all=["count"], newest=["recorder."])
        quick.frame(Tag.MESSAGES)
        seen: list[int] = []
        for n in itertools.count():
            rig.publish("count", {"n": n, "ballast": "x" * 50_000})
            if n % 20 == 19:
                seen += [row[1]["n"] for row in quick.frame(Tag.MESSAGES).header["all"]]
            if n >= 300:
                break
        while not seen or seen[-1] != 300:
            seen += [row[1]["n"] for row in quick.frame(Tag.MESSAGES).header["all"]]
        assert seen == sorted(seen)
        assert get(url, "/health").status == 200


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://evil.example"}, {"Sec_Fetch_Site": "cross-site", "Origin": "null"}]
)
def test_a_page_of_another_site_sees_nothing(url: str, headers: dict[str, str]) -> None:
    with pytest.raises(InvalidStatus, match="403"), browser(url, **headers):
        pass


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"wish": {"newest": 1}}',
        '{"wish": {"series": [{"id": "a", "topic": "t", "field": ""}]}}',
        '{"wish": {"all": ["' + "x" * 300 + '"]}}',
        "x" * (1 << 16) + "x",
    ],
)
def test_what_makes_no_sense_ends_the_connection(url: str, text: str) -> None:
    with browser(url) as page:
        page.socket.send(text)
        with pytest.raises(ConnectionClosed):
            while True:
                page.frame(Tag.STATUS)
    assert get(url, "/health").status == 200
