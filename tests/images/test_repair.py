"""What a killed writer left under way is finished: every image that was stored, and none that was not."""

from __future__ import annotations

import contextlib
import random
import shutil
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.errors import NotFoundError, ProtocolError
from labwire.images.config import WriterOptions
from labwire.images.journal import SUFFIX, JournalReader
from labwire.images.repair import RepairedFile, repair_folder, repair_left
from labwire.images.run_plan import plan_run
from labwire.images.run_taker import RunTaker
from labwire.wire.cbor_values import Date
from labwire.wire.image_array import Array, array_of
from labwire.wire.image_fields import RoiIntegral
from labwire.wire.image_message import EndMessage, ImageMessage, StartMessage
from labwire.wire.image_user_data import UserData
from tests.images.runs import HEIGHT, WIDTH, image_message, pixels_of, start_message, stored_images
from tests.images.told import Told

PREFIX = "lyso/lyso_1"


class Killed:
    """A writer that is killed again and again: each time its folder is as the kill would leave it."""

    def __init__(self, folder: Path, start: StartMessage, **options: Any) -> None:
        self._folder, self._copies = folder / "at work", 0
        self.taker = RunTaker(self._folder, WriterOptions(**options), source="a test", on_event=lambda *_: None)
        self.taker.start(start)

    def kill(self) -> Path:
        self._copies += 1
        copy = self._folder.with_name(f"killed {self._copies}")
        return Path(shutil.copytree(self._folder, copy))


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[Any]:
    begun: list[Killed] = []

    def begin(start: StartMessage, **options: Any) -> Killed:
        begun.append(Killed(tmp_path, start, **options))
        return begun[-1]

    yield begin
    for one in begun:
        one.taker.stop("stopped")


def outcomes(files: list[RepairedFile]) -> dict[str, tuple[str, int, int]]:
    return {Path(file.path).name: (file.outcome, file.images, file.expected) for file in files}


def left_under_way(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.suffix in {".tmp", SUFFIX})


@pytest.mark.parametrize("compression", ["bslz4", "bszstd", "none"])
@pytest.mark.parametrize("flush_s", [0.0, 1e-9], ids=["never flushed", "flushed at once"])
def test_every_image_that_was_stored_is_found_again(killed: Any, compression: Any, flush_s: float) -> None:
    writer = killed(start_message(25, 10), flush_s=flush_s)
    for number in range(14):
        writer.taker.image(image_message(number, compression))
    folder = writer.kill()
    assert outcomes(repair_folder(folder)) == {
        "lyso_1_data_000002.h5": ("repaired", 4, 10),
        "lyso_1_master.h5": ("repaired", 14, 25),
    }
    assert stored_images(folder, 10) == set(range(14))
    assert left_under_way(folder) == []
    assert repair_folder(folder) == []


def test_killed_after_any_number_of_images_in_any_order(killed: Any, seed: int, soak: Any) -> None:
    chance = random.Random(seed)
    writer = killed(start_message(40, 10), open_files=4)
    order = list(range(40))
    chance.shuffle(order)
    moments = set(chance.sample(range(1, 40), soak(5, 39)))
    for count, number in enumerate(order, 1):
        writer.taker.image(image_message(number))
        if count in moments:
            folder = writer.kill()
            repair_folder(folder)
            assert stored_images(folder, 10) == set(order[:count])
            assert left_under_way(folder) == []
            with h5py.File(folder / f"{PREFIX}_master.h5") as master:
                images: Any = master["entry/data/data"]
                mask: Any = master["entry/detector/image_stored"]
                assert images.shape == (40, HEIGHT, WIDTH)
                assert set(np.flatnonzero(mask[()])) == set(order[:count])


def test_a_mended_file_is_as_if_its_writer_had_ended_well(killed: Any) -> None:
    """What came with the images is there too."""
    writer = killed(start_message(5))
    for number in (0, 1, 3):
        roi = {"center": RoiIntegral(sum=number, max=2.5)}
        profile = array_of(np.arange(7, dtype="<f4") * number)
        more = {"roi_integrals": roi, "az_int_profile": profile, "series_date": Date("2026-05-01T12:00:00Z")}
        writer.taker.image(image_message(number, **more))
    folder = writer.kill()
    repair_folder(folder)
    written, _ = writer.taker.end(EndMessage(series_id=7))
    for name in ("lyso_1_data_000001.h5", "lyso_1_master.h5"):
        mended, whole = content(folder / "lyso" / name), content(Path(written.master_file).with_name(name))
        at_the_end = {"entry/end_time"}  # which nobody saw
        assert mended.keys() == whole.keys() - at_the_end
        for path, values in mended.items():
            if "time" not in path:
                np.testing.assert_array_equal(values, whole[path], err_msg=path)


