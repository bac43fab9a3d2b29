"""A moment of fuzzing in every run, more under ``scripts/test --soak``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.fuzz.fuzzing import Fuzzing

VECTORS = Path(__file__).parents[1] / "vectors"

HELLO = b"\xaa\xa1\x01\x02\x00\x01\x09tcp://a:1\x00\x00\x00\x01\x00\x00\x00\x01g\x01\x01n\x00\x00\x00\x01\x01k\x00\x00\x00\x01v"


def join(parts: Sequence[bytes]) -> bytes:
    """Make an input of `fuzz_wire` of parts; long ones are cut, but for the last."""
    short = [bytes([len(part[:254])]) + part[:254] for part in parts[:-1]]
    return b"".join([*short, b"\xff" + parts[-1]])


def messages() -> Iterator[tuple[str, bytes]]:
    for name in ("bus_message", "remote_command"):
        for number, line in enumerate((VECTORS / f"{name}.jsonl").read_text().splitlines()):
            yield f"{name}-{number}", join([bytes.fromhex(part) for part in json.loads(line)["parts"]])
    yield "zre-hello", join([HELLO])
    yield "zre-shout", join([b"\xaa\xa1\x03\x02\x00\x02\x01g", b"4.5", b"50123"])


def test_nothing_breaks_the_parsers_of_the_bus(fuzz: Fuzzing) -> None:
    fuzz.run("fuzz_wire", dict(messages()), runs=25_000, soak_runs=3_000_000, max_bytes=4096)
