"""Drivers for the tests of the server: they obey, wait, crash, hang and return strange things."""

from __future__ import annotations

import atexit
import ctypes
import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from labwire.errors import ConfigError, DeviceError
from labwire.instruments.driver import Answer, Driver, quantity
from labwire.strict import Strict


class Obedient(Driver):
    """Does what it is told."""

    class Config(Strict):
        """Options."""

        note: str = ""
        """A file into which it writes when it is closed."""

    options: Config

    def close(self) -> None:
        if self.options.note:
            with Path(self.options.note).open("a") as file:
                file.write("closed")

    def measure_voltage(
        self,
        range: Annotated[float, quantity("V", ge=0.1, le=1000)] = 10.0,  # noqa: A002
        samples: int = 1,
    ) -> Annotated[float, quantity("V")]:
        return range * samples

    def echo(self, value: Any) -> Any:
        return value

    def say(self, text: str) -> Any:
        return Answer(len(text), text)

    def number(self, which: str) -> float:
        return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[which]

    def sleep(self, duration_s: float) -> float:
        time.sleep(duration_s)
        return duration_s

    def wait_for_file(self, path: str, timeout_s: float = 20.0) -> bool:
        until_s = time.monotonic() + timeout_s
        while not Path(path).exists() and time.monotonic() < until_s:
            time.sleep(0.005)
        return Path(path).exists()

    def fail(self, text: str = "no signal") -> None:
        raise DeviceError(text)

    def bug(self) -> None:
        raise RuntimeError("a bug in the driver")

    def crash(self) -> None:
        ctypes.string_at(0)

    def leave(self, code: int = 3) -> None:
        os._exit(code)

    def stop_itself(self) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    def pid(self) -> int:
        return os.getpid()

    def print_something(self, text: str) -> None:
        print(text, flush=True)
        print(text.upper(), file=sys.stderr, flush=True)

    def log_something(self, text: str) -> None:
        self.log.warning(text)

    def array(self, points: int = 10_000) -> Any:
        import numpy as np

        return np.arange(points, dtype=np.float32)

    def blocks(self, count: int = 0, points: int = 0) -> Iterator[Any]:
        number = 0
        while not count or number < count:
            yield self.array(points) + number if points else number
            number += 1

    def failing_blocks(self, good: int) -> Iterator[int]:
        yield from range(good)
        raise DeviceError("the trigger is lost")

    def made(self) -> int:
        return self._made

    def counted_blocks(self) -> Iterator[int]:
        self._made = 0
        while True:
            self._made += 1
            yield self._made


class SlowToStart(Obedient):
    """Takes its time."""

    def open(self) -> None:
        time.sleep(0.5)


class SlowToGiveUp(Obedient):
    """Its options are wrong, and its process takes its time to end, as on a busy machine."""

    def open(self) -> None:
        atexit.register(time.sleep, 0.5)
        raise ConfigError("there is no GPIB0")


class CannotOpen(Obedient):
    """Its instrument is not there."""

    def open(self) -> None:
        raise DeviceError("no instrument at GPIB0::7")


class DiesWhileOpening(Obedient):
    """Its library crashes."""

    def open(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class PlainOptions(Driver):
    """Its options are not what they must be."""

    class Config:  # pyright: ignore[reportIncompatibleVariableOverride]
        pass
