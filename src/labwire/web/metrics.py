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
    cameras: Sequence[str]
    """Names in the rig file: they are shown before they have sent anything."""
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
_CAMERA = (("read", "Pictures read."), ("dropped", "Pictures dropped."), ("failures", "Failures."))
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
    for key, text in _CAMERA:
        metric = CounterMetricFamily(f"labwire_camera_{key}", text, labels=["camera"])
        for name in figures.cameras:
            metric.add_metric([name], _number(figures.kept.get(f"camera.{name}", {}), key))
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
