"""The worker: arrays, heartbeats, how it ends, the C++ server of today."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest

from labwire.errors import (
    DeviceError,
    LabwireError,
    TooLargeError,
    codes_of,
)
from labwire.instruments.driver import Driver
from labwire.instruments.waveforms import open_waveform
from labwire.instruments.worker.spec import WorkerSpec
from labwire.instruments.worker.worker import Worker, run_worker
from labwire.wire.instrument_extras import WaveformHandle
from labwire.wire.instrument_message import (
    ISS,
    Command,
    Message,
    MessageType,
    decode_error,
    decode_response,
    encode_message,
    encode_payload,
    pad,
)
from tests.instruments.bench import RESULTS, TOLD, Bench
from tests.instruments.worker_kit import LIMIT_S, MemoryPair, Peer, spec_of, wait_until, worker_thread

CODES = {kind: codes_of(kind).worker_code for kind, _ in TOLD.values()}


@pytest.fixture
def peer() -> Iterator[Peer]:
    with worker_thread(Bench) as peer:
        yield peer


# --- waveforms


def test_an_array_goes_by_shared_memory_and_never_through_json(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.arange(1_000_000, dtype=np.float32)
    monkeypatch.setitem(RESULTS, "array", array)
    with worker_thread(Bench, waveform_prefix="labwire_test_worker_0") as peer:
        peer.command("RESULT", {"name": "array"})
        message = peer.receive()
        assert len(message.payload) < 400
        response = decode_response(message.payload)
        assert response.return_value is None
        assert response.waveform is not msgspec.UNSET
        handle = msgspec.convert(response.waveform, WaveformHandle)
        assert handle == WaveformHandle("labwire_test_worker_0_0", "<f4", (1_000_000,))
        assert (open_waveform(handle, prefix="labwire_test_worker_0") == array).all()


def test_without_the_feature_an_array_is_a_list_or_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RESULTS, "small", np.arange(6, dtype=np.int16).reshape(2, 3))
    monkeypatch.setitem(RESULTS, "large", np.arange(10_000) / 7)
    with worker_thread(Bench, features=[], waveform_prefix="labwire_test_worker_0") as peer:
        assert peer.call("RESULT", {"name": "small"}).return_value == [[0, 1, 2], [3, 4, 5]]
        response = peer.call("RESULT", {"name": "large"})
        assert (response.success, response.error_code) == (False, codes_of(TooLargeError).worker_code)


# --- heartbeats and the end


def test_heartbeats_go_on_during_a_long_command() -> None:
    with worker_thread(Bench, heartbeat_s=0.02) as peer:
        peer.command("WAIT")
        assert Bench.last.entered.wait(LIMIT_S)
        peer.wait_for_heartbeats(peer.heartbeats + 5)
        Bench.last.gate.set()
        assert peer.response().return_value == "waited"


def test_a_full_response_queue_does_not_stop_the_heart() -> None:
    with worker_thread(Bench, heartbeat_s=0.005, depth=2) as peer:
        wait_until(lambda: peer.pair.responses.state().waiting == 2, "the queue is full")
        assert peer.call("ECHO", {"value": 1.0}).success
        peer.wait_for_heartbeats(peer.heartbeats + 5)


def test_heartbeats_that_nobody_fetches_end_a_worker_that_has_no_other_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    with worker_thread(Bench, heartbeat_s=0.01, depth=1) as peer:
        assert peer.call("ECHO", {"value": 1.0}).success
        monkeypatch.setattr("labwire.instruments.worker.heartbeat.UNHEARD_LIMIT_S", 0.05)
        wait_until(lambda: Bench.last.closed, "the driver was closed")


def test_a_worker_waits_for_a_server_that_has_not_come_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labwire.instruments.worker.heartbeat.UNHEARD_LIMIT_S", 0.05)
    beats: list[bool] = []
    pair = MemoryPair(depth=1)
    worker = Worker(spec_of(heartbeat_s=0.01), pair, Bench(None))
    monkeypatch.setattr(worker._heartbeat, "_beat", lambda: beats.append(worker._outbox.heartbeat()) or beats[-1])
    thread = threading.Thread(target=worker.serve)
    thread.start()
    wait_until(lambda: beats.count(False) > 20, "there was no room for a heartbeat for long")
    monkeypatch.setattr("labwire.instruments.worker.heartbeat.UNHEARD_LIMIT_S", LIMIT_S)
    assert Peer(pair).call("ECHO", {"value": 1.0}).success
    pair.close()
    thread.join(LIMIT_S)
    assert not thread.is_alive()


def test_shutdown_finishes_the_running_command_and_leaves_what_waits() -> None:
    pair = MemoryPair()
    worker = Worker(spec_of(), pair, Bench(None))
    thread = threading.Thread(target=worker.serve)
    thread.start()
    peer = Peer(pair)
    peer.command("WAIT")
    assert Bench.last.entered.wait(LIMIT_S)
    peer.command("ECHO", {"value": 1.0})
    peer.shut_down()
    Bench.last.gate.set()
    assert peer.response().return_value == "waited"
    thread.join(LIMIT_S)
    assert not thread.is_alive()
    assert (Bench.last.done, Bench.last.closed) == ([], 1)
    pair.close()


def test_a_server_that_is_gone_ends_the_worker() -> None:
    with worker_thread(Bench) as peer:
        peer.pair.close()
        wait_until(lambda: Bench.last.closed, "the driver was closed")


@pytest.mark.parametrize("where", ["open", "options", "module", "method"])
def test_a_driver_that_cannot_start_is_told_as_a_fatal_error(where: str) -> None:
    pair = MemoryPair()
    name = "labwire.nowhere:X" if where == "module" else f"{__name__}:{where.capitalize()}Fails"
    options = {"x": 1} if where == "options" else {}
    status = run_worker(WorkerSpec(name="DMM1", driver=name, options=options), pair)
    message = Peer(pair).receive()
    error = decode_error(message.payload)
    assert message.type is MessageType.ERROR
    assert error.fatal
    expected = {"open": DeviceError, "options": LabwireError, "module": LabwireError, "method": LabwireError}[where]
    assert status != 0
    if where == "open":
        assert (error.error_code, status) == (codes_of(expected).worker_code, codes_of(expected).exit_code)
        assert "nothing answers" in error.error_message
    pair.close()


class OpenFails(Driver):
    def open(self) -> None:
        raise DeviceError("nothing answers at GPIB0::22")


class OptionsFails(Driver):
    pass


class MethodFails(Driver):
    def set_all(self, **values: float) -> None: ...


def test_a_driver_that_ends_the_process_ends_it_and_the_server_is_told() -> None:
    pair = MemoryPair()
    status: list[object] = []

    def serve() -> None:
        try:
            run_worker(WorkerSpec(name="DMM1", driver=f"{__name__}:Bench"), pair)
        except SystemExit as end:
            status.append(end.code)

    thread = threading.Thread(target=serve)
    thread.start()
    peer = Peer(pair)
    peer.command("EXIT")
    error = decode_error(peer.receive().payload)
    thread.join(LIMIT_S)
    assert (error.fatal, status) == (True, [7])
    assert "SystemExit" in error.error_message
    pair.close()


def test_all_traffic_is_logged_when_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with worker_thread(Bench, debug=True) as peer:
        number = peer.command("ECHO", {"value": 1.0})
        peer.response()
    assert f"DMM1: server to worker: COMMAND id={number} " in caplog.text
    assert f"DMM1: worker to server: RESPONSE id={number} " in caplog.text
    assert "worker to server: HEARTBEAT id=0 0 bytes" in caplog.text


# --- today's C++ server


def test_that_server_gets_return_types_and_acknowledged_tokens_and_no_error_messages() -> None:
    with worker_thread(Bench, profile="iss", features=[]) as peer:
        payload = encode_payload(Command(id="DMM1-4", verb="ECHO", params={"value": 2.5}))
        peer.send_raw(pad(encode_message(Message(MessageType.COMMAND, 4, payload, sync_token=11), ISS), ISS))
        answer = peer.receive()
        response = json.loads(answer.payload)
        assert (response["return_value"], response["return_type"]) == (2.5, "double")
        assert peer.receive() == Message(MessageType.SYNC_ACK, 4, b"", 11)
        peer.send_raw(encode_message(Message(MessageType.SYNC_CONTINUE, 4, b"", 11), ISS))
        kinds = {"true": "bool", "int": "int64", "text": "string", "list": "array", "none": ""}
        for name, kind in kinds.items():
            assert peer.call("RESULT", {"name": name}).return_type == kind
        peer.send(MessageType.COMMAND, b"{", 8)
        message = peer.receive()
        failed = decode_response(message.payload)
        assert (message.type, message.id, failed.command_id, failed.success) == (
            MessageType.RESPONSE,
            8,
            "DMM1-8",
            False,
        )
