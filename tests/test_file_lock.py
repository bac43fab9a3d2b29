"""The lock of a file: one holder, seen by others, and no obstacle where there are no locks."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from labwire.file_lock import is_locked, try_lock


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.touch()
    return path


@pytest.fixture
def held(file: Path) -> Iterator[int]:
    fd = os.open(file, os.O_RDWR)
    assert try_lock(fd)
    yield fd
    os.close(fd)


def test_one_holds_it_and_others_see_that(file: Path, held: int) -> None:
    other = os.open(file, os.O_RDWR)
    assert not try_lock(other)
    assert is_locked(file)
    os.close(os.dup(held))  # another descriptor of the same opening holds it still
    assert is_locked(file)
    os.close(other)


def test_it_ends_with_its_holder(file: Path) -> None:
    with file.open("r+b") as holder:
        assert try_lock(holder.fileno(), wait=True)
        assert is_locked(file)
    assert not is_locked(file)


@pytest.mark.usefixtures("held")
def test_what_cannot_be_opened_is_not_held(file: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(file)
    assert not is_locked(tmp_path / "link")
    assert not is_locked(tmp_path / "not there")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_where_there_are_no_locks_nobody_holds_any(file: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(fd: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)
    fd = os.open(file, os.O_RDWR)
    assert try_lock(fd)
    assert not is_locked(file)
    os.close(fd)
