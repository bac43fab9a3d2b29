"""Shows films to the monitor and notes what it says beside what is true."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from benchmarks.vitals.film import START_US, Film
from benchmarks.vitals.scenario import Scenario
from labwire.vitals.config import VitalsConfig
from labwire.vitals.metrics import CoreMetrics, EdgeMetrics, Hrv, Measure
from labwire.vitals.monitor import VitalsMonitor

GATE = VitalsConfig().least_confidence
PULSE_WINDOW_S, BREATHING_WINDOW_S = 12.0, 30.0

STAGES = ("decode, shrink", "face", "skin", "pulse, step", "chest", "breathing, step", "rates, 5/s")


class Value(NamedTuple):
    """A value as it was found, told or not, and the truth."""

    time_s: float
    value: float
    confidence: float
    truth: float

    @property
    def error(self) -> float:
        """How far the value is from the truth."""
        return abs(self.value - self.truth)


class Variability(NamedTuple):
    """Heart rate variability as it was found, and the truth, in ms."""

    rmssd: float
    true_rmssd: float


@dataclass
class Seen:
    """What was said about one film."""

    scenario: Scenario
    pictures: int = 0
    pulse: list[Value] = field(default_factory=list[Value])
    breathing: list[Value] = field(default_factory=list[Value])
    variability: list[Variability] = field(default_factory=list[Variability])
    arousal: list[tuple[float, float, float]] = field(default_factory=list[tuple[float, float, float]])
    """Time, the proxy, and the true amplitude of the pulse."""
    cpu_ms: dict[str, float] = field(default_factory=dict[str, float])
    """Per picture, by stage; ``all`` is everything in `VitalsMonitor.take`."""

    def told(self, values: list[Value]) -> list[Value]:
        """Return the values that are not withheld."""
        return [value for value in values if value.confidence >= GATE]


class Stopwatch:
    """Adds up the processor time of functions."""

    def __init__(self) -> None:
        self.spent_s: dict[str, float] = {}

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with its time taken."""

        def run(*args: Any, **kwargs: Any) -> Any:
            start_s = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.spent_s[name] = self.spent_s.get(name, 0.0) + time.thread_time() - start_s

        return run

    def watch(self, owner: object, method: str, name: str) -> None:
        """Take the time of a method of one object from now on."""
        setattr(owner, method, self.timed(name, getattr(owner, method)))


def see(scenario: Scenario) -> Seen:
    """Show a film to a monitor that withholds nothing."""
    film, seen, stopwatch = Film(scenario), Seen(scenario), Stopwatch()
    monitor = VitalsMonitor(VitalsConfig(least_confidence=0.0))
    _watch_stages(monitor, stopwatch)
    take = stopwatch.timed("all", monitor.take)
    for picture in film.pictures():
        seen.pictures += 1
        for event in take(picture):
            if isinstance(event, CoreMetrics):
                _note_core(event, film, seen)
            elif isinstance(event, EdgeMetrics) and event.eda is not None:
                time_s = (event.timestamp_us - START_US) / 1e6
                seen.arousal.append((time_s, event.eda, film.amplitude_at(time_s - 2.5)))
    seen.cpu_ms = {name: spent_s / seen.pictures * 1e3 for name, spent_s in stopwatch.spent_s.items()}
    return seen


def _watch_stages(monitor: VitalsMonitor, stopwatch: Stopwatch) -> None:
    stages = monitor.measurement
    owners = (
        (monitor, "_frame_of"),
        (stages.faces, "look"),
        (stages.skin, "look"),
        (stages.pulse, "add"),
        (stages.chest, "look"),
        (stages.breathing, "add"),
        (stages, "metrics"),
    )
    for (owner, method), name in zip(owners, STAGES, strict=True):
        stopwatch.watch(owner, method, name)


def _note_core(event: CoreMetrics, film: Film, seen: Seen) -> None:
    time_s = (event.timestamp_us - START_US) / 1e6
    if event.pulse:
        # Without a pulse there is no truth that a value could be near.
        truth = film.pulse_bpm(time_s, PULSE_WINDOW_S) if seen.scenario.amplitude else float("inf")
        seen.pulse.append(_value(time_s, event.pulse, truth))
    if event.breathing:
        truth = film.breaths_per_min(time_s, BREATHING_WINDOW_S) if seen.scenario.breath_px else float("inf")
        seen.breathing.append(_value(time_s, event.breathing, truth))
    if event.hrv and event.hrv.confidence >= GATE:
        seen.variability.append(_variability(event.hrv, film, time_s))


def _value(time_s: float, measure: Measure, truth: float) -> Value:
    return Value(time_s, measure.value, measure.confidence, truth)


def _variability(hrv: Hrv, film: Film, time_s: float) -> Variability:
    beats = film.beat_times_s()
    beats = beats[(beats > time_s - 60) & (beats <= time_s)]
    steps_ms = np.diff(np.diff(beats)) * 1e3
    return Variability(hrv.rmssd, float(np.sqrt((steps_ms**2).mean())))
