"""What `test_posix_mq` runs in an IPC namespace of its own, with raised limits: ``posix_checks.py CHECK DEPTH``.

Each check is a function; it fails by raising.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from labwire.errors import NotFoundError, PeerGoneError, ProtocolError, QueueFullError, ResourceError, TooLargeError
from labwire.instruments.queues import inspection, posix_mq
from labwire.instruments.queues.contract import QueuePair
from labwire.instruments.queues.open import create_pair, join_pair, open_pair
from labwire.wire.instrument_message import ISS, SPEC, Message, MessageType, decode_message, encode_message
from tests.instruments.everything import everything_once

LIMITS = Path("/proc/sys/fs/mqueue")
NAME = f"P{os.getpid()}"  # in /dev/shm others may have theirs at the same time
REQUESTS, RESPONSES = f"instrument_{NAME}_req", f"instrument_{NAME}_resp"
LONG_S = 20.0


def is_above_limits() -> bool:
    """Whether fs.mqueue.* do not hold for this process: it has CAP_SYS_RESOURCE."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff")]
    return bool(int(line.split()[1], 16) >> 24 & 1) and os.geteuid() == 0


def message(number: int, payload: bytes = b"{}") -> bytes:
    return encode_message(Message(MessageType.COMMAND, number, payload))


def both_ways_and_priorities(depth: int) -> None:
    with create_pair("posix", NAME) as server, open_pair("posix", NAME) as worker:
        for number in range(depth):
            server.requests.send(message(number), 0, priority=number % 3)
        assert server.requests.state().waiting == depth
        with pytest.raises(QueueFullError, match=f"{depth} messages wait"):
            server.requests.send(message(0), 0.12)
        expected = sorted(range(depth), key=lambda number: -(number % 3))
        assert [worker.requests.receive(LONG_S) for _ in range(depth)] == [message(number) for number in expected]
        for payload in (b"", b"{}", b"x" * SPEC.payload_bytes):
            worker.responses.send(message(5, payload), priority=2**40)
            assert server.responses.receive(LONG_S) == message(5, payload)
        assert server.responses.receive(0) is None
        with pytest.raises(TooLargeError, match="limit is 8208"):
            server.requests.send(b"x" * 8209)
    with pytest.raises(NotFoundError, match="no POSIX queue"):
        open_pair("posix", NAME)


def waking_and_closing(depth: int) -> None:
    with create_pair("posix", NAME) as server:
        freed: list[object] = []

        def receive() -> None:
            try:
                freed.append(server.responses.receive(LONG_S))
            except PeerGoneError as error:
                freed.append(error.message)

        threads = [threading.Thread(target=receive) for _ in range(3)]
        for thread in threads:
            thread.start()
        server.responses.wake()
        while not freed:
            time.sleep(0.001)
        assert freed == [None]
        server.close()
        for thread in threads:
            thread.join(LONG_S)
        assert freed[1:] == [f"queue {RESPONSES} is closed"] * 2
        server.responses.wake()
        with pytest.raises(PeerGoneError, match="closed"):
            server.requests.send(message(0))
        assert "closed" in server.requests.state().note


def sending_goes_on_when_there_is_room(depth: int) -> None:
    with create_pair("posix", NAME) as server, open_pair("posix", NAME) as worker:
        for number in range(depth):
            server.requests.send(message(number))
        thread = threading.Thread(target=server.requests.send, args=(message(depth), LONG_S))
        thread.start()
        assert [worker.requests.receive(LONG_S) for _ in range(depth + 1)][-1] == message(depth)
        thread.join()


def seen_by_the_inspection(depth: int) -> None:
    with create_pair("posix", NAME) as server:
        server.requests.send(message(1))
        states = inspection.queue_states([REQUESTS, RESPONSES])
        assert [(state.kind, state.depth, state.waiting, state.used_by) for state in states] == [
            ("posix", depth, 1, [os.getpid()]),
            ("posix", depth, 0, [os.getpid()]),
        ]
        assert inspection.remove_stale([REQUESTS]) == []
    code = (
        "import os; from labwire.instruments.queues.posix_mq import PosixQueue; from labwire.wire.instrument_message "
    )
    code += f"import SPEC; from labwire.instruments.queues import posix_mq; posix_mq.DEPTH = {depth}; "
    subprocess.run(
        [sys.executable, "-c", code + f"PosixQueue('{REQUESTS}', SPEC, create=True); os._exit(0)"], check=True
    )
    with pytest.raises(ProtocolError, match="8208 bytes, but those of profile 'iss' have 4128"):
        posix_mq.PosixQueue(REQUESTS, ISS, create=False)
    assert inspection.remove_stale([REQUESTS]) == [f"/dev/mqueue/{REQUESTS}"]
    assert inspection.queue_states([REQUESTS]) == []


