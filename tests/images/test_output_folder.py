"""No file_prefix, and nobody who may write into the output folder, leads a file out of it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.errors import InvalidNameError
from labwire.images.output_folder import FileFailedError, OutputFolder, check_prefix


@pytest.mark.parametrize(
    "prefix",
    [
        *("", "/etc/x", "/", "..", "../x", "a/../../x", "a/..", ".", "./x", "a/./x", "a//x", "a/", "~/../x/"),
        *(".hidden", "a/.hidden/x", "a\0b", "a\nb", "a\x7f", "..\\x", "a\\..\\x", " a", "a ", "a/ b", "\ud800"),
        *("x" * 201, "é" * 101, "/".join("a" * 17)),
    ],
)
def test_a_prefix_that_is_refused(prefix: str) -> None:
    with pytest.raises(InvalidNameError, match="file_prefix"):
        check_prefix(prefix)


@pytest.mark.parametrize("prefix", ["a", "a/b", "e12345/lysozyme_1", "a..b", "Probe 1/Größe", "~", "-rf", "x" * 200])
def test_a_prefix_that_is_taken(prefix: str) -> None:
    assert check_prefix(prefix) == tuple(prefix.split("/"))


@given(st.text(alphabet=st.sampled_from("./\\ a\0\né~-"), max_size=12))
def test_whatever_is_taken_stays_below(prefix: str) -> None:
    try:
        parts = check_prefix(prefix)
    except InvalidNameError:
        return
    root = Path("/root/folder")
    path = root.joinpath(*parts)
    assert Path(os.path.normpath(path)) == path
    assert path.is_relative_to(root)
    assert len(parts) == prefix.count("/") + 1


def test_folders_are_made_and_files_go_there(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "new", ("a", "b")) as folder:
        os.close(folder.create("x.tmp"))
        folder.publish("x.tmp", "x", overwrite=False)
        assert folder.names() == {"x"}
    assert (tmp_path / "new" / "a" / "b" / "x").is_file()


@pytest.mark.parametrize("can_be_synced", [True, False])
def test_a_name_is_on_the_disk_when_that_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, can_be_synced: bool
) -> None:
    synced: list[set[str]] = []

    def fsync(fd: int) -> None:
        synced.append(set(os.listdir(fd)))
        if not can_be_synced:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", fsync)
    with OutputFolder(tmp_path) as folder:
        for name, sync in (("x", False), ("y", True)):
            os.close(folder.create("x.tmp"))
            folder.publish("x.tmp", name, overwrite=False, sync=sync)
    assert synced == [{"x", "y"}]


@pytest.mark.parametrize("target", ["elsewhere", "."])
def test_a_link_on_the_way_is_refused(tmp_path: Path, target: str) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    root.mkdir()
    elsewhere.mkdir()
    (root / "a").symlink_to(tmp_path / target)
    with pytest.raises(FileFailedError, match="symbolic link") as caught:
        OutputFolder(root, ("a", "b"))
    assert caught.value.errno == errno.EPERM
    assert not list(elsewhere.iterdir())


def test_the_output_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    with OutputFolder(tmp_path / "link", ("a",)):
        pass
    assert (tmp_path / "disk" / "a").is_dir()


def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    with OutputFolder(tmp_path / "root") as folder:
        (folder.path / "x").symlink_to(victim)
        for attempt in (folder.create, folder.open):
            with pytest.raises(FileFailedError):
                attempt("x")
        os.close(folder.create("y.tmp"))
        with pytest.raises(FileFailedError) as caught:
            folder.publish("y.tmp", "x", overwrite=False)
        assert caught.value.errno == errno.EEXIST
        folder.publish("y.tmp", "x", overwrite=True)  # the link is replaced, not what it leads to
    assert victim.read_text() == "mine"


def test_a_file_in_the_way_is_not_replaced_unless_wanted(tmp_path: Path) -> None:
    with OutputFolder(tmp_path) as folder:
        (tmp_path / "x").write_text("old")
        (tmp_path / "x.tmp").write_text("new")
        with pytest.raises(FileFailedError, match="file exists"):
            folder.publish("x.tmp", "x", overwrite=False)
        assert (tmp_path / "x").read_text() == "old"
        folder.publish("x.tmp", "x", overwrite=True)
        assert (tmp_path / "x").read_text() == "new"


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    with OutputFolder(tmp_path) as folder:
        (tmp_path / "x.tmp").write_text("new")
        folder.publish("x.tmp", "x", overwrite=False)
        (tmp_path / "x.tmp").write_text("newer")
        with pytest.raises(FileFailedError, match="file exists"):
            folder.publish("x.tmp", "x", overwrite=False)
    assert (tmp_path / "x").read_text() == "new"


def test_an_output_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileFailedError, match="output folder"):
        OutputFolder(tmp_path / "file")
    with pytest.raises(FileFailedError, match="folder of file_prefix"):
        OutputFolder(tmp_path, ("file", "x"))
