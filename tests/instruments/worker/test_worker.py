"""The worker on queues in memory: commands, results, failures, sizes, what cannot be understood."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from labwire.errors import (
    NotFoundError,
    ProtocolError,
    TooLargeError,
    UsageError,
    codes_of,
)
from labwire.wire.instrument_extras import Feature
from labwire.wire.instrument_message import (
    PROFILES,
    Command,
    Message,
    MessageType,
    decode_error,
    decode_response,
    encode_message,
    encode_payload,
)
from tests.instruments.bench import FAILURES, RESULTS, TOLD, WRITTEN, Bench
from tests.instruments.worker_kit import Peer, wait_until, worker_thread

CODES = {kind: codes_of(kind).worker_code for kind, _ in TOLD.values()}


@pytest.fixture
def peer() -> Iterator[Peer]:
    with worker_thread(Bench) as peer:
        yield peer


def test_the_first_message_is_a_heartbeat(peer: Peer) -> None:
    assert peer.heartbeats == 1


def test_a_command_is_answered_with_its_ids(peer: Peer) -> None:
    number = peer.command("ECHO", {"value": 2.5})
    message = peer.receive()
    assert (message.type, message.id) == (MessageType.RESPONSE, number)
    assert json.loads(message.payload) == {
        "command_id": f"DMM1-{number}",
        "instrument_name": "DMM1",
        "success": True,
        "error_code": 0,
        "error_message": "",
        "text_response": "2.5",
        "return_value": 2.5,
    }


def test_a_command_without_an_id_gets_the_one_of_its_header(peer: Peer) -> None:
    peer.send(MessageType.COMMAND, b'{"verb":"ECHO"}', 77)
    assert peer.response().command_id == "DMM1-77"


@pytest.mark.parametrize("name", RESULTS)
def test_results_as_value_and_as_text(peer: Peer, name: str) -> None:
    response = peer.call("RESULT", {"name": name})
    assert response.success, response
    assert (response.return_value, response.text_response) == WRITTEN[name]
    assert type(response.return_value) is type(WRITTEN[name][0])


@pytest.mark.parametrize("name", FAILURES)
def test_failures_as_code_and_text(peer: Peer, name: str) -> None:
    response = peer.call("FAIL", {"name": name})
    kind, text = TOLD[name]
    assert (response.success, response.error_code, response.error_message) == (False, CODES[kind], text)
    assert (response.return_value, response.text_response) == (None, "")
    assert peer.call("ECHO", {"value": 1.0}).return_value == 1.0


def test_a_bug_of_the_driver_is_logged_with_its_traceback_what_the_device_does_is_not(
    peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    peer.call("FAIL", {"name": "device"})
    assert not caplog.records
    peer.call("FAIL", {"name": "value"})
    (record,) = caplog.records
    assert "DMM1 FAIL failed" in record.getMessage()
    assert record.exc_info


def test_a_result_that_json_has_no_form_for_is_a_failure(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (object(), [object()], {1: object()}, "\ud800", np.array([object()])):
        monkeypatch.setitem(RESULTS, "odd", value)
        response = peer.call("RESULT", {"name": "odd"})
        assert (response.success, response.error_code) == (False, CODES[UsageError]), value


def test_an_unknown_verb_and_a_bad_parameter_are_told(peer: Peer) -> None:
    response = peer.call("ECO")
    assert (response.success, response.error_code) == (False, codes_of(NotFoundError).worker_code)
    assert response.error_message == "DMM1 has no verb 'ECO'; did you mean ECHO?"
    response = peer.call("ECHO", {"valu": 1})
    assert (response.success, response.error_code) == (False, CODES[UsageError])
    assert response.error_message == "DMM1 ECHO: parameter 'valu' is not known; did you mean value?"
    for verb in ("echo", "open", "close", "verbs", "__init__", "", "@x"):
        assert not peer.call(verb).success


def test_expects_response_false_still_gets_a_response_with_null(peer: Peer) -> None:
    response = peer.call("ECHO", {"value": 5.0}, expects_response=False)
    assert response.success
    assert (response.return_value, response.text_response) == (None, "")
    assert Bench.last.done == [5.0]
    assert not peer.call("FAIL", {"name": "device"}, expects_response=False).success


def test_a_waveform_parameter_reaches_the_driver_as_an_array(peer: Peer) -> None:
    assert peer.call("TOTAL", {"values": [1, 2, 3.5]}).return_value == 6.5


# --- size


def test_a_response_that_does_not_fit_with_its_text_goes_without() -> None:
    with worker_thread(Bench, features=[]) as peer:
        both = peer.call("TEXT", {"length": 3000})
        assert both.return_value == both.text_response == "x" * 3000
        alone = peer.call("TEXT", {"length": 6000})
        assert (alone.return_value, alone.text_response) == ("x" * 6000, "")


@pytest.mark.parametrize("features", [[], [Feature.COMPRESSION]])
def test_a_response_that_does_not_fit_at_all_is_a_failure_with_size_and_limit(features: list[Feature]) -> None:
    with worker_thread(Bench, features=features) as peer:
        response = peer.call("TEXT", {"length": 50_000, "random_text": True})
        assert (response.success, response.error_code) == (False, codes_of(TooLargeError).worker_code)
        assert "the limit is 8192 bytes" in response.error_message
        assert ("when compressed" in response.error_message) == bool(features)
        assert peer.call("ECHO", {"value": 1.0}).success


def test_a_response_that_does_not_fit_is_compressed_if_it_may_be(peer: Peer) -> None:
    assert peer.call("TEXT", {"length": 500_000}).return_value == "x" * 500_000
    floats = peer.call("FLOATS", {"count": 700})
    assert floats.return_value == [index / 7 for index in range(700)]


def test_each_size_up_to_the_limit_is_whole() -> None:
    with worker_thread(Bench, features=[]) as peer:
        lengths = range(7900, 8192)
        fitted = 0
        for length in lengths:
            response = peer.call("TEXT", {"length": length})
            if response.success:
                assert response.return_value == "x" * length
                fitted = length
            else:
                assert length > fitted
                assert "8192" in response.error_message
        assert lengths.start < fitted < lengths.stop - 1


# --- what cannot be understood


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"\xff\xff", b'{"verb":1}', b"\0z123", b'{"params":{}}'])
def test_malformed_json_gives_an_error_with_the_id_and_the_worker_lives_on(
    peer: Peer, payload: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    peer.send(MessageType.COMMAND, payload, 99)
    message = peer.receive()
    assert (message.type, message.id) == (MessageType.ERROR, 99)
    error = decode_error(message.payload)
    assert (error.fatal, error.error_code) == (False, codes_of(ProtocolError).worker_code)
    assert error.error_message.startswith("Invalid JSON in command: ")
    assert "a request cannot be understood" in caplog.text
    assert peer.call("ECHO", {"value": 1.0}).success


@pytest.mark.parametrize("profile", ["spec", "native", "iss"])
def test_garbage_by_the_thousand_harms_nobody(profile: Any, seed: int, soak: Callable[[int, int], int]) -> None:
    generator = random.Random(seed)
    layout = PROFILES[profile]
    with worker_thread(Bench, profile=profile, features=[]) as peer:
        good = encode_message(Message(MessageType.COMMAND, 1, encode_payload(Command(verb="ECHO"))), layout)
        shutdown = layout.numbers[MessageType.SHUTDOWN]
        for _ in range(soak(1000, 100_000)):
            data = make_garbage(generator, good, layout.size_bytes)
            if int.from_bytes(data[:4], "little") == shutdown:
                continue  # not garbage
            peer.send_raw(data)
            while peer.pair.responses.state().waiting:
                peer.pair.responses.receive(0)
        wait_until(lambda: not peer.pair.requests.state().waiting, "the worker took all requests")
        number = peer.command("ECHO", {"value": 4.0})
        while True:  # some of the garbage was a command that can be understood
            message = peer.receive()
            if message.type is MessageType.RESPONSE and decode_response(message.payload).return_value == 4.0:
                break
        assert message.id == number


def make_garbage(generator: random.Random, good: bytes, size: int) -> bytes:
    way = generator.randrange(6)
    if way == 0:
        return generator.randbytes(generator.randrange(200))
    if way == 1:
        return good[: generator.randrange(len(good))]
    if way == 2:
        return good + generator.randbytes(size)
    if way == 3:
        return generator.randrange(256).to_bytes(4, "little") + good[4:]
    broken = bytearray(good)
    for _ in range(generator.randrange(1, 4)):
        broken[generator.randrange(len(broken))] = generator.randrange(256)
    return bytes(broken).ljust(size, b"\0") if way == 4 else bytes(broken)


def test_messages_that_are_nothing_for_a_worker_are_ignored(peer: Peer) -> None:
    for kind in (MessageType.RESPONSE, MessageType.HEARTBEAT, MessageType.ERROR):
        peer.send(kind, b"{}", 3)
    assert peer.call("ECHO", {"value": 1.0}).success


def test_nobody_fetches_the_errors_and_the_worker_still_lives() -> None:
    with worker_thread(Bench, depth=3, heartbeat_s=1000.0) as peer:
        for _ in range(6):
            peer.send(MessageType.COMMAND, b"{", 9)
        wait_until(lambda: not peer.pair.requests.state().waiting, "the worker took all requests")
        number = peer.command("ECHO", {"value": 1.0})
        errors = 0
        while (message := peer.receive()).type is MessageType.ERROR:
            errors += 1
        assert message.id == number
        assert 3 <= errors < 6


def test_no_response_is_lost_when_the_server_reads_late(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labwire.instruments.worker.outbox.SEND_TIMEOUT_S", 0.02)
    with worker_thread(Bench, depth=2, heartbeat_s=1000.0) as peer:
        numbers = [peer.command("ECHO", {"value": 1.0}) for _ in range(5)]
        wait_until(lambda: "does not fetch" in caplog.text, "the worker waited for room")
        assert [peer.response().command_id for _ in numbers] == [f"DMM1-{number}" for number in numbers]
