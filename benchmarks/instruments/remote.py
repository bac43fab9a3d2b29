"""The Remote of a rig while instruments run flat out in a process of their own.

As a program, ``python -m benchmarks.instruments.remote RATE`` runs RATE commands a second and tells, when its standard
input ends, how many it were.
"""

from __future__ import annotations

import json
import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import zmq

from benchmarks.bus.peers import Child, Peer
from benchmarks.common import Case
from benchmarks.instruments.calls import config, name_of
from benchmarks.instruments.drivers import PARAMS
from labwire.instruments.server import InstrumentServer

COMMANDS_HZ = 20_000
QUIET = "Remote t, no instruments"
BUSY = f"Remote t, beside {COMMANDS_HZ:,} commands/s (labwire)"
REACHED = "commands/s reached meanwhile (labwire)"
_CHUNK_S = 0.02
_LIMIT_S = 5.0


@contextmanager
def remote_cases(folder: str, count: int, load_s: float) -> Iterator[list[Case]]:
    """Start a rig; yield its Remote's cases, alone and beside instruments."""
    context: zmq.Context[Any] = zmq.Context()
    reached: list[float] = []
    with Peer("rig", folder) as rig:
        ask = context.socket(zmq.REQ)
        ask.rcvtimeo = int(_LIMIT_S * 1000)
        ask.connect(rig.url("remote"))

        def busy() -> list[float]:
            with Child("benchmarks.instruments.remote", str(COMMANDS_HZ)) as load:
                load.hear()
                samples = _ask(ask, count, load_s)
                load.tell({})
                reached.append(load.hear()["rate_hz"])
            return samples

        try:
            yield [Case(QUIET, lambda: _ask(ask, count, 0.0)), Case(BUSY, busy), Case(REACHED, lambda: [reached[-1]])]
        finally:
            context.destroy(linger=0)


def _ask(ask: zmq.Socket[Any], count: int, least_s: float) -> list[float]:
    samples: list[float] = []
    until_s = time.perf_counter() + least_s
    while len(samples) < count or time.perf_counter() < until_s:
        start_s = time.perf_counter()
        ask.send(b"t")
        ask.recv()
        samples.append((time.perf_counter() - start_s) * 1e6)
    return samples


def _run(rate_hz: int) -> None:
    sys.setswitchinterval(0.0005)  # as the instruments' process of a rig does
    with InstrumentServer() as server:
        name = name_of("boost")
        server.add(name, config("boost"))
        chunk = [PARAMS] * int(rate_hz * _CHUNK_S)
        print(json.dumps({"ready": True}), flush=True)
        start_s = due_s = time.monotonic()
        done = 0
        while not _told_to_end():
            done += sum(1 for _ in server.map(name, "NOTHING", chunk))
            due_s += _CHUNK_S
            time.sleep(max(0.0, due_s - time.monotonic()))
        print(json.dumps({"rate_hz": done / (time.monotonic() - start_s)}), flush=True)


def _told_to_end() -> bool:
    return bool(select.select([sys.stdin], [], [], 0)[0])


if __name__ == "__main__":
    _run(int(sys.argv[1]))
