"""Our queues against a C++ program that uses Boost: both creation orders, both directions, priorities, both locks."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from labwire.errors import NotFoundError, ProtocolError
from labwire.instruments.queues.boost import BoostPair, BoostQueue
from labwire.instruments.queues.contract import QueuePair
from labwire.instruments.queues.open import create_pair, join_pair, open_pair
from labwire.instruments.queues.shared_memory import open_file, remove_name
from labwire.wire.instrument_message import (
    ISS,
    NATIVE,
    SPEC,
    Command,
    Message,
    MessageType,
    Profile,
    decode_command,
    decode_error,
    decode_message,
    decode_response,
    encode_message,
    encode_payload,
)
from tests.interop.peers import boost_peer

LONG_S = 20.0
NAME = f"I{os.getpid()}"
REQUESTS = f"instrument_{NAME}_req"


@contextmanager
def running(*args: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([boost_peer(), *args], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def when_there(open_it: Callable[[], QueuePair]) -> QueuePair:
    until = time.monotonic() + LONG_S
    while True:
        try:
            return open_it()
        except NotFoundError:
            assert time.monotonic() < until
            time.sleep(0.002)


def next_message(pair: QueuePair, profile: Profile = SPEC) -> Message:
    data = pair.responses.receive(LONG_S)
    assert data is not None
    return decode_message(data, profile)


def next_answer(pair: QueuePair, profile: Profile = SPEC) -> Message:
    while (message := next_message(pair, profile)).type is MessageType.HEARTBEAT:
        pass
    return message


def command(number: int, verb: str = "ECHO", **params: object) -> Message:
    return Message(
        MessageType.COMMAND, number, encode_payload(Command(id=f"{NAME}-{number}", verb=verb, params=params))
    )


def use_worker(pair: QueuePair, process: subprocess.Popen[str], profile: Profile = SPEC) -> None:
    assert next_message(pair, profile).type is MessageType.HEARTBEAT, "the ready message"
    for number in range(200):
        pair.requests.send(encode_message(command(number, x=number), profile))
        answer = next_answer(pair, profile)
        assert (answer.type, answer.id) == (MessageType.RESPONSE, number)
        response = decode_response(answer.payload)
        assert response.command_id == f"{NAME}-{number}"
        assert response.return_value == {"x": number}
    for number in range(50):
        pair.requests.send(encode_message(command(number), profile))
    assert [next_answer(pair, profile).id for _ in range(50)] == list(range(50))
    pair.requests.send(encode_message(Message(MessageType.SHUTDOWN), profile))
    assert process.wait(LONG_S) == 0


@pytest.mark.parametrize("robust", [True, False], ids=["robust", "plain"])
def test_a_worker_opens_what_we_created(*, robust: bool) -> None:
    with BoostPair.create(NAME, robust=robust) as pair, running("echo-worker", NAME, "open") as process:
        use_worker(pair, process)


def test_a_worker_with_the_layout_of_its_compiler() -> None:
    with create_pair("boost", NAME, NATIVE) as pair, running("echo-worker", NAME, "open", "native") as process:
        use_worker(pair, process, NATIVE)


def test_a_worker_created_what_we_join() -> None:
    with running("echo-worker", NAME, "create") as process:
        with when_there(lambda: open_pair("boost", NAME)):
            pass
        with join_pair("boost", NAME) as pair:
            use_worker(pair, process)


def serve_commands(pair: QueuePair, count: int) -> None:
    pair.responses.send(encode_message(Message(MessageType.HEARTBEAT)))
    for _ in range(count):
        data = pair.requests.receive(LONG_S)
        assert data is not None
        message = decode_message(data)
        got = decode_command(message.payload)
        assert got.params == {"range": 10.0}
        answer = json.dumps({"command_id": got.id, "success": True, "return_value": message.id}).encode()
        pair.responses.send(encode_message(Message(MessageType.RESPONSE, message.id, answer)))
    data = pair.requests.receive(LONG_S)
    assert data is not None
    assert decode_message(data).type is MessageType.SHUTDOWN


@pytest.mark.parametrize("we_create", [False, True])
def test_a_server_and_our_worker(*, we_create: bool) -> None:
    args = ("server", NAME, "open" if we_create else "create", "100", "MEASURE_VOLTAGE", '{"range":10.0}')
    if we_create:
        with join_pair("boost", NAME) as pair, running(*args) as process:
            serve_commands(pair, 100)
            output, _ = process.communicate(timeout=LONG_S)
    else:
        with running(*args) as process, when_there(lambda: open_pair("boost", NAME)) as pair:
            serve_commands(pair, 100)
            output, _ = process.communicate(timeout=LONG_S)
    assert process.returncode == 0
    lines = [line.split(" ", 2) for line in output.splitlines()]
    assert [(kind, int(number), json.loads(text)["return_value"]) for kind, number, text in lines] == [
        ("2", number, number) for number in range(1, 101)
    ]


def test_an_error_as_the_snippet_of_the_spec_makes_it() -> None:
    with create_pair("boost", NAME) as pair, running("echo-worker", NAME, "open"):
        pair.requests.send(encode_message(Message(MessageType.COMMAND, 1, b"not JSON")))
        answer = next_answer(pair)
        assert (answer.type, answer.id) == (MessageType.ERROR, 0)
        assert decode_error(answer.payload).error_message == "Invalid JSON in command"


def test_mixed_priorities_of_both_languages_come_out_in_one_order(seed: int) -> None:
    rng = random.Random(seed)
    program = boost_peer()
    with create_pair("boost", NAME) as pair:
        for reader in ("python", "c++"):
            sent: list[tuple[int, int]] = []  # priority, id
            for _ in range(6):
                theirs = [rng.choice([0, 1, 2, 7, 2**32 - 1]) for _ in range(rng.randrange(1, 8))]
                subprocess.run([program, "send", REQUESTS, *map(str, theirs)], check=True)
                sent += [(priority, number) for number, priority in enumerate(theirs)]
                for _ in range(rng.randrange(8)):
                    priority, number = rng.choice([0, 1, 2, 7, 2**32 - 1]), rng.randrange(2**64)
                    pair.requests.send(encode_message(Message(MessageType.COMMAND, number, b"{}")), 0, priority)
                    sent.append((priority, number))
            expected = [number for _, number in sorted(sent, key=lambda one: -one[0])]
            assert pair.requests.state().ids == expected
            if reader == "python":
                received = [decode_message(pair.requests.receive(0) or b"").id for _ in sent]
            else:
                output = subprocess.check_output([program, "receive", REQUESTS, str(len(sent))], text=True)
                received = [int(line.split()[0]) for line in output.splitlines()]
            assert received == expected


def test_a_foreign_sender_where_one_of_ours_has_sent() -> None:
    # Our sender's mark makes us wait without the condition variable, which a foreign sender signals: noticed, and kept.
    program = boost_peer()
    with create_pair("boost", NAME) as pair:
        pair.requests.send(encode_message(command(0)))
        assert pair.requests.receive(0)
        for _ in range(2):
            with subprocess.Popen([program, "send", REQUESTS, "0"]) as process:
                assert pair.requests.receive(LONG_S)
                assert process.wait(LONG_S) == 0


def test_another_depth_and_size() -> None:
    subprocess.run([boost_peer(), "make", REQUESTS, "7", str(ISS.size_bytes)], check=True)
    try:
        with pytest.raises(ProtocolError, match="profile 'iss' fits"):
            open_file(REQUESTS)
        queue = BoostQueue(open_file(REQUESTS, ISS))
        assert queue.state().depth == queue.depth == 7
        for number in range(7):
            queue.send(encode_message(Message(MessageType.COMMAND, number), ISS), 0)
        assert queue.state().types == {"COMMAND": 7}
        queue.close()
    finally:
        remove_name(REQUESTS)


def test_the_program_is_where_others_find_it() -> None:
    assert os.access(boost_peer(), os.X_OK)
    assert isinstance(boost_peer(), Path)
