"""Finish the files that a writer which was killed left under way: from their journals, image by image.

Nothing is invented: an image whose bytes are not there, or cannot be expanded, is left out and counted.
"""

from __future__ import annotations

import mmap
import os
import re
import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, Literal, TypeAlias

import msgspec

from labwire.errors import LabwireError, MissingExtraError, NotFoundError, ProtocolError, StateError
from labwire.file_lock import try_lock
from labwire.images.compression import decompress
from labwire.images.data_file import ChannelShape, ColumnShape, DataFile, FinishedFile, repaired_name
from labwire.images.hdf5_tree import Node, load_h5py
from labwire.images.image_columns import STORED, fill_of
from labwire.images.journal import SUFFIX, JournalReader
from labwire.images.master_file import MasterFile
from labwire.images.output_folder import OutputFolder
from labwire.images.run_plan import RunPlan
from labwire.wire.cbor_values import Buffer
from labwire.wire.image_array import FRAMED
from labwire.wire.image_message import ImageMessage

Outcome: TypeAlias = Literal["repaired", "removed", "left"]
_UNDER_WAY: Final = re.compile(r"(?P<name>.+_(?:data_(?P<number>\d{6,})|master)\.h5)\.[0-9a-f]+\.tmp")
_FINISHED: Final = re.compile(r".+_data_(?P<number>\d{6,})\.h5")
_BALLAST: Final = re.compile(r".+_ballast\.[0-9a-f]+\.tmp")
_DAMAGED: Final = (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError)
"""What h5py raises of a file that is damaged, or another than it should be."""


