"""``labwire record list`` and ``repair``, which are those of ``labwire sessions``, where no rig runs."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from labwire.cli.main import main
from labwire.clock import RigClock
from labwire.sessions.config import RecorderConfig
from labwire.sessions.record.recording import SessionRecorder

NO_RIG = ("--port", "1", "--timeout", "0.2")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def record(root: Path, name: str) -> Path:
    """Record a session and let it look as if its recorder had been killed."""
    clock = RigClock.create()
    recorder = SessionRecorder(RecorderConfig(root=str(root), disk_warn_bytes=0, disk_stop_bytes=0), clock)
    folder = Path(recorder.start(name).rec_path)
    recorder.put([b"pupil.0", msgspec.msgpack.encode({"timestamp": 1.0})], 0.0)
    recorder.stop()
    clock.close()
    manifest = folder / "session.json"
    manifest.write_text(manifest.read_text().replace('"complete"', '"recording"'))
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["record", *arguments, *NO_RIG])
    out, err = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, out, err


def test_without_a_rig_the_usual_folder_is_listed_and_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(here / "recordings", "a pilot")
    code, out, err = run(capsys, "list")
    assert code == 0
    assert "a pilot/000" in out
    assert "broken" in out
    assert f"1 session in {here / 'recordings'} (the usual place, as no rig runs at 127.0.0.1:1)" in err


def test_nothing_there_says_so(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "list")
    assert (code, out) == (0, "")
    assert err.startswith(f"labwire: no session in {here / 'recordings'} (the usual place, as no rig runs")
    assert err.endswith("; there is no such folder\n")


def test_as_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(here / "else where", "pilot")
    code, out, err = run(capsys, "list", "--root", "else where", "--json")
    listed = json.loads(out)
    assert (code, err) == (0, "")
    assert (listed["root"], listed["said_by"]) == (str(here / "else where"), "--root")
    assert [(row["name"], row["state"]) for row in listed["sessions"]] == [("pilot/000", "broken")]


def test_a_rig_file_says_where(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "lab").mkdir()
    (here / "lab" / "rig.toml").write_text('name = "x"\n[recorder]\nroot = "data"\n')
    record(here / "lab" / "data", "pilot")
    code, out, err = run(capsys, "list", "lab/rig.toml")
    assert code == 0
    assert "pilot/000" in out
    assert f"1 session in {here / 'lab' / 'data'} (lab/rig.toml)" in err


@pytest.mark.parametrize("where", [(), ("--root", "recordings"), ("rig.toml",)])
def test_a_session_is_repaired_by_its_name(
    here: Path, capsys: pytest.CaptureFixture[str], where: tuple[str, ...]
) -> None:
    (here / "rig.toml").write_text('name = "x"\n[recorder]\n')
    folder = record(here / "recordings", "a pilot")
    code, out, _ = run(capsys, "repair", "a pilot/000", *where, "--json")
    assert code == 0
    assert json.loads(out)["path"] == str(folder)
    assert json.loads((folder / "session.json").read_text())["state"] == "repaired"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["list", "--root", "nowhere"], 4, "there is no folder"),
        (["list", "nowhere.toml"], 3, "nowhere.toml"),
        (["list", "bare.toml"], 2, "no recorder"),
        (["list", "bare.toml", "--root", "."], 2, "give one of them"),
        (["list", "--host", "127.0.0.2"], 7, "127.0.0.2:1"),
        (["repair", "folder"], 4, "not a session"),
        (["repair", "pilot/003"], 4, "as no rig runs at 127.0.0.1:1"),
        (["repair", "pilot/003", "--root", "."], 4, "(--root)"),
        (["repair", "../../etc", "--root", "."], 2, ".."),
    ],
)
def test_what_cannot_be_found_is_told(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    (here / "folder").mkdir()
    (here / "bare.toml").write_text('name = "bare"\n')
    got, out, err = run(capsys, *arguments)
    assert (got, out) == (code, "")
    assert words in err
