"""A writer and a detector over ZeroMQ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from labwire.images.config import WriterConfig
from labwire.images.writer import ImageWriter
from labwire.testing.waiting import wait_until
from labwire.wire.image_codec import encode_message
from labwire.wire.image_message import CalibrationMessage, EndMessage, MetadataMessage
from labwire.wire.image_user_data import start_for_socket
from tests.images.runs import image_message, pixels_of, read_images, start_message
from tests.images.told import Told
from tests.images.zeromq_detector import ZeroMqDetector


@contextmanager
def writing(addresses: Sequence[str], folder: Path, told: Told, **options: Any) -> Iterator[list[ImageWriter]]:
    with ExitStack() as stack:
        writers = [
            stack.enter_context(ImageWriter(WriterConfig(address=one, folder=str(folder), **options), told.hear))
            for one in addresses
        ]
        told.wait("connected", len(writers))
        yield writers
    assert told.of("bug") == []


@pytest.fixture
def detector() -> Iterator[ZeroMqDetector]:
    with ZeroMqDetector() as detector:
        yield detector


def test_a_run_is_stored_and_noted(detector: ZeroMqDetector, tmp_path: Path) -> None:
    told = Told()
    with writing(detector.addresses, tmp_path, told):
        detector.begin(start_message(25, 10))
        for number in range(25):
            detector.send(image_message(number))
        detector.end()
        (note,) = detector.notes()
    assert (note.run_number, note.run_name, note.socket_number) == (7, "run 7", 0)
    assert (note.processed_images, note.ok, note.error) == (25, True, note.error)
    (finished,) = told.of("run_finished")
    assert finished["ok"], finished
    expected = np.stack([pixels_of(number) for number in range(25)])
    assert (read_images(finished["master_file"]) == expected).all()


def test_two_sockets_share_a_run(tmp_path: Path) -> None:
    told = Told()
    with ZeroMqDetector(2) as detector, writing(detector.addresses, tmp_path, told):
        detector.begin(start_message(25, 10))
        for number in range(25):
            detector.send(image_message(number), number // 10 % 2)
        detector.end()
        assert [(note.socket_number, note.processed_images, note.ok) for note in detector.notes()] == [
            (0, 15, True),
            (1, 10, True),
        ]
    (master,) = [data["master_file"] for data in told.of("run_finished") if data["master_file"]]
    expected = np.stack([pixels_of(number) for number in range(25)])
    assert (read_images(master) == expected).all()


def test_calibration_goes_into_the_master_file(detector: ZeroMqDetector, tmp_path: Path) -> None:
    told = Told()
    pedestal = image_message(3).data["default"]
    with writing(detector.addresses, tmp_path, told):
        detector.begin(start_message(1))
        detector.send(CalibrationMessage(series_id=7, data={"pedestal_g0": pedestal}))
        detector.send(image_message(0))
        detector.end()
        assert detector.notes()[0].ok
    with h5py.File(told.of("run_finished")[0]["master_file"]) as file:
        kept: Any = file["entry/instrument/detector/calibration/pedestal_g0"]
        assert (kept[()] == pixels_of(3)).all()


def test_what_is_no_image_of_the_run_harms_nothing(detector: ZeroMqDetector, tmp_path: Path) -> None:
    told = Told()
    whole = b"".join(encode_message(image_message(1)))
    with writing(detector.addresses, tmp_path, told) as (writer,):
        detector.send(image_message(0))  # before any run
        detector.send(EndMessage(series_id=7))
        detector.begin(start_message(3))
        for garbage in (b"", b"\xff" * 100, whole[:-1], whole + b"\0", b"{}"):
            detector.send([garbage])
        detector.send_parts([whole, whole])
        detector.send(MetadataMessage(series_id=7))
        detector.send(image_message(2, series_id=6))  # of another run
        detector.send(EndMessage(series_id=6))
        for number in (0, 1, 1, 2, 3):  # one twice, and one too many
            detector.send(image_message(number))
        detector.end()
        (note,) = detector.notes()
        statistics = writer.statistics()
    assert (note.processed_images, note.ok, note.error) == (3, False, note.error)
    assert "image 1" in str(note.error)
    (finished,) = told.of("run_finished")
    assert (finished["images"], finished["missing"], finished["failed"]) == (3, 0, 2)
    assert (statistics.images, statistics.failed, statistics.stray) == (3, 8, 5)


def test_a_run_that_is_refused_is_noted_with_the_reason(detector: ZeroMqDetector, tmp_path: Path) -> None:
    told = Told()
    with writing(detector.addresses, tmp_path / "out", told):
        detector.begin(start_message(1, user={"file_prefix": "../elsewhere"}))
        (note,) = detector.notes()
        assert (note.run_number, note.processed_images, note.ok) == (7, 0, False)
        assert "file_prefix" in str(note.error)
        detector.send(image_message(0))
        detector.end()
        detector.begin(start_message(1))  # the next one is none the worse
        detector.send(image_message(0))
        detector.end()
        assert detector.notes()[0].ok
        assert not detector.has_note()
    assert [data["run_number"] for data in told.of("run_refused")] == [7]
    assert not list(tmp_path.glob("elsewhere*"))


def test_a_run_without_end_is_noted_when_the_next_begins(detector: ZeroMqDetector, tmp_path: Path) -> None:
    told = Told()
    with writing(detector.addresses, tmp_path, told):
        detector.begin(start_message(3))
        detector.send(image_message(0))
        detector.begin(start_message(1, run=8, user={"file_prefix": "next"}))
        (note,) = detector.notes()
        assert (note.run_number, note.processed_images, note.ok) == (7, 1, False)
        detector.send(image_message(0, series_id=8))
        detector.end(8)
        assert detector.notes()[0].ok
    lost, whole = told.of("run_finished")
    assert (lost["ended"], lost["missing_images"]) == ("lost", (1, 2))
    assert whole["ok"]


def test_a_writer_that_is_stopped_finishes_its_file_and_says_so(detector: ZeroMqDetector, tmp_path: Path) -> None:
    told = Told()
    with writing(detector.addresses, tmp_path, told) as (writer,):
        detector.begin(start_message(3))
        detector.send(image_message(0))
        wait_until(lambda: writer.statistics().images == 1)
    (note,) = detector.notes()
    assert (note.processed_images, note.ok, note.error) == (1, False, "the writer was stopped")
    (finished,) = told.of("run_finished")
    assert finished["ended"] == "stopped"
    assert (read_images(finished["master_file"])[0] == pixels_of(0)).all()


def test_a_sender_that_comes_back_goes_on(detector: ZeroMqDetector, tmp_path: Path) -> None:
    told = Told()
    with writing(detector.addresses, tmp_path, told) as (writer,):
        detector.begin(start_message(2))
        detector.send(image_message(0))
        wait_until(lambda: writer.statistics().images == 1)
        detector.rebind(lambda: told.wait("connection_lost"))
        told.wait("connected", 2)
        detector.send(image_message(1))
        detector.end()
        assert detector.notes()[0].ok


def test_a_sender_that_is_gone_leaves_a_finished_file(
    detector: ZeroMqDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labwire.images.writer_zeromq.GONE_S", 0.1)
    told = Told()
    with writing(detector.addresses, tmp_path, told) as (writer,):
        detector.begin(start_message(2))
        detector.send(image_message(0))
        wait_until(lambda: writer.statistics().images == 1)
        detector.rebind(lambda: told.wait("run_finished"))
        (note,) = detector.notes()
        assert (note.processed_images, note.ok) == (1, False)
        assert "gone" in str(note.error)
        told.wait("connected", 2)
        detector.begin(start_message(1, run=8, user={"file_prefix": "next"}))
        detector.send(image_message(0, series_id=8))
        detector.end(8)
        assert detector.notes()[0].ok
    assert [data["ended"] for data in told.of("run_finished")] == ["lost", "end"]


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "ipc:///nowhere/at/all", "no address", "tcp://a:b;c"])
def test_a_note_that_nobody_takes_is_told(
    detector: ZeroMqDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr("labwire.images.writer_zeromq.NOTE_S", 0.05)
    told = Told()
    with writing(detector.addresses, tmp_path, told):
        for run in (7, 8):
            start = start_message(1, run=run, user={"file_prefix": f"run{run}"})
            detector.send(start_for_socket(start, socket_number=0, writer_notification_zmq_addr=address))
            detector.send(image_message(0, series_id=run))
            detector.end(run)
        told.wait("run_finished", 2)
    assert all(data["ok"] for data in told.of("run_finished"))
    failed = told.of("note_failed")
    assert len(failed) == 2
    assert address in failed[0]["error"]


def test_a_sender_that_wants_no_note_gets_none(detector: ZeroMqDetector, tmp_path: Path) -> None:
    told = Told()
    with writing(detector.addresses, tmp_path, told):
        detector.send(start_message(1))
        detector.send(image_message(0))
        detector.end()
        told.wait("run_finished")
    assert told.of("note_failed") == []
    assert not detector.has_note()
