"""Instruments that exist only in software: for trying things out, for the demo, for tests of what goes wrong."""

from __future__ import annotations

import math
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Literal

from labwire.errors import DeviceError, needs_extra
from labwire.instruments.driver import Driver, Waveform, quantity
from labwire.strict import Strict

_RANGES_V = (0.1, 1.0, 10.0, 100.0, 1000.0)
_NOISE_OF_RANGE = 2e-6  # of a six-and-a-half-digit multimeter, for one reading over one power line cycle
_CHUNK_BYTES = 64 << 20


class Multimeter(Driver):
    """A multimeter that measures a slowly drifting voltage."""

    class Config(Strict):
        """Options."""

        voltage_v: float = 3.14159
        """What is connected to it, in volts."""
        drift_v: float = 0.001
        """How far the voltage wanders, with a period of a minute."""
        seed: int | None = None
        """Of the noise; without one it is another each time."""

    options: Config

    def open(self) -> None:
        """Get ready."""
        self._random = random.Random(self.options.seed)
        self._started_s = time.monotonic()

    def identify(self) -> str:
        """Tell what this is."""
        return "labwire,Simulated multimeter,0,1"

    def measure_voltage(
        self,
        range: Annotated[float, quantity("V", ge=0.1, le=1000)] = 10.0,  # noqa: A002 (the name that multimeters use)
        samples: Annotated[int, quantity(ge=1, le=1_000_000)] = 1,
    ) -> Annotated[float, quantity("V")]:
        """Measure the voltage: the mean of some readings.

        Args:
            range: Largest voltage expected; the next range that the multimeter has is used, and gives the noise.
            samples: Readings to average.
        """
        full_v = next(full for full in _RANGES_V if full >= range)
        drift_v = self.options.drift_v * math.sin((time.monotonic() - self._started_s) * math.tau / 60)
        voltage_v = self.options.voltage_v + drift_v
        if abs(voltage_v) > 1.2 * full_v:
            raise DeviceError(f"overload: more than 1.2 times the range of {full_v:g} V", range=full_v)
        return voltage_v + self._random.gauss(0.0, full_v * _NOISE_OF_RANGE / math.sqrt(samples))


class Oscilloscope(Driver):
    """An oscilloscope that sees a noisy sine."""

    class Config(Strict):
        """Options."""

        frequency_hz: float = 1000.0
        """Of the sine, in hertz."""
        amplitude_v: float = 1.0
        """Of the sine, in volts."""
        noise_v: float = 0.02
        """Standard deviation of the noise, in volts."""
        seed: int | None = None
        """Of the noise; without one it is another each time."""

    options: Config

    def open(self) -> None:
        """Get ready."""
        with needs_extra("waveforms"):
            import numpy as np
        self._numpy = np
        self._generator = np.random.default_rng(self.options.seed)

    def read_waveform(
        self,
        points: Annotated[int, quantity(ge=1, le=50_000_000)] = 10_000,
        interval_s: Annotated[float, quantity("s", ge=1e-9, le=1)] = 1e-6,
    ) -> Annotated[Waveform, quantity("V")]:
        """Record one waveform.

        Args:
            points: How many samples.
            interval_s: Time between two samples.

        Returns:
            (points,), float32, volts.
        """
        return self._samples(0, points, interval_s)

    def acquire(
        self,
        points: Annotated[int, quantity(ge=1, le=10_000_000)] = 1000,
        interval_s: Annotated[float, quantity("s", ge=1e-9, le=1)] = 1e-4,
        blocks: Annotated[int, quantity(ge=0)] = 0,
        *,
        real_time: bool = True,
    ) -> Iterator[Annotated[Waveform, quantity("V")]]:
        """Record without a gap, block after block.

        Args:
            points: Samples of a block.
            interval_s: Time between two samples.
            blocks: How many blocks; 0 means until it is cancelled.
            real_time: Take as long as the samples last; false: as fast as the blocks are taken.
        """
        number, started_s = 0, time.monotonic()
        while not blocks or number < blocks:
            if real_time:
                time.sleep(max(0.0, started_s + (number + 1) * points * interval_s - time.monotonic()))
            yield self._samples(number * points, points, interval_s)
            number += 1

    def _samples(self, first: int, points: int, interval_s: float) -> Waveform:
        np = self._numpy
        samples = self._generator.standard_normal(points, dtype=np.float32) * np.float32(self.options.noise_v)
        phase = np.arange(first, first + points, dtype=np.float64) * (math.tau * self.options.frequency_hz * interval_s)
        samples += (self.options.amplitude_v * np.sin(phase)).astype(np.float32)
        return samples


class Slow(Driver):
    """An instrument that takes its time."""

    def sleep(self, seconds: Annotated[float, quantity("s", ge=0, le=86400)]) -> Annotated[float, quantity("s")]:
        """Do nothing for a while.

        Args:
            seconds: How long.

        Returns:
            How long it really was.
        """
        started_s = time.monotonic()
        time.sleep(seconds)
        return time.monotonic() - started_s

    def echo(self, value: float = 0.0) -> float:
        """Return what is given.

        Args:
            value: Any number.
        """
        return value


class Crasher(Driver):
    """An instrument whose driver does all that a driver must not do, on demand."""

    def crash(self, way: Literal["segfault", "abort", "exit", "sys_exit", "kill", "hang", "memory", "error"]) -> str:
        """Break.

        Args:
            way: How. ``hang`` holds up the whole process, heartbeats too; ``memory`` takes memory until there is none.
        """
        _WAYS[way]()
        return f"survived {way}"

    def echo(self, value: float = 0.0) -> float:
        """Return what is given.

        Args:
            value: Any number.
        """
        return value


def _segfault() -> None:
    import ctypes

    ctypes.string_at(0)


def _take_memory() -> None:
    taken: list[bytearray] = []
    while True:
        taken.append(bytearray(_CHUNK_BYTES))


def _raise() -> None:
    raise ValueError("raised on demand")


_WAYS: Mapping[str, Callable[[], object]] = {
    "segfault": _segfault,
    "abort": os.abort,
    "exit": lambda: os._exit(3),
    "sys_exit": lambda: sys.exit(4),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "hang": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "memory": _take_memory,
    "error": _raise,
}
