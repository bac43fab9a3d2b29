"""Images stored on this computer instead of being sent: HDF5 files, and a dump of the messages."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import h5py
import pytest

from labwire.errors import ConfigError, DeviceError, InvalidNameError, RefusedError, StateError
from labwire.images.build import make_pusher
from labwire.images.pushers.cbor_dump import CborDumpPusher, read_dump
from labwire.images.pushers.hdf5 import Hdf5Pusher
from labwire.images.pushers.none import NonePusher
from labwire.images.stream import ImageStream, StreamResult
from labwire.images.stream_config import CborDumpConfig, Hdf5Config, NoStreamConfig, PusherConfig
from labwire.wire.image_message import CalibrationMessage, EndMessage, ImageMessage, StartMessage
from tests.images.stream_runs import image, is_image, start_message

KINDS = [Hdf5Config, CborDumpConfig]


def open_stream(config: PusherConfig) -> ImageStream:
    return ImageStream(make_pusher(config))


def run(stream: ImageStream, images: int = 5, run_number: int = 1, prefix: str = "a/test") -> StreamResult:
    stream.start(start_message(run_number, images, prefix=prefix))
    for number in range(images):
        stream.put(image(number))
    return stream.end()


def test_hdf5_files_hold_the_images(tmp_path: Path) -> None:
    stream = open_stream(Hdf5Config(folder=str(tmp_path)))
    result = run(stream)
    assert result.ok
    assert (result.acknowledged, result.confirmed) == (5, True)
    with cast("Any", h5py).File(tmp_path / "a/test_master.h5") as file:
        images = file["/entry/data/data"]
        assert images.shape == (5, 8, 16)
        assert [int(images[number, 0, 0]) for number in range(5)] == list(range(5))
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        *(f"test_data_00000{number}.h5" for number in (1, 2, 3)),
        "test_master.h5",
    ]


def test_files_are_replaced_only_if_that_is_wanted(tmp_path: Path) -> None:
    assert run(open_stream(Hdf5Config(folder=str(tmp_path)))).ok
    again = open_stream(Hdf5Config(folder=str(tmp_path)))
    with pytest.raises(DeviceError, match=r"test_.*\.h5: file exists"):
        run(again)
    assert not again.running
    assert run(again, prefix="other").ok
    assert run(open_stream(Hdf5Config(folder=str(tmp_path), overwrite=True))).ok


def test_a_dump_is_read_back_as_it_was_sent(tmp_path: Path) -> None:
    stream = open_stream(CborDumpConfig(folder=str(tmp_path)))
    stream.start(start_message(1, 12, prefix="a/test"))
    stream.send_calibration(CalibrationMessage(data={"pedestal_g0": image(3).data["default"]}))
    for number in reversed(range(12)):
        stream.put(image(number))
    assert stream.end().ok
    start, calibration, *images, end = read_dump(tmp_path, "a/test")
    assert isinstance(start, StartMessage)
    assert (start.series_id, start.socket_number, start.write_master_file) == (1, 0, True)
    assert isinstance(calibration, CalibrationMessage)
    assert isinstance(end, EndMessage)
    for number, message in enumerate(images):
        assert isinstance(message, ImageMessage)
        assert is_image(message, number)
    assert len(images) == 12


def test_a_dump_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no dump"):
        list(read_dump(tmp_path, "test"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_prefix_never_leads_out_of_the_folder(kind: Any, tmp_path: Path) -> None:
    stream = open_stream(kind(folder=str(tmp_path / "in")))
    with pytest.raises(InvalidNameError):
        run(stream, prefix="../out")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_that_cannot_be_written(kind: Any, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RefusedError):
        run(open_stream(kind(folder=str(tmp_path / "in"))))


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_that_cannot_be_stored_is_counted_and_the_run_goes_on(kind: Any, tmp_path: Path) -> None:
    events: list[str] = []
    pusher = make_pusher(kind(folder=str(tmp_path)), lambda event, _: events.append(event))
    stream = ImageStream(pusher)
    stream.start(start_message(1, 5))
    for number in (0, 1, 1, 1, 2):
        stream.put(image(number))
    result = stream.end()
    assert (result.acknowledged, result.failed, result.missing) == (3, 2, 0)
    assert not result.ok
    assert events == ["image_failed"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_cancelled_run_leaves_room_for_the_next(kind: Any, tmp_path: Path) -> None:
    stream = open_stream(kind(folder=str(tmp_path)))
    stream.start(start_message(1, 5))
    stream.put(image(0))
    result = stream.cancel()
    assert result is not None
    assert result.cancelled
    with pytest.raises(StateError):
        stream.put(image(1))
    assert run(stream, run_number=2, prefix="next").ok
    stream.close()


def test_each_configuration_has_its_pusher(tmp_path: Path) -> None:
    folder = str(tmp_path)
    assert isinstance(make_pusher(Hdf5Config(folder=folder)), Hdf5Pusher)
    assert isinstance(make_pusher(CborDumpConfig(folder=folder)), CborDumpPusher)
    assert isinstance(make_pusher(NoStreamConfig()), NonePusher)
