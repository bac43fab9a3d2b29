"""Which image goes into which file, in which order, and what is said to be missing."""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.errors import LabwireError, ProtocolError, TooLargeError
from labwire.images.buffers import BufferPool
from labwire.images.config import WriterOptions
from labwire.images.data_file import fill_value
from labwire.images.run_files import WrittenRun
from labwire.images.run_plan import plan_run
from labwire.images.run_taker import RunTaker
from labwire.wire.cbor_values import Date
from labwire.wire.image_array import Array, array_of
from labwire.wire.image_codec import decode_message
from labwire.wire.image_fields import GoniometerAxis, RoiIntegral, Spot, UnitCell
from labwire.wire.image_message import EndMessage, ImageMessage
from labwire.wire.image_user_data import start_for_socket
from tests.images.runs import HEIGHT, WIDTH, image, image_message, pixels_of, read_images, start_message


def taker_in(folder: Path, **options: Any) -> RunTaker:
    return RunTaker(folder, WriterOptions(**options), source="a test", on_event=lambda *_: None)


def store(
    folder: Path,
    numbers: Iterable[int],
    count: int,
    per_file: int | None,
    *,
    socket: int = 0,
    end: EndMessage | None = None,
    start: dict[str, Any] | None = None,
    **options: Any,
) -> WrittenRun:
    taker = taker_in(folder, **options)
    taker.start(start_for_socket(start_message(count, per_file, **(start or {})), socket_number=socket))
    for number in numbers:
        try:
            taker.image(image_message(number))
        except LabwireError as error:
            taker.note_failed(number, error)
    written, fault = taker.end(end or EndMessage(series_id=7))
    assert fault is None
    return written


def test_images_may_come_in_any_order_within_the_open_files(tmp_path: Path, seed: int) -> None:
    order = list(range(40))
    random.Random(seed).shuffle(order)
    written = store(tmp_path, order, 40, 10, open_files=4)
    assert written.ok, written
    assert (read_images(written.master_file) == np.stack([pixels_of(number) for number in range(40)])).all()


def test_an_image_that_comes_too_late_fails_alone(tmp_path: Path) -> None:
    numbers = [*range(9), *range(10, 30), 9]
    written = store(tmp_path, numbers, 30, 10, open_files=1)
    assert (written.images, written.failed, written.missing_images) == (29, 1, (9,))
    assert "came more than 1 files late" in written.error


def test_a_file_that_hdf5_cannot_begin_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taker = taker_in(tmp_path)
    taker.start(start_message(8, 4))
    before = set(tmp_path.rglob("*")), len(os.listdir("/proc/self/fd"))

    def refuse(*_: Any) -> Any:
        raise OSError(5, "unable to create file")

    with monkeypatch.context() as patched:
        patched.setattr(h5py, "File", refuse)
        with pytest.raises(OSError, match="unable to create"):
            taker.image(image_message(0))
    assert (set(tmp_path.rglob("*")), len(os.listdir("/proc/self/fd"))) == before
    taker.image(image_message(1))
    written, fault = taker.end(EndMessage(series_id=7))
    assert (written.images, fault) == (1, None)


def test_a_file_gets_its_name_when_it_is_complete(tmp_path: Path) -> None:
    taker = taker_in(tmp_path)
    taker.start(start_message(30, 10))
    names: list[list[str]] = []
    for number in range(20):
        taker.image(image_message(number))
        names.append(sorted(path.name for path in (tmp_path / "lyso").glob("*.h5")))
    assert names[8] == []
    assert names[9] == names[18] == ["lyso_1_data_000001.h5"]
    assert names[19] == ["lyso_1_data_000001.h5", "lyso_1_data_000002.h5"]
    taker.stop("stopped", "enough")
    assert [path.name for path in (tmp_path / "lyso").iterdir() if path.suffix == ".tmp"] == []


@pytest.mark.parametrize(
    ("numbers", "count", "per_file", "more", "missing"),
    [
        ([0, 1, 4], 5, None, {}, (2, 3)),
        ([0, 1, 4], 5, 2, {}, ()),  # a second socket may have had the second file: START does not say
        ([0, 1, 2, 4], 5, 2, {}, (3,)),
        ([], 3, 2, {}, ()),  # whether any of them belonged to this socket is not known
        ([], 3, None, {}, (0, 1, 2)),
        ([0, 1], 10, None, {"end": EndMessage(max_image_number=3)}, (2,)),  # stopped early, as END says
        ([0, 2], 0, None, {}, (1,)),  # nobody said how many
        ([0, 2], 0, None, {"end": EndMessage(max_image_number=5)}, (1, 3, 4)),
        ([0, 1023, 1024, 5000], 0, None, {}, tuple(range(1, 101))),
        ([2, 3, 6, 7], 8, 2, {"socket": 1}, ()),  # the even files are of socket 0
        ([2, 3, 7], 8, 2, {"socket": 1}, (6,)),
    ],
)
def test_what_is_missing(
    tmp_path: Path, numbers: list[int], count: int, per_file: int | None, more: dict[str, Any], missing: tuple[int, ...]
) -> None:
    written = store(tmp_path, numbers, count, per_file, **more)
    assert written.missing_images == missing
    assert written.missing == len(missing) or len(missing) == 100
    assert written.ok == (not missing)