def limits_are_named(depth: int) -> None:
    posix_mq.DEPTH = 100
    (LIMITS / "msg_max").write_text("50")
    with pytest.raises(ResourceError, match=r"msg_max is 50, not at least 100; .* sysctl fs\.mqueue\.msg_max=100(;|$)"):
        create_pair("posix", NAME)
    (LIMITS / "msg_max").write_text("100")
    needed = 100 * (8208 + 96)
    with pytest.raises(ResourceError, match=rf"RLIMIT_MSGQUEUE is \d+ .* at least {2 * needed} for each instrument"):
        for name in range(20):
            posix_mq.PosixQueue(f"instrument_X{name}_req", SPEC, create=True)
    for name in range(20):
        posix_mq.unlink_queue(f"instrument_X{name}_req")
    (LIMITS / "queues_max").write_text("0")
    posix_mq.DEPTH = depth
    with pytest.raises(ResourceError, match=r"sysctl fs\.mqueue\.queues_max="):
        create_pair("posix", NAME)


def foreign(depth: int, mode: str, *, they_create: bool) -> None:
    program = os.environ["POSIX_PEER"]
    command = [program, mode, f"/{REQUESTS}", f"/{RESPONSES}", "create" if they_create else "open", str(depth)]
    if not they_create:
        with create_pair("posix", NAME) as pair, subprocess.Popen(command) as process:
            talk(pair, mode)
            assert process.wait(LONG_S) == 0
        return
    with subprocess.Popen(command) as process:
        until = time.monotonic() + LONG_S
        while inspection.queue_states([RESPONSES]) == []:
            assert time.monotonic() < until
        with join_pair("posix", NAME) as pair:
            talk(pair, mode)
            assert process.wait(LONG_S) == 0


def talk(pair: QueuePair, mode: str) -> None:
    if mode == "echo":
        for number in range(20):
            pair.requests.send(message(number, b'{"n":%d}' % number))
            answer = decode_message(pair.responses.receive(LONG_S) or b"")
            assert answer == Message(MessageType.RESPONSE, number, b'{"n":%d}' % number)
        pair.requests.send(encode_message(Message(MessageType.SHUTDOWN)))
        return
    while (asked := decode_message(pair.requests.receive(LONG_S) or b"")).type is MessageType.COMMAND:
        pair.responses.send(encode_message(asked._replace(type=MessageType.RESPONSE)))


def a_c_worker_opens(depth: int) -> None:
    foreign(depth, "echo", they_create=False)


def a_c_worker_creates(depth: int) -> None:
    foreign(depth, "echo", they_create=True)


def a_c_server_opens(depth: int) -> None:
    foreign(depth, "call", they_create=False)


def a_c_server_creates(depth: int) -> None:
    foreign(depth, "call", they_create=True)


def the_whole_server(depth: int) -> None:
    everything_once("posix", "spec")
    assert not [state for state in inspection.queue_states() if state.kind == "posix"], "queues of this namespace"


CHECKS = [
    the_whole_server,
    both_ways_and_priorities,
    waking_and_closing,
    sending_goes_on_when_there_is_room,
    seen_by_the_inspection,
    limits_are_named,
]
FOREIGN = [a_c_worker_opens, a_c_worker_creates, a_c_server_opens, a_c_server_creates]


if __name__ == "__main__":
    (LIMITS / "msg_max").write_text("100")
    (LIMITS / "msgsize_max").write_text("16384")
    posix_mq.DEPTH = int(sys.argv[2])
    next(check for check in (*CHECKS, *FOREIGN) if check.__name__ == sys.argv[1])(int(sys.argv[2]))
