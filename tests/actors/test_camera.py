"""A camera in a rig: vital signs on the bus and in the files."""

from __future__ import annotations

import fcntl
from contextlib import ExitStack
from pathlib import Path

import pytest

from labwire.file_backend.reader import read
from labwire.file_backend.status_board import StatusCode
from labwire.testing.rig import running_rig
from labwire.testing.waiting import wait_until
from tests.films import BPM, write_film
from tests.ports import lasting_port
from tests.sources.clips import jpegs
from tests.sources.test_stream import motion_jpeg_server

LIMIT_S = 40.0

RIG = """
name = "vitals"

[cameras.face]
video = "film.avi"
realtime = false
queue_policy = "block"
"""


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_film(tmp_path_factory.mktemp("film") / "film.avi").read_bytes()


def test_vital_signs_are_on_the_bus_and_in_the_files(tmp_path: Path, film: bytes) -> None:
    (tmp_path / "film.avi").write_bytes(film)
    toml = RIG + '[file_ipc]\ncamera = "face"\nbase_directory = "out"\nmax_frame_count = 20\n'
    with running_rig(tmp_path, toml) as running, running.connect() as rig:
        with rig.subscribe("core_metrics.face") as messages:
            core = messages.recv(LIMIT_S).payload
        with rig.subscribe("edge_metrics.face") as messages:
            edge = messages.recv(LIMIT_S).payload
        with rig.subscribe("camera.face") as messages:
            counters = messages.recv(LIMIT_S).payload
        with rig.subscribe("status.face") as messages, (tmp_path / "out" / "edge_metrics.jsonl").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            while (status := messages.recv(LIMIT_S).payload)["code"] != StatusCode.LOCK_CONFLICT:
                pass
    assert abs(core["pulse"]["strict"]["value"] - BPM) < 5
    assert 0 < core["pulse"]["strict"]["confidence"] <= 1
    assert {"upper_breathing_trace", "timestamp", "epoch_us"} <= set(edge)
    assert (counters["dropped"], counters["not_measured"], counters["not_written"]) == (0, 0, 0)
    assert {"code", "message", "timestamp", "epoch_us", "seq"} <= set(status)
    written = {record.timestamp: record for record in read(tmp_path / "out") if record.type == "core_metrics"}
    assert written[core["epoch_us"]].payload["pulse"]["strict"] == core["pulse"]["strict"]


def test_a_lost_camera_is_a_gap(tmp_path: Path) -> None:
    toml = '[cameras.face]\nurl = "{}"\n[cameras.face.vitals]\n'
    with ExitStack() as first:
        server = first.enter_context(motion_jpeg_server(jpegs(3), port := lasting_port()))
        with running_rig(tmp_path, toml.format(server.url)) as running, running.connect() as rig:
            with rig.subscribe("frame.face") as pictures:
                pictures.recv(LIMIT_S)
            with rig.subscribe("notify.") as notes:
                first.close()
                while notes.recv(LIMIT_S).payload["subject"] != "camera.failed":
                    pass
                with motion_jpeg_server(jpegs(3), port):
                    while (gap := notes.recv(LIMIT_S).payload)["subject"] != "recording.gap":
                        pass
    assert (gap["camera"], gap["stream"]) == ("face", "frame.face")
    assert "broke off" in gap["reason"] or "has ended" in gap["reason"]
    assert gap["begin"] < gap["end"]


def test_vital_signs_need_no_files_and_files_no_vital_signs(tmp_path: Path, film: bytes) -> None:
    (tmp_path / "film.avi").write_bytes(film)
    other = (
        '[cameras.world]\nvideo = "film.avi"\n[file_ipc]\ncamera = "world"\nbase_directory = "out"\nmetrics = false\n'
    )
    toml = f"{RIG}[cameras.face.vitals]\nbreathing = false\n{other}max_frame_count = 20\n"
    with running_rig(tmp_path, toml) as running, running.connect() as rig, rig.subscribe("core_metrics.") as messages:
        core = messages.recv(LIMIT_S)
        wait_until((tmp_path / "out" / "latest.jpg").exists, "a frame of the other camera", limit_s=LIMIT_S)
    assert core.topic == "core_metrics.face"
    assert "breathing" not in core.payload
    assert {record.type for record in read(tmp_path / "out")} == {"status"}
