"""``labwire images``: the files of a writer that was killed."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import pytest

from labwire.cli.main import main
from labwire.images.config import WriterOptions
from labwire.images.run_taker import RunTaker
from tests.images.runs import image_message, start_message


def images(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["images", *words])
    return int(str(ended.value.code or 0))


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """The folder of a writer that was killed after 14 of 25 images, 10 to a file."""
    at_work = tmp_path / "at work"
    taker = RunTaker(at_work, WriterOptions(), source="a test", on_event=lambda *_: None)
    taker.start(start_message(25, 10))
    for number in range(14):
        taker.image(image_message(number))
    folder = Path(shutil.copytree(at_work, tmp_path / "killed"))
    taker.stop("stopped")
    return folder


def test_repair_tells_what_is_in_each_file(killed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert images("repair", str(killed)) == 0
    told = capsys.readouterr().out
    assert "lyso_1_data_000002.h5: 4 of 10 images" in told
    assert "lyso_1_master.h5: 14 of 25 images" in told
    assert images("repair", str(killed)) == 0
    assert "nothing to repair" in capsys.readouterr().out


def test_repair_for_a_program(killed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (journal,) = killed.rglob("*_data_*.journal")
    journal.unlink()
    assert images("repair", str(killed), "--json") == 1
    left, master = json.loads(capsys.readouterr().out)
    assert (left["outcome"], master["outcome"], master["images"]) == ("left", "repaired", 10)


def test_repair_where_there_is_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert images("repair", str(tmp_path / "nowhere")) == 4
    assert "there is no folder" in capsys.readouterr().err


def test_info_of_a_run_that_was_cut_off(killed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images("repair", str(killed))
    capsys.readouterr()
    assert images("info", str(killed / "lyso" / "lyso_1_master.h5"), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["images"], told["images_that_are_there"], told["size"]) == (25, 14, "50x40")


def test_info_of_what_is_no_image_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "broker.json"
    path.write_text("{}")
    assert images("info", str(path)) == 15
    assert "it is no HDF5 file" in capsys.readouterr().err


def test_a_preview_that_is_not_there_is_no_matter_of_a_rig(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        assert images("info", address, "--timeout", "0.1") == 11
    told = capsys.readouterr().err
    assert "--timeout" in told
    assert "labwire status" not in told
