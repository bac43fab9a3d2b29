"""The journal beside a file under way: locked from its first moment on, and whole, whatever disk and others do."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

import h5py
import pytest

from labwire.file_lock import is_locked, try_lock
from labwire.images.journal import SUFFIX
from labwire.images.output_folder import FileFailedError, OutputFolder
from labwire.images.repair import repair_folder
from tests.images.runs import image_message, start_message
from tests.images.test_repair import killed, outcomes

__all__ = ["killed"]  # a fixture


def test_a_journal_that_another_looks_at_when_it_is_begun_is_locked_all_the_same(
    killed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writers of a run begin at the same moment in the same folder, and each looks for what was left there."""
    create, looks = OutputFolder.create, list[threading.Timer]()

    def create_while_another_looks(folder: OutputFolder, name: str) -> int:
        fd = create(folder, name)
        if name.endswith(SUFFIX):
            other = os.open(folder.path / name, os.O_RDONLY)
            assert try_lock(other)
            looks.append(threading.Timer(0.01, os.close, [other]))
            looks[-1].start()
        return fd

    monkeypatch.setattr(OutputFolder, "create", create_while_another_looks)
    killed(start_message(8)).taker.image(image_message(0))
    for look in looks:
        look.join()
    assert len(looks) == 2
    assert all(is_locked(path) for path in tmp_path.rglob(f"*{SUFFIX}"))


def test_a_repair_in_the_moment_in_which_a_writer_begins_does_no_harm(
    killed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, repaired = OutputFolder.create, list[str]()

    def create_while_another_repairs(folder: OutputFolder, name: str) -> int:
        fd = create(folder, name)
        if name.endswith(SUFFIX) and name not in repaired:
            repaired.append(name)
            assert all(file.at_work for file in repair_folder(folder.path))
        return fd

    monkeypatch.setattr(OutputFolder, "create", create_while_another_repairs)
    writer = killed(start_message(8))
    writer.taker.image(image_message(0))
    assert len(repaired) == 2
    assert outcomes(repair_folder(writer.kill())) == {
        "lyso_1_data_000001.h5": ("repaired", 1, 8),
        "lyso_1_master.h5": ("repaired", 1, 8),
    }


def test_a_disk_that_takes_a_journal_in_pieces(killed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:100]))
    writer = killed(start_message(8))
    for number in range(5):
        writer.taker.image(image_message(number))
    monkeypatch.undo()
    assert outcomes(repair_folder(writer.kill()))["lyso_1_data_000001.h5"] == ("repaired", 5, 8)


def test_what_comes_with_an_image_is_never_more_than_what_is_read(killed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labwire.images.journal._MAX_BODY_BYTES", 4000)
    writer = killed(start_message(8))
    for number in range(3):
        writer.taker.image(image_message(number, user_data="x" * 4000 * (number == 1)))
    assert outcomes(repair_folder(writer.kill()))["lyso_1_data_000001.h5"] == ("repaired", 3, 8)


def test_a_disk_that_is_full_for_the_journal_is_so_for_what_comes_with_the_images(
    killed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it may need more room than was kept back to close the file."""
    writer = killed(start_message(8))
    writer.taker.image(image_message(0))

    def refuse(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuse)
        with pytest.raises(FileFailedError, match="write the journal"):
            writer.taker.image(image_message(1))
    written = writer.taker.stop("failed")
    assert (written.images, written.failed) == (1, 1)
    with h5py.File(written.files[0]) as file:
        entry: Any = file["entry"]
        assert list(entry["detector"]) == ["image_stored"]
        assert entry["detector/image_stored"][:2].tolist() == [1, 0]
