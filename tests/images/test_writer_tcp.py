"""A writer and a detector over a real socket."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labwire.images.config import WriterConfig
from labwire.images.writer import ImageWriter
from tests.images.runs import end, image, pixels_of, read_images, start_message, start_of
from tests.images.tcp_detector import TcpDetector
from tests.images.told import Told


@contextmanager
def writing(detector: TcpDetector, folder: Path, told: Told, **options: Any) -> Iterator[ImageWriter]:
    config = WriterConfig(address=detector.address, folder=str(folder), **options)
    with ImageWriter(config, told.hear) as writer:
        detector.wait_writers(config.connections)
        yield writer
    assert told.of("bug") == []


@pytest.fixture
def detector() -> Iterator[TcpDetector]:
    with TcpDetector() as detector:
        yield detector


@pytest.mark.parametrize("sync", [False, True])
def test_a_run_is_stored_and_acknowledged(detector: TcpDetector, tmp_path: Path, *, sync: bool) -> None:
    told = Told()
    with writing(detector, tmp_path, told, sync=sync):
        run = detector.begin(7, start_of(start_message(25, 10)), images_per_file=10)
        for number in range(25):
            detector.send(run, number, image(number))
        result = detector.end(run, end())
        assert result.ok, result
        assert result.acknowledged == 25
    (finished,) = told.of("run_finished")
    assert (finished["images"], finished["ok"]) == (25, True), finished
    assert sorted(path.name for path in (tmp_path / "lyso").iterdir()) == [
        *(f"lyso_1_data_{number:06d}.h5" for number in (1, 2, 3)),
        "lyso_1_master.h5",
    ]
    expected = np.stack([pixels_of(number) for number in range(25)])
    assert (read_images(finished["master_file"]) == expected).all()


def test_runs_follow_each_other_on_two_connections(detector: TcpDetector, tmp_path: Path) -> None:
    told = Told()
    with writing(detector, tmp_path, told, connections=2):
        for number in (7, 8):
            start = start_message(25, 10, run=number, user={"file_prefix": f"run{number}"})
            run = detector.begin(number, start_of(start), images_per_file=10)
            for image_number in range(25):
                detector.send(run, image_number, image(image_number))
            assert detector.end(run, end()).ok
    masters = [data["master_file"] for data in told.of("run_finished") if data["master_file"]]
    assert [Path(path).name for path in masters] == ["run7_master.h5", "run8_master.h5"]
    expected = np.stack([pixels_of(number) for number in range(25)])
    assert all((read_images(path) == expected).all() for path in masters)
    assert [(data["socket_number"], data["images"], data["missing"]) for data in told.of("run_finished")].count(
        (1, 10, 0)
    ) == 2


def test_a_writer_that_discards_counts_what_it_cannot_read_and_what_is_cut_off(
    detector: TcpDetector, tmp_path: Path
) -> None:
    told = Told()
    with writing(detector, tmp_path, told, discard=True) as writer:
        run = detector.begin(7, start_of(start_message(25, 10)), images_per_file=10)
        for number in range(25):
            detector.send(run, number, [b"no image"] if number == 3 else image(number))
        result = detector.end(run, end())
        assert (result.acknowledged, result.failed) == (24, 1)
        cut = detector.begin(8, start_of(start_message(25, 10, run=8)), images_per_file=10)
        detector.send(cut, 0, image(0))
        detector.until(lambda: cut.result().acknowledged == 1)
        detector.drop(cut.connections[0])
        detector.until(lambda: len(told.of("run_finished")) == 2)
        detector.wait_writers(1)
        assert (writer.statistics().waiting_images, writer.statistics().waiting_bytes) == (0, 0)
    endings = [(data["ended"], data["images"]) for data in told.of("run_finished")]
    assert endings == [("end", 24), ("lost", 1)]
    assert [*tmp_path.iterdir()] == []


def test_the_system_looks_after_the_connection_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[tuple[int, int], object] = {}

    class Watched(socket.socket):
        def setsockopt(self, level: int, option: int, value: Any, *more: Any) -> None:
            asked[level, option] = value
            super().setsockopt(level, option, value, *more)

    told = Told()
    with TcpDetector() as detector:
        monkeypatch.setattr(socket, "socket", Watched)
        with writing(detector, tmp_path, told):
            told.wait("connected")
    assert asked[socket.SOL_SOCKET, socket.SO_KEEPALIVE] == 1
    options = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
    for name, value in options.items():
        if hasattr(socket, name):
            assert asked[socket.IPPROTO_TCP, getattr(socket, name)] == value
