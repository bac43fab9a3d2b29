"""A recording back on a real bus: the same messages in the same order, the clock, the operations, foreign clients."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labwire.client import connect
from labwire.errors import UsageError
from labwire.sessions.replay.replay_source import open_source
from labwire.testing.processes import LIMIT_S, running_process
from labwire.testing.rig import RunningRig, environment, run_labwire, running_rig
from tests.sessions.making import wait_for
from tests.sessions.recorded import record_session

RIG = """
name = "replay"
[web]
enabled = false
[actors.replay]
class = "labwire.actors.replay:ReplayActor"
session = {session!r}
loop = true
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[bytes, ...]]]:
    return record_session(tmp_path_factory.mktemp("recordings"))


@pytest.fixture(scope="module")
def rig(
    recorded: tuple[Path, list[tuple[bytes, ...]]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningRig]:
    with running_rig(tmp_path_factory.mktemp("rig"), RIG.format(session=str(recorded[0]))) as running:
        yield running


PROBES = 20  # the bus takes turns with its publishers: with each it has taken what another has sent before
TOPICS = ("pupil.", "scale", "frame.", "annotation", "raw")


def test_the_same_messages_in_the_same_order(rig: RunningRig, recorded: tuple[Path, list[tuple[bytes, ...]]]) -> None:
    wanted = [parts for parts in recorded[1] if parts[0].startswith(tuple(topic.encode() for topic in TOPICS))]
    with rig.connect() as client, client.subscribe(*TOPICS, depth=100_000) as heard:
        heard.wait_connected(LIMIT_S)
        client.replay.pause()
        client.replay.seek(0.0)
        for _ in range(PROBES):  # what comes behind the last is of the replay from its beginning
            client.send("scale.probe", {})
        probes = 0
        while probes < PROBES:
            probes += heard.recv(LIMIT_S).topic == "scale.probe"
        client.replay.resume()
        got = [heard.recv(LIMIT_S) for _ in wanted]
    topics = [parts[0].decode() for parts in wanted]
    assert [message.topic for message in got] == topics
    assert [message.raw for message in got] == [parts[2:] for parts in wanted]
    scale = [message.payload["seq"] for message in got if message.topic == "scale"]
    assert scale == list(range(60))


def test_rig_time_is_that_of_the_recording(rig: RunningRig, recorded: tuple[Path, list[tuple[bytes, ...]]]) -> None:
    source = open_source(recorded[0])
    source.close()
    with rig.connect() as client, client.subscribe("pupil.") as heard:
        heard.wait_connected(LIMIT_S)
        message = heard.recv(LIMIT_S)
        asked = float(client.request("t"))
    assert source.rig_time_s(0.0) <= message.payload["timestamp"] <= source.rig_time_s(source.duration_s)
    assert abs(asked - message.payload["timestamp"]) < 5.0


def test_operations_and_the_state_on_the_bus(rig: RunningRig) -> None:
    with rig.connect() as client, client.subscribe("replay.state") as heard:
        heard.wait_connected(LIMIT_S)
        assert client.replay.pause().state == "paused"
        assert client.replay.seek(0.25).time_s == 0.25
        assert client.replay.speed(2.0).speed == 2.0
        while heard.recv(LIMIT_S).payload["state"] != "paused":
            pass
        client.replay.resume()
        wait_for(lambda: client.replay.status().loops > 0)
        client.replay.speed(1.0)
        with pytest.raises(UsageError):
            client.replay.seek(1e6)
    assert "playing" in rig.labwire("replay", "status").stdout
    assert rig.labwire("replay", "seek", "-1").returncode == 2


def test_frames_come_in_the_format_that_a_client_asks_for(rig: RunningRig) -> None:
    with rig.connect() as client, client.subscribe("frame.", "notify.frame_publishing.") as heard:
        heard.wait_connected(LIMIT_S)
        client.notify("frame_publishing.set_format", format="gray")
        while (message := heard.recv(LIMIT_S)).payload.get("format") != "gray" or not message.raw:
            pass
        assert len(message.raw[0]) == message.payload["width"] * message.payload["height"]
        client.notify("frame_publishing.set_format", format="tiff")
        while (message := heard.recv(LIMIT_S)).topic != "notify.frame_publishing.failed":
            pass
        client.notify("frame_publishing.set_format", format="jpeg")
        while heard.recv(LIMIT_S).payload.get("format") != "jpeg":
            pass


def test_the_command_makes_a_bus_of_its_own(recorded: tuple[Path, list[tuple[bytes, ...]]], tmp_path: Path) -> None:
    source = open_source(recorded[0], topics=["scale"])
    *_, from_s = (message.time_s for message, _ in zip(source.messages(0.0), range(31), strict=False))
    source.close()
    command = [sys.executable, "-m", "labwire", "replay", str(recorded[0]), "--speed", "2", "--from", f"{from_s:.6f}s"]
    command += ["--topics", "scale", "--loop", "--remote-port", "0", "--no-web", "--json"]
    with running_process(command, env=environment(tmp_path), cwd=tmp_path) as process:
        assert process.stdout
        ready = json.loads(process.stdout.readline())
        port = int(ready["remote"].rpartition(":")[2])
        with connect("127.0.0.1", port, timeout_s=LIMIT_S) as client, client.subscribe("") as heard:
            heard.wait_connected(LIMIT_S)
            numbers: list[int] = []
            while len(numbers) < 80:
                message = heard.recv(LIMIT_S)
                assert not message.topic.startswith("pupil."), "only the topics that were named"
                if message.topic == "scale":
                    numbers.append(message.payload["seq"])
            assert client.request("v")
            process.terminate()
        assert process.wait(LIMIT_S) == 0
    assert min(numbers) in {30, 31}, "it begins there, in each round"


def test_into_a_rig_that_runs(recorded: tuple[Path, list[tuple[bytes, ...]]], tmp_path: Path) -> None:
    assert (
        run_labwire(
            "replay", str(recorded[0]), "--into", "x:1", "--no-web", env=environment(tmp_path), cwd=tmp_path
        ).returncode
        == 2
    )
    with running_rig(tmp_path, "[web]\nenabled = false\n") as running, running.connect() as client:
        before = float(client.request("t"))
        command = [sys.executable, "-m", "labwire", "replay", str(recorded[0]), "--into", f"127.0.0.1:{running.port}"]
        with client.subscribe("scale", "annotation", "notify.", depth=10_000) as heard:
            heard.wait_connected(LIMIT_S)
            with running_process([*command, "--loop"], env=environment(tmp_path), cwd=tmp_path) as process:
                while heard.recv(LIMIT_S).topic != "annotation":
                    pass
                assert client.replay.status().state == "playing"
                assert 0 < float(client.request("t")) - before < 60, "the clock is the rig's own"
                process.send_signal(signal.SIGINT)
                process.wait(LIMIT_S)
            with running_process([*command, "--speed", "50"], env=environment(tmp_path), cwd=tmp_path) as process:
                assert process.wait(LIMIT_S) == 0, "it ends with the recording"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["nothing"], 4), (["."], 4), (["{folder}", "--speed", "0"], 2), (["{folder}", "--from", "9h"], 2)],
)
def test_refusals_come_before_anything_starts(
    recorded: tuple[Path, list[tuple[bytes, ...]]], tmp_path: Path, arguments: list[str], code: int
) -> None:
    told = [argument.format(folder=recorded[0]) for argument in arguments]
    done = run_labwire("replay", *told, env=environment(tmp_path), cwd=tmp_path)
    assert done.returncode == code, done.stderr
