"""Writers in a real rig: runs stored, told on the bus, kept in a session."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from labwire.client import Rig, connect
from labwire.errors import NotFoundError
from labwire.operations.detectors import Detectors
from labwire.operations.recording import Recording
from labwire.operations.writers import RunReport, Writers, WriterStatus
from labwire.wire.bus_message import BusMessage
from tests.bus.fake_hub import LIMIT_S, wait_until
from tests.images.runs import end, image, image_message, pixels_of, read_images, start_message, start_of
from tests.images.tcp_detector import TcpDetector, stepping
from tests.images.zeromq_detector import ZeroMqDetector
from tests.ports import lasting_port
from tests.rig_fixture import RunningRig, environment, run_labwire, running_rig

TOML = """
name = "beamline"

[writers.disk1]
address = "{tcp}"
folder = "images"
flush_s = 0

[writers.disk2]
address = "{zeromq}"
folder = "{more}"

[recorder]
disk_warn_bytes = 0
disk_stop_bytes = 0
"""


class Beamline(NamedTuple):
    running: RunningRig
    tcp: TcpDetector
    zeromq: ZeroMqDetector
    folder: Path


@pytest.fixture(scope="module")
def beamline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beamline]:
    folder = tmp_path_factory.mktemp("beamline")
    with TcpDetector() as tcp, ZeroMqDetector() as zeromq:
        toml = TOML.format(tcp=tcp.address, zeromq=zeromq.addresses[0], more=folder / "more")
        with running_rig(folder, toml) as running:
            tcp.wait_writers(1)
            yield Beamline(running, tcp, zeromq, folder)


@pytest.fixture
def rig(beamline: Beamline) -> Iterator[Rig]:
    with connect(port=beamline.running.port, timeout_s=LIMIT_S) as rig:
        yield rig


def run_over_tcp(detector: TcpDetector, number: int, images: int = 5) -> None:
    start = start_message(images, 2, run=number, user={"file_prefix": f"run{number}"})
    run = detector.begin(number, start_of(start), images_per_file=2)
    for image_number in range(images):
        detector.send(run, image_number, image(image_number))
    assert detector.end(run, end()).ok


def next_of(messages: Iterable[BusMessage], subject: str) -> dict[str, Any]:
    return next(message.payload for message in messages if message.payload.get("subject") == subject)


def status_of(rig: Rig, name: str) -> WriterStatus:
    return rig.service(Writers).status(name)


def last_run(rig: Rig, name: str, number: int) -> RunReport:
    """Wait until a run is the last one of a writer, and return it."""
    wait_until(lambda: [run.run_number for run in status_of(rig, name).last_runs[:1]] == [number], f"run {number}")
    return status_of(rig, name).last_runs[0]


def test_a_run_is_told_on_the_bus(beamline: Beamline, rig: Rig) -> None:
    with rig.subscribe("notify.writer.", "writer.disk1.") as messages:
        run_over_tcp(beamline.tcp, 10)
        started = next_of(messages, "writer.run_started")
        assert (started["writer"], started["run_number"], started["images"]) == ("disk1", 10, 5)
        finished = next_of(messages, "writer.run_finished")
        assert (finished["ok"], finished["images"], finished["missing"], finished["file_count"]) == (True, 5, 0, 3)
        assert (read_images(finished["master_file"]) == np.stack([pixels_of(n) for n in range(5)])).all()
        state = next(message.payload for message in messages if message.topic == "writer.disk1.state")
        assert (state["name"], state["connected"], state["connections"]) == ("disk1", 1, 1)
    assert Path(finished["master_file"]) == beamline.folder / "images" / "run10_master.h5"


def test_operations_tell_of_all_writers(beamline: Beamline, rig: Rig) -> None:
    run_over_tcp(beamline.tcp, 20)
    with stepping(beamline.tcp):
        wait_until(lambda: status_of(rig, "disk2").connected, "the ZeroMQ writer is connected")
        first, second = rig.service(Writers).list()
        assert (first.name, second.name) == ("disk1", "disk2")
        last = last_run(rig, "disk1", 20)
        assert (last.run_number, last.ok, last.file_count, first.state) == (20, True, 3, "idle")
        assert first.images >= 5
        assert status_of(rig, "disk1").address == beamline.tcp.address
        with pytest.raises(NotFoundError, match="disk3"):
            status_of(rig, "disk3")
        done = beamline.running.labwire("writers", "list")
        assert done.returncode == 0, done.stderr
        assert "disk2" in done.stdout


def test_a_run_that_is_not_whole_is_an_error(beamline: Beamline, rig: Rig) -> None:
    with rig.subscribe("notify.writer.", "logging.error") as messages:
        beamline.zeromq.begin(start_message(3, run=30, user={"file_prefix": "run30"}))
        beamline.zeromq.send(image_message(1, series_id=30))
        beamline.zeromq.end(30)
        finished = next_of(messages, "writer.run_finished")
    assert (finished["writer"], finished["ok"], finished["missing_images"]) == ("disk2", False, [0, 2])
    assert beamline.zeromq.notes()[0].processed_images == 1
    status = status_of(rig, "disk2")
    assert "not whole" in status.last_error
    assert status.missing == 2


def test_a_session_has_the_paths_of_its_runs(beamline: Beamline, rig: Rig) -> None:
    with stepping(beamline.tcp):
        started = rig.service(Recording).start("with images")
        assert {"disk1", "disk2"} <= set(started.started), started
    run_over_tcp(beamline.tcp, 40)
    with stepping(beamline.tcp):
        last_run(rig, "disk1", 40)
        stopped = rig.service(Recording).stop()
    assert (stopped.counters["disk1"].written, stopped.counters["disk2"].written) == (5, 0)
    folder = Path(started.rec_path)
    (line,) = (folder / "writer.disk1.jsonl").read_text().splitlines()
    run = json.loads(line)
    assert (run["run_number"], run["ok"], len(run["files"])) == (40, True, 3)
    assert (folder / "writer.disk2.jsonl").read_text() == ""
    manifest = json.loads((folder / "session.json").read_text())
    (listed,) = manifest["streams"]["disk1"]["about"]["runs"]
    assert listed["master_file"] == str(beamline.folder / "images" / "run40_master.h5")
    assert all(Path(path).is_file() for path in listed["files"])


def test_what_is_wrong_in_a_rig_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "rig.toml").write_text(
        '[writers.a]\naddress = "tcp://10.0.0.1"\n[writers.b]\naddress = "zmq+tcp://a:1"\nconnections = 2\n'
        '[writers.hub]\naddress = "tcp://a:1"\n'
    )
    checked = run_labwire("config", "check", "rig.toml", env=environment(tmp_path), cwd=tmp_path)
    assert checked.returncode
    for text in ("no address of an image stream", "must be 1 with ZeroMQ", '"hub" belongs to'):
        assert text in checked.stdout + checked.stderr


def test_a_detector_of_the_same_rig(tmp_path: Path) -> None:
    address = f"tcp://127.0.0.1:{lasting_port()}"
    toml = f"""
    name = "both"
    [detectors.det1]
    images = 12
    file_prefix = "lyso"
    images_per_file = 5
    source = {{ kind = "simulated", width_px = 64, height_px = 32 }}
    stream = {{ kind = "tcp", address = "{address}" }}
    [writers.disk1]
    address = "{address}"
    """
    with running_rig(tmp_path, toml) as running, running.connect() as rig:
        wait_until(lambda: status_of(rig, "disk1").connected, "the writer has found the detector")
        rig.service(Detectors).start("det1")
        assert rig.service(Detectors).wait("det1").result(LIMIT_S).acknowledged == 12
        wait_until(lambda: status_of(rig, "disk1").last_runs, "the run of the writer")
        (last,) = status_of(rig, "disk1").last_runs
    assert (last.ok, last.images, last.file_count) == (True, 12, 3)
    assert read_images(str(tmp_path / "images" / "lyso_master.h5")).shape == (12, 32, 64)
