"""What the tests of the server share: servers that remember their events, drivers that misbehave, waiting."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from labwire.instruments.config import InstrumentConfig
from labwire.instruments.server import InstrumentServer

LIMIT_S = 20.0
DRIVER = "tests.instruments.server_drivers:Obedient"


def unique(name: str) -> str:
    """Return a name that no other run of the tests uses: the names of Boost queues are the whole machine's."""
    return f"{name}-{os.getpid()}"


class Events:
    """Remembers the events of a server."""

    def __init__(self) -> None:
        self.all: list[tuple[str, str, dict[str, Any]]] = []
        self._changed = threading.Condition()

    def __call__(self, kind: str, name: str, data: dict[str, Any]) -> None:
        with self._changed:
            self.all.append((kind, name, data))
            self._changed.notify_all()

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [data for found, _, data in list(self.all) if found == kind]

    def kinds(self) -> list[str]:
        return [kind for kind, _, _ in list(self.all) if kind != "log"]

    def wait_for(self, kind: str, count: int = 1) -> dict[str, Any]:
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.of(kind)) >= count, LIMIT_S):
                raise AssertionError(f"no {count} events {kind!r}: {self.all}")
            return self.of(kind)[count - 1]


def config(**changes: Any) -> InstrumentConfig:
    return InstrumentConfig(
        **{"driver": DRIVER, "queue": os.environ.get("LW_QUEUE", "socket"), "heartbeat_s": 0.2, **changes}
    )


@contextmanager
def serving(**options: Any) -> Iterator[tuple[InstrumentServer, Events]]:
    events = Events()
    with InstrumentServer(on_event=events, python_path=["."], **options) as server:
        yield server, events


def wait_until(condition: Callable[[], object], what: str = "") -> None:
    until_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < until_s, what or "it did not happen"
        time.sleep(0.002)


def kill(server: InstrumentServer, name: str, number: signal.Signals) -> None:
    """Signal the worker of an instrument."""
    pid = server.status(name).pid
    assert pid, f"{name} has no worker"
    os.kill(pid, number)


def arrays_left() -> list[str]:
    """Return the files of arrays in shared memory that workers of this process's servers have made."""
    return [name for name in os.listdir("/dev/shm") if name.startswith(f"labwire_{os.getpid()}_")]
