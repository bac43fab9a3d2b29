"""A worker that knows the wire and nothing else of labwire: a foreign program, also a broken one.

``python foreign_worker.py NAME KIND [create]`` works on the queues of that name. Without arguments it reads the order
of labwire's own server from standard input, and then it plays a worker of labwire's that lies.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from typing import Any, cast

from labwire.errors import QueueFullError
from labwire.instruments.config import QueueKind
from labwire.instruments.queues.contract import QueuePair
from labwire.instruments.queues.open import create_pair, open_pair
from labwire.wire.instrument_message import (
    SPEC,
    Command,
    CommandResponse,
    Message,
    MessageType,
    WorkerError,
    decode_command,
    decode_message,
    encode_message,
    encode_payload,
)

HEARTBEAT_S = 0.1


class ForeignWorker:
    def __init__(self, pair: QueuePair, name: str) -> None:
        self.pair, self.name, self.beating = pair, name, True

    def put(self, kind: MessageType, number: int = 0, payload: bytes = b"") -> None:
        self.pair.responses.send(encode_message(Message(kind, number, payload)))

    def answer(self, number: int, command: Command, value: Any = None, **changes: Any) -> None:
        fields = {"command_id": command.id, "instrument_name": self.name, "success": True, "return_value": value}
        self.put(MessageType.RESPONSE, number, encode_payload(CommandResponse(**{**fields, **changes})))

    def serve(self) -> None:
        beat_s = 0.0
        while True:
            if self.beating and time.monotonic() - beat_s > HEARTBEAT_S:
                beat_s = time.monotonic()
                self.put(MessageType.HEARTBEAT)
            data = self.pair.requests.receive(HEARTBEAT_S)
            if data is None:
                continue
            message = decode_message(data)
            if message.type is MessageType.SHUTDOWN:
                return
            command = decode_command(message.payload)
            getattr(self, command.verb.lower().replace("@", "control_"), self.unknown)(message.id, command)

    def unknown(self, number: int, command: Command) -> None:
        self.answer(number, command, success=False, error_code=4, error_message=f"no verb {command.verb}")

    def echo(self, number: int, command: Command) -> None:
        self.answer(number, command, command.params["value"])

    def pid(self, number: int, command: Command) -> None:
        self.answer(number, command, os.getpid())

    def garbage(self, number: int, command: Command) -> None:
        """Whatever may come over a queue, by the hundred, and a true answer at the end."""
        dice = random.Random(command.params["seed"])
        for _ in range(command.params["count"]):
            data = self.garbled(dice, number, command)
            while True:
                try:
                    self.pair.responses.send(data)
                    break
                except QueueFullError:
                    continue
        self.answer(number, command, "true")

    def garbled(self, dice: random.Random, number: int, command: Command) -> bytes:  # noqa: PLR0911
        other = number + dice.choice([-1000, 1000, 2**40])
        good = CommandResponse(command_id=f"{self.name}-{other}", success=True, return_value="a lie")
        whole = encode_message(Message(MessageType.RESPONSE, other % 2**64, encode_payload(good)))
        match dice.randrange(9):
            case 0:
                return dice.randbytes(dice.randrange(16, 300))
            case 1:
                return whole[: dice.randrange(16, len(whole))]
            case 2:
                return whole
            case 3:
                return encode_message(Message(MessageType.RESPONSE, other % 2**64, b'{"command_id": 5}'))
            case 4:
                return encode_message(Message(MessageType.COMMAND, number, b"{}"))
            case 5:
                return encode_message(Message(MessageType.RESPONSE, other % 2**64, b"[" * 4000))
            case 6:
                return SPEC.header.pack(dice.randrange(6, 2**32), number, 10) + b"x" * 10
            case 7:
                return SPEC.header.pack(2, other % 2**64, 2**31) + b"{}"
            case _:
                # The spec's own snippet: no size, NUL-ended text, nothing that says whose it is.
                return SPEC.header.pack(5, 0, 0) + b'{"error_message": "Invalid JSON in command"}\0'

    def wrong_id(self, number: int, command: Command) -> None:
        self.answer(number, command, "a lie", command_id=f"{self.name}-{number + 1}")

    def bad_json(self, number: int, command: Command) -> None:
        self.put(MessageType.RESPONSE, number, b'{"command_id": "x", "success": ')

    def not_success(self, number: int, command: Command) -> None:
        self.put(MessageType.RESPONSE, number, json.dumps({"command_id": command.id, "success": "yes"}).encode())

    def a_block(self, number: int, command: Command) -> None:
        self.answer(number, command, 1, block=0)

    def twice(self, number: int, command: Command) -> None:
        self.answer(number, command, 1)
        self.answer(number, command, 2)

    def error(self, number: int, command: Command) -> None:
        self.put(MessageType.ERROR, number, encode_payload(WorkerError("the plugin is confused", -1, fatal=False)))

    def fatal(self, number: int, command: Command) -> None:
        text = "Plugin crashed: segmentation fault"
        self.put(MessageType.ERROR, 0, encode_payload(WorkerError(text, -1, fatal=True)))
        time.sleep(60)

    def silent(self, number: int, command: Command) -> None:
        self.beating = False

    def leave(self, number: int, command: Command) -> None:
        os._exit(0)

    def half(self, number: int, command: Command) -> None:
        """Dies after the first of two answers, in the middle of what it does."""
        self.answer(number, command, "whole")
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    if len(sys.argv) > 1:
        name, kind = sys.argv[1], cast("QueueKind", sys.argv[2])
        pair = (create_pair if "create" in sys.argv else open_pair)(kind, name)
    else:
        order = json.loads(sys.stdin.readline())
        name = order["name"]
        pair = open_pair(order["queue"], name, socket_fd=order["socket_fd"])
    with pair:
        ForeignWorker(pair, name).serve()


if __name__ == "__main__":
    main()
