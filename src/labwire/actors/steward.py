"""The steward: sees every message, and keeps log, statistics and last values. It may die and come back."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from labwire.bus.actor import Actor, ActorContext, Notification
from labwire.bus.log_book import Console, LogFile, format_record
from labwire.bus.ports import connections
from labwire.bus.status_line import StatusLine
from labwire.bus.tap import Tap
from labwire.bus.traffic import LastValues, ReaderWatch, TopicCounter
from labwire.errors import LabwireError, PeerError
from labwire.names import MAX_NAME_CHARS, MAX_TOPIC_BYTES
from labwire.operations.bus import BusOperations, BusStats, GapReport, StatsHistory
from labwire.operations.bus import LastValues as LastValueList
from labwire.strict import Strict
from labwire.wire.bus_message import decode_payload
from labwire.wire.zmtp import Heard

_STATS_S = 1.0
_LOOK_S = 0.25
_REPORT_HOLDS_S = 3.0
_REST_S = 0.01  # a stream is taken in bulk, so that its readers have the machine for themselves
_JOIN_LIMIT_S, _JOIN_STEP_S, _JOIN_AGAIN_S = 2.0, 0.005, 0.1
_MAX_REPORTED = 1000
_MAX_GAPS_OF_READER = 100
_OWN = _LOGGING, _REPORT, _RECORDER = b"logging.", b"bus.report", b"recorder.state"
NOISY_HZ = 10.0
HISTORY = 300
"""Seconds of statistics that are kept."""
_KEPT_TOPICS = 30


class StewardConfig(Strict):
    """Options of the steward; the rig fills them in."""

    log_file: str
    log_max_bytes: int
    log_backups: int
    sub_port: int
    slow_subscriber_s: float
    console_fd: int | None = None


class Steward(Actor, BusOperations):
    """Keeps the log file, the terminal, the statistics and the last values of a rig."""

    Config = StewardConfig
    hears = ("rig.", "recording.")
    options: StewardConfig

    def __init__(self, context: ActorContext) -> None:
        super().__init__(context)
        options = self.options
        self._topics, self._last = TopicCounter(), LastValues()
        self._readers = ReaderWatch(options.slow_subscriber_s, self._reader_cut)
        self._gaps: dict[tuple[str, str], int] = {}
        self._noisy: dict[str, float] = {}
        self._log_file = LogFile(options.log_file, max_bytes=options.log_max_bytes, backups=options.log_backups)
        self._console = Console(options.console_fd)
        self._line = StatusLine()
        self._stats_s = time.monotonic()
        self._stats = self._take_stats()
        self._tap: Tap | None = None
        self._drained_s = 0.0
        self._history: deque[bytes] = deque(maxlen=HISTORY)  # encoded: a tenth of the memory

    def on_start(self) -> None:
        """Listen to everything; from the moment that it is ready it misses nothing."""
        self._join()
        self.every(_LOOK_S, self._look_at_readers)
        self.every(_STATS_S, self._publish_stats)

    def on_stop(self) -> None:
        """Write what has arrived, then close."""
        deadline = time.monotonic() + 0.5
        while self._tap and time.monotonic() < deadline and self._tap.wait(0.05):
            self._drain()
        self._leave()
        self._console.end_status()
        self._log_file.close()

    def on_notify(self, notification: Notification) -> None:
        """Keep the log, count messages by topic, remember the last ones, watch for readers that do not keep up.

        Reacts to notifications:
            ``rig.ready``: Shows the rig at work on the last line of the terminal.
            ``rig.stopping``: Takes that line away.

        Emits data:
            ``bus.stats``: Each second: rates and bytes by topic, readers and how far they are behind, cuts, gaps.
            ``bus.slow_subscriber``: A reader was cut because it did not read.
        """
        self._line.notice(notification)
        if notification["subject"] == "rig.stopping":
            self._console.end_status()

    # --- operations

    def last(self, prefix: str = "") -> LastValueList:
        """See `BusOperations.last`."""
        self._drain()  # what the caller has caused just now has arrived already
        return self._last.find(prefix)

    def stats(self) -> BusStats:
        """See `BusOperations.stats`."""
        return self._stats

    def history(self) -> StatsHistory:
        """See `BusOperations.history`."""
        return [msgspec.msgpack.decode(row, type=BusStats) for row in self._history]

    # --- every message

    def _join(self) -> None:
        tap = self._tap = Tap(self.context.sub_url, self._take, limit_s=_JOIN_LIMIT_S)
        deadline = time.monotonic() + _JOIN_LIMIT_S
        while not tap.wait(_JOIN_STEP_S) and time.monotonic() < deadline:
            self.emit("bus.ready", {"actor": self.name, "road": "steward"})
        self.context.loop.watch(tap.fileno(), self._drain, rest_s=_REST_S)

    def _leave(self) -> None:
        if self._tap:
            self.context.loop.unwatch(self._tap.fileno())
            self._tap.close()
            self._tap = None

    def _join_again(self, why: str) -> None:
        try:
            self._join()
        except PeerError:
            self.call_later(_JOIN_AGAIN_S, lambda: self._join_again(why))
        else:
            self.log.warning("the log and the statistics lack what came meanwhile: %s", why)

    def _drain(self) -> None:
        if not self._tap:
            return
        self._drained_s = time.monotonic()
        try:
            self._tap.drain()
        except PeerError as error:  # we stood still and were cut; if the hub has died, the lifeline will tell
            self._leave()
            self._join_again(str(error))

    def _take(self, message: Heard) -> None:
        self._topics.count(message)
        self._last.keep(message, self._drained_s)
        if message.topic.startswith(_OWN):
            self._take_own(message)

    def _take_own(self, message: Heard) -> None:
        try:
            payload = decode_payload(message.payload or b"")
        except LabwireError:
            return  # somebody's mistake; what is not even a map has been counted
        if message.topic.startswith(_LOGGING):
            text = format_record(payload)
            self._log_file.write(text)
            self._console.show_record(text, str(payload.get("levelname")))
        elif message.topic == _REPORT:
            self._take_report(payload)
        else:
            self._line.recorder = payload

    def _take_report(self, report: dict[Any, Any]) -> None:
        name = str(report.get("actor", "?"))[:MAX_NAME_CHARS]
        rate_hz = report.get("notifications_hz")
        if isinstance(rate_hz, (int, float)) and rate_hz > NOISY_HZ and self._has_room(self._noisy, name):
            self._noisy[name] = time.monotonic()
        gaps = report.get("gaps")
        if not isinstance(gaps, dict):
            return
        for topic, missed in list(cast("dict[object, object]", gaps).items())[:_MAX_GAPS_OF_READER]:
            key = name, str(topic)[:MAX_TOPIC_BYTES]
            if isinstance(missed, int) and self._has_room(self._gaps, key):
                self._gaps[key] = missed

    @staticmethod
    def _has_room(table: Mapping[Any, Any], key: object) -> bool:
        return key in table or len(table) < _MAX_REPORTED  # reports may come from anybody

    # --- once in a while

    def _look_at_readers(self) -> None:
        self._readers.look(connections(self.options.sub_port), time.monotonic())

    def _reader_cut(self, peer: str, unsent_bytes: int, behind_s: float) -> None:
        self.log.warning(
            "cut the reader %s: it had not read for %.1f s (%d bytes unsent)", peer, behind_s, unsent_bytes
        )
        cut = {"peer": peer, "bytes_behind": unsent_bytes, "behind_s": behind_s, "cut_total": self._readers.cut}
        self.emit("bus.slow_subscriber", {**cut, "timestamp": self.clock.now()}, numbered=True)

    def _publish_stats(self) -> None:
        self._stats = self._take_stats()
        busiest = sorted(self._stats.topics, key=lambda row: row.bytes_hz, reverse=True)[:_KEPT_TOPICS]
        self._history.append(msgspec.msgpack.encode(msgspec.structs.replace(self._stats, topics=busiest)))
        self.emit("bus.stats", msgspec.structs.asdict(self._stats), numbered=True)
        if self._console.has_status_line:
            self._console.show_status(self._line.text(self._stats))

    def _take_stats(self) -> BusStats:
        now_s = time.monotonic()
        interval_s, self._stats_s = max(now_s - self._stats_s, 1e-3), now_s
        topics = self._topics.take(interval_s)
        self._noisy = {name: seen_s for name, seen_s in self._noisy.items() if now_s - seen_s < _REPORT_HOLDS_S}
        return BusStats(
            timestamp=self.clock.now(),
            messages_hz=sum(row.messages_hz for row in topics),
            bytes_hz=sum(row.bytes_hz for row in topics),
            messages=self._topics.total,
            topics=topics[:200],
            readers=self._readers.readers,
            gaps=[GapReport(reader, topic, missed) for (reader, topic), missed in self._gaps.items()],
            slow_subscribers_cut=self._readers.cut,
            malformed=self._topics.malformed,
            noisy_notifiers=list(self._noisy),
        )
