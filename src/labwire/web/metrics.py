"""``/metrics``: the rig in the text format of Prometheus. Base units, and every counter is there from the start."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from labwire.errors import needs_extra

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric


class Figures(NamedTuple):
    """What is known of the rig at the moment of a scrape."""

    kept: Mapping[str, Mapping[str, Any]]
    """Newest payload of topics, by topic."""
    actors: Sequence[Any]
    instruments: Sequence[Any]
    parts: Mapping[str, Sequence[str]]
    """Names in the rig file, by the kinds of `PARTS`: they are shown before they have sent anything."""
    up: bool
    """Whether the rig answers."""
    browsers: int
    live_frames: int
    live_bytes: int
    live_dropped: int


class _Row(NamedTuple):
    name: str
    help: str
    topic: str
    field: str
    is_counter: bool = False


_ROWS = (
    _Row("labwire_bus_messages", "Messages on the bus.", "bus.stats", "messages", is_counter=True),
    _Row("labwire_bus_malformed", "Messages that nobody could read.", "bus.stats", "malformed", is_counter=True),
    _Row("labwire_bus_slow_subscribers_cut", "Readers cut.", "bus.stats", "slow_subscribers_cut", is_counter=True),
    _Row("labwire_bus_rate_messages", "Messages in the last second.", "bus.stats", "messages_hz"),
    _Row("labwire_bus_rate_bytes", "Bytes in the last second.", "bus.stats", "bytes_hz"),
    _Row("labwire_remote_requests", "Requests to the Remote.", "bus.hub", "remote_requests", is_counter=True),
    _Row("labwire_remote_refused", "Requests not understood.", "bus.hub", "remote_refused", is_counter=True),
    _Row("labwire_remote_unconfirmed", "Messages not taken in time.", "bus.hub", "unconfirmed", is_counter=True),
    _Row("labwire_peers_cut", "Connections cut.", "bus.hub", "peers_cut", is_counter=True),
    _Row("labwire_strangers_refused", "Connections refused.", "bus.hub", "strangers_refused", is_counter=True),
    _Row("labwire_recording", "1 while a session is recorded.", "recorder.state", "recording"),
    _Row("labwire_recording_duration_seconds", "Length of the running session.", "recorder.state", "duration_s"),
    _Row("labwire_recording_written", "Messages written.", "recorder.state", "written", is_counter=True),
    _Row("labwire_recording_written_bytes", "Bytes written.", "recorder.state", "written_bytes", is_counter=True),
    _Row("labwire_recording_dropped", "Messages not written.", "recorder.state", "dropped", is_counter=True),
    _Row("labwire_disk_free_bytes", "Free where recordings go.", "recorder.state", "free_bytes"),
)
_PARTS = {
    "camera": (
        _Row("read", "Pictures read.", "camera.{}", "read", is_counter=True),
        _Row("dropped", "Pictures dropped.", "camera.{}", "dropped", is_counter=True),
        _Row("failures", "Failures.", "camera.{}", "failures", is_counter=True),
    ),
    "detector": (
        _Row("runs", "Runs that ended.", "detector.{}.state", "runs", is_counter=True),
        _Row("run_images", "Images of the run, or of the last one.", "detector.{}.state", "done_images"),
        _Row("run_acknowledged", "Images of it that writers have.", "detector.{}.state", "acknowledged"),
        _Row("run_waiting", "Images of it that wait for an answer.", "detector.{}.state", "waiting"),
        _Row("run_failed", "Images of it that a writer could not store.", "detector.{}.state", "failed"),
        _Row("run_dropped", "Images of it that were never sent.", "detector.{}.state", "dropped"),
    ),
    "writer": (
        _Row("images", "Images stored.", "writer.{}.state", "images", is_counter=True),
        _Row("stored_bytes", "Bytes of them.", "writer.{}.state", "stored_bytes", is_counter=True),
        _Row("failed", "Images not stored.", "writer.{}.state", "failed", is_counter=True),
        _Row("missing", "Images of ended runs in no file.", "writer.{}.state", "missing", is_counter=True),
        _Row("waiting", "Images that wait for the disk.", "writer.{}.state", "waiting_images"),
        _Row("connected", "Connections.", "writer.{}.state", "connected"),
    ),
}
PARTS = tuple(_PARTS)
"""Kinds of parts that have metrics of their own; their tables in a rig file are named so, with an s."""
_INSTRUMENT = (
    ("ok", "Commands answered."),
    ("failed", "Commands that failed."),
    ("timed_out", "Commands not answered in time."),
    ("restarts", "Starts after a death."),
)


def metrics_text(figures: Figures) -> tuple[bytes, str]:
    """Return the text and its media type."""
    with needs_extra("web"):
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
    registry = CollectorRegistry(auto_describe=False)
    registry.register(cast("Any", _Collector(lambda: _metrics(figures))))
    return generate_latest(registry), CONTENT_TYPE_LATEST


class _Collector:
    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self.collect = collect


def _metrics(figures: Figures) -> Iterator[Metric]:
    with needs_extra("web"):
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
    yield GaugeMetricFamily("labwire_up", "1 if the rig answers.", value=float(figures.up))
    for row in _ROWS:
        family = CounterMetricFamily if row.is_counter else GaugeMetricFamily
        yield family(row.name, row.help, value=_number(figures.kept.get(row.topic, {}), row.field))
    for kind, rows in _PARTS.items():
        for row in rows:
            family = CounterMetricFamily if row.is_counter else GaugeMetricFamily
            metric = family(f"labwire_{kind}_{row.name}", row.help, labels=[kind])
            for name in figures.parts.get(kind, ()):
                metric.add_metric([name], _number(figures.kept.get(row.topic.format(name), {}), row.field))
            yield metric
    actors = GaugeMetricFamily("labwire_actor_running", "1 while it runs.", labels=["actor"])
    restarts = CounterMetricFamily("labwire_actor_restarts", "Starts after a death.", labels=["actor"])
    for actor in figures.actors:
        actors.add_metric([actor.name], float(actor.state in {"running", "remote"}))
        restarts.add_metric([actor.name], actor.restarts)
    yield from (actors, restarts)
    ready = GaugeMetricFamily("labwire_instrument_ready", "1 while it can be commanded.", labels=["instrument"])
    for instrument in figures.instruments:
        ready.add_metric([instrument.name], float(instrument.state in {"ready", "busy"}))
    yield ready
    for key, text in _INSTRUMENT:
        metric = CounterMetricFamily(f"labwire_instrument_{key}", text, labels=["instrument"])
        for instrument in figures.instruments:
            metric.add_metric([instrument.name], getattr(instrument, key))
        yield metric
    yield GaugeMetricFamily("labwire_web_browsers", "Open live connections.", value=figures.browsers)
    yield CounterMetricFamily("labwire_web_live_frames", "Frames sent to browsers.", value=figures.live_frames)
    yield CounterMetricFamily("labwire_web_live_bytes", "Bytes sent to browsers.", value=figures.live_bytes)
    yield CounterMetricFamily("labwire_web_live_dropped", "Not sent to browsers.", value=figures.live_dropped)


def _number(payload: Mapping[str, Any], field: str) -> float:
    value = payload.get(field)
    return float(value) if isinstance(value, (int, float)) else 0.0
