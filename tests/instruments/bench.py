"""A driver for the tests of the worker: all kinds of results and failures."""

from __future__ import annotations

import enum
import math
import random
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from labwire.errors import (
    DeadlineError,
    DeviceError,
    InternalError,
    LabwireError,
    PeerGoneError,
    ResourceError,
    UsageError,
)
from labwire.instruments.driver import Answer, Driver, Waveform
from tests.instruments.worker_kit import LIMIT_S, Peer


class Colour(enum.Enum):
    RED = "red"


class Bench(Driver):
    """All kinds of results and failures."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.done: list[float] = []
        self.closed = 0
        Bench.last = self

    last: Bench

    def close(self) -> None:
        self.closed += 1

    def echo(self, value: float = 0.0) -> float:
        self.done.append(value)
        return value

    def result(self, name: str) -> Any:
        return RESULTS[name]

    def fail(self, name: str) -> None:
        raise FAILURES[name]

    def text(self, length: int, *, random_text: bool = False) -> str:
        generator = random.Random(length)
        return (
            "".join(generator.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=length))
            if random_text
            else "x" * length
        )

    def floats(self, count: int) -> list[float]:
        return [index / 7 for index in range(count)]

    def total(self, values: Waveform) -> float:
        assert isinstance(values, np.ndarray)
        return float(values.sum())

    def wait(self) -> str:
        self.entered.set()
        assert self.gate.wait(LIMIT_S)
        return "waited"

    def count(self, blocks: int = 0, fail_at: int = -1) -> Iterator[int]:
        number = 0
        try:
            while not blocks or number < blocks:
                if number == fail_at:
                    raise DeviceError("the trigger is gone")
                self.done.append(number)
                yield number
                number += 1
        finally:
            self.done.append(-1)
        return "all"

    def exit(self) -> None:
        raise SystemExit(7)


RESULTS: dict[str, Any] = {
    "none": None,
    "true": True,
    "int": 42,
    "large": 2**64 - 1,
    "huge": 2**64,
    "float": 3.14159,
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
    "text": "GOOD, 1.5\n",
    "answer": Answer(1.5, "+1.50000000E+00"),
    "list": [1.0, math.nan, 2],
    "nested": [[1], {"a": 2}],
    "numpy float": np.float32(0.5),
    "numpy float64": np.float64("nan"),
    "numpy int": np.uint8(7),
    "numpy bool": np.True_,
    "numpy in a list": [np.int16(1), np.float64(2.5)],
    "array of one": np.array(2.5),
    "tuple": (1, 2),
    "enum": Colour.RED,
    "bytes": b"\x00\x01",
}
WRITTEN: dict[str, tuple[Any, str]] = {
    "none": (None, ""),
    "true": (True, "true"),
    "int": (42, "42"),
    "large": (2**64 - 1, "18446744073709551615"),
    "huge": (None, "18446744073709551616"),
    "float": (3.14159, "3.14159"),
    "nan": (None, "nan"),
    "inf": (None, "inf"),
    "-inf": (None, "-inf"),
    "text": ("GOOD, 1.5\n", "GOOD, 1.5\n"),
    "answer": (1.5, "+1.50000000E+00"),
    "list": ([1.0, None, 2], "1.0,nan,2"),
    "nested": ([[1], {"a": 2}], '[[1],{"a":2}]'),
    "numpy float": (0.5, "0.5"),
    "numpy float64": (None, "nan"),
    "numpy int": (7, "7"),
    "numpy bool": (True, "true"),
    "numpy in a list": ([1, 2.5], "1,2.5"),
    "array of one": (2.5, "2.5"),
    "tuple": ([1, 2], "1,2"),
    "enum": ("red", '"red"'),
    "bytes": ("AAE=", '"AAE="'),
}
FAILURES: dict[str, Exception] = {
    "device": DeviceError("no answer from the meter"),
    "usage": UsageError("the range is locked"),
    "gone": PeerGoneError("the meter closed its connection"),
    "value": ValueError("bad"),
    "key": KeyError("x"),
    "silent": RuntimeError(),
    "os": OSError(5, "Input/output error"),
    "timeout": TimeoutError("no answer"),
    "memory": MemoryError("no 4 GB"),
    "long": DeviceError("x" * 100_000),
    "odd": DeviceError("\ud800\0"),
}
TOLD: dict[str, tuple[type[LabwireError], str]] = {
    "device": (DeviceError, "no answer from the meter"),
    "usage": (UsageError, "the range is locked"),
    "gone": (PeerGoneError, "the meter closed its connection"),
    "value": (InternalError, "ValueError: bad"),
    "key": (InternalError, "KeyError: 'x'"),
    "silent": (InternalError, "RuntimeError: "),
    "os": (DeviceError, "[Errno 5] Input/output error"),
    "timeout": (DeadlineError, "no answer"),
    "memory": (ResourceError, "no 4 GB"),
    "long": (DeviceError, "x" * 2000 + "… (100000 characters in all)"),
    "odd": (DeviceError, "\\ud800\0"),
}


def wait_in_front(peer: Peer) -> int:
    """Keep the worker busy until `Bench.gate` is set."""
    number = peer.command("WAIT")
    assert Bench.last.entered.wait(LIMIT_S)
    return number