def test_many_missing_images_are_counted_and_the_first_hundred_named(tmp_path: Path) -> None:
    written = store(tmp_path, [0], 5000, None)
    assert (written.missing, written.missing_images) == (4999, tuple(range(1, 101)))


def test_a_master_file_of_one_writer_shows_the_images_of_the_other(tmp_path: Path) -> None:
    first = store(tmp_path, [0, 1, 4, 5], 8, 2)
    second = store(tmp_path, [2, 3, 6, 7], 8, 2, socket=1)
    assert (first.ok, second.ok, second.master_file) == (True, True, "")
    assert (read_images(first.master_file) == np.stack([pixels_of(number) for number in range(8)])).all()


def test_a_first_writer_without_images_makes_the_master_all_the_same(tmp_path: Path) -> None:
    first = store(tmp_path, [], 2, None)
    store(tmp_path, [0, 1], 2, None, socket=1)
    assert (read_images(first.master_file) == np.stack([pixels_of(0), pixels_of(1)])).all()


def test_only_data_files_if_that_is_wanted(tmp_path: Path) -> None:
    written = store(tmp_path, [0], 1, None, format="NXmxOnlyData")
    assert written.ok
    assert [path.suffixes for path in (tmp_path / "lyso").iterdir()] == [[".h5"]]


def test_files_are_replaced_if_the_sender_or_the_writer_says_so(tmp_path: Path) -> None:
    store(tmp_path, [0, 1], 2, 1)
    with pytest.raises(OSError, match="earlier run"):
        store(tmp_path, [0], 1, None)
    assert store(tmp_path, [0], 1, None, overwrite=True).ok
    assert store(tmp_path, [0], 1, None, start={"user": {"overwrite": True}}).ok
    with pytest.raises(OSError, match="earlier run"):
        store(tmp_path, [0], 1, None, start={"user": {"overwrite": True}}, overwrite=False)


def test_a_run_of_too_many_images_or_files_is_refused() -> None:
    with pytest.raises(TooLargeError, match="at most 10"):
        plan_run(start_message(11), max_images=10)
    with pytest.raises(TooLargeError, match="raise images_per_file"):
        plan_run(start_message(1_000_000, 1))


@pytest.mark.parametrize(("width", "height"), [(0, 1), (1, 0), (1 << 20, 1 << 20), ((1 << 64) - 1, 1), (1 << 63, 2)])
def test_images_without_pixels_or_with_too_many_are_refused(width: int, height: int) -> None:
    with pytest.raises(TooLargeError, match="pixels"):
        plan_run(start_message(1, image_size_x=width, image_size_y=height))


def test_dates_where_texts_belong_are_texts(tmp_path: Path) -> None:
    date = Date("2026-05-01T12:00:00Z")
    written = store(tmp_path, [0], 1, None, start={"series_unique_id": date, "detector_description": date})
    assert type(written.run_name) is str
    with h5py.File(written.master_file) as file:
        read: Any = file.get
        assert read("entry/instrument/detector/description")[()].decode() == date
    assert plan_run(start_message(1, user_data=date)).user_data.user == date


def test_images_beyond_those_that_were_announced_fail(tmp_path: Path) -> None:
    written = store(tmp_path, [0, 1, 2, 1 << 63], 2, None)
    assert (written.images, written.failed) == (2, 2)
    assert "START announced 2 images, from 0 to 1" in written.error


def test_what_changes_within_a_file_is_stored(tmp_path: Path) -> None:
    """Compression may change from image to image; pixels of another size or type are refused."""
    taker = taker_in(tmp_path)
    taker.start(start_message(6))
    kinds: tuple[Any, ...] = ("bslz4", "none", "bszstd")
    for number, kind in zip(range(6), itertools.cycle(kinds)):
        taker.image(decode_message(b"".join(image(number, kind))))
    written, _ = taker.end(EndMessage())
    assert written.ok
    assert (read_images(written.master_file) == np.stack([pixels_of(number) for number in range(6)])).all()


