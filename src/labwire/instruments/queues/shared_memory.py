"""The files of Boost queues in /dev/shm: made, opened and removed. No message passes here."""

from __future__ import annotations

import ctypes
import errno
import os
import time
from pathlib import Path
from typing import Final

from labwire.errors import NotFoundError, ProtocolError, RefusedError, ResourceError
from labwire.instruments.queues import native_library as native
from labwire.instruments.queues.contract import DEPTH, QueueState
from labwire.instruments.queues.layout import READY, read_state
from labwire.wire.instrument_message import PROFILES, SPEC, Profile

FOLDER: Final = Path("/dev/shm")  # noqa: S108  # where the system keeps shared memory
KIND: Final = "boost"
_CORRUPTED = 3
_READY_TIMEOUT_S = 1.0  # what a creator may take between making the file and having filled it
_STEP_S = 0.001
_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
_MODE = 0o600


class SharedFile:
    """A queue's file, mapped; the handle is what the C functions take, for as long as this object lives."""

    def __init__(self, name: str, fd: int, profile: Profile) -> None:
        self.name = name
        self.profile = profile
        self.owned = False
        """True: `close` removes the name."""
        self._library = native.library()
        self._memory = ctypes.create_string_buffer(self._library.lw_boost_handle_bytes())
        self.handle = ctypes.addressof(self._memory)
        status = os.fstat(fd)
        self._identity = (status.st_dev, status.st_ino)
        if code := self._library.lw_boost_map(self.handle, fd, status.st_size):
            raise ResourceError(f"queue {name} cannot be mapped: {os.strerror(code)}")

    @property
    def depth(self) -> int:
        """Messages that it can hold."""
        return self._library.lw_boost_depth(self.handle)

    @property
    def size_bytes(self) -> int:
        """Size of a message."""
        return self._library.lw_boost_size_bytes(self.handle)

    @property
    def text(self) -> str:
        """Why it is broken; empty if it is not."""
        return self._library.lw_boost_text(self.handle).decode()

    def fill(self, *, robust: bool) -> None:
        """Make an empty queue in it.

        Raises:
            ResourceError: The system does not give locks that processes share.
        """
        if code := self._library.lw_boost_format(self.handle, DEPTH, self.profile.size_bytes, robust):
            raise ResourceError(f"queue {self.name} cannot be made: {os.strerror(code)}")

    def learn(self, *, sends: bool) -> None:
        """Hold it against what a queue must be, and note what never changes.

        Raises:
            ProtocolError: It is none, is damaged, or its messages have another size.
        """
        if self._library.lw_boost_learn(self.handle, self.profile.header_bytes, sends):
            raise ProtocolError(f"{FOLDER / self.name} is no Boost message queue, or is damaged: {self.text}")
        if self.size_bytes != self.profile.size_bytes:
            fitting = [profile.name for profile in PROFILES.values() if profile.size_bytes == self.size_bytes]
            hint = f"; profile {fitting[0]!r} fits" if fitting else ""
            raise ProtocolError(
                f"queue {self.name} has messages of {self.size_bytes} bytes, but those of profile "
                f"{self.profile.name!r} have {self.profile.size_bytes}{hint}",
                size_bytes=self.size_bytes,
            )

    def state(self) -> QueueState:
        """Look at it without its lock."""
        state, identity = look_at(self.name, self.profile)
        if identity == self._identity:
            return state
        return QueueState(self.name, KIND, self.depth, None, note="its name was removed while it is in use")

    def close(self) -> None:
        """Unmap it, when the last call under way has ended; remove the name if it is ours and still this file's."""
        self._library.lw_boost_close(self.handle)
        if self.owned:
            self.owned = False
            remove_name(self.name, self._identity)


