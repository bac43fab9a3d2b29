"""An instrument at the client: verbs as methods, what completion sees, blocks with back-pressure."""

from __future__ import annotations

import gc
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np
import pytest

from labwire.client import instrument as module
from labwire.client.instrument import Instrument, RigInstruments, rig_instruments
from labwire.errors import CancelledError, CommandFailedError, PeerGoneError, UsageError
from labwire.operations.instrument_api import InstrumentApi, Parameter, Verb
from labwire.operations.instruments import Block, CommandRequest, CommandResult, InstrumentStatus, array_of
from labwire.operations.job import Job
from labwire.operations.service import Operation
from tests.bus.fake_hub import LIMIT_S, wait_until

API = InstrumentApi(
    driver="m:Dmm",
    verbs=[
        Verb(
            name="MEASURE_VOLTAGE",
            method="measure_voltage",
            doc="Measure it.\n\nWell.",
            parameters=[
                Parameter(name="range", type="float", doc="Largest.", unit="V", minimum=0.1, maximum=1e9),
                Parameter(name="mode", type="str", choices=["DC", "AC"], required=False, default="DC"),
                Parameter(name="samples", type="int", minimum=1, required=False, default=1),
            ],
            returns="float",
            unit="V",
        ),
        Verb(name="STATUS", method="status"),
        Verb(name="STREAM", method="stream", continuous=True, parameters=[Parameter(name="n", type="int")]),
    ],
)


class FakeJob(Job[Block, Any]):
    """Blocks as long as there was room granted for them."""

    def __init__(self, window: int, blocks: int) -> None:
        self.room, self.blocks = window, blocks
        self.cancelled = False

    def progress(self) -> Iterator[Block]:
        for number in range(self.blocks):
            if self.cancelled:
                return
            assert self.room > 0, "nobody granted room"
            self.room -= 1
            yield Block(
                acquisition=5, command_id="S-1", instrument="S", verb="STREAM", number=number, value=0.5 * number
            )

    def result(self, timeout_s: float | None = None) -> Any:
        if self.cancelled:
            raise CancelledError("ended")

    def cancel(self) -> None:
        self.cancelled = True


