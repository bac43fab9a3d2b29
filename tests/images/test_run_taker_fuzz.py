"""Whatever comes instead of what should come: an error of ours or of the system, never a bug, and good files."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cbor2
import h5py

from labwire.errors import LabwireError
from labwire.images.config import WriterOptions
from labwire.images.run_taker import LIMITS, RunTaker
from labwire.wire.image_codec import decode_message
from labwire.wire.image_message import EndMessage, StartMessage
from tests.images.test_writer_foreign import (
    DECTRIS_START,
    JUNGFRAUJOCH_START,
    dectris_image,
    described,
    jungfraujoch_image,
)

STRANGE: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2**31, 2**63, 2**64 - 1, -(2**63), 1e308, float("nan"), float("inf")),
    *("", "x", "\0", "a/b", "../x", ".", "é" * 200, "x" * 5000, b"", b"\0" * 8, [], [[]], [1.0] * 9, {}, {"": {}}),
    *({"default": 1}, {"a/b": cbor2.CBORTag(40, [[2, 2], cbor2.CBORTag(64, b"abcd")])}, cbor2.CBORTag(0, "no date")),
    *(cbor2.CBORTag(0, "9999-12-31T23:59:59.999+14:00"), cbor2.CBORTag(40, [[0, 0], cbor2.CBORTag(69, b"")])),
    *(
        cbor2.CBORTag(40, [[40, 50], cbor2.CBORTag(85, bytes(8000))]),
        cbor2.CBORTag(1040, [[2, 1], cbor2.CBORTag(69, b"abcd")]),
    ),
    *(
        cbor2.CBORTag(
            40, [[40, 50], cbor2.CBORTag(69, cbor2.CBORTag(56500, ["bslz4", 4, b"\0" * 6 + b"\x0f\xa0" + b"\0" * 40]))]
        ),
    ),
    *(cbor2.CBORTag(87, bytes(32)), {"omega": {"start": float("nan"), "increment": 1e300}}, {"x": {"start": 1}}),
    *(
        [{"x": 1.0, "y": float("inf"), "I": -1}] * 3,
        {"beam": {"sum": 2**70}},
        {"n": {"sum": float("nan"), "max": 2**63}},
    ),
)


def spoiled(message: dict[str, Any], chance: random.Random) -> bytes:
    """A message with strange values in some places, keys missing or added, or bytes of it changed."""
    message = dict(message)
    for _ in range(chance.choice((0, 1, 1, 2, 5))):
        key = chance.choice([*list(message)[1:], "socket_number", "max_spot_count", "extra", "type"])
        if chance.random() < 0.2:
            message.pop(key, None)
        elif isinstance(message.get(key), dict) and message[key] and chance.random() < 0.5:
            message[key] = {**message[key], chance.choice(list(message[key])): chance.choice(STRANGE)}
        else:
            message[key] = chance.choice(STRANGE)
    data = bytearray(described(message)[0])
    if chance.random() < 0.2:
        data[chance.randrange(len(data))] = chance.randrange(256)
    if chance.random() < 0.05:
        del data[chance.randrange(len(data)) :]
    return bytes(data)


def test_no_message_is_a_bug(tmp_path: Path, seed: int, soak: Callable[[int, int], int]) -> None:
    chance = random.Random(seed)
    taker = RunTaker(tmp_path, WriterOptions(overwrite=True), source="a test", on_event=lambda *_: None)
    stored = 0
    for _ in range(soak(25, 2000)):
        dectris = chance.random() < 0.5
        start = DECTRIS_START if dectris else JUNGFRAUJOCH_START
        image_of = dectris_image if dectris else jungfraujoch_image
        end = {"type": "end", "series_id": 12, "max_image_number": 4, "end_date": cbor2.CBORTag(0, "2026"), "x": 1}
        script = [
            spoiled(start, chance) if chance.random() < 0.7 else described(start)[0],
            *(spoiled({"type": "calibration", "data": start["pixel_mask"]}, chance) for _ in range(2)),
            *(spoiled(image_of(number, chance.choice(("bslz4", "none"))), chance) for number in (0, 1, 2, 2, 3)),
            spoiled(end, chance),
        ]
        for place, data in enumerate(script):
            try:
                message = decode_message(data, LIMITS)
                if place == 0:
                    taker.start(message)
                elif isinstance(message, EndMessage | StartMessage):
                    break
                elif place < 3:
                    taker.calibration(message)
                else:
                    taker.image(message)
            except (LabwireError, OSError):
                continue
        if taker.store is None:
            continue
        try:
            written, fault = taker.end(decode_message(script[-1]))
        except LabwireError:
            written, fault = taker.stop("stopped"), None
        assert fault is None, fault
        assert written is not None
        for path in (*written.files, *filter(None, [written.master_file])):
            with h5py.File(path) as file:
                assert "entry" in file
        stored += written.images
    assert stored > 10, "most messages are still good"
    assert not list(tmp_path.rglob("*.tmp"))
