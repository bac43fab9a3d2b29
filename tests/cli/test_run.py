"""``labwire run`` from outside: a real rig in a process of its own."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
import zmq

from labwire.errors import ERROR_CODES, ConfigError, LabwireError, PortTakenError, UsageError
from tests.rig_fixture import RunningRig, environment, run_labwire, running_rig

BARE = 'name = "bare"\n'


def ask(rig: RunningRig, *parts: bytes) -> bytes:
    with zmq.Context() as context, context.socket(zmq.REQ) as socket_:
        socket_.linger = 0
        socket_.connect(rig.ready.remote)
        socket_.send_multipart(parts)
        assert socket_.poll(5000), "the Remote does not answer"
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


def test_an_actor_that_cannot_be_loaded_does_not_keep_the_rig_from_running(tmp_path: Path) -> None:
    toml = BARE + '[actors.ghost]\nclass = "no_such_module:Ghost"\n'
    with running_rig(tmp_path, toml) as rig:
        assert rig.ready.failed == ["ghost"]
        assert ask(rig, b"v")
