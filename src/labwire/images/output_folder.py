"""Where a run's files go: a folder below the writer's output folder, which the sender's ``file_prefix`` names.

The prefix comes from outside. Every folder on the way is opened by its own descriptor and never through a symbolic
link, so that no prefix, and nobody who may write into the output folder, leads a file somewhere else.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeVar

from labwire.errors import InvalidNameError

T = TypeVar("T")

MAX_PREFIX_PARTS = 16
MAX_PART_BYTES = 200
"""255 is the limit of file systems; what a file's name has besides the prefix needs room."""
_REFUSED = re.compile(r"[\x00-\x1f\x7f\\]")
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class FileFailedError(OSError):
    """A file of a run cannot be written; carries the system's errno, and says which file and what was tried."""

    def __init__(self, number: int | None, path: str, what: str) -> None:
        super().__init__(number or errno.EIO, os.strerror(number or errno.EIO), path)
        self.what = what

    def __str__(self) -> str:
        reason = self.strerror or "I/O error"
        return f"{self.filename}: {reason[:1].lower()}{reason[1:]} ({self.what})"


def check_prefix(prefix: str) -> tuple[str, ...]:
    """Check a ``file_prefix``: folders separated by ``/``, then the beginning of the files' names.

    Returns:
        Its parts.

    Raises:
        InvalidNameError: It is absolute, empty, leads upwards, or has a part that cannot be a name.
    """
    parts = tuple(prefix.split("/"))
    why = ""
    if not prefix or prefix.startswith("/"):
        why = "it must be relative to the writer's output folder"
    elif len(parts) > MAX_PREFIX_PARTS:
        why = f"it has more than {MAX_PREFIX_PARTS} parts"
    elif wrong := next((part for part in parts if not _is_name(part)), None):
        why = f"{wrong[:60]!r} cannot be a folder, or the beginning of a file's name, in the writer's output folder"
    elif "" in parts:
        why = "it has an empty part"
    if why:
        raise InvalidNameError(f"file_prefix {prefix[:120]!r} is refused: {why}", file_prefix=prefix[:120])
    return parts


def _is_name(part: str) -> bool:
    # A leading dot would hide the files, and is what "." and ".." begin with.
    if part.startswith(".") or part != part.strip() or _REFUSED.search(part):
        return False
    try:
        return len(part.encode()) <= MAX_PART_BYTES
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


class OutputFolder:
    """One folder, held open; a context manager.

    Args:
        root: The writer's output folder; made if it is missing. It may itself be reached through symbolic links.
        parts: Folders below it, made if missing.

    Raises:
        FileFailedError: One cannot be made or opened, or is a symbolic link.
    """

    def __init__(self, root: Path, parts: tuple[str, ...] = ()) -> None:
        self.path = root.joinpath(*parts)
        try:
            root.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(root, _FOLDER_FLAGS)
        except OSError as error:
            raise FileFailedError(error.errno, str(root), "output folder") from error
        at = root
        for part in parts:
            at /= part
            below = self._enter(part, at)
            os.close(self._fd)
            self._fd = below

    def _enter(self, part: str, at: Path) -> int:
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o777, dir_fd=self._fd)
            return os.open(part, _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=self._fd)
        except OSError as error:
            os.close(self._fd)
            is_link = error.errno in {errno.ELOOP, errno.ENOTDIR} and at.is_symlink()
            number = errno.EPERM if is_link else error.errno
            what = "a folder of file_prefix must not be a symbolic link" if is_link else "folder of file_prefix"
            raise FileFailedError(number, str(at), what) from error

    def create(self, name: str) -> int:
        """Create a file that must not exist, readable and writable; return its descriptor."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return self._try(name, "create", lambda: os.open(name, flags, 0o666, dir_fd=self._fd))

    def open(self, name: str) -> int:
        """Open a file, readable and writable; return its descriptor."""
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        return self._try(name, "open", lambda: os.open(name, flags, dir_fd=self._fd))

    def exists(self, name: str) -> bool:
        """Tell whether there is something of that name, a dangling link included."""
        try:
            os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except OSError:
            return False
        return True

    def names(self) -> set[str]:
        """Return the names in this folder."""
        return set(os.listdir(self._fd))

    def remove(self, name: str) -> None:
        """Remove a file; it is no error if that cannot be done."""
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self._fd)

    def publish(self, temporary: str, name: str, *, overwrite: bool, sync: bool = False) -> None:
        """Give a finished file its name, at once.

        Args:
            temporary: Its name till now.
            name: Its name from now on.
            overwrite: It takes the place of a file that has this name.
            sync: Wait till the disk has the name too.

        Raises:
            FileFailedError: There is such a file and it must not be overwritten, or the system refuses.
        """
        self._try(name, "rename from its temporary name", lambda: self._publish(temporary, name, overwrite=overwrite))
        if sync:
            with contextlib.suppress(OSError):  # a file system that cannot do this for folders
                os.fsync(self._fd)

    def _publish(self, temporary: str, name: str, *, overwrite: bool) -> None:
        here = {"src_dir_fd": self._fd, "dst_dir_fd": self._fd}
        if not overwrite:
            try:
                os.link(temporary, name, **here, follow_symlinks=False)  # fails if there is one; a rename would not
            except FileExistsError:
                raise
            except OSError:  # a file system without hard links
                if self.exists(name):
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
            else:
                os.unlink(temporary, dir_fd=self._fd)
                return
        os.rename(temporary, name, **here)  # noqa: PTH104 - a Path has no folder's descriptor

    def _try(self, name: str, what: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except OSError as error:
            raise FileFailedError(error.errno, str(self.path / name), what) from error

    def close(self) -> None:
        """Let the folder go; safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
