"""``labwire preview`` and ``labwire images info``, on a stream and on files."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from labwire.cli.main import main
from labwire.images.acquisition import Acquisition, RunRequest
from labwire.images.build import make_pusher
from labwire.images.preview import Preview
from labwire.images.pushers.none import NonePusher
from labwire.images.stream import ImageStream
from labwire.images.stream_config import CborDumpConfig, Hdf5Config, PreviewConfig
from labwire.sources.detector import SimulatedDetector
from labwire.sources.detector_config import SimulatedDetectorConfig

SMALL = SimulatedDetectorConfig(width_px=120, height_px=80, seed=4, frames=2, vary=False)


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*words])
    return int(str(ended.value.code or 0))


@pytest.fixture
def address() -> Iterator[str]:
    """A preview of a run that is on."""
    preview = Preview(PreviewConfig(address="tcp://127.0.0.1:*", period_ms=0), start_again_s=0.05)
    stream = ImageStream(NonePusher(), preview=preview)
    acquisition = Acquisition(SimulatedDetector(SMALL), stream, RunRequest(run_number=9, images=10**6, rate_hz=100))
    thread = threading.Thread(target=acquisition.run)
    thread.start()
    yield preview.address
    acquisition.cancel()
    thread.join()
    stream.close()


def test_the_newest_image_becomes_a_picture(address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("preview", address, "-o", str(tmp_path / "a.png"), "--max-side", "64", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["run_number"], told["width"], told["height"], told["dtype"]) == (9, 120, 80, "uint16")
    assert told["bad_pixels"] > 0
    assert told["highest"] < 65535
    data = (tmp_path / "a.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(data[16:20]) == 60
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_what_a_stream_tells(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("images", "info", address, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["run_number"], told["image_size_x"], told["image_dtype"]) == (9, 120, "uint16")
    assert told["data default"].startswith("120x80 <u2, bslz4 ")


def store(kind: type[Hdf5Config | CborDumpConfig], folder: Path) -> None:
    stream = ImageStream(make_pusher(kind(folder=str(folder))))
    Acquisition(SimulatedDetector(SMALL), stream, RunRequest(run_number=9, images=3, file_prefix="a")).run()


def test_what_files_tell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store(Hdf5Config, tmp_path)
    store(CborDumpConfig, tmp_path)
    assert run("images", "info", str(tmp_path / "a_master.h5"), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["images"], told["size"], told["dtype"]) == (3, "120x80", "<u2")
    assert told["detector_distance"] == pytest.approx(0.12)
    assert told["compression"].startswith("bslz4")
    assert run("images", "info", str(tmp_path / "a_start.cbor"), "--json") == 0
    assert json.loads(capsys.readouterr().out)["message"] == "start"
    assert run("images", "info", str(tmp_path / "a_image_000000002.cbor")) == 0
    assert "120x80 <u2, bslz4" in capsys.readouterr().out
    assert run("images", "info", str(tmp_path / "a_end.cbor")) == 0


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["preview", "tcp://127.0.0.1:1", "-o", "a.gif"], "PNG"),
        (["preview", "nowhere", "-o", "a.png"], "tcp://HOST:PORT"),
        (["preview", "tcp://127.0.0.1:1", "-o", "a.png", "--timeout", "0.05"], "no image came"),
        (["images", "info", "tcp://127.0.0.1:1", "--timeout", "0.05"], "no image came"),
        (["images", "info", "/none.h5"], "no such file"),
        (["images", "info", "/none.cbor"], "cannot read"),
    ],
)
def test_what_cannot_be_is_said(
    words: list[str], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*words) > 0
    assert why in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_picture_that_cannot_be_written(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("preview", address, "-o", "/nowhere/a.png") == 15
    assert "cannot write /nowhere/a.png" in capsys.readouterr().err
