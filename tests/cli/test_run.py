"""``labwire run`` from outside: a real rig in a process of its own."""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import zmq

from labwire.errors import ERROR_CODES, ConfigError, LabwireError, NotFoundError, PortTakenError, UsageError
from labwire.testing import wait_until
from labwire.testing.processes import left_behind
from tests.bus.fake_hub import LIMIT_S
from tests.rig_fixture import EYES, RunningRig, environment, run_labwire, running_rig
from tests.terminal import on_a_terminal

BARE = 'name = "bare"\n'


def ask(rig: RunningRig, *parts: bytes) -> bytes:
    with zmq.Context() as context, context.socket(zmq.REQ) as socket_:
        socket_.linger = 0
        socket_.connect(rig.ready.remote)
        socket_.send_multipart(parts)
        assert socket_.poll(int(LIMIT_S * 1000)), "the Remote does not answer"
        return socket_.recv()


def test_ready_line_tells_what_a_program_needs(rig: RunningRig) -> None:
    ready = rig.ready
    assert ready.remote.startswith("tcp://127.0.0.1:")
    assert ready.pid == rig.process.pid
    assert {"hub", "steward", "eyes", "recorder"} <= set(ready.actors)
    assert ready.failed == []
    assert not ready.exposed
    assert ask(rig, b"SUB_PORT") == str(ready.sub_port).encode()
    assert ask(rig, b"PUB_PORT") == str(ready.pub_port).encode()
    assert ask(rig, b"RPC_PORT") == str(ready.rpc_port).encode()
    rig.stop()
    assert rig.process.stdout
    assert rig.process.stdout.read() == b"", "exactly one line on standard output"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("rig", [BARE], indirect=True)
def test_signals_end_it_cleanly(rig: RunningRig, number: signal.Signals) -> None:
    assert rig.stop(number) == 0
    for port in (rig.port, rig.ready.pub_port, rig.ready.sub_port, rig.ready.push_port, rig.ready.rpc_port):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
    assert "Traceback" not in rig.stderr


@pytest.mark.parametrize("rig", [BARE], indirect=True)
def test_a_taken_port_is_named_with_its_owner_and_the_option(rig: RunningRig) -> None:
    second = run_labwire("run", "--remote-port", str(rig.port), env=rig.env, cwd=rig.folder)
    assert second.returncode == ERROR_CODES[PortTakenError].exit_code
    assert f"error: port {rig.port} is taken by" in second.stderr
    assert f"pid {rig.process.pid}" in second.stderr
    assert "--remote-port" in second.stderr
    assert second.stdout == ""
    assert "Traceback" not in second.stderr


@pytest.mark.parametrize("rig", [BARE], indirect=True)
def test_a_taken_port_as_json(rig: RunningRig) -> None:
    second = run_labwire("run", "--remote-port", str(rig.port), "--json", env=rig.env, cwd=rig.folder)
    error = json.loads(second.stderr)
    assert error["error"] == "PortTakenError"
    assert error["exit_code"] == second.returncode == 14
    assert error["data"]["port"] == rig.port
    assert second.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (["nowhere.toml"], ConfigError, ["nowhere.toml", "labwire config default"]),
        (["typo.toml"], ConfigError, ["line 2", "did you mean"]),
        (["--video", "nowhere.mp4"], ConfigError, ["nowhere.mp4"]),
        (["--video", "a.mp4", "--camera", "0"], UsageError, ["--video", "--camera"]),
        (["fine.toml", "--camera", "0"], UsageError, ["--camera", "camera = 0"]),
        (["--remote-port", "99999"], ConfigError, ["port", "65535"]),
        (["--remote-prot", "0"], UsageError, ["--remote-port"]),
        (["--name", "a/b"], ConfigError, ["a/b"]),
    ],
)
def test_what_a_newcomer_gets_wrong_reads_well(
    tmp_path: Path, arguments: list[str], kind: type[LabwireError], words: list[str]
) -> None:
    (tmp_path / "typo.toml").write_text("[remote]\nprot = 1\n")
    (tmp_path / "fine.toml").write_text(BARE)
    done = run_labwire("run", *arguments, env=environment(tmp_path), cwd=tmp_path)
    assert done.returncode == ERROR_CODES[kind].exit_code
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    assert done.stdout == ""


