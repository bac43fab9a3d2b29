"""Commands through the public calls of `InstrumentServer`: how long one takes, and how many go in a second."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, NamedTuple

from benchmarks.common import Case
from benchmarks.instruments.drivers import NAME, PARAMS
from labwire.errors import PeerGoneError, ResourceError
from labwire.instruments.config import InstrumentConfig, QueueKind
from labwire.instruments.server import InstrumentServer

KINDS: Sequence[QueueKind] = ("boost", "socket", "posix")
IN_FLIGHT = 50
THREADS = 4
POINTS = (10_000, 1_000_000)
_WAITING = 20
_LIMIT_MS = 60_000


class Counts(NamedTuple):
    """How much is measured in one round."""

    calls: int
    commands: int
    kills: int
    waveforms: int
    instruments: int
    """How many "many" are."""


def config(kind: QueueKind) -> InstrumentConfig:
    """Return how the measured instruments are configured."""
    return InstrumentConfig(driver=NAME, queue=kind, restart_tries=1_000_000)


def name_of(kind: QueueKind) -> str:
    """Return the name of the instrument with queues of a kind; Boost's are the whole machine's."""
    return f"{kind}-{os.getpid()}"


def possible_kinds(server: InstrumentServer) -> dict[QueueKind, str]:
    """Add one instrument of each kind; return those kinds, with why not for one that this machine forbids."""
    kinds: dict[QueueKind, str] = {}
    for kind in KINDS:
        try:
            server.add(name_of(kind), config(kind))
        except ResourceError as error:
            kinds[kind] = str(error)
        else:
            kinds[kind] = ""
    return kinds


# --- names of the cases


def call(kind: str) -> str:
    """One command after the other, one thread."""
    return f"labwire call, {kind}"


def threads_call(kind: str) -> str:
    """One instrument, several calling threads: what each of them waits."""
    return f"labwire call, {kind}, {THREADS} threads"


def threads_rate(kind: str) -> str:
    """One instrument, several calling threads: all together."""
    return f"labwire call, {kind}, {THREADS} threads, 1 instrument"


def submit(kind: str) -> str:
    """Futures."""
    return f"labwire submit, {kind}, {IN_FLIGHT} in flight"


def pipelined(kind: str) -> str:
    """Sent ahead by the caller itself."""
    return f"labwire map, {kind}, {IN_FLIGHT} in flight"


def many_call(kind: str) -> str:
    """Several instruments, a calling thread each: all together."""
    return f"labwire call, {kind}, many instruments"


def many_map(kind: str) -> str:
    """Several instruments, a thread each that sends ahead: all together."""
    return f"labwire map, {kind}, many instruments"


def death(kind: str) -> str:
    """From SIGKILL to the last of the futures that have failed."""
    return f"labwire death to failed futures, {kind}"


def restart(kind: str) -> str:
    """From SIGKILL to the next answer."""
    return f"labwire death to next answer, {kind}"


def start(kind: str) -> str:
    """From adding several instruments to the last that is ready."""
    return f"labwire start of many at once, {kind}"


def waveform(kind: str, points: int) -> str:
    """A float32 array, to the caller as an array, one element looked at."""
    return f"labwire waveform of {points:,}, {kind}"


def cases(server: InstrumentServer, kind: QueueKind, counts: Counts) -> Iterator[Case]:
    """Yield all cases of one kind of queue; its instrument is in the server already."""
    name = name_of(kind)
    yield Case(call(kind), lambda: _call(server, name, counts.calls))
    yield Case(threads_call(kind), lambda: _call_from_threads(server, name, counts.calls // THREADS))
    yield Case(threads_rate(kind), lambda: [_rate_of_threads(server, [name] * THREADS, counts.commands)])
    yield Case(submit(kind), lambda: [_submit(server, name, counts.commands)])
    yield Case(pipelined(kind), lambda: [_map(server, name, counts.commands)])
    yield Case(many_call(kind), lambda: _many(server, kind, counts, _call_all))
    yield Case(many_map(kind), lambda: _many(server, kind, counts, _map_all))
    yield Case(start(kind), lambda: _start(server, kind, counts.instruments))
    yield Case(death(kind), lambda: [_death(server, name) * 1e3 for _ in range(counts.kills)])
    yield Case(restart(kind), lambda: [_restart(server, name) * 1e3 for _ in range(counts.kills)])
    for points in POINTS:
        yield Case(waveform(kind, points), lambda points=points: _waveforms(server, name, points, counts.waveforms))


def _call(server: InstrumentServer, name: str, count: int) -> list[float]:
    server.call(name, "NOTHING", PARAMS)
    samples: list[float] = []
    for _ in range(count):
        start_s = time.perf_counter()
        server.call(name, "NOTHING", PARAMS)
        samples.append((time.perf_counter() - start_s) * 1e6)
    return samples


def _call_from_threads(server: InstrumentServer, name: str, count: int) -> list[float]:
    samples: list[float] = []
    _at_once([lambda: samples.extend(_call(server, name, count))] * THREADS)
    return samples


def _rate_of_threads(server: InstrumentServer, names: Sequence[str], count: int) -> float:
    each = count // len(names)

    def work(name: str) -> None:
        for _ in range(each):
            server.call(name, "NOTHING", PARAMS)

    return each * len(names) / _at_once([lambda name=name: work(name) for name in names])


def _submit(server: InstrumentServer, name: str, count: int) -> float:
    on_their_way: deque[Future[Any]] = deque()
    start_s = time.perf_counter()
    for _ in range(count):
        if len(on_their_way) >= IN_FLIGHT:
            on_their_way.popleft().result()
        on_their_way.append(server.submit(name, "NOTHING", PARAMS))
    for future in on_their_way:
        future.result()
    return count / (time.perf_counter() - start_s)


def _map(server: InstrumentServer, name: str, count: int) -> float:
    start_s = time.perf_counter()
    done = sum(1 for _ in server.map(name, "NOTHING", [PARAMS] * count, window=IN_FLIGHT))
    assert done == count
    return count / (time.perf_counter() - start_s)


def _call_all(server: InstrumentServer, names: Sequence[str], count: int) -> float:
    return _rate_of_threads(server, names, count)


def _map_all(server: InstrumentServer, names: Sequence[str], count: int) -> float:
    each = count // len(names)
    elapsed_s = _at_once([lambda name=name: _map(server, name, each) for name in names])
    return each * len(names) / elapsed_s


def _many(
    server: InstrumentServer,
    kind: QueueKind,
    counts: Counts,
    measure: Callable[[InstrumentServer, Sequence[str], int], float],
) -> list[float]:
    with _more(server, kind, counts.instruments) as names:
        return [measure(server, names, counts.commands)]


def _start(server: InstrumentServer, kind: QueueKind, count: int) -> list[float]:
    start_s = time.perf_counter()
    with _more(server, kind, count):
        return [(time.perf_counter() - start_s) * 1e3]


@contextmanager
def _more(server: InstrumentServer, kind: QueueKind, count: int) -> Iterator[list[str]]:
    names = [f"{name_of(kind)}-{number}" for number in range(count)]
    try:
        for name in names:
            server.add(name, config(kind), wait=False)
        for name in names:
            server.start(name)
        yield names
    finally:
        _at_once([lambda name=name: server.remove(name) for name in names])


def _death(server: InstrumentServer, name: str) -> float:
    server.call(
        name, "NOTHING", PARAMS, timeout_ms=_LIMIT_MS
    )  # a death without an answer between is not mended at once
    failed_s: list[float] = []
    futures = [server.submit(name, "SLEEP", {"duration_s": 60.0}, timeout_ms=_LIMIT_MS) for _ in range(_WAITING)]
    for future in futures:
        future.add_done_callback(lambda _: failed_s.append(time.perf_counter()))
    killed_s = time.perf_counter()
    os.kill(_pid(server, name), signal.SIGKILL)
    for future in futures:
        assert isinstance(future.exception(), PeerGoneError)
    while len(failed_s) < len(futures):
        time.sleep(0.0001)
    server.start(name)
    return max(failed_s) - killed_s


def _restart(server: InstrumentServer, name: str) -> float:
    server.call(name, "NOTHING", PARAMS, timeout_ms=_LIMIT_MS)
    pid = _pid(server, name)
    start_s = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    while True:
        try:
            server.call(name, "NOTHING", PARAMS, timeout_ms=_LIMIT_MS)
        except PeerGoneError:
            continue
        if server.status(name).pid != pid:
            return time.perf_counter() - start_s


def _pid(server: InstrumentServer, name: str) -> int:
    pid = server.status(name).pid
    assert pid, f"{name} has no worker"
    return pid


def _waveforms(server: InstrumentServer, name: str, points: int, count: int) -> list[float]:
    server.call(name, "WAVEFORM", {"points": points})
    samples: list[float] = []
    for _ in range(count):
        start_s = time.perf_counter()
        array = server.call(name, "WAVEFORM", {"points": points})
        assert array[points - 1] == points - 1
        samples.append((time.perf_counter() - start_s) * 1e3)
    return samples


def _at_once(works: Sequence[Callable[[], object]]) -> float:
    """Do all at the same time, a thread each; return how long that took, in seconds."""
    together = threading.Barrier(len(works) + 1)

    def run(work: Callable[[], object]) -> None:
        together.wait()
        work()

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    together.wait()
    start_s = time.perf_counter()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start_s
