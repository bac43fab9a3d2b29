"""Operations over the RPC port: client, broker and an actor's server in one process, and everything that goes wrong."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import gethostname
from typing import Any

import msgspec
import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labwire.bus import loop as loop_module
from labwire.bus import operation_server
from labwire.bus.loop import Loop
from labwire.bus.operation_server import OperationServer
from labwire.bus.rpc_client import MAX_IDLE_CONNECTIONS, RpcClient
from labwire.bus.rpc_port import _lives
from labwire.errors import (
    CancelledError,
    DeadlineError,
    InternalError,
    LabwireError,
    NotFoundError,
    PeerGoneError,
    ProtocolError,
    QueueFullError,
    StateError,
    UsageError,
)
from labwire.operations.job import Job, LocalJob
from labwire.operations.service import Operation, Service, client_of, operation
from labwire.wire.rpc_message import Hello, Kind, RpcMessage, decode_rpc, encode_rpc, read_error
from tests.bus.fake_hub import LIMIT_S, wait_until
from tests.bus.hub_parts import Hub, running_hub


class Point(msgspec.Struct, frozen=True):
    x: float
    y: float


class Bench(Service):
    """Do things."""

    service = "bench"

    @operation(changes=False)
    @abstractmethod
    def double(self, point: Point) -> Point:
        """Double a point."""

    @operation()
    @abstractmethod
    def fail(self, kind: str) -> None:
        """Fail."""

    @operation()
    @abstractmethod
    def work(self, steps: int) -> Job[int, str]:
        """Work."""

    @operation()
    @abstractmethod
    def until_alone(self) -> Job[int, str]:
        """Work as long as somebody is there."""

    @operation()
    @abstractmethod
    def wait(self) -> str:
        """Wait until the test says so."""

    @operation()
    @abstractmethod
    def unsendable(self) -> str:
        """Return what has no MessagePack form."""


class UntilAlone(LocalJob[int, str]):
    def __init__(self) -> None:
        super().__init__(self._run)
        self.alone = threading.Event()

    def caller_gone(self) -> None:
        self.alone.set()

    def _run(self, report: Callable[[int], None], cancelled: Callable[[], bool]) -> str:
        while not self.alone.wait(0.001) and not cancelled():
            report(0)
        return "alone"


class Implementation(Bench):
    def __init__(self) -> None:
        self.go = threading.Event()
        self.working = threading.Semaphore(0)

    def double(self, point: Point) -> Point:
        return Point(2 * point.x, 2 * point.y)

    def fail(self, kind: str) -> None:
        if kind == "ours":
            raise NotFoundError("no such thing", thing="x")
        if kind == "anybody's":
            raise ZeroDivisionError("oops")
        raise SystemError(kind)

    def work(self, steps: int) -> Job[int, str]:
        def run(report: Callable[[int], None], cancelled: Callable[[], bool]) -> str:
            self.working.release()
            for step in range(abs(steps)):
                report(step)
            if steps < 0:
                while not cancelled():
                    time.sleep(0.001)  # a pace
                raise CancelledError("taken back")
            if steps == 13:
                raise ZeroDivisionError("unlucky")
            return f"{steps} steps"

        return LocalJob(run)

    def until_alone(self) -> Job[int, str]:
        return UntilAlone()

    def wait(self) -> str:
        assert self.go.wait(LIMIT_S)
        return "waited"

    def unsendable(self) -> str:
        return object()  # type: ignore[return-value]


class Server:
    """An actor's side, its loop on a thread."""

    def __init__(self, hub: Hub, name: str = "desk") -> None:
        self.implementation = Implementation()
        self.faults: list[BaseException] = []
        self.refusals: list[LabwireError] = []
        self.loop = Loop(self.faults.append)
        hello = Hello(name, "m:C", ["bench"], pid=1)
        url = f"tcp://127.0.0.1:{hub.rpc.port}"
        self.server = OperationServer(self.implementation, self.loop, hello, url, hub.peers, self.refusals.append)
        self.server.start()
        self.loop.every(0.05, self.server.say_hello)
        self._thread = threading.Thread(target=self.loop.run)
        self._thread.start()
        wait_until(lambda: any(peer.actor == name for peer in hub.rpc.broker.hellos()), "HELLO")

    def stop(self) -> None:
        self.implementation.go.set()
        self.loop.post(self.loop.stop)
        self._thread.join()
        self.server.close()
        self.loop.close()


@contextmanager
def serving(hub: Hub, name: str = "desk") -> Iterator[Server]:
    server = Server(hub, name)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def calling(hub: Hub) -> Iterator[RpcClient]:
    client = RpcClient(f"tcp://127.0.0.1:{hub.rpc.port}", context=hub.peers, timeout_s=LIMIT_S)
    try:
        yield client
    finally:
        client.close()


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as running:
        yield running


@pytest.fixture
def server(hub: Hub) -> Iterator[Server]:
    with serving(hub) as made:
        yield made


@pytest.fixture
def client(hub: Hub) -> Iterator[RpcClient]:
    with calling(hub) as made:
        yield made


