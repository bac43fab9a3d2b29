"""Bitshuffle and LZ4 written out plainly, to hold the libraries and our framing against."""

from __future__ import annotations

import struct

import numpy as np


def expand_lz4_block(data: bytes) -> bytes:
    """Expand one LZ4 block: runs of literals, and copies of what stands before them."""
    out, at = bytearray(), 0
    while at < len(data):
        token = data[at]
        literals, at = _length(data, at + 1, token >> 4)
        out += data[at : at + literals]
        at += literals
        if at < len(data):
            distance = int.from_bytes(data[at : at + 2], "little")
            count, at = _length(data, at + 2, token & 15)
            for _ in range(count + 4):
                out.append(out[-distance])
    return bytes(out)


def _length(data: bytes, at: int, length: int) -> tuple[int, int]:
    if length == 15:
        while data[at] == 255:
            length, at = length + 255, at + 1
        length, at = length + data[at], at + 1
    return length, at


def unshuffle(data: bytes, elem_size: int) -> bytes:
    """Undo the transposition: in a block stands first bit 0 of all its elements, then bit 1 and so on."""
    count = len(data) // elem_size
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little").reshape(elem_size * 8, count)
    return np.packbits(bits.T.copy(), bitorder="little").tobytes()


def expand_bslz4(data: bytes, elem_size: int) -> bytes:
    """Expand a chunk."""
    total, block_bytes = struct.unpack_from(">QI", data)
    out, at = bytearray(), 12
    while (rest := (total - len(out)) // (8 * elem_size) * 8 * elem_size) > 0:
        (length,) = struct.unpack_from(">I", data, at)
        block = expand_lz4_block(data[at + 4 : at + 4 + length])
        assert len(block) == min(block_bytes, rest)
        out += unshuffle(block, elem_size)
        at += 4 + length
    assert len(data) - at == total - len(out)
    return bytes(out) + data[at:]