def create_file(name: str, profile: Profile = SPEC, *, robust: bool = True, sends: bool = False) -> SharedFile:
    """Create a queue in place of what stands under its name, for this user only.

    Args:
        name: Of the queue, checked already.
        profile: Layout of the messages.
        robust: A lock that survives its owner, as Boost makes it since 1.78.
        sends: This process is the one that sends here; a labwire receiver then need not look for foreign senders.

    Raises:
        RefusedError: What stands there is another user's.
        ResourceError: The system does not give the memory.
    """
    library = native.library()
    size = library.lw_boost_file_bytes(DEPTH, profile.size_bytes)
    path = FOLDER / name
    try:
        path.unlink(missing_ok=True)
        fd = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, _MODE)
    except PermissionError as error:
        raise RefusedError(f"queue {path} is another user's and cannot be replaced: {error.strerror}") from error
    except OSError as error:
        raise ResourceError(f"queue {path} cannot be made: {error.strerror}") from error
    try:
        os.fchmod(fd, _MODE)
        os.posix_fallocate(fd, 0, size)  # memory that is promised but missing would end the process that touches it
        file = SharedFile(name, fd, profile)
        file.owned = True
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise ResourceError(
                f"queue {path} needs {size} bytes of shared memory: {error.strerror}; make room in {FOLDER}"
            ) from error
        raise
    finally:
        os.close(fd)
    try:
        file.fill(robust=robust)
        file.learn(sends=sends)
    except BaseException:
        file.close()
        raise
    return file


def open_file(name: str, profile: Profile = SPEC, *, sends: bool = False) -> SharedFile:
    """Open a queue that somebody has created; the arguments are those of `create_file`.

    Raises:
        NotFoundError: There is none, or its creator has not got it ready for one second.
        ProtocolError: What stands under the name is no queue, is damaged, or its messages have another size.
        RefusedError: It is another user's.
        ResourceError: The system does not give it.
    """
    native.library()
    until = time.monotonic() + _READY_TIMEOUT_S
    while (fd := _open_ready(name)) is None:
        if time.monotonic() > until:
            raise NotFoundError(f"queue {FOLDER / name} is there, but whoever creates it does not get it ready")
        time.sleep(_STEP_S)
    try:
        file = SharedFile(name, fd, profile)
    finally:
        os.close(fd)
    try:
        file.learn(sends=sends)
    except BaseException:
        file.close()
        raise
    return file


def _open_ready(name: str) -> int | None:
    path = FOLDER / name
    try:
        fd = os.open(path, _FLAGS)
    except FileNotFoundError as error:
        raise NotFoundError(
            f"there is no queue {path}: its creator has not started, or has ended", queue=name
        ) from error
    except PermissionError as error:
        raise RefusedError(f"queue {path} is another user's: {error.strerror}") from error
    except OSError as error:
        raise ResourceError(f"queue {path} cannot be opened: {error.strerror}") from error
    state = int.from_bytes(os.pread(fd, 4, 0), "little")
    if state == READY:
        return fd
    size = os.fstat(fd).st_size
    os.close(fd)
    if state == _CORRUPTED or size == 1:  # Boost's ways of saying that creating it failed
        raise ProtocolError(f"queue {path} is marked as corrupted by its creator: remove it")
    return None


def look_at(name: str, profile: Profile | None = None) -> tuple[QueueState, tuple[int, int] | None]:
    """Look at the queue of that name, whoever made it: its state, and which file it is (device and inode)."""
    try:
        fd = os.open(FOLDER / name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        return QueueState(name, KIND, 0, None, note=f"cannot be looked at: {error.strerror}"), None
    try:
        status = os.fstat(fd)
        return read_state(name, fd, profile), (status.st_dev, status.st_ino)
    finally:
        os.close(fd)


def remove_name(name: str, identity: tuple[int, int] | None = None) -> bool:
    """Remove a queue's name, if it is still the one meant; who has it open keeps it. True: it was removed."""
    path = FOLDER / name
    try:
        status = path.stat(follow_symlinks=False)
        if identity is not None and (status.st_dev, status.st_ino) != identity:
            return False
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno in {errno.EACCES, errno.EPERM}:
            raise RefusedError(f"queue {path} is another user's and cannot be removed") from error
        raise
    return True