@pytest.fixture
def bench(server: Server, client: RpcClient) -> Bench:
    return client_of(Bench, client.call)


def row(name: str) -> Operation:
    return Bench.operations()[name]


def test_a_call_and_its_reply_are_typed(bench: Bench) -> None:
    assert bench.double(Point(1.5, 2)) == Point(3.0, 4.0)


def test_errors_travel_with_their_type_and_data(bench: Bench, server: Server) -> None:
    with pytest.raises(NotFoundError, match="no such thing") as caught:
        bench.fail("ours")
    assert caught.value.data == {"thing": "x"}
    with pytest.raises(InternalError, match=r"bench\.fail failed in desk: ZeroDivisionError: oops"):
        bench.fail("anybody's")
    assert bench.double(Point(1, 1)) == Point(2, 2), "it goes on"
    with pytest.raises(InternalError, match="the reply of desk cannot be sent"):
        bench.unsendable()
    assert server.faults == []


def test_what_cannot_be_asked(bench: Bench, client: RpcClient) -> None:
    with pytest.raises(TypeError):
        bench.double()  # type: ignore[call-arg]
    with pytest.raises(ProtocolError, match=r"bench\.double"):
        bench.double("here")  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        bench.fail(object())  # type: ignore[arg-type]
    with pytest.raises(NotFoundError, match=r"no actor 'nobody'.*desk"):
        client.call(row("wait"), row("wait").request(), target="nobody")
    assert bench.double(Point(1, 1)) == Point(2, 2)


def test_of_a_rig_that_is_gone_for_good_nothing_is_waited_for(bench: Bench, client: RpcClient) -> None:
    client.give_up("the rig has died")
    with pytest.raises(PeerGoneError, match="the rig has died"):
        bench.double(Point(1, 1))


def test_no_answer_in_time_leaves_no_trace_for_the_next_call(bench: Bench, client: RpcClient, server: Server) -> None:
    with pytest.raises(DeadlineError, match=r"bench\.wait.*0\.05 s"):
        client.call(row("wait"), row("wait").request(), timeout_s=0.05)
    server.implementation.go.set()
    assert bench.double(Point(1, 1)) == Point(2, 2), "not the late reply of the other"


