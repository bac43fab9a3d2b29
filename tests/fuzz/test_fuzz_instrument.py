"""A moment of fuzzing of the instrument protocol in every run, more under ``scripts/test --soak``."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from pathlib import Path

from labwire.wire.instrument_message import PROFILES, Message, MessageType, encode_message
from tests.fuzz.fuzzing import Fuzzing

VECTORS = Path(__file__).parents[1] / "vectors" / "instrument_message.jsonl"


def messages() -> Iterator[tuple[str, bytes]]:
    names = list(PROFILES)
    for number, line in enumerate(VECTORS.read_text().splitlines()):
        vector = json.loads(line)
        profile = bytes([names.index(vector["profile"])])
        yield f"recorded-{number}", profile + bytes.fromhex(vector["bytes"])
    batch = b'[{"verb":"V"},{"command_id":"a-1","success":true}]'
    for number, payload in enumerate((batch, b"\0z" + zlib.compress(batch))):
        yield f"extra-{number}", b"\0" + encode_message(Message(MessageType.COMMAND, 1, payload))


def test_nothing_breaks_the_parsers_of_the_instruments(fuzz: Fuzzing) -> None:
    fuzz.run("fuzz_instrument", dict(messages()), runs=100_000, soak_runs=3_000_000, max_bytes=9000)
