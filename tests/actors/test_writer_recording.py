"""A writer in a session: here, and on a computer that does not have the session's folder."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from labwire.actors.writer_recording import RunRecorder
from labwire.operations.recordable import SessionStart

RUN = {
    "run_number": 7,
    "run_name": "lyso",
    "socket_number": 0,
    "ok": True,
    "images": 3,
    "missing": 0,
    "failed": 0,
    "stored_bytes": 30,
    "file_count": 1,
    "master_file": "lyso_master.h5",
    "files": ["lyso_data_000001.h5"],
}


def session(path: Path) -> SessionStart:
    return SessionStart(str(path), "pilot/1", "abc", 1.0, 2.0, 3)


def test_where_the_session_is(tmp_path: Path) -> None:
    recorder = RunRecorder("disk1", str(tmp_path / "images"), lambda: 5.0)
    described = recorder.prepare(session(tmp_path))
    assert (described.files, described.host) == (["writer.disk1.jsonl"], "")
    recorder.start()
    recorder.put(RUN)
    assert recorder.stop().written == 3
    assert json.loads((tmp_path / "writer.disk1.jsonl").read_text())["timestamp"] == 5.0


def test_on_another_computer(tmp_path: Path) -> None:
    recorder = RunRecorder("disk1", str(tmp_path / "images"), lambda: 5.0)
    described = recorder.prepare(session(tmp_path / "not" / "here"))
    assert described.host == socket.gethostname()
    (file,) = described.files
    assert Path(file).is_relative_to(tmp_path / "images")
    recorder.start()
    recorder.put(RUN)
    recorder.stop()
    assert json.loads(Path(file).read_text())["run_name"] == "lyso"
    assert recorder.describe().about["folder"] == str(tmp_path / "images")
    assert not (tmp_path / "not").exists()
