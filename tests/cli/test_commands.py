"""The commands that talk to a rig, against a real one."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import zmq

from labwire.cli.main import main
from labwire.testing.processes import running_process
from tests.bus.fake_hub import wait_until
from tests.rig_fixture import RunningRig, environment, run_labwire, running_rig
from tests.terminal import on_a_terminal

LABWIRE = (sys.executable, "-m", "labwire")

ALARM = '''
import labwire
from labwire.strict import Strict


class Alarm(labwire.Actor):
    """Rings."""

    class Config(Strict):
        volume: int = 1

    def on_notify(self, notification):
        """Ring when a fire breaks out.

        Reacts to notifications:
            ``fire``: Rings.
        """
        if notification["subject"] == "fire":
            self.emit("alarm", {"volume": self.options.volume})
'''


@pytest.fixture(scope="module")
def rig(shared_rig: RunningRig) -> RunningRig:
    return shared_rig


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def run_here(*arguments: str) -> Done:
    """Run a command in this process: many times faster, and what it leaves open is found."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return Done(ended.value.code, out.getvalue(), err.getvalue())


def run(rig: RunningRig, *arguments: str) -> Done:
    return run_here(*arguments, "--port", str(rig.port))


def good(rig: RunningRig, *arguments: str) -> str:
    done = run(rig, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def good_json(rig: RunningRig, *arguments: str) -> Any:
    return json.loads(good(rig, *arguments, "--json"))


def test_status_tells_addresses_and_actors(rig: RunningRig) -> None:
    text = good(rig, "status")
    for words in ('"test-rig" runs', rig.ready.remote, "eyes", "recorder", "running", rig.ready.log_file):
        assert words in text
    status = good_json(rig, "status")
    assert status["pid"] == rig.process.pid
    assert {actor["name"] for actor in status["actors"]} >= {"steward", "eyes", "recorder"}
    good(rig, "sub", "recorder.state", "--count", "1")
    assert "not recording; " in good(rig, "status")


def test_sub_shows_messages(rig: RunningRig) -> None:
    lines = good(rig, "sub", "pupil.0", "--count", "3").splitlines()
    assert len(lines) == 3
    for line in lines:
        assert "  pupil.0" in line
        assert "confidence=" in line


def test_sub_as_json_has_whole_payloads(rig: RunningRig) -> None:
    lines = good(rig, "sub", "pupil.1", "--count", "2", "--json").splitlines()
    messages = [json.loads(line) for line in lines]
    assert len(messages) == 2
    assert all(message["topic"].startswith("pupil.1") for message in messages)
    assert all(message["payload"]["id"] == 1 for message in messages)


def test_sub_of_what_nobody_says_ends_by_its_time(rig: RunningRig) -> None:
    assert good(rig, "sub", "no.such.topic", "--seconds", "0.2") == ""


def test_sub_of_a_mistyped_topic_says_what_there_is(rig: RunningRig, monkeypatch: pytest.MonkeyPatch) -> None:
    wait_until(lambda: "recorder.state" in good(rig, "bus", "stats", "--json"))
    monkeypatch.setattr("labwire.cli.sub.QUIET_S", 0.1)
    done = run(rig, "sub", "recorder.sttate", "--seconds", "1.5")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith(
        'labwire: nothing has come yet that begins with "recorder.sttate"; like it: recorder.state; '
    )
    done = run(rig, "sub", "qqq", "--seconds", "1.5")
    assert "on the bus: " in done.stderr
    assert " more; still listening" in done.stderr


def test_sub_begins_with_the_last_value(rig: RunningRig) -> None:
    good(rig, "pub", "weather.now", "wind_m_s=3.5")
    line = good(rig, "sub", "weather.", "--last", "--count", "1", "--seconds", "10")
    assert "weather.now" in line
    assert "wind_m_s=3.5" in line


def test_stats_count_what_arrives(rig: RunningRig) -> None:
    turn = json.loads(good(rig, "sub", "pupil.", "--stats", "--count", "50", "--json").splitlines()[-1])
    assert sum(row["messages"] for row in turn["topics"]) >= 1
    assert all(row["topic"].startswith("pupil.") for row in turn["topics"])
    assert "pupil." in good(rig, "sub", "pupil.", "--stats", "--count", "5")


def test_a_pipe_that_ends_is_no_error(rig: RunningRig) -> None:
    with running_process([*LABWIRE, "sub", "pupil.", "--port", str(rig.port)], env=rig.env) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline()
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()
        assert process.wait(20) == 141


@pytest.fixture
def listener(rig: RunningRig) -> Iterator[subprocess.Popen[bytes]]:
    """``labwire sub`` that listens for certain: it has shown what was said before."""
    assert run(rig, "pub", "test.before").returncode == 0
    command = [*LABWIRE, "sub", "test.", "notify.test", "--last", "--json", "--raw"]
    with running_process(command, env={**rig.env, "LABWIRE_PORT": str(rig.port)}) as process:
        assert process.stdout
        while json.loads(process.stdout.readline())["topic"] != "test.before":
            pass
        yield process


def heard(listener: subprocess.Popen[bytes], topic: str) -> dict[str, Any]:
    assert listener.stdout
    while (message := json.loads(listener.stdout.readline()))["topic"] != topic:
        pass
    return message


def test_pub_puts_payload_and_files_on_the_bus(rig: RunningRig, listener: subprocess.Popen[bytes]) -> None:
    (rig.folder / "part.bin").write_bytes(b"\x00\x01")
    reply = good_json(rig, "pub", "test.pub", "n=1", '{"m": [1, 2]}', "--raw", str(rig.folder / "part.bin"))
    assert reply["reply"] == "Message forwarded."
    message = heard(listener, "test.pub")
    assert message["payload"] == {"topic": "test.pub", "n": 1, "m": [1, 2]}
    assert message["raw"] == ["AAE="]


def test_notify_sends_now_or_later(rig: RunningRig, listener: subprocess.Popen[bytes]) -> None:
    assert good_json(rig, "notify", "test.now", "who=me")["reply"] == "Notification received"
    assert heard(listener, "notify.test.now")["payload"]["who"] == "me"
    good(rig, "notify", "test.later", "--delay", "0.2")
    assert heard(listener, "notify.test.later")["payload"]["subject"] == "test.later"


def test_what_cannot_be_read_is_told(rig: RunningRig, listener: subprocess.Popen[bytes]) -> None:
    with zmq.Context() as context, context.socket(zmq.REQ) as remote:
        remote.connect(rig.ready.remote)
        remote.send_multipart([b"test.bad", b"\xff\xff"])
        remote.recv()
    assert listener.stderr
    assert b"unreadable message on 'test.bad'" in listener.stderr.readline()


@pytest.mark.parametrize("arguments", [["pub", "t", "nonsense"], ["pub", "t", "--raw", "no.such.file"], ["remote"]])
def test_what_cannot_be_sent_is_a_usage_error(rig: RunningRig, arguments: list[str]) -> None:
    done = run(rig, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")


def test_remote_passes_any_command_on(rig: RunningRig) -> None:
    assert float(good(rig, "remote", "t")) == pytest.approx(good_json(rig, "status")["rig_time_s"], abs=60)
    assert good(rig, "remote", "SUB_PORT") == f"{rig.ready.sub_port}\n"
    refused = run(rig, "remote", "what", "is", "this")
    assert (refused.returncode, refused.stdout) == (2, "Unknown command.\n")


def test_docs_print_every_actor_sorted(rig: RunningRig) -> None:
    text = good(rig, "docs")
    assert "``recording.should_start``" in text
    actors = [row["actor"] for row in good_json(rig, "docs")]
    assert {"Pupil_Remote", "eyes", "recorder", "steward"} <= set(actors)
    assert actors == sorted(actors, key=str.casefold)
    for actor in actors:
        assert f"{actor}: " in text


def test_an_actor_that_does_not_exist_is_named_with_those_that_do(rig: RunningRig) -> None:
    wrong = run(rig, "actors", "restart", "eys")
    assert wrong.returncode == 4
    assert "eyes" in wrong.stderr


def test_bus_operations_are_commands_too(rig: RunningRig) -> None:
    assert good_json(rig, "bus", "last", "pupil.0")[0]["payload"]["id"] == 0
    assert "messages" in good(rig, "bus", "stats")


def test_a_session_is_recorded_marked_listed_and_repaired(rig: RunningRig, monkeypatch: pytest.MonkeyPatch) -> None:
    started = good_json(rig, "record", "start", "a pilot")
    folder = Path(started["rec_path"])
    assert folder == rig.folder / "recordings" / "a pilot" / "000"
    again = run(rig, "record", "start", "another")
    assert again.returncode == 5
    good(rig, "sub", "pupil.", "--count", "200")
    cut_off = rig.folder / "cut off"  # as a crash would leave it
    shutil.copytree(folder, cut_off)
    assert run(rig, "record", "repair", str(folder)).returncode == 5, "it is being recorded"
    assert f"stimulus on (in {folder})" in good(rig, "mark", "stimulus on")
    monkeypatch.setattr("sys.stdin", io.StringIO("one\n\n"))
    lines = good(rig, "mark").splitlines()
    assert [line.split(": ")[1].partition(" (")[0] for line in lines] == ["one", "mark 2"]
    assert run(rig, "mark", " ").returncode == 2
    stopped = good(rig, "record", "stop")
    assert str(folder) in stopped
    shown = good_json(rig, "sessions", "show", "a pilot/000")
    assert [mark["label"] for mark in shown["marks"]] == ["stimulus on", "one", "mark 2"]
    assert all(0 < mark["time_s"] < shown["duration_s"] for mark in shown["marks"])
    assert "no session is running" in good(rig, "mark", "nobody listens")
    listed = good_json(rig, "record", "list")
    assert (listed["root"], listed["said_by"]) == (str(rig.folder / "recordings"), 'the rig "test-rig"')
    (session,) = listed["sessions"]
    assert (session["name"], session["state"]) == ("a pilot/000", "complete")
    shown = run(rig, "record", "list")
    assert "a pilot/000" in shown.stdout
    assert f'1 session in {rig.folder / "recordings"} (the rig "test-rig")' in shown.stderr
    assert good_json(rig, "record", "repair", "a pilot/000")["changes"] == []
    assert good_json(rig, "record", "repair", str(folder))["changes"] == []
    assert run(rig, "record", "repair", "no such/000").returncode == 4
    repaired = json.loads(run_here("record", "repair", str(cut_off), "--json").stdout)
    assert repaired["messages"] >= 1
    assert any("bus.mcap" in change for change in repaired["changes"])


def test_config_show_is_the_rig_that_runs(rig: RunningRig) -> None:
    text = good(rig, "config", "show")
    assert 'name = "test-rig"' in text
    assert "[sources.eyes]" in text


def test_doctor_sees_the_rig_that_runs(rig: RunningRig) -> None:
    done = run(rig, "doctor", "--json")
    report = json.loads(done.stdout)
    sections = {section["title"]: section["findings"] for section in report["sections"]}
    assert f"pid {rig.process.pid}" in sections["ports"][0]["text"]
    assert "on the bus now" in sections["disk"][0]["text"] or "session grows" in sections["disk"][0]["text"]
    assert done.returncode == (1 if report["failed"] else 0)


@pytest.mark.parametrize(
    "arguments", [["status"], ["sub", "x"], ["docs"], ["record", "stop"], ["remote", "t"], ["pub", "x"]]
)
def test_without_a_rig_the_message_says_so(arguments: list[str]) -> None:
    done = run_here(*arguments, "--port", "1", "--timeout", "0.3")
    assert done.returncode == 7
    assert done.stdout == ""
    assert "127.0.0.1:1" in done.stderr
    assert "labwire run" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--port", "0"], 2, "--port"),
        (["--port", "70000"], 2, "--port"),
        (["--host", "a/b"], 4, "there is no computer 'a/b'"),
        (["--host", ""], 4, "there is no computer"),
        (["--timeout", "soon"], 2, "--timeout"),
    ],
)
def test_an_address_that_cannot_be(arguments: list[str], code: int, words: str) -> None:
    done = run_here("status", "--port", "1", "--timeout", "0.1", *arguments)
    assert done.returncode == code, done.stderr
    assert words in done.stderr