def content(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def look(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            found[name] = node[()]

    with h5py.File(path) as file:
        file.visititems(look)
    return found


def test_what_its_journal_cannot_say_is_no_reason_to_lose_an_image(killed: Any) -> None:
    """Values of foreign messages that MessagePack has no form for."""
    writer = killed(start_message(5, user_data={"odd": {1: Array((1 << 19,), "<f8", bytes(1 << 22))}}))
    writer.taker.image(image_message(0, extra={"huge": 1 << 70}))
    writer.taker.image(image_message(1, user_data=Array((1 << 19,), "<f8", bytes(1 << 22))))
    folder = writer.kill()
    repair_folder(folder)
    assert stored_images(folder, 5) == {0, 1}


def test_a_writer_at_work_is_left_alone(killed: Any, tmp_path: Path) -> None:
    writer = killed(start_message(5))
    writer.taker.image(image_message(0))
    before = left_under_way(tmp_path)
    files = repair_folder(tmp_path)
    assert {file.outcome for file in files} == {"left"}
    assert all("its writer is at work" in file.reason for file in files)
    assert left_under_way(tmp_path) == before
    for number in range(1, 5):
        writer.taker.image(image_message(number))
    written, _ = writer.taker.end(EndMessage(series_id=7))
    assert written.ok


def test_killed_before_its_first_image_leaves_nothing(killed: Any) -> None:
    folder = killed(start_message(5)).kill()
    assert outcomes(repair_folder(folder)) == {"lyso_1_master.h5": ("removed", 0, 0)}
    assert list((folder / "lyso").iterdir()) == []


def test_a_run_of_unknown_length(killed: Any) -> None:
    writer = killed(start_message(0, 4))
    for number in range(6):
        writer.taker.image(image_message(number))
    folder = writer.kill()
    assert outcomes(repair_folder(folder))["lyso_1_data_000002.h5"] == ("repaired", 2, 0)
    assert stored_images(folder, 4) == set(range(6))
    with h5py.File(folder / f"{PREFIX}_master.h5") as master:
        images: Any = master["entry/data/data"]
        assert images.shape[0] == 6


def under_way(folder: Path) -> Path:
    (path,) = folder.rglob("*_data_*.tmp")
    return path


def test_images_whose_bytes_are_gone_are_counted_and_none_is_invented(killed: Any) -> None:
    """As after a power cut: the journal has reached the disk, and not all of the pixels."""
    writer = killed(start_message(8))
    messages = [image_message(number) for number in range(4)]
    for message in messages:
        writer.taker.image(message)
    folder = writer.kill()
    path = under_way(folder)
    data = path.read_bytes()
    second = bytes(messages[1].data["default"].data)
    last = bytes(messages[3].data["default"].data)
    path.write_bytes(data[: data.index(last) + 20].replace(second, bytes(len(second))))
    first, master = repair_folder(folder)
    assert (first.outcome, first.images, first.expected, first.lost) == ("repaired", 2, 8, 2)
    assert "not whole" in first.reason
    assert master.images == 2
    assert stored_images(folder, 8) == {0, 2}


def test_a_torn_journal_ends_where_it_is_torn(killed: Any, seed: int) -> None:
    writer = killed(start_message(8))
    sizes: list[int] = []
    for number in range(4):
        writer.taker.image(image_message(number))
        (journal,) = writer.taker.store._folder.path.glob(f"*_data_*{SUFFIX}")
        sizes.append(journal.stat().st_size)
    chance = random.Random(seed)
    for cut in (*sizes, chance.randrange(sizes[0], sizes[-1]), chance.randrange(sizes[0])):
        folder = writer.kill()
        journal = under_way(folder).with_name(under_way(folder).name + SUFFIX)
        journal.write_bytes(journal.read_bytes()[:cut])
        repair_folder(folder)
        assert stored_images(folder, 8) == set(range(sum(size <= cut for size in sizes)))
        shutil.rmtree(folder)


def test_without_a_journal_nothing_is_touched(killed: Any) -> None:
    writer = killed(start_message(8))
    writer.taker.image(image_message(0))
    folder = writer.kill()
    path = under_way(folder)
    path.with_name(path.name + SUFFIX).unlink()
    left = repair_folder(folder)[0]
    assert left.outcome == "left"
    assert "no journal" in left.reason
    assert path.exists()


def test_a_finished_file_is_never_replaced(killed: Any) -> None:
    writer = killed(start_message(8))
    writer.taker.image(image_message(0))
    folder = writer.kill()
    there = folder / f"{PREFIX}_data_000001.h5"
    there.write_bytes(b"of another run")
    left = repair_folder(folder)[0]
    assert (left.outcome, there.read_bytes()) == ("left", b"of another run")
    assert "is there already" in left.reason
    assert under_way(folder).exists()


def test_a_repair_that_was_killed_is_done_again(killed: Any) -> None:
    """Whether its file had not got its name yet, or what it was made of was not removed yet."""
    writer = killed(start_message(8))
    writer.taker.image(image_message(0))
    folder = writer.kill()
    (folder / f"{PREFIX}_data_000001.h5.repair.tmp").write_bytes(b"half of it")
    again = writer.kill()
    repair_folder(folder)
    assert left_under_way(folder) == []
    shutil.copy(folder / f"{PREFIX}_data_000001.h5", again / f"{PREFIX}_data_000001.h5")
    assert outcomes(repair_folder(again)) == {"lyso_1_master.h5": ("repaired", 1, 8)}
    assert (stored_images(again, 8), left_under_way(again)) == ({0}, [])


def test_a_master_file_that_cannot_be_read_is_made_anew(killed: Any) -> None:
    writer = killed(start_message(8))
    writer.taker.image(image_message(0))
    folder = writer.kill()
    (path,) = folder.rglob("*_master.h5.*.tmp")
    path.write_bytes(path.read_bytes()[:1000])
    _, master = repair_folder(folder)
    assert (master.outcome, master.images) == ("repaired", 1)
    assert "it lacks masks" in master.reason
    with h5py.File(master.path) as file:
        images: Any = file["entry/data/data"]
        distance: Any = file["entry/instrument/detector/distance"]
        assert (images[0] == pixels_of(0)).all()
        assert distance[()] == 0.2


def other_file(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = 1


def damaged_file(path: Path) -> None:
    """An HDF5 file whose groups cannot be read: a killed computer leaves pages that are zero."""
    data = bytearray(path.read_bytes())
    for signature in (b"TREE", b"HEAP", b"SNOD"):
        data = data.replace(signature, bytes(4))
    path.write_bytes(data)


@pytest.mark.parametrize("make", [other_file, damaged_file])
def test_a_finished_file_that_cannot_be_read_keeps_no_other_file_from_being_mended(killed: Any, make: Any) -> None:
    writer = killed(start_message(12, 4))
    for number in range(10):
        writer.taker.image(image_message(number))
    folder = writer.kill()
    make(folder / f"{PREFIX}_data_000001.h5")
    master, data = sorted(repair_folder(folder), key=lambda file: file.outcome)
    assert (data.outcome, data.images) == ("repaired", 2)
    assert master.outcome == "left"
    assert "lyso_1_data_000001.h5 does not say which images are in it" in master.reason


def test_a_master_file_that_is_damaged_is_made_anew(killed: Any) -> None:
    writer = killed(start_message(8))
    writer.taker.image(image_message(0))
    folder = writer.kill()
    (path,) = folder.rglob("*_master.h5.*.tmp")
    damaged_file(path)
    assert outcomes(repair_folder(folder))["lyso_1_master.h5"] == ("repaired", 1, 8)


def test_garbage_is_left_where_it_is(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    names = ["x_data_000001.h5.18af.tmp", "x_master.h5.18af.tmp", "x_data_000002.h5.18af.tmp"]
    for name in names:
        (tmp_path / name).write_bytes(chance.randbytes(3000))
        (tmp_path / f"{name}{SUFFIX}").write_bytes(chance.randbytes(3000))
    (tmp_path / f"{names[2]}{SUFFIX}").write_bytes(b"")
    (tmp_path / "x_data_000003.h5.18af.tmp").symlink_to("/etc/passwd")
    files = repair_folder(tmp_path)
    assert {file.outcome for file in files} == {"left"}
    assert len(files) == 4
    assert len(list(tmp_path.iterdir())) == 7


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        repair_folder(tmp_path / "nowhere")


def test_an_image_of_several_channels(killed: Any) -> None:
    writer = killed(start_message(4, channels=("threshold_1", "threshold_2")))
    for number in range(2):
        first = image_message(number).data["default"]
        second = array_of(pixels_of(number + 100))
        data = {"threshold_1": first, "threshold_2": second}
        writer.taker.image(ImageMessage(series_id=7, image_id=number, data=data))
    folder = writer.kill()
    repair_folder(folder)
    with h5py.File(folder / f"{PREFIX}_data_000001.h5") as file:
        pixels: Any = file["entry/data/data_threshold_2"]
        assert (pixels[1] == pixels_of(101)).all()
    assert stored_images(folder, 4) == {0, 1}


def test_for_a_session_each_file_is_told_in_words(killed: Any, tmp_path: Path) -> None:
    writer = killed(start_message(8))
    writer.taker.image(image_message(0))
    folder = writer.kill()
    data, master = repair_left(folder)
    assert data.endswith("lyso_1_data_000001.h5: 1 of 8 images")
    assert master.endswith("lyso_1_master.h5: 1 of 8 images")
    assert repair_left(tmp_path / "at work") == []  # its writer lives
    assert repair_left(tmp_path / "on another computer") == []


@pytest.mark.parametrize("temporary", [True, False], ids=["two names", "new name"])
def test_killed_in_the_moment_in_which_a_file_gets_its_name(killed: Any, *, temporary: bool) -> None:
    """The journal is removed last, and the temporary name after the new one is there."""
    writer = killed(start_message(8, 4))
    for number in range(3):
        writer.taker.image(image_message(number))
    folder = writer.kill()
    path = under_way(folder)
    repair_folder(copy := Path(shutil.copytree(folder, folder.with_name("copy"))))
    name = "lyso_1_data_000001.h5"
    shutil.copy(copy / "lyso" / name, path.with_name(name))
    if not temporary:
        path.unlink()
    assert outcomes(repair_folder(folder)) == {"lyso_1_master.h5": ("repaired", 3, 8)}
    assert (stored_images(folder, 4), left_under_way(folder)) == ({0, 1, 2}, [])


def test_killed_in_the_moment_in_which_a_file_was_begun(killed: Any) -> None:
    """The journal comes before the file, and its name before its first record."""
    folder = killed(start_message(8)).kill()
    empty = folder / "lyso" / f"lyso_1_data_000001.h5.17.tmp{SUFFIX}"
    empty.touch()
    assert outcomes(repair_folder(folder)) == {"lyso_1_master.h5": ("removed", 0, 0)}
    assert not empty.exists()


_ABOUT = [[40, 50], "<u2", "", 0, False]


@given(data=st.binary(max_size=300) | st.just(b""), where=st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), 1 << 63) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=6),
    max_leaves=12,
))  # fmt: skip
def test_any_journal_is_read_or_refused(data: bytes, where: Any) -> None:
    """Also one whose checksums are right."""
    with contextlib.suppress(ProtocolError):
        JournalReader(data, b"")
    message = {"type": "image", "image_id": 1, "data": {"default": where, "second": [_ABOUT, where, where]}}
    first = msgspec.msgpack.encode([1, msgspec.to_builtins(_PLAN, enc_hook=str), "NXmxVDS"])
    bodies = (first, msgspec.msgpack.encode([where, message]), msgspec.msgpack.encode(where))
    journal = b"".join(struct.pack("<II", len(body), zlib.crc32(body)) + body for body in bodies)
    assert list(JournalReader(journal, bytes(4000)).images()) == [None, None]


_PLAN = msgspec.structs.replace(plan_run(start_message(8, pixel_mask=None)), user_data=UserData())


def test_the_next_run_in_the_folder_tells_of_what_was_left(killed: Any) -> None:
    writer = killed(start_message(8))
    writer.taker.image(image_message(0))
    folder = writer.kill()
    told = Told()
    for number in (8, 9):
        taker = RunTaker(folder, WriterOptions(), source="a test", on_event=told.hear)
        taker.start(start_message(8, run=number, user={"file_prefix": f"lyso/next_{number}"}))
        taker.stop("stopped")
        repair_folder(folder)
    (left,) = told.of("files_left")
    assert left["error"].startswith("2 files in ")
    assert left["error"].endswith(f"labwire images repair {folder / 'lyso'}")
