"""What the server keeps of the bus for pages that open later."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec
import pytest

from labwire.client.rig import Rig
from labwire.web.feed import MAX_LOG, MAX_LOG_BYTES, Feed
from labwire.web.mailbox import Mailbox, Wish


@pytest.fixture
def feed() -> Iterator[Feed]:
    """A feed that is given messages by hand, and no bus."""
    with contextlib.closing(Rig("127.0.0.1", 1, timeout_s=1.0)) as nobody:
        yield Feed(nobody, lambda: 5.0)


def line(text: str, *raw: bytes) -> list[bytes]:
    return [b"logging.info", msgspec.msgpack.encode({"topic": "logging.info", "msg": text}), *raw]


def opened(feed: Feed) -> list[str]:
    page = Mailbox(lambda: None)
    feed.add(page)
    feed.set_wish(page, Wish(all=["logging."]))
    return [str(one.payload["msg"]) for one in page.take_messages()[1]]


def test_the_last_lines_of_the_log_are_kept_and_not_what_is_large(feed: Feed) -> None:
    feed.take(line("long" * MAX_LOG_BYTES))
    for number in range(MAX_LOG + 5):
        feed.take(line(str(number), bytes(1000)))
    assert opened(feed) == [str(number) for number in range(5, MAX_LOG + 5)]
    assert not any(one.raw for one in feed._log_tail)
