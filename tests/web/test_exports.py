"""A session in the formats of other tools, made and downloaded over HTTP."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from labwire.errors import (
    CancelledError,
    DeviceError,
    DiskLowError,
    InternalError,
    NotFoundError,
    QueueFullError,
    StateError,
)
from labwire.testing import wait_until
from labwire.testing.rig import RunningRig
from labwire.web import export_work, exports
from labwire.web.export_folder import PREFIX
from labwire.web.export_work import ExportOrder, export_apart, export_here
from labwire.web.exports import MAX_AT_ONCE, MAX_KEPT, ExportReady, ExportRequest, Exports
from labwire.web.jobs import Jobs
from tests.web.http_kit import get, post


@pytest.fixture(scope="module")
def session(web_rig: RunningRig) -> str:
    """Name of a session with eyes and a mark."""
    url = web_rig.ready.web
    assert post(url, "/api/record/start", {"name": "to export"}).status == 200
    assert post(url, "/api/record/mark", {"label": "here"}).status == 200
    wait_until(
        lambda: any(row["payload"]["written"] > 200 for row in get(url, "/api/bus/last?prefix=recorder.state").json)
    )
    running = get(url, "/api/record/list").json[0]["name"]
    refused = post(url, "/api/session/export", {"session": running, "to": "csv"})
    assert (refused.status, refused.json["code"]) == (409, "StateError")
    assert post(url, "/api/record/stop").status == 200
    return running


def ended(url: str, job: str) -> Any:
    wait_until(lambda: get(url, f"/api/jobs/{job}").json["state"] != "running")
    return get(url, f"/api/jobs/{job}").json


def test_tables_in_an_archive(url: str, session: str) -> None:
    begun = post(url, "/api/session/export", {"session": session, "to": "csv"})
    assert begun.status == 202
    assert begun.headers["location"] == f"/api/jobs/{begun.json['id']}"
    job = ended(url, begun.json["id"])
    assert job["state"] == "done", job
    assert job["progress"]["done_bytes"] == job["progress"]["total_bytes"]
    ready = job["result"]
    reply = get(url, f"/api/session/exported?export={ready['id']}")
    assert reply.status == 200
    assert 'filename="to_export_000_csv.zip"' in reply.headers["content-disposition"]
    assert len(reply.body) == ready["size_bytes"]
    with zipfile.ZipFile(io.BytesIO(reply.body)) as archive:
        about = json.loads(archive.read("export.json"))
        assert about["session"] == "to export"
        table = next(one for one in about["tables"] if one["topic"] == "pupil.0.2d")
        rows = list(csv.reader(io.TextIOWrapper(archive.open(table["file"]))))
    assert len([row for row in rows if not row[0].startswith("#")]) == table["rows"] + 1


def test_one_file_is_not_packed(url: str, session: str) -> None:
    pytest.importorskip("mcap")
    job = ended(url, post(url, "/api/session/export", {"session": session, "to": "mcap"}).json["id"])
    assert job["result"]["name"] == "to_export_000.mcap", job
    reply = get(url, f"/api/session/exported?export={job['result']['id']}")
    assert reply.body.startswith(b"\x89MCAP")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"session": "nothing/000", "to": "csv"}, 404),
        ({"session": "../../etc", "to": "csv"}, 404),
        ({"session": "to export/000", "to": "xlsx"}, 400),
        ({"session": "to export/000"}, 400),
    ],
)
def test_what_cannot_be_exported(url: str, body: dict[str, str], status: int) -> None:
    reply = post(url, "/api/session/export", body)
    assert reply.status == status, reply.body
    assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("query", "status"), [("export=0123", 404), ("export=../x", 404), ("", 400), ("id=1", 400)])
def test_a_download_that_is_not_there(url: str, query: str, status: int) -> None:
    assert get(url, f"/api/session/exported?{query}").status == status


# --- the room itself


def start(made: Exports, folder: Path, to: str = "csv") -> ExportReady:
    return made.begin(folder, ExportRequest("to export/000", to)).result()  # type: ignore[arg-type]


@pytest.fixture
def folder(web_rig: RunningRig, session: str) -> Path:
    return web_rig.folder / "recordings" / session


def test_the_oldest_goes_and_the_end_takes_all(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = Exports(export_here)
    ready = [start(made, folder) for _ in range(MAX_KEPT + 1)]
    with pytest.raises(NotFoundError):
        made.download(ready[0].id)
    assert all(Path(made.download(one.id).file).stat().st_size == one.size_bytes for one in ready[1:])
    assert len(list(next(tmp_path.iterdir()).iterdir())) == MAX_KEPT
    made.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StateError):
        start(made, folder)


def test_cancelled_it_leaves_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = Exports()
    for _ in range(MAX_AT_ONCE + 1):  # each gives its place back
        work = made.begin(folder, ExportRequest("to export/000", "csv"))
        with pytest.raises(CancelledError):
            work.run(lambda progress, work=work: work.cancel())
    assert list(next(tmp_path.iterdir()).iterdir()) == []
    made.close()


def test_bounds(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = Exports()
    for _ in range(MAX_AT_ONCE):
        made.begin(folder, ExportRequest("to export/000", "csv"))
    with pytest.raises(QueueFullError):
        made.begin(folder, ExportRequest("to export/000", "csv"))
    made.close()
    monkeypatch.setattr(exports.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1})())
    with contextlib.closing(Exports()) as made, pytest.raises(DiskLowError):
        made.begin(folder, ExportRequest("to export/000", "csv"))


def test_local_work_shows_its_progress(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made, jobs = Exports(), Jobs()
    job = jobs.start("session.export", lambda: made.begin(folder, ExportRequest("to export/000", "csv"))).id
    wait_until(lambda: jobs.status(job).state == "done")
    assert jobs.status(job).reports > 1
    made.close()


def test_what_goes_wrong_in_the_process_is_told(folder: Path, tmp_path: Path) -> None:
    order = ExportOrder(str(tmp_path), str(tmp_path / "out"), "csv")
    with pytest.raises(NotFoundError, match="is not a session"):
        export_apart(order, lambda progress: None, lambda: False)


def test_a_process_that_dies_is_told(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "dies"
    program.write_text("#!/bin/sh\nexec >&-\nsleep 0.1\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    order = ExportOrder(str(folder), str(tmp_path / "out"), "csv")
    with pytest.raises(InternalError, match="status 3"):
        export_apart(order, lambda progress: None, lambda: False)


def test_no_room_while_it_is_packed_is_told(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(export_work, "_pack", full)
    order = ExportOrder(str(folder), str(tmp_path / "out"), "csv")
    with pytest.raises(DeviceError, match=r"cannot write .*\.zip: No space left"):
        export_here(order, lambda progress: None, lambda: False)


def test_what_a_killed_server_left_goes_when_the_next_starts(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, link, other = tmp_path / f"{PREFIX}left", tmp_path / f"{PREFIX}link", tmp_path / "other"
    for place in (left, other):
        place.mkdir()
        (place / "a.zip").touch()
    link.symlink_to(other)
    with contextlib.closing(Exports(export_here)) as made:
        assert not left.exists()
        ready = start(made, folder)
        Exports().close()  # another server on this computer
        assert Path(made.download(ready.id).file).is_file()
    assert sorted(tmp_path.iterdir()) == [link, other]
    assert (other / "a.zip").is_file()


def test_a_folder_that_somebody_has_cleaned_up_is_made_anew(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with contextlib.closing(Exports(export_here)) as made:
        gone = start(made, folder)
        shutil.rmtree(next(tmp_path.iterdir()))
        with pytest.raises(NotFoundError, match="make it again"):
            made.download(gone.id)
        assert Path(made.download(start(made, folder).id).file).is_file()
    assert list(tmp_path.iterdir()) == []
