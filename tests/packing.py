"""The reference MessagePack encoder, typed: what foreign peers send and read."""

from __future__ import annotations

from typing import Any, cast

import msgpack


def pack(value: object) -> bytes:
    """Encode as Pupil's zmq_tools does."""
    return cast("bytes", msgpack.packb(value, use_bin_type=True))


def unpack(part: bytes) -> Any:
    """Decode as Pupil's zmq_tools does."""
    return msgpack.loads(part)
