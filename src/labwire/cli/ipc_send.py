"""``ipc-send``: one message into the queue of an instrument, by hand.

Source: instrument-ipc, "Debugging", "Simulate Messages".
"""

from __future__ import annotations

import itertools
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from cyclopts import App, Parameter
from cyclopts.validators import Number

from labwire.cli.connection import JsonFlag
from labwire.cli.output import remark, write_json, write_line
from labwire.cli.program import run_program
from labwire.errors import DeadlineError, LabwireError, NotFoundError, ProtocolError, UsageError
from labwire.instruments.config import ProfileName
from labwire.instruments.linux import check_linux
from labwire.version import __version__
from labwire.wire.instrument_message import (
    PROFILES,
    Message,
    MessageType,
    Profile,
    counter_of,
    decode_message,
    encode_message,
)

if TYPE_CHECKING:
    from labwire.instruments.queues.contract import MessageQueue, QueuePair

Kind = Literal["boost", "posix"]
TypeName = Literal["COMMAND", "RESPONSE", "SHUTDOWN", "HEARTBEAT", "ERROR"]

_QUEUE = re.compile(r"/?instrument_(?P<instrument>.+)_(?P<end>req|resp)")
_SHARED = Path("/dev/shm")  # noqa: S108  where Boost's queues are
_SLICE_S = 0.1
_ANY_ID_BELOW = 1 << 63


def send(
    *,
    queue: str,
    type: Annotated[TypeName, Parameter(name="--type")] = "COMMAND",  # noqa: A002  the spec's word
    payload: str = "",
    id: Annotated[int | None, Parameter(name="--id", validator=Number(gte=0, lt=1 << 64))] = None,  # noqa: A002
    wait: Annotated[bool, Parameter(negative="")] = False,
    timeout_s: Annotated[float, Parameter(name="--timeout", validator=Number(gt=0))] = 5.0,
    kind: Kind | None = None,
    profile: ProfileName | None = None,
    json: JsonFlag = False,
) -> None:
    """Send one message into the queue of an instrument.

    Example: `ipc-send --queue instrument_DMM1_req --type COMMAND --payload '{"verb": "MEASURE_VOLTAGE"}' --wait`.
    `labwire queues` lists the queues. Beside a running server `--wait` may take an answer that the server waits for:
    it is for a worker that was started by hand.

    Args:
        queue: Name of the queue: `instrument_NAME_req` leads to the worker, `instrument_NAME_resp` to the server.
        type: Type of the message.
        payload: What it carries, as it is: JSON, or nothing.
        id: Id in its header; by default the counter in the payload's id, or any number.
        wait: Wait for the answer and print it; heartbeats are left out.
        timeout_s: Seconds to wait for room, and for the answer.
        kind: Kind of the queue; by default what is found.
        profile: Layout of the messages; by default the one that fits the size of the queue's messages.
        json: Print what was sent, too; errors are JSON.
    """
    check_linux("ipc-send")
    instrument, to_worker = read_queue_name(queue)
    data = payload.encode()
    number = id if id is not None else _any_id(data)
    with open_pair_of(instrument, kind, profile) as (pair, layout):
        there, back = (pair.requests, pair.responses) if to_worker else (pair.responses, pair.requests)
        there.send(encode_message(Message(MessageType(type), number, data), layout), timeout_s)
        if json:
            write_json({"queue": there.name, "kind": there.kind, "profile": layout.name, "type": type, "id": number})
        else:
            remark(f"sent {type} {number} into {there.name} ({there.kind}, {layout.name})")
        if wait:
            _show(await_answer(back, layout, number, timeout_s), as_json=json)


def read_queue_name(queue: str) -> tuple[str, bool]:
    """Return the instrument of a queue, and whether the queue leads to its worker.

    Raises:
        UsageError: It is not the name of a queue.
    """
    match = _QUEUE.fullmatch(queue.rpartition("/")[2])
    if not match:
        raise UsageError(f"{queue!r} is no queue: it is called instrument_NAME_req or instrument_NAME_resp")
    return match["instrument"], match["end"] == "req"


class open_pair_of:  # noqa: N801  used as a function
    """Open the queues of an instrument, whatever kind and layout they have. A context manager."""

    def __init__(self, instrument: str, kind: Kind | None, profile: ProfileName | None) -> None:
        self._instrument = instrument
        found: list[Kind] = ["boost"] if (_SHARED / f"instrument_{instrument}_req").exists() else []
        self._kinds: list[Kind] = [kind] if kind else found or ["boost", "posix"]
        self._profiles = [PROFILES[profile]] if profile else list(PROFILES.values())
        self._pair: QueuePair | None = None

    def __enter__(self) -> tuple[QueuePair, Profile]:
        from labwire.instruments.queues.open import open_pair

        refusals: list[LabwireError] = []
        for kind, layout in itertools.product(self._kinds, self._profiles):
            try:
                self._pair = open_pair(kind, self._instrument, layout)
            except (ProtocolError, NotFoundError) as error:
                refusals.append(error)
            else:
                return self._pair, layout
        if wrong := [error for error in refusals if isinstance(error, ProtocolError)]:
            raise wrong[0]
        raise NotFoundError(
            f"there are no queues of an instrument {self._instrument!r}, of kind {' or '.join(self._kinds)}",
            hint="`labwire queues` lists the queues of this computer; a socket is none that others can open",
        )

    def __exit__(self, *_: object) -> None:
        if self._pair:
            self._pair.close()


def await_answer(queue: MessageQueue, layout: Profile, number: int, timeout_s: float) -> Message:
    """Receive until the answer to a message is there.

    Raises:
        DeadlineError: It did not come in time.
    """
    for message in _received(queue, layout, timeout_s):
        if message.type is MessageType.HEARTBEAT:
            continue
        if message.id == number or message.type is MessageType.ERROR:
            return message
        remark(f"took {message.type.value} {message.id} out of {queue.name}, which answers another message")
    raise DeadlineError(f"no answer to message {number} came into {queue.name} within {timeout_s:g} s", id=number)


def _received(queue: MessageQueue, layout: Profile, timeout_s: float) -> Iterator[Message]:
    until_s = time.monotonic() + timeout_s
    while (left_s := until_s - time.monotonic()) > 0:
        data = queue.receive(min(left_s, _SLICE_S))
        if data is None:
            continue
        try:
            yield decode_message(data, layout)
        except ProtocolError as error:
            remark(f"took {len(data)} bytes out of {queue.name} that are no message: {error}")


def _any_id(payload: bytes) -> int:
    try:
        found: Any = msgspec.json.decode(payload, type=dict[str, Any]).get("id")
    except (msgspec.DecodeError, ValueError, RecursionError):
        found = None
    counter = counter_of(found) if isinstance(found, str) else None
    return counter if counter is not None else time.time_ns() % _ANY_ID_BELOW


def _show(message: Message, *, as_json: bool) -> None:
    text = message.payload.decode("utf-8", "backslashreplace")
    if not as_json:
        write_line(f"{message.type.value} {message.id}{f' {text}' if text else ''}")
        return
    try:
        payload: Any = msgspec.json.decode(message.payload) if message.payload else None
    except (msgspec.DecodeError, ValueError, RecursionError):
        payload = text
    write_json({"type": message.type.value, "id": message.id, "payload": payload})


def main() -> None:
    """Run the program and exit."""
    app = App(name="ipc-send", version=__version__, help=send.__doc__)
    app.default(send)
    sys.exit(run_program(app, sys.argv[1:]))
