"""Files that are replaced are never seen in parts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labwire.file_backend import replace as replace_module
from labwire.file_backend.replace import replace_file, write_new
from tests.file_backend.disks import files_up_to


def without_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replace_module, "_renameat2", None)


def refused_by_the_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replace_module, "_renameat2", lambda *_: -1)


def as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    pass


@pytest.mark.parametrize("system", [as_it_is, without_exchange, refused_by_the_file_system])
def test_file_takes_the_place_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: object) -> None:
    assert callable(system)
    system(monkeypatch)
    for content in (b"one", b"two", b"three"):
        write_new(tmp_path / "new", content)
        replace_file(tmp_path / "new", tmp_path / "target")
        assert (tmp_path / "target").read_bytes() == content
        assert os.listdir(tmp_path) == ["target"]


def test_reader_that_has_the_old_file_keeps_it(tmp_path: Path) -> None:
    write_new(tmp_path / "target", b"old")
    with (tmp_path / "target").open("rb") as reader:
        for content in (b"new", b"newer"):
            write_new(tmp_path / "new", content)
            replace_file(tmp_path / "new", tmp_path / "target")
        assert reader.read() == b"old"


def test_file_that_does_not_fit_leaves_nothing(tmp_path: Path) -> None:
    with files_up_to(1000), pytest.raises(OSError):
        write_new(tmp_path / "new", bytes(2000))
    assert os.listdir(tmp_path) == []


def test_link_under_the_name_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"mine")
    for name in ("new", "target"):
        (tmp_path / name).symlink_to("precious")
    write_new(tmp_path / "new", b"picture")
    replace_file(tmp_path / "new", tmp_path / "target")
    assert (tmp_path / "precious").read_bytes() == b"mine"
    assert not (tmp_path / "target").is_symlink()


def test_folder_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    write_new(tmp_path / "new", b"picture")
    with pytest.raises(OSError):
        replace_file(tmp_path / "new", tmp_path / "target")
    assert (tmp_path / "target").is_dir()