def test_status_can_be_watched_until_ctrl_c(rig: RunningRig) -> None:
    command = [*LABWIRE, "status", "--watch", "--json", "--port", str(rig.port)]
    with running_process(command, env=rig.env) as process:
        assert process.stdout
        assert process.stderr
        first, second = (json.loads(process.stdout.readline()) for _ in range(2))
        assert first["uptime_s"] < second["uptime_s"]
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b""
        assert process.wait(20) == 130


def test_an_actor_joins_from_its_own_terminal(tmp_path: Path) -> None:
    (tmp_path / "my_lab.py").write_text(ALARM)
    with running_rig(tmp_path, 'name = "bare"\n') as rig:
        where = f"127.0.0.1:{rig.port}"
        command = [*LABWIRE, "actor", "my_lab:Alarm", "--rig", where, "volume=7"]
        with running_process(command, env=rig.env, cwd=tmp_path) as process:
            while "alarm" not in [actor["name"] for actor in good_json(rig, "actors", "list")]:
                assert process.poll() is None, process.communicate()
            row = next(actor for actor in good_json(rig, "actors", "list") if actor["name"] == "alarm")
            assert (row["state"], row["pid"]) == ("remote", process.pid)
            assert "alarm: Ring when a fire breaks out." in good(rig, "docs")
            good(rig, "notify", "fire")
            assert "volume=7" in good(rig, "sub", "alarm", "--last", "--count", "1", "--seconds", "10")
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0