def test_a_log_that_cannot_be_written_is_told_and_the_rest_runs(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with running_rig(tmp_path, f'{EYES}\n[log]\nfolder = "file/log"\n') as rig:
        assert "steward" in rig.ready.failed
        with rig.connect() as client, client.subscribe("pupil.") as pupils:
            assert pupils.recv(LIMIT_S).payload["timestamp"]
        assert float(ask(rig, b"t")) > 0
        assert rig.stop(signal.SIGINT) == 0
    assert "cannot write the log file" in rig.stderr
    assert "choose [log] folder" in rig.stderr


def test_who_asks_for_a_recorder_that_cannot_run_is_told_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with running_rig(tmp_path, f'{EYES}root = "file/recordings"\n') as rig:
        wait_until(lambda: "choose [recorder] root" in rig.labwire("status").stdout, "the reason in the status")
        with rig.connect() as client, client.subscribe("notify.recording.failed") as heard:
            heard.wait_connected(LIMIT_S)
            assert ask(rig, b"R") == b"OK"
            reason = heard.recv(LIMIT_S).payload["reason"]
        assert reason.startswith("the recorder does not run: ")
        assert reason.endswith("choose [recorder] root")
        asked = rig.labwire("record", "start")
        assert asked.returncode == ERROR_CODES[NotFoundError].exit_code
        assert "hint: `labwire status` tells whether one that could does not run" in asked.stderr


def test_an_actor_is_stopped_and_restarted(rig: RunningRig) -> None:
    def eyes() -> dict[str, Any]:
        actors = json.loads(rig.labwire("actors", "list", "--json").stdout)
        return next(actor for actor in actors if actor["name"] == "eyes")

    first = eyes()
    assert first["state"] == "running"
    assert rig.labwire("actors", "restart", "eyes").returncode == 0
    assert rig.labwire("sub", "pupil.", "--count", "1", "--seconds", "20").stdout
    while eyes()["state"] != "running":
        pass
    assert eyes()["pid"] != first["pid"]
    assert rig.labwire("actors", "stop", "eyes").returncode == 0
    while eyes()["state"] != "stopped":
        pass
    assert rig.labwire("sub", "pupil.", "--seconds", "0.3").stdout == ""


def test_the_demo_rig_runs(tmp_path: Path) -> None:
    with running_rig(tmp_path, None) as rig:
        assert rig.ready.name == "demo"
        with rig.connect() as client:  # on a busy machine a rig is ready before the last of its actors
            wait_until(lambda: {actor.state for actor in client.actors.list()} == {"running"}, "all actors")
            assert {"world", "eyes", "recorder"} <= {actor.name for actor in client.actors.list()}
        assert "width=640" in rig.labwire("sub", "frame.world", "--count", "1", "--seconds", "20").stdout
        latest = tmp_path / "file_ipc_output" / "latest.jpg"
        while not latest.exists():
            assert rig.process.poll() is None, rig.stderr
        assert latest.read_bytes().startswith(b"\xff\xd8")


def test_the_demo_rig_plays_a_file_of_yours(tmp_path: Path) -> None:
    write_clip(tmp_path / "own.mkv", width=64, height=48)
    with running_rig(tmp_path, None, ["--video", "own.mkv", "--name", "mine"]) as rig:
        assert rig.ready.name == "mine"
        assert "width=64 height=48" in rig.labwire("sub", "frame.world", "--count", "1", "--seconds", "20").stdout


def write_clip(path: Path, *, width: int, height: int) -> None:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mjpeg", rate=30)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuvj420p"
        for shade in range(10):
            picture = av.VideoFrame.from_ndarray(np.full((height, width, 3), 20 * shade, np.uint8), format="rgb24")
            file.mux(stream.encode(picture))
        file.mux(stream.encode(None))


RUN = (sys.executable, "-m", "labwire", "run", "rig.toml", "--remote-port", "0", "--no-web")


def test_on_a_terminal_it_shows_itself_and_ctrl_c_ends_it(tmp_path: Path) -> None:
    (tmp_path / "rig.toml").write_text(EYES)
    with on_a_terminal(RUN, env=environment(tmp_path), cwd=tmp_path) as terminal:
        terminal.wait_for('rig "test-rig" runs', "Ctrl-C ends it", "pupil")
        terminal.type("\x03")
        assert terminal.end() == 0
        assert left_behind(terminal.process.pid) == []
    text = terminal.shown.decode()
    assert '\r\x1b[Krig "test-rig" runs' in text, "the status line gives way to the banner"
    assert "labwire: stopped" in text
    assert "Traceback" not in text


def log_of(folder: Path) -> str:
    return (folder / "state" / "labwire" / "log" / "test-rig.log").read_text()


def test_a_terminal_that_is_closed_ends_it_and_the_session_whole(tmp_path: Path) -> None:
    (tmp_path / "rig.toml").write_text(EYES + '[actors.slow]\nclass = "slow:Slow"\n')
    (tmp_path / "slow.py").write_text(SLOW)
    with on_a_terminal(RUN, env=environment(tmp_path), cwd=tmp_path) as terminal:
        terminal.wait_for("tcp://127.0.0.1:", "Ctrl-C ends it", "pupil")
        port = re.search(rb"tcp://127.0.0.1:(\d+)", terminal.shown)
        assert port
        begun = run_labwire("record", "start", "cut", "--port", port[1].decode(), env=terminal.env, cwd=tmp_path)
        assert begun.returncode == 0, begun.stderr
        terminal.close()
        # The shell's hang-up, behind the system's; and it has to say what it waits for to a terminal that has gone.
        while not (tmp_path / "stopping").exists():
            assert terminal.process.poll() is None
        terminal.process.send_signal(signal.SIGHUP)
        assert terminal.end() == 0
        assert left_behind(terminal.process.pid) == []
    manifest = json.loads((tmp_path / "recordings" / "cut" / "000" / "session.json").read_text())
    assert (manifest["state"], manifest["ended"]) == ("complete", "stopped")
    log = log_of(tmp_path)
    assert "Traceback" not in log
    assert "ERROR" not in log
    assert (tmp_path / "stopped").exists(), "not by force"


SLOW = """
import pathlib, time
from labwire import Actor
class Slow(Actor):
    def on_stop(self):
        pathlib.Path("stopping").touch()
        time.sleep(1.5)  # longer than the rig waits before it says for whom
        pathlib.Path("stopped").touch()
"""


def test_nohup_goes_on_without_its_terminal(tmp_path: Path) -> None:
    (tmp_path / "rig.toml").write_text(EYES)
    ignoring = ["env", "--ignore-signal=HUP", *RUN]
    with on_a_terminal(ignoring, env=environment(tmp_path), cwd=tmp_path) as terminal:
        terminal.wait_for("tcp://127.0.0.1:", "Ctrl-C ends it", "pupil")
        port = re.search(rb"tcp://127.0.0.1:(\d+)", terminal.shown)
        assert port
        terminal.close()
        status = run_labwire(
            "sub", "pupil.", "--count", "200", "--port", port[1].decode(), env=terminal.env, cwd=tmp_path
        )
        assert status.returncode == 0, status.stderr
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.end() == 0
        assert left_behind(terminal.process.pid) == []
    assert "Traceback" not in log_of(tmp_path)


def test_an_actor_that_cannot_be_loaded_does_not_keep_the_rig_from_running(tmp_path: Path) -> None:
    toml = BARE + '[actors.ghost]\nclass = "no_such_module:Ghost"\n'
    with running_rig(tmp_path, toml) as rig:
        assert rig.ready.failed == ["ghost"]
        assert ask(rig, b"v")
