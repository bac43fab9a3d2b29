"""Read a Boost message queue from the bytes of its file, without its lock: what stands where, and what is wrong.

The offsets are those of Boost on 64-bit Linux; the C part holds the same structure against its compiler.
"""

from __future__ import annotations

import os
import platform
import struct
from typing import NamedTuple

from labwire.instruments.queues.contract import QueueState
from labwire.wire.instrument_message import PROFILES, Profile

READY = 2
"""The state word, the first four bytes, of a queue that may be used."""

_MUTEX_BYTES = 40 if platform.machine() in {"x86_64", "AMD64"} else 48
_MUTEX_AT = 48
_TAIL_AT = _MUTEX_AT + _MUTEX_BYTES + 2 * 48  # after the mutex and two condition variables
_SLOTS_AT = _TAIL_AT + 24
_HEAD = struct.Struct("<I12xQQQQ")  # state, index pointer, depth, message size, count
_MUTEX = struct.Struct("<IIIIi")  # lock word, count, owner, users, kind
_TAIL = struct.Struct("<QQQ")  # first, blocked senders, blocked receivers
_MESSAGE = struct.Struct("<QI4x")  # length, priority
_ROBUST = 16
_TID_MASK = 0x3FFFFFFF
_OWNER_DIED = 0x40000000
_MAX_DEPTH = 65536
_MAX_ENTRIES = 8192
_STATES = {0: "not initialised", 1: "being made", 3: "marked as corrupted by its creator"}
_TYPE_AND_ID = {"spec": struct.Struct("<IQ"), "native": struct.Struct("<I4xQ"), "iss": struct.Struct("<I4xQ")}


class _Lock(NamedTuple):
    owner: int | None
    died: bool


def read_state(name: str, fd: int, profile: Profile | None = None) -> QueueState:
    """Tell what is in a queue's file.

    Args:
        name: For the answer.
        fd: The file, open for reading.
        profile: Layout of the messages; None: guessed from their size.
    """
    file_bytes = os.fstat(fd).st_size
    header = os.pread(fd, _SLOTS_AT, 0)
    if len(header) < _SLOTS_AT:
        return QueueState(name, "boost", 0, None, note=f"no queue: its file has {file_bytes} bytes")
    state, _index, depth, size, count = _HEAD.unpack_from(header)
    first, senders, receivers = _TAIL.unpack_from(header, _TAIL_AT)
    if state != READY:
        return QueueState(name, "boost", 0, None, note=_STATES.get(state, f"no queue: its state word is {state}"))
    if problem := _problem(file_bytes, depth, size, count, first):
        return QueueState(name, "boost", 0, None, note=problem)
    lock = _lock_of(header)
    types, ids, note = _contents(fd, depth, size, count, first, profile or _profile_of(size))
    return QueueState(
        name,
        "boost",
        depth,
        count,
        waiting_bytes=count * size,
        blocked_senders=min(senders, _MAX_DEPTH),
        blocked_receivers=min(receivers, _MAX_DEPTH),
        types=types,
        ids=ids,
        lock_owner=lock.owner,
        lock_owner_alive=lock.owner is None or (not lock.died and is_thread_alive(lock.owner)),
        note=note,
    )


def file_bytes_of(depth: int, size: int) -> int:
    """Return the size of the file of a queue."""
    return _SLOTS_AT + depth * (8 + _stride(size))


def _stride(size: int) -> int:
    return _MESSAGE.size + (size + 7 & ~7)


def _problem(file_bytes: int, depth: int, size: int, count: int, first: int) -> str:
    if not 0 < depth <= _MAX_DEPTH or not size or file_bytes < file_bytes_of(depth, size):
        return f"damaged: {depth} messages of {size} bytes do not fit into its {file_bytes} bytes"
    if count > depth or first >= depth:
        return f"damaged: it counts {count} messages of {depth}, the first at {first}"
    return ""


def _profile_of(size: int) -> Profile | None:
    return next((profile for profile in PROFILES.values() if profile.size_bytes == size), None)


def _lock_of(header: bytes) -> _Lock:
    word, _count, owner, _users, kind = _MUTEX.unpack_from(header, _MUTEX_AT)
    if kind & _ROBUST:
        if word & _OWNER_DIED:  # then the system has cleared the number in the word
            return _Lock(owner, died=True)
        return _Lock(word & _TID_MASK or None, died=False)
    return _Lock(owner if word and owner else None, died=False)


def _contents(
    fd: int, depth: int, size: int, count: int, first: int, profile: Profile | None
) -> tuple[dict[str, int], list[int], str]:
    types: dict[str, int] = {}
    ids: list[int] = []
    slots = struct.unpack(f"<{depth}Q", os.pread(fd, 8 * depth, _SLOTS_AT))
    if profile is None:
        return types, ids, f"its messages have {size} bytes, which fits no profile"
    head = _TYPE_AND_ID[profile.name]
    for place in range(count - 1, -1, -1):  # the last is received first
        slot = (first + place) % depth
        at = (_SLOTS_AT + 8 * slot + slots[slot]) % 2**64
        if at >= file_bytes_of(depth, size):
            return types, ids, f"damaged: slot {slot} points outside of the file"
        number, message_id = head.unpack_from(os.pread(fd, head.size, at + _MESSAGE.size).ljust(head.size, b"\0"))
        kind = profile.types.get(number)
        name = kind.value if kind else f"unknown type {number}"
        types[name] = types.get(name, 0) + 1
        if len(ids) < _MAX_ENTRIES:
            ids.append(message_id)
    return types, ids, ""


def is_thread_alive(tid: int) -> bool:
    """Tell whether a thread, of any process, exists and is no zombie."""
    try:
        with open(f"/proc/{tid}/stat", "rb") as file:  # noqa: PTH123  # read on every look, Path costs more
            status = file.read()
    except OSError:
        return _exists(tid)
    return status.rpartition(b")")[2].split()[0] not in {b"Z", b"X", b"x"}


def _exists(tid: int) -> bool:
    try:
        os.kill(tid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's, or no thread's number
        return True
    return True