def test_a_terminal_that_is_closed_ends_what_runs_in_it(tmp_path: Path) -> None:
    (tmp_path / "my_lab.py").write_text(ALARM)
    with running_rig(tmp_path, 'name = "bare"\n') as rig:
        where, env = f"127.0.0.1:{rig.port}", environment(tmp_path)
        actor = [*LABWIRE, "actor", "my_lab:Alarm", "--rig", where, "--log-level", "debug"]
        with on_a_terminal(actor, env=env, cwd=tmp_path) as terminal:
            while '"alarm"' not in good(rig, "actors", "list", "--json"):
                assert terminal.process.poll() is None
            terminal.close()
            assert terminal.end() == 0
        listener = [*LABWIRE, "sub", "--last", "--port", str(rig.port)]
        with on_a_terminal(listener, env=env, cwd=tmp_path) as terminal:
            terminal.wait_for("labwire: listening", "bus.stats")
            terminal.close()
            assert terminal.end() in {129, 141}  # by the signal, or by what it could not write


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nocolon"], 3, "module:Class"),
        (["no_such_module:X"], 3, "no_such_module"),
        (["my_lab:Alarm", "volume=loud"], 3, "volume"),
        (["my_lab:Alarm", "--rig", "a:b:c"], 2, "HOST:PORT"),
        (["my_lab:Alarm", "--name", "a b"], 2, "a b"),
        (["my_lab:Alarm", "--log-level", "LOUD"], 2, "LOUD"),
        (["my_lab:Alarm", "--rig", "127.0.0.1:1", "--timeout", "0.3"], 7, "127.0.0.1:1"),
    ],
)
def test_an_actor_that_cannot_join_says_why(
    tmp_path: Path, rig: RunningRig, arguments: list[str], code: int, words: str
) -> None:
    (tmp_path / "my_lab.py").write_text(ALARM)
    env = {**environment(tmp_path), "LABWIRE_PORT": str(rig.port)}
    done = run_labwire("actor", *arguments, env=env, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
