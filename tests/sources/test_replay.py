"""Files that are replayed: NeXus masters of every kind, data files, anything with images."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import h5py
import hdf5plugin
import numpy as np
import pytest

from labwire.errors import DeviceError, NotFoundError, UsageError
from labwire.sources.detector_config import ReplayConfig
from labwire.sources.replay import ReplayedDetector
from labwire.wire.image_array import as_numpy

IMAGES = np.random.default_rng(5).poisson(3.0, (5, 24, 16)).astype("<u2")


def data_file(path: Path, images: np.ndarray = IMAGES, **options: Any) -> Path:
    with cast("Any", h5py).File(path, "w") as file:
        file.create_dataset("/entry/data/data", data=images, **options)
    return path


def packed(cname: str = "lz4") -> dict[str, Any]:
    return {"chunks": (1, 24, 16), **cast("Any", hdf5plugin).Bitshuffle(cname=cname)}


def replay(path: Path, **options: Any) -> ReplayedDetector:
    return ReplayedDetector(ReplayConfig(file=str(path), **options))


def expand(source: ReplayedDetector, number: int) -> np.ndarray:
    from labwire.images.compression import decompress

    return decompress(source.read(number).pixels)


@pytest.mark.parametrize(("cname", "name"), [("lz4", "bslz4"), ("zstd", "bszstd")])
def test_compressed_chunks_go_out_as_they_are(tmp_path: Path, cname: str, name: str) -> None:
    source = replay(data_file(tmp_path / "a.h5", **packed(cname)))
    read = source.read(3)
    assert (read.pixels.compression, read.pixels.shape, read.pixels.dtype) == (name, (24, 16), "<u2")
    assert all((expand(source, number) == IMAGES[number]).all() for number in range(5))
    source.close()


@pytest.mark.parametrize(
    "options", [{}, {"chunks": (2, 24, 16)}, {"chunks": (1, 24, 16), "compression": "gzip"}], ids=["flat", "2", "gzip"]
)
def test_whatever_else_hdf5_can_read_is_read(tmp_path: Path, options: dict[str, Any]) -> None:
    source = replay(data_file(tmp_path / "a.h5", **options))
    assert all((as_numpy(source.read(number).pixels) == IMAGES[number]).all() for number in range(5))
    source.close()


def test_a_virtual_dataset_is_read_from_the_files_behind_it(tmp_path: Path) -> None:
    layout = cast("Any", h5py).VirtualLayout((10, 24, 16), "<u2")
    for index in range(2):
        data_file(tmp_path / f"{index}.h5", IMAGES + index, **packed())
        layout[index * 5 : index * 5 + 5] = cast("Any", h5py).VirtualSource(
            f"{index}.h5", "/entry/data/data", (5, 24, 16)
        )
    with cast("Any", h5py).File(tmp_path / "master.h5", "w") as file:
        file.create_virtual_dataset("/entry/data/data", layout)
    source = replay(tmp_path / "master.h5")
    assert source.read(7).pixels.compression == "bslz4"
    assert all((expand(source, number) == IMAGES[number % 5] + number // 5).all() for number in range(10))
    source.close()


def test_links_of_an_older_master_are_followed_and_a_missing_file_is_named(tmp_path: Path) -> None:
    with cast("Any", h5py).File(tmp_path / "master.h5", "w") as file:
        for index in range(2):
            data_file(tmp_path / f"{index}.h5", IMAGES + index, **packed())
            file[f"/entry/data/data_{index + 1:06d}"] = cast("Any", h5py).ExternalLink(
                f"{index}.h5", "/entry/data/data"
            )
    source = replay(tmp_path / "master.h5", loop=False)
    assert source.image_count == 10
    assert (expand(source, 9) == IMAGES[4] + 1).all()
    with pytest.raises(UsageError, match="has 10 images"):
        source.read(10)
    source.close()
    (tmp_path / "1.h5").unlink()
    with pytest.raises(DeviceError, match=r"links to 1\.h5"):
        replay(tmp_path / "master.h5")


@pytest.mark.parametrize(
    ("stored", "count"),
    [(np.array([1, 0, 1], np.uint8), 2), (np.array([True, True, False]), 2), (np.array([b"a", b"b"]), None)],
)
def test_how_many_images_were_stored_is_told_where_the_file_counts_them(
    tmp_path: Path, stored: Any, count: int | None
) -> None:
    path = data_file(tmp_path / "a.h5")
    with cast("Any", h5py).File(path, "a") as file:
        file["/entry/detector/image_stored"] = stored
    source = replay(path)
    assert source.stored_count == count
    source.close()


def test_it_begins_again_at_its_end(tmp_path: Path) -> None:
    source = replay(data_file(tmp_path / "a.h5"))
    assert source.image_count is None
    assert source.read(12).repeats == 2
    source.close()


def test_start_tells_what_the_file_tells_in_si_units(tmp_path: Path) -> None:
    path = data_file(tmp_path / "a.h5")
    with cast("Any", h5py).File(path, "a") as file:
        detector = file.create_group("/entry/instrument/detector")
        detector["distance"] = 120.0
        detector["distance"].attrs["units"] = "mm"
        detector["beam_center_x"] = [7.5]
        detector["description"] = "Eiger"
        detector["count_time"] = "soon"
        detector["pixel_mask"] = np.eye(24, 16, dtype=np.uint32)
        file["/entry/instrument/beam/incident_wavelength"] = 1.0
    source = replay(path)
    start = source.start_message(run_number=3, run_name="b", number_of_images=5)
    assert (start.image_size_x, start.image_size_y, start.image_dtype) == (16, 24, "uint16")
    assert start.detector_distance == pytest.approx(0.12)
    assert (start.beam_center_x, start.detector_description, start.count_time) == (7.5, "Eiger", None)
    assert start.incident_energy == pytest.approx(12398.42)
    assert start.pixel_mask is not None
    assert as_numpy(start.pixel_mask["default"]).sum() == 16
    source.close()


def test_the_largest_dataset_is_found_where_nothing_is_named(tmp_path: Path) -> None:
    with cast("Any", h5py).File(tmp_path / "a.h5", "w") as file:
        file["/small"] = IMAGES[0]
        file["/deep/images"] = IMAGES
        file["/text"] = "no images"
    found = replay(tmp_path / "a.h5")
    assert (expand(found, 1) == IMAGES[1]).all()
    found.close()
    chosen = replay(tmp_path / "a.h5", dataset="/small", loop=False)
    assert chosen.image_count == 1
    chosen.close()


def test_files_that_cannot_be_replayed_are_said_so(tmp_path: Path) -> None:
    (tmp_path / "no.h5").write_text("no")
    with pytest.raises(DeviceError, match="cannot open"):
        replay(tmp_path / "no.h5")
    with pytest.raises(DeviceError, match="there is no such file"):
        replay(tmp_path / "none.h5")
    with cast("Any", h5py).File(tmp_path / "empty.h5", "w"):
        pass
    with pytest.raises(NotFoundError, match="has no dataset"):
        replay(tmp_path / "empty.h5")
    with pytest.raises(NotFoundError, match="has no images at /x"):
        replay(data_file(tmp_path / "a.h5"), dataset="/x")
