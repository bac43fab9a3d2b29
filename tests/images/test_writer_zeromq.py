"""A writer and a detector over ZeroMQ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labwire.images.config import WriterConfig
from labwire.images.writer import ImageWriter
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
