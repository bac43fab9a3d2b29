"""An LSL stream on the bus; needs pylsl, whose wheel brings the library."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from labwire.bus.subscription import Subscription
from labwire.client import Rig
from labwire.errors import DeviceError
from labwire.sources.config import LslConfig
from labwire.sources.lsl import LslReader
from labwire.strict import find_mistakes
from labwire.testing import wait_until
from labwire.testing.processes import running_process
from labwire.wire.bus_message import BusMessage
from tests.rig_fixture import RunningRig, running_rig

pytestmark = pytest.mark.skipif(not importlib.util.find_spec("pylsl"), reason="pylsl is not installed")

OUTLET = """
import sys, time
import pylsl

info = pylsl.StreamInfo(sys.argv[1], "Test", 2, 200, "double64", sys.argv[1])
channels = info.desc().append_child("channels")
for label in ("left", "right"):
    channel = channels.append_child("channel")
    channel.append_child_value("label", label)
    channel.append_child_value("unit", "uV")
outlet = pylsl.StreamOutlet(info)
offset_s = float(sys.argv[2])
number = 0
while True:
    outlet.push_sample([number, -number], pylsl.local_clock() + offset_s)
    number += 1
    time.sleep(0.005)
"""
TOML = """
name = "lsl"

[sources.eeg]
kind = "lsl"
stream = "{name}"
"""
# Streams of this computer only, and only what is wrong in its log.
LSL_SETTINGS = "[multicast]\nResolveScope = machine\n[log]\nlevel = -2\n"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lsl_api.cfg").write_text(LSL_SETTINGS)
    monkeypatch.setenv("LSLAPICFG", str(tmp_path / "lsl_api.cfg"))


@pytest.fixture
def stream(tmp_path: Path) -> str:
    return f"labwire-{tmp_path.name}"


def outlet(name: str, offset_s: float = 0.0) -> AbstractContextManager[subprocess.Popen[bytes]]:
    return running_process([sys.executable, "-c", OUTLET, name, str(offset_s)], stderr=subprocess.DEVNULL)


@pytest.fixture
def running(settings: None, stream: str, tmp_path: Path) -> Iterator[RunningRig]:
    with running_rig(tmp_path, TOML.format(name=stream)) as running:
        yield running


def state_of(rig: Rig) -> dict[str, object]:
    return next((value.payload for value in rig.bus.last("source.eeg")), {})


def next_of(topic: str, bus: Subscription[BusMessage]) -> BusMessage:
    while (message := bus.recv(20)).topic != topic:
        pass
    return message


def test_samples_have_rig_time_and_a_lost_stream_is_a_gap(running: RunningRig, stream: str) -> None:
    with running.connect() as rig, rig.subscribe("lsl.eeg", "notify.source") as bus:
        rig.request("T 5000")
        with outlet(stream):
            found = next_of("notify.source.found", bus)
            assert found.payload["stream"]["channels"] == ["left", "right"]
            numbers: list[float] = []
            while len(numbers) < 100:
                chunk = next_of("lsl.eeg", bus).payload
                assert len(chunk["timestamps"]) == len(chunk["samples"])
                assert chunk["timestamp"] == chunk["timestamps"][0]
                assert all(sample[1] == -sample[0] for sample in chunk["samples"])
                assert abs(chunk["timestamps"][-1] - rig.now()) < 5
                numbers += [sample[0] for sample in chunk["samples"]]
            assert numbers == [numbers[0] + step for step in range(len(numbers))]
            wait_until(lambda: state_of(rig).get("connected"), "the state")
        next_of("notify.source.lost", bus)
        wait_until(lambda: state_of(rig).get("connected") is False, "the loss")
        with outlet(stream):
            assert next_of("notify.source.found", bus).payload["gap_s"] > 0
            next_of("lsl.eeg", bus)


def test_a_stream_that_is_not_there(settings: None) -> None:
    with pytest.raises(DeviceError, match=r"there is no LSL stream with source_id=\"it's gone\""):
        LslReader(LslConfig(source_id="it's gone"))


def test_some_stream_must_be_named() -> None:
    (mistake,) = find_mistakes({"kind": "lsl"}, LslConfig)
    assert "`stream`" in mistake.text
