"""PyPlr, a library for research on the pupillary light reflex, unmodified: its Pupil Core module talks to a rig.

PyPlr needs ten large packages for its other modules and none of them for this one. So it is installed without them,
into a folder that is thrown away, and only in a soak run because that needs the network.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from labwire import __version__
from labwire.client import connect
from tests.rig_fixture import RunningRig

REQUIREMENT = Path(__file__).with_name("pyplr.txt")
LIMIT_S = 10.0

# PyPlr leaves its subscribers to the garbage collector, where pyzmq complains of them.
pytestmark = [pytest.mark.soak, pytest.mark.filterwarnings("ignore:Unclosed socket:ResourceWarning")]


@pytest.fixture(scope="module")
def pyplr_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pyplr")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "--no-deps", "--require-hashes", "--target", str(folder), "--requirement", str(REQUIREMENT)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if done.returncode:
        pytest.skip(f"PyPlr cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    return folder


@pytest.fixture
def core(pupil_like_rig: RunningRig, pyplr_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(pyplr_folder)
    core = import_module("pyplr.pupil").PupilCore(request_port=str(pupil_like_rig.port))
    yield core
    # PyPlr never ends its context, and these two sockets it made past the context, which does not know them.
    core.remote.close(linger=0)
    core.pub_socket.close(linger=0)
    core.context.destroy(linger=0)


def test_commands(core: Any) -> None:
    assert core.command("v") == __version__
    assert core.command("T 100.0") == "Timesync successful."
    assert 100 <= float(core.command("t")) < 100 + 6 * LIMIT_S
    assert core.get_corrected_pupil_time() >= 100
    assert core.command("what is this") == "Unknown command."


def test_record_with_an_annotation(pupil_like_rig: RunningRig, core: Any) -> None:
    with connect(port=pupil_like_rig.port) as rig, rig.subscribe("notify.recording.", "annotation") as seen:
        assert core.annotation_capture_plugin("start") == "Notification received"
        assert core.command("R a light") == "OK"
        annotation = core.new_annotation("LIGHT_ON", {"duration": 2, "color": "blue"})
        core.send_annotation(annotation)
        assert core.command("r") == "OK"
        topics: dict[str, Any] = {}
        while not {"notify.recording.started", "notify.recording.stopped", "annotation"} <= topics.keys():
            message = seen.recv(LIMIT_S)
            topics[message.topic] = message.payload
    assert topics["annotation"] == annotation
    assert Path(topics["notify.recording.stopped"]["rec_path"]).parent.name == "a light"


@pytest.mark.parametrize("topic", ["pupil.0.3d", "gaze.3d.01."])
def test_grab_data(core: Any, topic: str) -> None:
    data = core.grab_data(topic, 0.2)
    assert data
    assert all(datum["topic"] == topic for datum in data)


def test_look_for_a_light_in_the_world_camera(core: Any) -> None:
    core.notify({"subject": "frame_publishing.set_format", "format": "bgr"})
    subscriber = core.subscribe_to_topic("frame.world")
    frame, timestamp = core.get_next_camera_frame(subscriber, "frame.world")
    assert frame.ndim == 3
    assert timestamp > 0
    # The demo's picture only pans: there is no light to find, and the search ends by itself.
    assert core.detect_light_onset(core.new_annotation("light"), timeout=0.5, threshold=200) == (False,)
