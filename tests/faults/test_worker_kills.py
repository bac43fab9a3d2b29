"""Workers killed at random moments under load: nobody waits for ever, and nothing lost is told as a success."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from labwire.errors import LabwireError, PeerGoneError, StateError
from labwire.instruments.server import InstrumentServer
from labwire.instruments.status import State
from tests.instruments.server_kit import config, kill, serving, unique, wait_until

DMM1 = unique("DMM1")
ORPHAN = unique("ORPHAN")
CALLERS = 3
FUTURES = 20
PATIENCE_MS = 60_000
"""No command may ever take so long: whoever gets a timeout was forgotten."""


class Load:
    """Calls, futures and maps without a pause; each answer is held against its question."""

    def __init__(self, server: InstrumentServer, name: str) -> None:
        self._server, self._name = server, name
        self._ending = threading.Event()
        self.counts: Counter[str] = Counter()
        self.wrong: list[object] = []
        works = [self._call] * CALLERS + [self._submit, self._map]
        self._threads = [threading.Thread(target=self._repeat, args=(work,)) for work in works]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, work: Callable[[int], None]) -> None:
        number = 0
        while not self._ending.is_set():
            number += 1
            try:
                work(number)
            except PeerGoneError as error:
                self.counts["died"] += 1
                if "Worker died" not in str(error):
                    self.wrong.append(error)
                self._ending.wait(0.001)
            except StateError:
                self._ending.wait(0.001)
            except LabwireError as error:
                self.wrong.append(error)

    def _check(self, asked: object, answer: object) -> None:
        self.counts["answered"] += 1
        if answer != asked:
            self.wrong.append((asked, answer))

    def _call(self, number: int) -> None:
        asked = f"{threading.get_ident()} {number}"
        self._check(asked, self._server.call(self._name, "ECHO", {"value": asked}, timeout_ms=PATIENCE_MS))

    def _submit(self, number: int) -> None:
        asked = [f"future {number} {part}" for part in range(FUTURES)]
        futures = [self._server.submit(self._name, "ECHO", {"value": text}, timeout_ms=PATIENCE_MS) for text in asked]
        for text, future in zip(asked, futures, strict=True):
            self._check(text, future.result())

    def _map(self, number: int) -> None:
        asked = [f"map {number} {part}" for part in range(200)]
        values = self._server.map(self._name, "ECHO", [{"value": text} for text in asked], timeout_ms=PATIENCE_MS)
        for text, value in zip(asked, values, strict=True):
            self._check(text, value)


@pytest.mark.parametrize("queue", ["socket", "boost"])
def test_killed_at_random_moments(queue: str, seed: int, soak: Callable[[int, int], int]) -> None:
    dice = random.Random(seed)
    kills = soak(15, 500)
    with serving() as (server, events):
        server.add(DMM1, config(queue=queue, restart_tries=1000, heartbeat_timeout_s=3600))
        load = Load(server, DMM1)
        try:
            for _ in range(kills):
                wait_until(lambda: server.status(DMM1).state in {State.READY, State.BUSY})
                time.sleep(dice.random() * dice.choice([0.001, 0.01, 0.05]))
                kill(server, DMM1, signal.SIGKILL)
                restarts = server.status(DMM1).restarts
                wait_until(lambda restarts=restarts: server.status(DMM1).restarts > restarts)
            wait_until(lambda: server.status(DMM1).state in {State.READY, State.BUSY})
        finally:
            load.end()
        assert server.call(DMM1, "ECHO", {"value": "after all"}) == "after all"
        status = server.status(DMM1)
    print(f"{kills} kills: {dict(load.counts)}, {status}")
    assert not load.wrong
    assert status.timed_out == 0
    assert status.waiting == 0
    assert status.protocol_errors == 0
    assert load.counts["answered"] > kills
    assert Counter(data["why"] for data in events.of("died")) == {"ended by SIGKILL": kills}


@pytest.mark.parametrize("queue", ["socket", "boost"])
def test_futures_fail_soon_after_a_kill(queue: str, soak: Callable[[int, int], int]) -> None:
    delays_s: list[float] = []
    with serving() as (server, _):
        server.add(DMM1, config(queue=queue, restart_tries=1000, heartbeat_timeout_s=3600))
        for _ in range(soak(10, 200)):
            wait_until(lambda: server.status(DMM1).state is State.READY)
            assert server.call(DMM1, "ECHO", {"value": 1}) == 1  # else it would be started later and later
            delays_s.append(kill_with_futures(server, DMM1))
    delays_s.sort()
    print(f"{queue}: death to failed futures: median {delays_s[len(delays_s) // 2] * 1e3:.2f} ms, ", end="")
    print(f"worst {delays_s[-1] * 1e3:.2f} ms of {len(delays_s)}")


def kill_with_futures(server: InstrumentServer, name: str) -> float:
    """Return how long it took until the last of 20 futures had failed, in seconds."""
    failed_s: list[float] = []
    futures = [server.submit(name, "SLEEP", {"duration_s": 60}, timeout_ms=PATIENCE_MS * 10) for _ in range(20)]
    for future in futures:
        future.add_done_callback(lambda _: failed_s.append(time.monotonic()))
    killed_s = time.monotonic()
    kill(server, name, signal.SIGKILL)
    for future in futures:
        with pytest.raises(PeerGoneError, match="Worker died"):
            future.result()
    wait_until(lambda: len(failed_s) == len(futures))
    return max(failed_s) - killed_s


def test_stopped_at_random_moments(seed: int, soak: Callable[[int, int], int]) -> None:
    """Hung, as far as anybody can tell: some of them while they hold the queue's lock."""
    dice = random.Random(seed)
    with serving() as (server, events):
        server.add(DMM1, config(queue="boost", restart_tries=1000, heartbeat_s=0.05, heartbeat_timeout_s=1.0))
        load = Load(server, DMM1)
        hangs = soak(3, 50)
        try:
            for number in range(1, hangs + 1):
                wait_until(lambda: server.status(DMM1).state in {State.READY, State.BUSY})
                time.sleep(dice.random() * 0.02)
                kill(server, DMM1, signal.SIGSTOP)
                events.wait_for("died", number)
            wait_until(lambda: server.status(DMM1).state in {State.READY, State.BUSY})
        finally:
            load.end()
        # A queue may have stayed full while nobody served it: the caller was told.
        assert all(getattr(error, "data", {}).get("queue_full") for error in load.wrong)
        assert server.call(DMM1, "ECHO", {"value": 1}) == 1


_SERVER = """
import sys, time
from tests.instruments.server_kit import config, kill
from labwire.instruments.server import InstrumentServer
server = InstrumentServer(python_path=["."])
server.add(sys.argv[1] + "1", config(queue="boost"))
server.add(sys.argv[1] + "2", config(queue="socket"))
for name in server.names():
    server.submit(name, "ARRAY")
    server.submit(name, "SLEEP", {"duration_s": 0.5})
    server.submit(name, "ARRAY")
import json
print(json.dumps([status.pid for status in server.statuses()]), flush=True)
time.sleep(60)
"""


def test_workers_of_a_killed_server_leave_and_nothing_stays() -> None:
    pytest.importorskip("numpy")
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root / "src"), str(root)])
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER, ORPHAN],
        stdout=subprocess.PIPE,
        cwd=root,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert process.stdout
    with process.stdout:
        pids: list[int] = json.loads(process.stdout.readline())
    assert len(pids) == 2
    process.kill()
    process.wait()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "a worker outlived its server")
    wait_until(lambda: not _left(), f"left in shared memory: {_left()}")


def _left() -> list[str]:
    return [name for name in os.listdir("/dev/shm") if ORPHAN in name]
