"""``labwire write``: what it says, how it ends, what a script gets."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labwire.cli.main import main
from labwire.cli.write_text import Line, told
from labwire.images.writer import WriterStatistics
from tests.images.runs import end, image, image_message, start_message, start_of
from tests.images.tcp_detector import TcpDetector, stepping
from tests.images.zeromq_detector import ZeroMqDetector
from tests.terminal import on_a_terminal


@pytest.fixture
def detector() -> Iterator[TcpDetector]:
    with TcpDetector() as detector:
        yield detector


class Command(threading.Thread):
    """``labwire write`` in this process, until its runs are done."""

    def __init__(self, *words: str) -> None:
        super().__init__(name="labwire write")
        self._words = words
        self.status: object = None

    def run(self) -> None:
        try:
            main(["write", *self._words])
        except SystemExit as ended:
            self.status = ended.code or 0


def send_run(detector: TcpDetector, number: int, images: int = 4, missing: int = 0) -> None:
    start = start_message(images, 2, run=number, user={"file_prefix": f"run{number}"})
    run = detector.begin(number, start_of(start), images_per_file=2)
    for image_number in range(images - missing):
        detector.send(run, image_number, image(image_number))
    detector.end(run, end())


def test_a_run_is_told_in_words(detector: TcpDetector, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = Command(detector.address, "-o", str(tmp_path), "--runs", "1")
    command.start()
    detector.wait_writers(1)
    send_run(detector, 7)
    command.join()
    assert command.status == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("run 7 (run 7): 4 images in 2 files, ")
    assert f"{tmp_path}/run7_master.h5" in shown.out
    assert f"connected to {detector.address}" in shown.err
    assert "\r" not in shown.err, "the progress line is for terminals"


def test_a_run_that_is_not_whole_is_the_exit_status(
    detector: TcpDetector, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = Command(detector.address, "-o", str(tmp_path), "--runs", "2", "--json")
    command.start()
    detector.wait_writers(1)
    send_run(detector, 7, 6, missing=3)
    send_run(detector, 8)
    command.join()
    assert command.status == 1
    bad, good = map(json.loads, capsys.readouterr().out.splitlines())
    assert (bad["event"], bad["run_number"], bad["ok"], bad["missing_images"]) == ("run_finished", 7, False, [3, 4, 5])
    assert (good["run_number"], good["ok"], good["images"]) == (8, True, 4)


def test_a_run_that_is_refused_is_one_of_them(
    detector: TcpDetector, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = Command(detector.address, "-o", str(tmp_path), "--runs", "1", "--json")
    command.start()
    detector.wait_writers(1)
    run = detector.begin(7, start_of(start_message(4, user={"file_prefix": "../elsewhere"})), images_per_file=4)
    assert "file_prefix" in run.result().faults[0].message
    command.join()
    assert command.status == 1
    assert json.loads(capsys.readouterr().out)["event"] == "run_refused"


def test_several_detectors_of_both_kinds(
    detector: TcpDetector, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ZeroMqDetector() as other:
        command = Command(detector.address, other.addresses[0], "-o", str(tmp_path), "--runs", "1", "--json")
        command.start()
        detector.wait_writers(1)
        with stepping(detector):
            other.begin(start_message(1, run=9))
            other.send(image_message(0, series_id=9))
            other.end(9)
            assert other.notes()[0].ok
        send_run(detector, 7)
        command.join()
    assert command.status == 0
    assert {json.loads(line)["run_number"] for line in capsys.readouterr().out.splitlines()} == {7, 9}


def test_discarding_acknowledges_all_and_stores_nothing(
    detector: TcpDetector, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = Command(detector.address, "-o", str(tmp_path), "--runs", "1", "--discard", "--json")
    command.start()
    detector.wait_writers(1)
    send_run(detector, 7)
    command.join()
    assert command.status == 0
    assert json.loads(capsys.readouterr().out)["images"] == 4
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["10.0.0.1:9100"], "no address of an image stream"),
        (["tcp://10.0.0.1"], "no address of an image stream"),
        (["tcp://a:1", "tcp://a:1"], "given twice"),
        (["tcp://a:1", "--format", "TIFF"], "TIFF"),
    ],
)
def test_what_cannot_be_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], text: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["write", *words, "-o", str(tmp_path)])
    assert ended.value.code
    assert text in capsys.readouterr().err


def test_on_a_terminal(detector: TcpDetector, tmp_path: Path) -> None:
    """A line that is written again and again; Ctrl-C finishes what is under way and says what is missing."""
    command = [sys.executable, "-m", "labwire", "write", detector.address, "-o", str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with on_a_terminal(command, env=env, cwd=tmp_path) as shown:
        detector.wait_writers(1)
        run = detector.begin(7, start_of(start_message(4, 2)), images_per_file=2)
        for number in range(3):
            detector.send(run, number, image(number))
        detector.until(lambda: run.result().acknowledged == 3)
        with stepping(detector):
            shown.wait_for("images to", "3 stored, 0 failed")
            shown.type("\x03")
            shown.wait_for("finishing the files of run 7", "3 images in 2 files", "stopped here; 1 missing: 3")
            assert shown.end() == 1
    lines = re.findall(r"\r\x1b\[K([^\r\n]*)", shown.shown.decode())
    assert any("images/s" in line and "waiting, lag" in line for line in lines)
    assert all(len(line) < 80 for line in lines if "images/s" in line)


class Screen:
    """A terminal that is 30 columns wide, for `Line`."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text = text

    def flush(self) -> None:
        """Do nothing."""

    def fileno(self) -> int:
        return 0


def test_the_line_is_cut_to_its_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((30, 24)))
    screen: Any = Screen()
    counted = dict.fromkeys(WriterStatistics.__struct_fields__, 0)
    Line(screen).show([WriterStatistics(**{**counted, "writing": ()})])
    assert screen.text == "\r\x1b[K0 images/s, 0 B/s, 0 waiting,"[: len("\r\x1b[K") + 29]


@pytest.mark.parametrize(
    ("kind", "data", "text"),
    [
        ("not_connected", {"reason": "refused", "retry_in_s": 1}, "tcp://a:1: refused; trying until it answers"),
        ("not_connected", {"reason": "invalid", "retry_in_s": None}, "tcp://a:1: invalid; given up"),
        ("connection_lost", {"reason": "reset", "retry_in_s": 1}, "tcp://a:1: reset; connecting again"),
        ("image_failed", {"image_number": 3, "error": "cut"}, "image 3 from tcp://a:1 is not stored: cut"),
        ("note_failed", {"error": "nobody"}, "tcp://a:1: note failed: nobody"),
        ("run_refused", {"run_number": 7, "error": "full"}, "run 7 from tcp://a:1 is refused: full"),
    ],
)
def test_each_event_has_its_words(kind: str, data: dict[str, Any], text: str) -> None:
    assert told(kind, {"source": "tcp://a:1", **data}) == text
