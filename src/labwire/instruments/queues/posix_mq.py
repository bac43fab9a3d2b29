"""Queues of the kernel: POSIX message queues, ``mq_open`` and the like, where the system's limits allow them.

A process that dies leaves nothing locked and nothing to repair. Source: instrument-ipc, "Platform Differences".
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
from pathlib import Path
from typing import Final

from labwire.errors import LabwireError, NotFoundError, PeerGoneError, ProtocolError, RefusedError, ResourceError
from labwire.instruments.queues import native_library as native
from labwire.instruments.queues.contract import DEPTH, QueuePair, QueueState, request_name, response_name
from labwire.instruments.queues.native_queue import NativeQueue
from labwire.instruments.queues.users import opened_by
from labwire.wire.instrument_message import SPEC, Profile

KIND: Final = "posix"
LIMITS: Final = Path("/proc/sys/fs/mqueue")
DEFAULT_MOUNT: Final = Path("/dev/mqueue")
_MAX_PRIORITY = 32767  # sysconf(_SC_MQ_PRIO_MAX) - 1 on Linux
_SLOT_BYTES = 96  # what the kernel charges for a message beside its size


class PosixQueue(NativeQueue):
    """One POSIX message queue, open both ways."""

    kind = KIND

    def __init__(self, name: str, profile: Profile, *, create: bool) -> None:
        """Open it, or create it where there is none.

        Raises:
            NotFoundError: There is none to open.
            ProtocolError: Its messages have another size.
            RefusedError: It is another user's.
            ResourceError: A limit of the system forbids it; the message says which, and what to set.
        """
        self._library = library = native.library()
        self._memory = ctypes.create_string_buffer(library.lw_posix_handle_bytes())
        handle = ctypes.addressof(self._memory)
        self._created = False
        depth = DEPTH if create else 0
        if code := library.lw_posix_open(handle, _path(name), depth, profile.size_bytes, profile.header_bytes):
            raise open_error(name, code, profile.size_bytes)
        super().__init__(
            name,
            handle,
            size_bytes=profile.size_bytes,
            send=library.lw_posix_send,
            receive=library.lw_posix_receive,
            max_priority=_MAX_PRIORITY,
        )
        self._created = create
        self.depth, size_bytes, _ = self._look()
        if size_bytes != profile.size_bytes:
            self.close()
            raise ProtocolError(
                f"queue {name} has messages of {size_bytes} bytes, but those of profile {profile.name!r} have "
                f"{profile.size_bytes}",
                size_bytes=size_bytes,
            )

    def _look(self) -> tuple[int, int, int]:
        return _ask(self._handle)

    def _waiting(self) -> int:
        return self._look()[2]

    def _error(self, code: int, timeout_s: float) -> LabwireError:
        return ResourceError(f"queue {self.name} failed: {os.strerror(native.ERRNO - code)}")

    def wake(self) -> None:
        """Let one `receive` return None at once."""
        self._library.lw_posix_wake(self._handle)

    def state(self) -> QueueState:
        """Ask the kernel."""
        try:
            depth, _size, count = self._look()
        except PeerGoneError as error:
            return QueueState(self.name, KIND, DEPTH, None, note=str(error))
        return QueueState(self.name, KIND, depth, count)

    def adopt(self) -> None:
        """Let `close` remove the name, if no other process has a queue of this name open."""
        self._created = self._created or not opened_by(f"/{self.name}") - {os.getpid()}

    def close(self) -> None:
        """Let go of it; who created it removes its name."""
        self._library.lw_posix_close(self._handle)
        if self._created:
            self._created = False
            unlink_queue(self.name)


class PosixPair(QueuePair):
    """Both POSIX message queues of an instrument."""

    def __init__(self, instrument: str, profile: Profile, *, create: tuple[bool, bool]) -> None:
        self.requests = PosixQueue(request_name(instrument), profile, create=create[0])
        try:
            self.responses = PosixQueue(response_name(instrument), profile, create=create[1])
        except BaseException:
            self.requests.close()
            raise

    @classmethod
    def create(cls, instrument: str, profile: Profile = SPEC) -> PosixPair:
        """Create both queues, in place of what stands under their names."""
        for name in (request_name(instrument), response_name(instrument)):
            unlink_queue(name)
        return cls(instrument, profile, create=(True, True))

    @classmethod
    def open(cls, instrument: str, profile: Profile = SPEC) -> PosixPair:
        """Open both queues."""
        return cls(instrument, profile, create=(False, False))

    @classmethod
    def join(cls, instrument: str, profile: Profile = SPEC) -> PosixPair:
        """Open what is in use, create the rest."""
        create = (_is_unused(request_name(instrument)), _is_unused(response_name(instrument)))
        return cls(instrument, profile, create=create)

    def close(self) -> None:
        """Close both queues; the names that were created here go away."""
        self.requests.close()
        self.responses.close()


def _path(name: str) -> bytes:
    return b"/" + name.encode()


def _is_unused(name: str) -> bool:
    if opened_by(f"/{name}") - {os.getpid()}:
        return False
    unlink_queue(name)
    return True


def look_at_posix(name: str) -> QueueState | None:
    """Ask the kernel about a queue, whoever made it; None if there is none.

    Raises:
        RefusedError: It is another user's.
        ResourceError: It cannot be asked here.
    """
    library = native.library()
    memory = ctypes.create_string_buffer(library.lw_posix_handle_bytes())
    handle = ctypes.addressof(memory)
    code = library.lw_posix_open(handle, _path(name), 0, 0, SPEC.header_bytes)
    if code == errno.ENOENT:
        return None
    if code:
        raise open_error(name, code, 0)
    try:
        depth, _size, count = _ask(handle)
    finally:
        library.lw_posix_close(handle)
    return QueueState(name, KIND, depth, count, waiting_bytes=_queued_bytes(name))


def _ask(handle: int) -> tuple[int, int, int]:
    depth, size, count = ctypes.c_int64(), ctypes.c_int64(), ctypes.c_int64()
    references = (ctypes.byref(value) for value in (depth, size, count))
    if code := native.library().lw_posix_look(handle, *references):
        raise PeerGoneError("the queue is closed" if code < 0 else os.strerror(code))
    return depth.value, size.value, count.value


def _queued_bytes(name: str) -> int | None:
    try:
        line = (DEFAULT_MOUNT / name).read_text()
    except OSError:  # not mounted
        return None
    found = re.match(r"QSIZE:(\d+)", line)
    return int(found[1]) if found else None


def unlink_queue(name: str) -> bool:
    """Remove a queue's name; who has it open keeps it. True: it was removed.

    Raises:
        RefusedError: It is another user's.
    """
    code = native.library().lw_posix_unlink(_path(name))
    if code in {0, errno.ENOENT}:
        return code == 0
    raise RefusedError(f"POSIX queue {name} is another user's and cannot be removed: {os.strerror(code)}")


def open_error(name: str, code: int, size_bytes: int) -> LabwireError:
    """Return the error for an ``mq_open`` that failed: what is wanted, which limit forbids it, what to set.

    ``data["limits"]`` is there if a limit of the system forbids it: no other try will do better.
    """
    match code:
        case errno.ENOENT:
            return NotFoundError(
                f"there is no POSIX queue {name}: its creator has not started, or has ended", queue=name
            )
        case errno.EACCES:
            return RefusedError(f"POSIX queue {name} is another user's")
        case errno.EINVAL:
            return _sysctl_error(name, size_bytes)
        case errno.EMFILE:
            return _rlimit_error(name, size_bytes)
        case errno.ENOSPC:
            return ResourceError(
                f"POSIX queue {name} cannot be made: the system allows {_limit('queues_max')} in all; "
                f"to allow more, as root: sysctl fs.mqueue.queues_max={2 * _limit('queues_max')}",
                limits={"queues_max": 2 * _limit("queues_max")},
            )
        case errno.ENOSYS:
            return ResourceError(
                f"POSIX queue {name} cannot be made: this kernel has none; use kind boost or socket", limits={}
            )
        case _:
            return ResourceError(f"POSIX queue {name} cannot be opened: {os.strerror(code)}")


def _sysctl_error(name: str, size_bytes: int) -> ResourceError:
    needed = {"msgsize_max": size_bytes, "msg_max": DEPTH}
    short = {limit: value for limit, value in needed.items() if _limit(limit) < value}
    told = ", ".join(f"fs.mqueue.{limit} is {_limit(limit)}, not at least {value}" for limit, value in short.items())
    command = " ".join(f"fs.mqueue.{limit}={value}" for limit, value in (short or needed).items())
    text = (
        f"POSIX queue {name} of {DEPTH} messages of {size_bytes} bytes is not allowed: {told or 'invalid argument'}; "
        f"set it as root: sysctl {command}"
    )
    soft, needed_bytes, advice = _room_for(size_bytes)
    if 0 <= soft < needed_bytes:
        text, short = f"{text}; then that is not enough either: {advice}", {**short, "RLIMIT_MSGQUEUE": needed_bytes}
    return ResourceError(text, limits=short)


def _rlimit_error(name: str, size_bytes: int) -> ResourceError:
    _, needed_bytes, advice = _room_for(size_bytes)
    return ResourceError(
        f"POSIX queue {name} needs more than what is left to this user: {advice}",
        limits={"RLIMIT_MSGQUEUE": needed_bytes},
    )


def _room_for(size_bytes: int) -> tuple[int, int, str]:
    """Return the bytes that this user's queues may have, those that an instrument needs, and what to do about it."""
    import resource  # not on every system, while this module is imported on all

    soft, hard = resource.getrlimit(resource.RLIMIT_MSGQUEUE)
    needed = 2 * DEPTH * (size_bytes + _SLOT_BYTES)
    advice = (
        f"RLIMIT_MSGQUEUE is {soft} bytes (hard limit {hard}) and must be at least {needed} for each instrument; "
        "set it: ulimit -q, LimitMSGQUEUE= of a systemd unit, or msgqueue in /etc/security/limits.conf"
    )
    return soft, needed, advice


def _limit(name: str) -> int:
    try:
        return int((LIMITS / name).read_text())
    except (OSError, ValueError):  # this kernel has none
        return 0
