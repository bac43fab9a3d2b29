"""The steward: hears everything, in bulk where it streams, and says what it has missed."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from labwire.actors import steward as steward_module
from labwire.actors.steward import Steward, StewardConfig
from labwire.bus.actor_runner import ActorRunner, ActorSpec
from labwire.bus.rpc_client import RpcClient
from labwire.operations.bus import BusOperations
from labwire.operations.service import client_of
from tests.bus.fake_hub import wait_until
from tests.bus.hub_parts import Hub, running_hub
from tests.packing import pack

FOR_EVER_S = 3600.0


class Run:
    """A steward that runs on a thread, and somebody who asks it."""

    def __init__(self, hub: Hub, log_file: Path) -> None:
        assert hub.clock.fd is not None
        options = StewardConfig(
            log_file=str(log_file),
            log_max_bytes=1_000_000,
            log_backups=1,
            sub_port=hub.backbone.sub_port,
            slow_subscriber_s=2.0,
        )
        dotted, config = "labwire.actors.steward:Steward", msgspec.to_builtins(options)
        spec = ActorSpec("steward", dotted, hub.wiring, config, clock_fd=os.dup(hub.clock.fd))
        self.runner = ActorRunner(Steward, spec)
        assert isinstance(self.runner.actor, Steward)
        self.steward, self.log_file = self.runner.actor, log_file
        self.bus = client_of(BusOperations, RpcClient(hub.wiring.rpc_url, context=hub.peers).call)

    def on_loop(self, work: Callable[[], object]) -> None:
        """Do something on the steward's own thread, and wait until it is done."""
        done = threading.Event()

        def run() -> None:
            work()
            done.set()

        assert self.runner.loop.post(run)
        wait_until(done.is_set, "the steward's loop")

    def last(self, topic: str) -> Any:
        """Return the newest payload of a topic, None if there was none."""
        return next((value.payload for value in self.bus.last(topic)), None)

    def total(self, topic: str) -> int:
        """Return how many messages of a topic it has counted."""
        return sum(row.total for row in self.bus.stats().topics if row.topic == topic)


@contextmanager
def running_steward(hub: Hub, log_file: Path) -> Iterator[Run]:
    run = Run(hub, log_file)
    thread = threading.Thread(target=run.runner.run)
    thread.start()
    try:
        wait_until(lambda: "steward" in [hello.actor for hello in hub.rpc.broker.hellos()], "HELLO")
        yield run
    finally:
        run.runner.loop.post(run.runner.loop.stop)
        thread.join()


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as running:
        yield running


def test_who_asks_gets_what_has_arrived_even_while_it_rests(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steward_module, "_REST_S", FOR_EVER_S)
    with running_steward(hub, tmp_path / "log") as run:
        for number in range(300):
            hub.ask(b"data", pack({"n": number}), bytes(1000))
            if number % 100 == 0:
                wait_until(lambda n=number: run.last("data") == {"n": n}, "the newest value")
        wait_until(lambda: run.last("data") == {"n": 299}, "the last value")


def test_what_has_arrived_while_it_rested_is_written_at_the_end(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steward_module, "_REST_S", FOR_EVER_S)
    with running_steward(hub, tmp_path / "log") as run:
        wait_until(lambda: run.last("bus.ready"), "it to have heard something, and so to rest")
        record = {"levelname": "WARNING", "name": "eye", "msg": "closed %s", "args": ["now"], "created": 0.0}
        hub.ask(b"logging.warning", pack(record))
        wait_until(lambda: b"closed %s" in waits_for(run), "that it has arrived")
    assert "closed now" in run.log_file.read_text()


def waits_for(run: Run) -> bytes:
    """Return what the steward has not read yet."""
    tap = run.steward._tap
    assert tap
    return tap._socket.recv(1 << 20, socket.MSG_PEEK) if tap.wait(0) else b""


def test_a_stream_is_counted_whole(hub: Hub, tmp_path: Path) -> None:
    publisher = hub.publisher()
    with running_steward(hub, tmp_path / "log") as run:
        for number in range(800):  # fewer than a queue of the publisher holds
            publisher.send_multipart([b"stream.a" if number % 5 else b"stream.b", pack({"n": number}), bytes(100)])
        wait_until(lambda: (run.total("stream.a"), run.total("stream.b")) == (640, 160), "all of them")
        assert run.bus.stats().malformed == 0


def test_it_comes_back_when_it_was_cut_and_the_log_says_so(hub: Hub, tmp_path: Path) -> None:
    with running_steward(hub, tmp_path / "log") as run:
        tap = run.steward._tap
        assert tap
        run.on_loop(lambda: tap._socket.shutdown(2))
        wait_until(lambda: run.steward._tap not in {None, tap}, "another tap")
        wait_until(lambda: "lack what came meanwhile: the bus has closed" in run.log_file.read_text(), "the log")
        hub.ask(b"data", pack({"n": 1}))
        wait_until(lambda: run.last("data") == {"n": 1}, "what comes after that")
