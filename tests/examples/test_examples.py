"""Every example runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import zmq

from labwire.client import Rig
from labwire.operations.detectors import Detectors
from labwire.testing import wait_until
from labwire.wire.bus_message import decode_payload
from tests.examples.rigs import of_this_test
from tests.rig_fixture import RunningRig, running_rig

pytestmark = pytest.mark.timeout(180)  # whole rigs, of many processes

EXAMPLES = Path(__file__).parents[2] / "examples"
RIG = """
name = "examples"

[cameras.world]
demo = true

[sources.eyes]
kind = "simulated_eyes"

[instruments.DMM1]
driver = "labwire.instruments.drivers.simulated:Multimeter"
queue = "socket"

[instruments.SCOPE1]
driver = "labwire.instruments.drivers.simulated:Oscilloscope"
queue = "socket"

[recorder]
disk_warn_bytes = 0
disk_stop_bytes = 0
"""


def run_example(name: str, rig: RunningRig) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), str(rig.port)],
        cwd=rig.folder,
        env=rig.env,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("rig", [RIG], indirect=True)
def test_scripts(rig: RunningRig) -> None:
    assert len(run_example("listen", rig).splitlines()) == 10
    assert run_example("annotate", rig).splitlines() == ["Message forwarded."] * 3
    assert "640 x 480" in run_example("pictures", rig)
    assert next(rig.folder.glob("world-*.jpg")).read_bytes().startswith(b"\xff\xd8")
    assert "a wave of 100000 points" in run_example("instrument", rig)
    swept = rig.labwire("script", str(EXAMPLES / "sweep.py"), "5")
    assert swept.stdout.startswith("5 readings: 3.14"), swept.stderr
    recorded = run_example("record", rig)
    assert "bus: " in recorded
    assert (rig.folder / "recordings" / "my first session" / "000" / "bus.mcap").exists()


def test_every_script_is_run() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {
        *("listen", "annotate", "pictures", "record"),
        *("instrument", "sweep"),
    }


def test_every_rig_is_started() -> None:
    assert {path.stem for path in (EXAMPLES / "rigs").glob("*.toml")} == {
        *("bench", "eye-tracking", "vitals", "beamline", "everything"),
    }


def wait_until_all_run(rig: Rig) -> None:
    """Wait for all actors: on a busy machine a rig says that it is ready before the last of many are."""
    wait_until(lambda: {actor.state for actor in rig.actors.list()} == {"running"}, "all actors", limit_s=40.0)


@pytest.mark.parametrize(
    ("name", "streams", "topics"),
    [
        ("vitals", {"pictures"}, {"frame.face"}),
        ("beamline", {"det1", "disk1", "disk2"}, {"detector.det1.state"}),
        ("everything", {"pictures", "instruments", "det1", "disk1", "disk2"}, {"gaze.3d.01.", "frame.face"}),
    ],
)
def test_a_rig_starts_and_records_all_of_it(tmp_path: Path, name: str, streams: set[str], topics: set[str]) -> None:
    with running_rig(tmp_path, of_this_test(name)) as running, running.connect() as rig:
        wait_until_all_run(rig)
        if "det1" in streams:
            wait_until(lambda: rig.service(Detectors).status("det1").writers == 2, "two writers")
        with rig.subscribe(*topics) as bus:
            started = rig.record.start("all")
            assert started.failed == []
            assert {"bus", "player", *streams} <= set(started.started)
            while topics:
                topics = topics - {bus.recv(timeout_s=20).topic}
        if "det1" in streams:
            images = tmp_path / "images"
            numbers = ("000001", "000002")  # of one writer, and of the other
            wait_until(lambda: all(list(images.glob(f"**/*_data_{one}.h5")) for one in numbers), "images of both")
        if "pictures" in streams:
            wait_until((tmp_path / "vitals_output" / "status.jsonl").exists, "the file backend")
        counters = rig.record.stop().counters
        assert sum(counters[one].dropped for one in counters) == 0


def test_eye_tracking(tmp_path: Path) -> None:
    text = (EXAMPLES / "rigs" / "eye-tracking.toml").read_text()
    with running_rig(tmp_path, text) as rig, rig.connect() as client:
        wait_until_all_run(client)
        with client.subscribe("pupil.", "gaze.", "frame.world") as bus:
            wanted = {"pupil.0.2d", "pupil.1.3d", "gaze.3d.01.", "frame.world"}
            while wanted:
                wanted.discard(bus.recv(timeout_s=20).topic)


def test_the_bench(tmp_path: Path) -> None:
    text = (EXAMPLES / "rigs" / "bench.toml").read_text()
    dmm, crash = f"DMM{os.getpid()}", f"CRASH{os.getpid()}"  # other runs of the tests must not have these names
    with running_rig(tmp_path, text.replace("DMM1", dmm).replace("CRASH1", crash)) as rig:
        value, unit = rig.labwire("call", dmm, "MEASURE_VOLTAGE", "range=10", "samples=100").stdout.split()
        assert (3.1 < float(value) < 3.2, unit) == (True, "V")
        assert "float32 (10," in rig.labwire("call", "SCOPE1", "READ_WAVEFORM", "points=10").stdout
        died = rig.labwire("call", crash, "CRASH", "way=segfault")
        assert "Worker died" in died.stderr
        assert rig.labwire("call", crash, "ECHO", "value=2").stdout == "2.0\n"


def test_alarm_rings(tmp_path: Path) -> None:
    for path in (EXAMPLES / "alarm").glob("*"):
        if path.is_file():
            (tmp_path / path.name).write_text(path.read_text())
    with running_rig(tmp_path, (EXAMPLES / "alarm" / "rig.toml").read_text()) as rig, zmq.Context() as context:
        subscriber = context.socket(zmq.SUB)
        subscriber.rcvtimeo = 20_000
        subscriber.subscribe(b"notify.alarm.rang")
        subscriber.connect(f"tcp://127.0.0.1:{rig.ready.sub_port}")
        remote = context.socket(zmq.REQ)
        remote.rcvtimeo = 20_000
        remote.connect(rig.ready.remote)
        while True:  # until the subscription holds
            remote.send(b"R")  # this rig has no recorder
            assert remote.recv() == b"OK"
            if subscriber.poll(1000):
                break
        _, payload = subscriber.recv_multipart()
        assert "no recorder" in decode_payload(payload)["reason"]
        subscriber.close()
        remote.close()
