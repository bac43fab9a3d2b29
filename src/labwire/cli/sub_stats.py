"""``labwire sub --stats``: rates by topic, counted here, each second."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING

import msgspec
from rich.live import Live
from rich.table import Table
from rich.text import Text

from labwire.cli.output import console, write_json
from labwire.cli.show import make_table
from labwire.cli.units import size
from labwire.errors import DeadlineError, ProtocolError
from labwire.wire.bus_message import peek_header

if TYPE_CHECKING:
    from labwire.bus.subscription import Subscription

_INTERVAL_S = 1.0
_SHORTEST_S = 0.1
"""A turn that ended before, because enough messages had come, gives no rates: one message has none."""
_QUIET_TURNS = 3
_SHOWN_TOPICS = 40
_Print = Callable[[list["TopicRate"], int], None]


class TopicRate(msgspec.Struct, frozen=True):
    """What arrived of one topic."""

    topic: str
    messages_hz: float | None
    """None if the time was too short to know."""
    bytes_hz: float | None
    """Topic, payload and raw parts."""
    messages: int
    """Since the beginning."""
    missed: int | None
    """Since the beginning; None if the messages have no numbers, so that nobody can know."""


class RateCounter:
    """Counts messages by topic."""

    def __init__(self) -> None:
        self._total: dict[bytes, int] = {}
        self._messages: dict[bytes, int] = {}
        self._bytes: dict[bytes, int] = {}
        self._is_numbered: dict[bytes, bool] = {}

    def count(self, parts: list[bytes]) -> None:
        """Count a message."""
        topic = parts[0]
        if topic not in self._is_numbered:
            self._is_numbered[topic] = _has_number(parts)
        self._messages[topic] = self._messages.get(topic, 0) + 1
        self._bytes[topic] = self._bytes.get(topic, 0) + sum(map(len, parts))

    def take(self, interval_s: float, missed: Mapping[str, int]) -> list[TopicRate]:
        """Return what was counted since the last call, busiest topic first.

        Args:
            interval_s: How long that was.
            missed: Messages that did not arrive, by topic.
        """
        for topic, number in self._messages.items():
            self._total[topic] = self._total.get(topic, 0) + number
        rows = [self._rate(topic, interval_s, missed) for topic in self._total]
        self._messages, self._bytes = {}, {}
        return sorted(rows, key=lambda row: (-(row.messages_hz or 0.0), row.topic))

    def _rate(self, topic: bytes, interval_s: float, missed: Mapping[str, int]) -> TopicRate:
        name = topic.decode("utf-8", "replace")
        messages, octets = self._messages.get(topic, 0), self._bytes.get(topic, 0)
        known = missed.get(name, 0 if self._is_numbered[topic] else None)
        rates = (None, None) if interval_s < _SHORTEST_S else (messages / interval_s, octets / interval_s)
        return TopicRate(name, *rates, self._total[topic], known)


def _has_number(parts: list[bytes]) -> bool:
    with contextlib.suppress(ProtocolError, IndexError):
        return None not in {(header := peek_header(parts[1])).seq, header.emitter}
    return False


def show_stats(
    parts: Subscription[list[bytes]],
    *,
    as_json: bool,
    limit_s: float = math.inf,
    limit: int | None = None,
    on_quiet: Callable[[], None] = lambda: None,
) -> None:
    """Print rates each second until the time is up or enough messages have come.

    Args:
        parts: What comes.
        as_json: Print JSON.
        limit_s: When the time is up.
        limit: How many messages are enough.
        on_quiet: Called once if at first none come for `_QUIET_TURNS` seconds.
    """
    counter, taken, turns = RateCounter(), 0, 0
    end_s = time.monotonic() + limit_s
    with _printer(as_json=as_json) as show:
        began_s = time.monotonic()
        while began_s < end_s and (limit is None or taken < limit):
            turn_s = min(end_s, began_s + _INTERVAL_S)
            taken += _count_until(parts, counter, turn_s, None if limit is None else limit - taken)
            now_s = time.monotonic()
            rows = counter.take(now_s - began_s, _missed_by_topic(parts))
            show(rows, parts.statistics().dropped)
            began_s, turns = now_s, turns + 1
            if not taken and turns == _QUIET_TURNS:
                on_quiet()


def _count_until(parts: Subscription[list[bytes]], counter: RateCounter, end_s: float, limit: int | None) -> int:
    taken = 0
    while (limit is None or taken < limit) and (left_s := end_s - time.monotonic()) > 0:
        try:
            counter.count(parts.recv(left_s))
        except DeadlineError:
            break
        taken += 1
    return taken


def _missed_by_topic(parts: Subscription[list[bytes]]) -> dict[str, int]:
    missed: dict[str, int] = {}
    for (_, topic), number in parts.gaps.items():
        missed[topic] = missed.get(topic, 0) + number
    return missed


@contextlib.contextmanager
def _printer(*, as_json: bool) -> Generator[_Print]:
    out = console()
    if as_json:
        yield lambda rows, dropped: write_json({"topics": rows, "dropped": dropped})
    elif sys.stdout.isatty():
        with Live(console=out, auto_refresh=False) as live:
            yield lambda rows, dropped: live.update(table_of_rates(rows, dropped), refresh=True)
    else:
        yield lambda rows, dropped: out.print(table_of_rates(rows, dropped), "")


def table_of_rates(rows: list[TopicRate], dropped: int) -> Table:
    """Return the table that a person sees."""
    table = make_table(["topic", "messages/s", "bytes/s", "messages", "missed"])
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows[:_SHOWN_TOPICS]:
        rates = ["-" if row.messages_hz is None else f"{row.messages_hz:.1f}"]
        rates += ["-" if row.bytes_hz is None else size(row.bytes_hz)]
        cells = [row.topic, *rates, str(row.messages)]
        table.add_row(*map(Text, [*cells, "-" if row.missed is None else str(row.missed)]))
    if len(rows) > _SHOWN_TOPICS:
        table.add_row(f"… {len(rows) - _SHOWN_TOPICS} more topics")
    captions = ["-: these messages have no numbers, so nobody knows"] if None in {row.missed for row in rows} else []
    if None in {row.messages_hz for row in rows}:
        captions.append(f"no rates: what came took less than {_SHORTEST_S:g} s")
    if dropped:
        captions.append(f"{dropped} messages dropped here: more came than could be counted")
    table.caption = "\n".join(captions) or None
    return table