class FakeRpc:
    """Answers in the rig's place."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any], float]] = []
        self.answers: dict[str, Callable[[Any], Any]] = {"describe": lambda _: API, "grant": self._grant}
        self.job = FakeJob(0, 0)

    def _grant(self, request: Any) -> None:
        assert request.acquisition == 5
        self.job.room += request.blocks

    def call(self, operation: Operation, request: msgspec.Struct, *, timeout_s: float, target: str = "") -> Any:
        self.asked.append((operation.name, msgspec.structs.asdict(request), timeout_s))
        return self.answers[operation.name](request)

    def last(self, name: str) -> dict[str, Any]:
        return next(request for asked, request, _ in reversed(self.asked) if asked == name)


@pytest.fixture
def rpc() -> FakeRpc:
    rpc = FakeRpc()

    def call(request: Any) -> CommandResult:
        return CommandResult(command_id="DMM1-1", instrument=request.name, verb=request.verb, value=3.5)

    rpc.answers["call"] = call
    return rpc


@pytest.fixture
def instruments(rpc: FakeRpc) -> RigInstruments:
    return rig_instruments(lambda: rpc)  # type: ignore[arg-type,return-value]  # all that is needed of a client


@pytest.fixture
def dmm(instruments: RigInstruments) -> Instrument:
    return instruments["DMM1"]


def test_a_verb_is_a_method(dmm: Instrument, rpc: FakeRpc) -> None:
    assert dmm.measure_voltage(10.0, samples=100, timeout_ms=250, priority=3) == 3.5
    sent = rpc.last("call")
    assert (sent["verb"], sent["params"]) == ("MEASURE_VOLTAGE", {"range": 10.0, "samples": 100})
    assert (sent["timeout_ms"], sent["priority"]) == (250, 3)
    assert dmm.call("status", {"a b": 1}, c=2) == 3.5
    assert rpc.last("call")["params"] == {"a b": 1, "c": 2}
    assert [name for name, _, _ in rpc.asked].count("describe") == 1, "asked once"


def test_completion_sees_the_verbs(dmm: Instrument) -> None:
    assert {"measure_voltage", "stream", "call", "api"} <= set(dir(dmm))
    method = dmm.measure_voltage
    assert str(inspect.signature(method)) == "(range: float, mode: str = 'DC', samples: int = 1) -> float"
    assert method.__name__ == "measure_voltage"
    assert "range: Largest. (in V, 0.1 to 1e+09)" in (method.__doc__ or "")
    assert "mode: (one of DC, AC, default DC)" in (method.__doc__ or "")
    assert "at least 1, default 1" in (method.__doc__ or "")


def test_wrong_calls_are_pythons(dmm: Instrument) -> None:
    with pytest.raises(TypeError, match="takes 3 parameters, 4 were given"):
        dmm.measure_voltage(1, 2, 3, 4)
    with pytest.raises(TypeError, match="got range twice"):
        dmm.measure_voltage(1, range=2)
    with pytest.raises(AttributeError, match="it has: measure_voltage, status, stream"):
        dmm.xyz()
    assert not hasattr(dmm, "_repr_html_"), "what tools look for is not asked of the rig"


def test_parameters_that_python_has_no_name_for(dmm: Instrument, rpc: FakeRpc) -> None:
    odd = [
        Parameter(name="late", type="int", required=False, default=1, maximum=float("inf")),
        Parameter(name="class", type="str"),
        Parameter(name="a-b", type="float"),
        Parameter(name="first", type="int"),
    ]
    rpc.answers["describe"] = lambda _: InstrumentApi(verbs=[Verb(name="ODD", method="odd", parameters=odd)])
    assert str(inspect.signature(dmm.odd)) == "(first: int, late: int = 1) -> None"
    dmm.odd("x", 2.5, 3)
    assert rpc.last("call")["params"] == {"class": "x", "a-b": 2.5, "first": 3}


def test_a_foreign_worker_takes_any_verb(dmm: Instrument, rpc: FakeRpc) -> None:
    rpc.answers["describe"] = lambda _: InstrumentApi()
    assert dmm.read_it(channel=2) == 3.5
    assert (rpc.last("call")["verb"], rpc.last("call")["params"]) == ("READ_IT", {"channel": 2})


def test_completion_survives_a_rig_that_is_gone(dmm: Instrument, rpc: FakeRpc) -> None:
    def gone(_: Any) -> Any:
        raise PeerGoneError("no rig")

    rpc.answers["describe"] = gone
    assert "call" in dir(dmm)


def test_numpys_numbers_travel_as_pythons(dmm: Instrument, rpc: FakeRpc) -> None:
    dmm.measure_voltage(range=np.float32(0.5), samples=np.int64(3), mode="AC")
    assert rpc.last("call")["params"] == {"range": 0.5, "samples": 3, "mode": "AC"}
    assert type(rpc.last("call")["params"]["samples"]) is int
    dmm.call("LOAD", points=np.arange(3.0))
    assert rpc.last("call")["params"] == {"points": [0.0, 1.0, 2.0]}


def test_the_answer_is_waited_for_longer_than_the_command_may_take(dmm: Instrument, rpc: FakeRpc) -> None:
    dmm.call("MEASURE_VOLTAGE", timeout_ms=60_000)
    assert rpc.asked[-1][2] > 60


def test_a_waveform_is_an_array(dmm: Instrument, rpc: FakeRpc) -> None:
    rpc.answers["call"] = lambda request: CommandResult(
        command_id="D-1", instrument="D", verb="V", array=array_of(np.ones(3, "<f4"))
    )
    assert dmm.call("WAVE").tolist() == [1.0, 1.0, 1.0]


def test_futures_and_their_bound(dmm: Instrument, rpc: FakeRpc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SUBMITTED", 2)
    bounded = Instrument(dmm._instruments, "DMM1")
    go = threading.Event()
    answer = rpc.answers["call"]

    def wait(request: Any) -> Any:
        assert go.wait(LIMIT_S)
        return answer(request)

    rpc.answers["call"] = wait
    futures = [bounded.submit("MEASURE_VOLTAGE", range=1.0) for _ in range(2)]
    third = threading.Thread(target=lambda: futures.append(bounded.submit("STATUS")))
    third.start()
    wait_until(lambda: [name for name, _, _ in rpc.asked].count("call") == 2, "two calls")
    assert third.is_alive(), "the third waits for room"
    go.set()
    third.join()
    assert [future.result(LIMIT_S) for future in futures] == [3.5] * 3

    def fail(_: Any) -> Any:
        raise CommandFailedError("overload")

    rpc.answers["call"] = fail
    with pytest.raises(CommandFailedError):
        bounded.submit("STATUS").result(LIMIT_S)


def test_blocks_are_taken_with_room_granted(dmm: Instrument, rpc: FakeRpc) -> None:
    def acquire(request: Any) -> FakeJob:
        rpc.job = FakeJob(request.window, 20)
        return rpc.job

    rpc.answers["acquire"] = acquire
    with dmm.stream(n=3) as values:
        assert list(values) == [0.5 * number for number in range(20)], "as a method it yields values"
    assert rpc.last("acquire")["params"] == {"n": 3}
    with dmm.blocks("STREAM", n=3) as blocks:
        assert [block.number for block in blocks] == list(range(20))
    with dmm.blocks("STREAM", window=1) as blocks:
        assert [next(blocks).number for _ in range(5)] == list(range(5))
    assert rpc.job.cancelled, "leaving ends it"
    blocks.close()
    for _ in dmm.stream(n=3):
        break
    gc.collect()
    assert rpc.job.cancelled, "dropping it ends it, too"
    with pytest.raises(UsageError, match="window"):
        dmm.blocks("STREAM", window=0)


def test_map_tells_the_first_failure(dmm: Instrument, rpc: FakeRpc) -> None:
    class Done(FakeJob):
        def result(self, timeout_s: float | None = None) -> Any:
            return [
                CommandResult(command_id="D-1", instrument="D", verb="V", value=1.0),
                CommandResult(command_id="D-2", instrument="D", verb="V", error="bad", error_type="CommandFailedError"),
            ]

    rpc.answers["run"] = lambda _: Done(0, 0)
    values = dmm.map("V", [{"n": 1}, {"n": 2}])
    assert next(values) == 1.0
    with pytest.raises(CommandFailedError, match="bad") as caught:
        next(values)
    assert caught.value.data == {"command_id": "D-2"}
    assert rpc.last("run")["commands"][0] == CommandRequest(name="DMM1", verb="V", params={"n": 1})


def test_the_instruments_of_a_rig(instruments: RigInstruments, rpc: FakeRpc) -> None:
    rpc.answers["list"] = lambda _: [
        InstrumentStatus(name="DMM1", state="ready"),
        InstrumentStatus(name="SCOPE1", state="ready"),
    ]
    assert list(instruments) == ["DMM1", "SCOPE1"]
    assert len(instruments) == 2
    assert instruments["SCOPE1"].status.state == "ready"
    assert repr(instruments["SCOPE1"]) == "<instrument SCOPE1>"