class RepairedFile(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a file that was under way."""

    path: str
    """Where it is, or would be."""
    outcome: Outcome
    """``removed``: there was no image in it. ``left``: see `reason`."""
    images: int = 0
    """That are in it; of a master file, those of all data files that are here."""
    expected: int = 0
    """Images that belong into it; 0: nobody said."""
    lost: int = 0
    """Images that the writer had noted as stored and that cannot be read."""
    reason: str = ""
    """Why it was left, or what it lacks."""
    at_work: bool = False
    """It was left because its writer lives."""

    @property
    def text(self) -> str:
        """The same for a person."""
        if self.outcome != "repaired":
            return f"{self.path}: {self.outcome}: {self.reason}"
        of = f" of {self.expected}" if self.expected else ""
        return f"{self.path}: {self.images}{of} images" + (f"; {self.reason}" if self.reason else "")


def repair_folder(folder: Path, on_file: Callable[[RepairedFile], None] = lambda file: None) -> list[RepairedFile]:
    """Finish all files in a folder, and in the folders below it, that killed writers left under way.

    Files of a writer that is at work are not touched, nor is any finished file.

    Args:
        folder: Where; symbolic links are not followed.
        on_file: Hears of each file.

    Raises:
        NotFoundError: There is no such folder.
        MissingExtraError: h5py is not installed.
    """
    if not folder.is_dir():
        raise NotFoundError(f"there is no folder {folder}", path=str(folder))
    load_h5py()
    done: list[RepairedFile] = []
    for at, _, names in os.walk(folder):
        for file in _repair_here(Path(at), sorted(names)):
            done.append(file)
            on_file(file)
    return done


def repair_left(folder: Path) -> list[str]:
    """Do the same for a session, and tell of each file in words; nothing if that cannot be done on this computer."""
    try:
        files = repair_folder(folder)
    except (NotFoundError, MissingExtraError):
        return []
    return [file.text for file in files if not file.at_work]


class _UnderWay(msgspec.Struct, frozen=True):
    temporary: str
    name: str
    index: int | None
    """Of a data file; None: a master file."""


def _repair_here(at: Path, names: list[str]) -> Iterator[RepairedFile]:
    found = {name.removesuffix(SUFFIX) for name in names if _UNDER_WAY.fullmatch(name.removesuffix(SUFFIX))}
    ballast = [name for name in names if _BALLAST.fullmatch(name)]
    if not found and not ballast:
        return
    files: list[_UnderWay] = []
    for temporary in sorted(found):
        match = _UNDER_WAY.fullmatch(temporary)
        assert match is not None
        files.append(_UnderWay(temporary, match["name"], int(match["number"]) - 1 if match["number"] else None))
    with OutputFolder(at) as folder:
        for name in ballast:
            folder.remove(name)
        for file in sorted(files, key=lambda file: file.index is None):  # master files last: they count the others
            yield from _repair(folder, file)


def _repair(folder: OutputFolder, file: _UnderWay) -> Iterator[RepairedFile]:
    path = str(folder.path / file.name)
    if _remove_empty(folder, file):
        return
    try:
        with _held(folder, file) as reader:
            repaired = _repair_data(folder, file, reader) if file.index is not None else _master(folder, file, reader)
        if repaired is not None:
            yield repaired
    except (OSError, RuntimeError, LabwireError) as error:
        reason, at_work = f"{file.temporary}: {error}", isinstance(error, StateError)
        yield RepairedFile(path=path, outcome="left", reason=reason, at_work=at_work)


def _remove_empty(folder: OutputFolder, file: _UnderWay) -> bool:
    """Remove a journal in which nothing stands: its writer was killed in the moment in which it began."""
    if folder.exists(file.temporary):
        return False
    with suppress(OSError, StateError), _locked(folder, file) as journal:
        if not os.fstat(journal.fileno()).st_size:
            _remove(folder, file)
            return True
    return False


@contextmanager
def _locked(folder: OutputFolder, file: _UnderWay) -> Generator[BinaryIO]:
    fd = os.open(folder.path / f"{file.temporary}{SUFFIX}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(fd, "rb") as journal:  # noqa: PTH123 - a Path would follow a link
        if not try_lock(fd):
            raise StateError("its writer is at work")
        yield journal


@contextmanager
def _held(folder: OutputFolder, file: _UnderWay) -> Generator[JournalReader]:
    if not folder.exists(f"{file.temporary}{SUFFIX}"):
        raise ProtocolError("there is no journal beside it, so what is in it cannot be known")
    with _locked(folder, file) as journal, _mapped(folder.path / file.temporary) as pixels:
        yield JournalReader(journal.read(), pixels)


@contextmanager
def _mapped(path: Path) -> Generator[Buffer]:
    if not path.is_file() or path.is_symlink() or not path.stat().st_size:
        yield b""
        return
    with path.open("rb") as file:
        view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        yield memoryview(view)
    finally:
        with suppress(BufferError):  # images may still point into it: it ends with the last of them
            view.close()


# --- data files


def _repair_data(folder: OutputFolder, file: _UnderWay, reader: JournalReader) -> RepairedFile | None:
    index, plan = file.index, reader.plan
    assert index is not None
    if plan.data_name(index) != file.name:
        raise ProtocolError(f"its journal is of a run whose files are called {plan.data_name(index)}")
    if folder.exists(file.name) and not folder.exists(file.temporary):
        _remove(folder, file)  # the writer was killed in the moment after it had finished
        return None
    lost, images = 0, list[tuple[int, ImageMessage]]()
    for image in reader.images():
        if image is None or not _is_whole(image[1]):
            lost += 1
        else:
            images.append(image)
    path, expected = str(folder.path / file.name), plan.images_in(index) if plan.announced else 0
    if not images and not lost:
        _remove(folder, file)
        return RepairedFile(path=path, outcome="removed", expected=expected, reason="there was no image in it")
    if folder.exists(file.name):
        if lost or not _has_all(Path(path), images):
            raise FileExistsError(f"{file.name} is there already, and has other images")
        _remove(folder, file)
        return None
    count = _write(folder, plan, index, images)
    lost += len(images) - count
    _remove(folder, file)
    reason = f"{lost} more images were stored, and their bytes are not whole" if lost else ""
    return RepairedFile(path=path, outcome="repaired", images=count, expected=expected, lost=lost, reason=reason)


def _write(folder: OutputFolder, plan: RunPlan, index: int, images: list[tuple[int, ImageMessage]]) -> int:
    folder.remove(repaired_name(plan.data_name(index)))
    written = DataFile(folder, plan, index, sync=True, journal=False)
    try:
        for place, message in images:
            if 0 <= place < plan.images_in(index):
                with suppress(LabwireError):  # one that does not fit the others
                    written.write(place, message)
        written.finish(overwrite=False)
    except BaseException:
        written.discard()
        raise
    return written.count


def _is_whole(message: ImageMessage) -> bool:
    """Tell whether the pixels can be read; those that are not compressed always can."""
    for array in message.data.values():
        if array.compression in FRAMED:
            try:
                decompress(array)
            except MissingExtraError:
                continue
            except LabwireError:
                return False
    return bool(message.data)


def _has_all(path: Path, images: list[tuple[int, ImageMessage]]) -> bool:
    """Tell whether a finished file has these images, byte for byte."""
    with suppress(*_DAMAGED), load_h5py().File(path, "r") as file:
        datasets = dict(_channels(file))
        return all(
            datasets[channel].id.read_direct_chunk((place, 0, 0))[1] == bytes(array.data)
            for place, message in images
            for channel, array in message.data.items()
        )
    return False


def _remove(folder: OutputFolder, file: _UnderWay) -> None:
    folder.remove(file.temporary)
    folder.remove(f"{file.temporary}{SUFFIX}")


# --- master files


def _master(folder: OutputFolder, file: _UnderWay, reader: JournalReader) -> RepairedFile | None:
    plan = msgspec.structs.replace(reader.plan, overwrite=False)
    path = str(folder.path / file.name)
    if plan.master_name != file.name:
        raise ProtocolError(f"its journal is of a run whose master file is called {plan.master_name}")
    if folder.exists(file.name):
        if folder.exists(file.temporary):
            raise FileExistsError(f"{file.name} is there already")
        _remove(folder, file)  # the writer was killed in the moment after it had finished
        return None
    files = list(_finished_of(plan, folder))
    if not files:
        _remove(folder, file)
        return RepairedFile(path=path, outcome="removed", reason="no image of its run is here")
    images = sum(one.images for one in files)
    last = max(one.file_index * plan.images_per_file + max(one.present, default=0) for one in files)
    length = plan.announced or last + 1
    reason = _finish_master(folder, file, plan, reader, files, length)
    _remove(folder, file)
    return RepairedFile(path=path, outcome="repaired", images=images, expected=plan.announced, reason=reason)


def _finish_master(
    folder: OutputFolder, file: _UnderWay, plan: RunPlan, reader: JournalReader, files: list[FinishedFile], length: int
) -> str:
    """Finish what the writer had begun; if that cannot be read, make it anew of what the journal says."""
    temporary = repaired_name(file.name)
    folder.remove(temporary)
    with suppress(*_DAMAGED):
        shutil.copyfile(folder.path / file.temporary, folder.path / temporary, follow_symlinks=False)
        begun = MasterFile(folder, plan, None, master_format=reader.master_format, sync=True, journal=False)
        begun.finish(files, None, images=length)
        return ""
    folder.remove(temporary)
    anew = MasterFile(folder, plan, plan.start, master_format=reader.master_format, sync=True, journal=False)
    anew.finish(files, None, images=length)
    return "what was begun of it could not be read: it lacks masks, flat field and calibration"


def _finished_of(plan: RunPlan, folder: OutputFolder) -> Iterator[FinishedFile]:
    for name in sorted(folder.names()):
        match = _FINISHED.fullmatch(name)
        if match and plan.data_name(index := int(match["number"]) - 1) == name:
            yield read_finished(folder.path / name, index)


def read_finished(path: Path, index: int) -> FinishedFile:
    """Read what a finished data file holds.

    Args:
        path: Of the file.
        index: Which file of the run, from 0.

    Raises:
        OSError: It cannot be read, or is none of ours.
    """
    try:
        with load_h5py().File(path, "r") as file:
            entry = file["entry"]
            present = frozenset(entry[STORED][()].nonzero()[0].tolist())
            channels = {channel: ChannelShape.of(dataset) for channel, dataset in _channels(file)}
            return FinishedFile(str(path), index, present, channels, list(_columns(entry)))
    except _DAMAGED as error:
        raise OSError(f"{path} does not say which images are in it: {error}") from error


def _channels(file: Node) -> Iterator[tuple[str, Node]]:
    for name, dataset in file["entry/data"].items():
        yield str(dataset.attrs.get("channel", name)), dataset


def _columns(entry: Node, at: str = "") -> Iterator[ColumnShape]:
    for name, node in entry.items():
        path = f"{at}{name}"
        if not hasattr(node, "dtype"):
            yield from _columns(node, f"{path}/") if path != "data" else ()
        else:
            dtype, units = node.dtype.str, str(node.attrs.get("units", ""))
            yield ColumnShape(path, dtype, tuple(node.shape[1:]), units, fill_of(path, dtype))
