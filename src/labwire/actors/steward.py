"""The steward: sees every message, and keeps log, statistics and last values. It may die and come back."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, cast

import msgspec
import zmq

from labwire.bus.actor import Actor, ActorContext, Notification
from labwire.bus.log_book import Console, LogFile, format_record
from labwire.bus.ports import connections
from labwire.bus.status_line import StatusLine
from labwire.bus.traffic import LastValues, ReaderWatch, TopicCounter
from labwire.errors import LabwireError
from labwire.names import MAX_NAME_CHARS, MAX_TOPIC_BYTES
from labwire.operations.bus import BusOperations, BusStats, GapReport
from labwire.operations.bus import LastValues as LastValueList
from labwire.strict import Strict
from labwire.wire.bus_message import decode_payload

_BATCH = 500
_STATS_S = 1.0
_LOOK_S = 0.25
_REPORT_HOLDS_S = 3.0
_SUBSCRIBED_LIMIT_S, _SUBSCRIBED_STEP_MS = 2.0, 5
_MAX_REPORTED = 1000
_MAX_GAPS_OF_READER = 100
_LOGGING, _REPORT, _RECORDER = b"logging.", b"bus.report", b"recorder.state"
NOISY_HZ = 10.0


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
        self._sub = context.zmq_context.socket(zmq.SUB)
        self._sub.linger = 0
        self._sub.rcvhwm = 100_000

    def on_start(self) -> None:
        """Subscribe to everything; from the moment that it is ready it misses nothing."""
        self._sub.subscribe(b"")
        self._sub.connect(self.context.sub_url)
        deadline = time.monotonic() + _SUBSCRIBED_LIMIT_S
        while not self._sub.poll(_SUBSCRIBED_STEP_MS) and time.monotonic() < deadline:
            self.emit("bus.ready", {"actor": self.name, "road": "steward"})
        self.context.loop.watch(self._sub, self._drain)
        self.every(_LOOK_S, self._look_at_readers)
        self.every(_STATS_S, self._publish_stats)

    def on_stop(self) -> None:
        """Write what has arrived, then close."""
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline and self._sub.poll(50):
            self._drain()
        self._console.end_status()
        self._log_file.close()
        self._sub.close()

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
        self._drain()  # what the caller has caused just now is in the socket already
        return self._last.find(prefix)

    def stats(self) -> BusStats:
        """See `BusOperations.stats`."""
        return self._stats

    # --- every message

    def _drain(self) -> None:
        now_s = time.monotonic()
        for _ in range(_BATCH):
            try:
                parts = self._sub.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._topics.count(parts)
            self._last.keep(parts, now_s)
            topic = parts[0]
            if topic.startswith((_LOGGING, _REPORT, _RECORDER)):
                self._take_own(topic, parts)

    def _take_own(self, topic: bytes, parts: list[bytes]) -> None:
        try:
            payload = decode_payload(parts[1])
        except (LabwireError, IndexError):
            return  # counted as malformed already
        if topic.startswith(_LOGGING):
            text = format_record(payload)
            self._log_file.write(text)
            self._console.show_record(text, str(payload.get("levelname")))
        elif topic == _REPORT:
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
