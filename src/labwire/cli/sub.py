"""``labwire sub``: what is on the bus, message by message or as rates."""

from __future__ import annotations

import datetime as dt
import math
import sys
import time
from collections.abc import Callable, Iterator
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from labwire.bus.log_book import record_message
from labwire.cli.connection import HERE, Connection
from labwire.cli.fields import compact, printable, raw_sizes
from labwire.cli.output import remark, write_json, write_line
from labwire.errors import DeadlineError, LabwireError
from labwire.wire.bus_message import BusMessage

if TYPE_CHECKING:
    from labwire.bus.subscription import Subscription
    from labwire.client import Rig

QUIET_S = 3.0
"""When it is time to say that nothing comes."""
_SHOWN_RAW_BYTES = 32
_SHOWN_TOPICS = 8
_SIMILAR = 0.7
_Flag = Annotated[bool, Parameter(negative="", show_default=False)]


def sub(
    *topics: str,
    stats: _Flag = False,
    raw: _Flag = False,
    last: _Flag = False,
    count: int | None = None,
    seconds: float | None = None,
    connection: Connection = HERE,
) -> None:
    """Show what is on the bus.

    Args:
        topics: First letters of the topics to show; none means all.
        stats: Show rates by topic, each second, instead of messages.
        raw: Show the first bytes of raw parts too; with --json all of them, as base64.
        last: Begin with the newest message of each topic from before.
        count: End after this many messages.
        seconds: End after this many seconds.
        connection: The rig to talk to.
    """
    limit_s = math.inf if seconds is None else seconds
    prefixes = topics or ("",)
    with connection.connect() as rig:
        if sys.stderr.isatty():
            remark(f"labwire: listening at {connection.address} to {', '.join(prefixes).strip() or 'everything'}")

        def tell() -> None:
            _say_what_there_is(rig, prefixes)

        if stats:
            from labwire.cli.sub_stats import show_stats

            with rig.subscribe(*prefixes, decode=False, count_gaps=True) as parts:
                show_stats(parts, as_json=connection.json, limit_s=limit_s, limit=count, on_quiet=tell)
            return
        with rig.subscribe(*prefixes, last=last, on_malformed=_unreadable) as messages:
            try:
                for message in take(messages, limit_s, count, on_quiet=tell):
                    _show(message, as_json=connection.json, raw=raw)
            finally:  # after Ctrl-C as well
                _say_what_was_lost(messages)


def take(
    messages: Subscription[Any],
    limit_s: float,
    limit: int | None = None,
    on_quiet: Callable[[], None] = lambda: None,
) -> Iterator[Any]:
    """Yield messages until the time is up or enough have come; call back if at first none come for `QUIET_S`."""
    begin_s = time.monotonic()
    end_s, quiet_s = begin_s + limit_s, begin_s + QUIET_S
    taken = 0
    while limit is None or taken < limit:
        now_s = time.monotonic()
        if now_s >= end_s:
            return
        left_s = min(end_s, quiet_s) - now_s
        try:
            message = messages.recv(None if math.isinf(left_s) else max(left_s, 0.0))
        except DeadlineError:
            if end_s <= quiet_s:
                return
            quiet_s = math.inf
            on_quiet()
            continue
        quiet_s = math.inf
        taken += 1
        yield message


def line_of(message: BusMessage, moment: dt.datetime, *, raw: bool = False, colour: bool = False) -> str:
    """Return a message as text: time of arrival, topic, payload, sizes of raw parts.

    Of a log record it shows who says what, and a traceback below; its other attributes are for programs.

    Args:
        message: The message.
        moment: When it arrived.
        raw: Show the first bytes of raw parts on lines of their own.
        colour: Tell the parts apart by colour.
    """
    stamp, topic = moment.strftime("%H:%M:%S.%f")[:-3], printable(message.topic)
    if colour:
        stamp, topic = f"\x1b[2m{stamp}\x1b[0m", f"\x1b[1m{topic}\x1b[0m"
    what, *below = _log_lines(message.payload) or [compact(message.payload, message.topic)]
    words = [stamp, topic, what, raw_sizes(message.raw)]
    lines = ["  ".join(word for word in words if word), *below]
    if raw:
        lines += [
            f"    {part[:_SHOWN_RAW_BYTES].hex(' ')}{' …' * (len(part) > _SHOWN_RAW_BYTES)}" for part in message.raw
        ]
    return "\n".join(lines)


def _log_lines(payload: dict[Any, Any]) -> list[str]:
    """Return a log record as lines for people; nothing if it is none."""
    if not isinstance(payload.get("msg"), str) or "levelname" not in payload:
        return []
    trace = payload.get("exc_text")
    below = trace.splitlines() if isinstance(trace, str) else []
    said = f"{payload.get('name', '?')}: {record_message(payload)}"
    return [printable(said), *(f"    {printable(line)}" for line in below)]


def _show(message: BusMessage, *, as_json: bool, raw: bool) -> None:
    if as_json:
        row: dict[str, Any] = {"topic": message.topic, "payload": message.payload}
        row["raw_bytes"] = [len(part) for part in message.raw]
        write_json({**row, "raw": list(message.raw)} if raw else row)
    else:
        now = dt.datetime.now().astimezone()
        write_line(line_of(message, now, raw=raw, colour=sys.stdout.isatty()))


def _say_what_there_is(rig: Rig, prefixes: tuple[str, ...]) -> None:
    try:
        topics = [row.topic for row in rig.bus.stats().topics]
    except LabwireError:
        topics = []
    near = [topic for topic in topics if any(_is_similar(topic, prefix) for prefix in prefixes)]
    shown = [printable(topic) for topic in (near or topics)[:_SHOWN_TOPICS]]
    if rest := len(near or topics) - len(shown):
        shown.append(f"{rest} more")
    wanted = " or ".join(f'"{prefix}"' for prefix in prefixes if prefix)
    nothing = f"nothing has come yet that begins with {wanted}" if wanted else "nothing has come yet"
    there_is = f"; {'like it' if near else 'on the bus'}: {', '.join(shown)}" if shown else ""
    remark(f"labwire: {nothing}{there_is}; still listening")


def _is_similar(topic: str, prefix: str) -> bool:
    """Tell whether somebody who typed `prefix` may have meant what `topic` begins with."""
    return SequenceMatcher(None, prefix, topic[: len(prefix)]).ratio() > _SIMILAR


def _unreadable(parts: list[bytes], error: Exception) -> None:
    topic = parts[0][:80].decode("utf-8", "replace") if parts else ""
    remark(f"labwire: unreadable message on {printable(topic)!r}: {printable(str(error))}")


def _say_what_was_lost(messages: Subscription[Any]) -> None:
    counted = messages.statistics()
    lost = {"did not arrive": counted.missed, "dropped here": counted.dropped, "unreadable": counted.malformed}
    if text := ", ".join(f"{number} {what}" for what, number in lost.items() if number):
        remark(f"labwire: messages {text}")