def test_many_callers_at_once_each_get_their_own(bench: Bench, client: RpcClient) -> None:
    def call(start: int) -> None:
        for n in range(start, start + 50):
            assert bench.double(Point(n, -n)) == Point(2 * n, -2 * n)

    threads = [threading.Thread(target=call, args=(1000 * n,)) for n in range(2 * MAX_IDLE_CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0 < len(client._idle) <= MAX_IDLE_CONNECTIONS


def test_a_job_reports_and_ends(bench: Bench) -> None:
    job = bench.work(5)
    assert list(job.progress()) == [0, 1, 2, 3, 4]
    assert job.result() == job.result() == "5 steps"
    job.cancel()
    with pytest.raises(InternalError, match="unlucky"):
        bench.work(13).result()


def test_a_job_is_cancelled(bench: Bench) -> None:
    job = bench.work(-3)
    with pytest.raises(DeadlineError, match="goes on"):
        job.result(timeout_s=0.05)
    job.cancel()
    with pytest.raises(CancelledError, match="taken back"):
        job.result(LIMIT_S)


def test_jobs_do_not_hold_up_calls_and_are_bounded(
    bench: Bench, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operation_server, "MAX_JOBS", 3)
    jobs = [bench.work(-1) for _ in range(3)]
    for _ in jobs:
        assert server.implementation.working.acquire(timeout=LIMIT_S)
    assert bench.double(Point(1, 1)) == Point(2, 2)
    with pytest.raises(QueueFullError):
        bench.work(1).result()
    for job in jobs:
        job.cancel()
    for job in jobs:
        with pytest.raises(CancelledError):
            job.result()
    assert bench.work(1).result() == "1 steps"


def test_a_job_that_reports_too_much_still_ends(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "MAX_POSTED", 5)
    job = bench.work(20_000)
    seen = list(job.progress())
    assert seen == sorted(set(seen)), "some may be missing, none comes twice"
    assert job.result() == "20000 steps"


def test_an_abandoned_job_keeps_nothing_open(hub: Hub, server: Server) -> None:
    with calling(hub) as client:
        client_of(Bench, client.call).work(-1)
        assert server.implementation.working.acquire(timeout=LIMIT_S)
    with pytest.raises(StateError, match="closed"):
        client.call(row("wait"), row("wait").request())


def test_jobs_end_with_their_actor(hub: Hub, client: RpcClient) -> None:
    with serving(hub) as server:
        job = client_of(Bench, client.call).work(-1)
        assert server.implementation.working.acquire(timeout=LIMIT_S)
    with pytest.raises(CancelledError):
        job.result(LIMIT_S)


def test_all_that_waits_for_an_actor_that_died_is_answered(hub: Hub, server: Server, client: RpcClient) -> None:
    failures: list[BaseException] = []

    def call() -> None:
        try:
            client.call(row("wait"), row("wait").request())
        except LabwireError as error:
            failures.append(error)

    threads = [threading.Thread(target=call) for _ in range(5)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(hub.rpc.broker._requests) == 5, "five requests")
    hub.rpc.actor_died("desk", "was killed")
    for thread in threads:
        thread.join()
    assert len(failures) == 5
    assert all(isinstance(error, PeerGoneError) and "was killed" in str(error) for error in failures)
    server.implementation.go.set()
    wait_until(hub.rpc.broker.hellos, "that it is known again, for it lives")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not tell")
def test_a_dead_process_that_nobody_has_buried_does_not_live() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        said = Hello("desk", "m:C", [], pid=process.pid, host=gethostname())
        assert _lives(said)
        process.kill()
        wait_until(lambda: not _lives(said), "that it is seen to be dead")
        assert process.returncode is None, "nobody has asked yet"
    assert not _lives(said)


def test_an_actor_whose_name_is_taken_is_told(hub: Hub, server: Server) -> None:
    with serving(hub) as second:
        wait_until(lambda: server.refusals, "a refusal")
        assert isinstance(server.refusals[0], StateError)
        assert second.refusals == []


garbage = st.lists(
    st.binary(max_size=30)
    | st.sampled_from([b"", b"desk", b"bench.double", b"bench.wait", b"\x80", b"LW1C" + bytes(8), b"LW1H" + bytes(8)])
    | st.builds(
        lambda kind, number: b"LW1" + kind.value + number.to_bytes(8, "little"),
        st.sampled_from(Kind),
        st.integers(0, 9),
    ),
    min_size=1,
    max_size=5,
)


def test_garbage_is_answered_or_counted_and_harms_nobody(hub: Hub, bench: Bench, server: Server) -> None:
    server.implementation.go.set()
    peer = hub.connect(zmq.DEALER, hub.rpc.port)

    @settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(garbage)
    def send(parts: list[bytes]) -> None:
        peer.send_multipart(parts)
        peer.send_multipart(encode_rpc(RpcMessage(Kind.CALL, 2**63, [b"", b"nothing.here", b"\x80"])))
        while True:
            message = decode_rpc(peer.recv_multipart())
            if message.kind is Kind.ERROR and message.number == 2**63:
                break
        assert isinstance(read_error(message.parts[0]), NotFoundError)

    send()
    assert bench.double(Point(1, 1)) == Point(2, 2)
    peer.send_multipart(encode_rpc(RpcMessage(Kind.BYE, 0)))


def test_a_caller_that_went_away_is_not_waited_for(hub: Hub, bench: Bench, server: Server) -> None:
    for _ in range(10):
        peer = hub.connect(zmq.DEALER, hub.rpc.port)
        peer.send_multipart(encode_rpc(RpcMessage(Kind.CALL, 1, [b"", b"bench.wait", b"\x80"])))
        wait_until(lambda: hub.rpc.broker._requests, "the request")
        peer.close()
        server.implementation.go.set()
        assert bench.double(Point(1, 1)) == Point(2, 2)
        wait_until(lambda: not hub.rpc.broker._requests, "the end of the request")
        server.implementation.go.clear()
    assert hub.rpc.unsent > 0


def test_work_hears_that_its_caller_went_away(hub: Hub, bench: Bench, server: Server) -> None:
    peer = hub.connect(zmq.DEALER, hub.rpc.port)
    peer.send_multipart(encode_rpc(RpcMessage(Kind.CALL, 1, [b"", b"bench.until_alone", b"\x80"])))
    assert decode_rpc(peer.recv_multipart()).kind is Kind.PROGRESS
    peer.close()
    wait_until(lambda: not hub.rpc.broker._requests, "the end of the work")


def test_unknown_operations_name_those_that_there_are(hub: Hub, server: Server) -> None:
    peer = hub.connect(zmq.DEALER, hub.rpc.port)
    peer.send_multipart(encode_rpc(RpcMessage(Kind.CALL, 1, [b"desk", b"bench.brew", b"\x80"])))
    error = read_error(decode_rpc(peer.recv_multipart()).parts[0])
    assert isinstance(error, NotFoundError)
    assert "bench.double" in str(error)


def test_a_reply_that_does_not_fit_is_an_error_of_the_peer(hub: Hub, client: RpcClient) -> None:
    actor = hub.connect(zmq.DEALER, hub.rpc.port)
    hello: Any = Hello("fake", "m:C", ["bench"])
    actor.send_multipart(encode_rpc(RpcMessage(Kind.HELLO, 0, [msgspec.msgpack.encode(hello)])))
    wait_until(hub.rpc.broker.hellos, "HELLO")

    def answer() -> None:
        request = decode_rpc(actor.recv_multipart())
        actor.send_multipart(encode_rpc(RpcMessage(Kind.OK, request.number, [b"\xa4junk"])))

    thread = threading.Thread(target=answer)
    thread.start()
    with pytest.raises(ProtocolError, match=r"bench\.double: the reply does not fit"):
        client_of(Bench, client.call).double(Point(1, 1))
    thread.join()