def test_columns_hold_what_came_and_nothing_else(tmp_path: Path) -> None:
    cell = UnitCell(a=78.0, b=78.0, c=38.0, alpha=90.0, beta=90.0, gamma=90.0)
    profile = array_of(np.arange(4, dtype="<f4"))
    taker = taker_in(tmp_path)
    taker.start(start_message(4, goniometer={"kappa": GoniometerAxis(start=1.0)}))
    data = {"default": image_message(0).data["default"]}
    taker.image(ImageMessage(image_id=0, data=data, indexing_result=True, indexing_unit_cell=cell))
    taker.image(ImageMessage(image_id=1, data=data, az_int_profile=profile, pixel_sum=1 << 62, jf_info=1 << 63))
    taker.image(ImageMessage(image_id=3, data=data, az_int_profile=array_of(np.arange(5, dtype="<f4"))))
    roi = RoiIntegral(sum=10, max=3)
    with pytest.raises(ProtocolError, match="already"):
        taker.image(ImageMessage(image_id=3, data=data, roi_integrals={"beam": roi}))
    written, _ = taker.end(EndMessage())
    for path in (written.files[0], written.master_file):
        with h5py.File(path) as file:
            read: Any = file.get
            assert read("entry/detector/image_stored")[()].tolist() == [1, 1, 0, 1]
            assert read("entry/MX/imageIndexed")[()].tolist() == [1, 0, 0, 0]
            assert read("entry/MX/unitCell")[0].tolist() == [78.0, 78.0, 38.0, 90.0, 90.0, 90.0]
            assert np.isnan(read("entry/MX/unitCell")[1:]).all()
            profiles = read("entry/azint/image")[()]
            assert profiles[1].tolist() == [0, 1, 2, 3]
            assert np.isnan(profiles[[0, 2, 3]]).all()
            assert read("entry/image/sum")[1] == 1 << 62
            assert read("entry/detector/jf_info")[1] == 1 << 63
            assert "roi" not in read("entry")
            assert "nPeaks" not in read("entry/MX")


def test_spots_and_regions_have_room_for_the_most(tmp_path: Path) -> None:
    taker = taker_in(tmp_path)
    taker.start(start_message(2, max_spot_count=2))
    data = {"default": image_message(0).data["default"]}
    spots = tuple(Spot(x=float(n), y=1e300, intensity=None, indexed=None) for n in range(5))
    rois = {"beam": RoiIntegral(sum=10), "": RoiIntegral(sum=1), "a/b": RoiIntegral(sum=2), ".": RoiIntegral(sum=3)}
    taker.image(ImageMessage(image_id=0, data=data, spots=spots, roi_integrals=rois))
    taker.image(ImageMessage(image_id=1, data=data, spots=()))
    written, _ = taker.end(EndMessage())
    with h5py.File(written.files[0]) as file:
        read: Any = file.get
        assert read("entry/MX/nPeaks")[()].tolist() == [5, 0]
        assert read("entry/MX/peakXPosRaw")[0].tolist() == [0, 1, 2, 3, 4]
        assert np.isnan(read("entry/MX/peakYPosRaw")[0]).all()
        assert list(read("entry/roi")) == ["beam"]
    with h5py.File(written.master_file) as file:
        read = file.get
        assert read("entry/MX/peakXPosRaw").shape[0] == 2


@pytest.mark.parametrize(
    ("dtype", "error_value", "fill"),
    [
        ("<u2", 65535, 65535),
        ("<u2", None, 65535),
        ("<u2", -1, 65535),
        ("|u1", 65535, 255),
        ("<i4", None, -(1 << 31)),
        ("<i4", -1, -1),
        ("<f4", None, 0),
    ],
)
def test_what_stands_where_an_image_is_missing(dtype: str, error_value: int | None, fill: int) -> None:
    assert fill_value(dtype, error_value) == fill


def test_a_mask_that_cannot_be_stored_does_not_cost_the_run(tmp_path: Path) -> None:
    strange = Array((2, 2), "<f16", bytes(64))
    written = store(tmp_path, [0], 1, None, start={"pixel_mask": {"default": strange}})
    assert written.ok
    with h5py.File(written.master_file) as file:
        specific: Any = file["entry/instrument/detector/detectorSpecific"]
        assert "128-bit" in specific.attrs["pixel_mask_not_stored"]


def test_a_file_under_way_can_be_read_from_its_last_flush_on(tmp_path: Path) -> None:
    taker = taker_in(tmp_path, flush_s=0.001)
    taker.start(start_message(10))
    for number in range(5):
        taker.image(image_message(number))
        time.sleep(0.002)
    (temporary,) = (tmp_path / "lyso").glob("*_data_*.tmp")
    copy = tmp_path / "copy.h5"
    copy.write_bytes(temporary.read_bytes())  # as a killed writer leaves it
    pixels = read_images(str(copy))
    assert (pixels[:4] == np.stack([pixels_of(number) for number in range(4)])).all()
    taker.stop("stopped")


@given(st.lists(st.integers(0, 1 << 22), max_size=30))
def test_buffers_are_bounded_and_large_enough(sizes: list[int]) -> None:
    pool, out = BufferPool(4 << 20), list[bytearray]()
    for size in sizes:
        buffer = pool.take(size)
        if buffer is None:
            assert pool.used_bytes + size > (4 << 20) * 7 // 8
            while out:
                pool.give_back(memoryview(out.pop())[:1])
            buffer = pool.take(size)
        assert buffer is not None
        assert size <= len(buffer) <= max(4096, size * 9 // 8 + 4096)
        out.append(buffer)
        assert pool.used_bytes == sum(map(len, out))
        assert pool.used_bytes <= 4 << 20 or len(out) == 1


def test_the_sizes_of_the_tests() -> None:
    assert pixels_of(0).shape == (HEIGHT, WIDTH)
