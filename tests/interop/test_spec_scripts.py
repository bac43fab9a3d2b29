"""The scripts of the ipc-backbone page, run against a real rig; each says at its top what was corrected."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from labwire.client import Rig, connect
from labwire.testing.processes import running_process
from tests.bus.fake_hub import LIMIT_S, wait_until
from tests.rig_fixture import RunningRig, shared_rig  # noqa: F401  a fixture is used by its name

SCRIPTS = Path(__file__).parent / "spec_scripts"


@pytest.fixture
def rig(shared_rig: RunningRig) -> Iterator[Rig]:  # noqa: F811
    with connect(port=shared_rig.port, timeout_s=LIMIT_S) as rig:
        yield rig


class Script:
    """A script that runs; its lines are collected."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.lines: list[str] = []
        self._process = process
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def wait(self) -> str:
        """Wait for its end; return what it printed."""
        assert self._process.wait(LIMIT_S) == 0, self.text
        self._reader.join(LIMIT_S)
        return self.text

    def end(self) -> None:
        """End it if it is still running: some run for ever."""
        self._process.kill()
        self._reader.join(LIMIT_S)

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self.lines.append(line.decode().rstrip("\n"))


@contextmanager
def running(name: str, rig: Rig) -> Iterator[Script]:
    command = [sys.executable, "-u", str(SCRIPTS / f"{name}.py")]
    env = {**os.environ, "LABWIRE_PORT": str(rig.remote_port), "PYTHONPATH": str(SCRIPTS.parents[2] / "src")}
    with running_process(command, env=env, stderr=subprocess.STDOUT) as process:
        script = Script(process)
        try:
            yield script
        finally:
            script.end()


def test_notification_overview_prints_what_every_actor_does(rig: Rig) -> None:
    with running("notification_overview", rig) as script:
        for actor in (actor.name for actor in rig.actors.list()):
            wait_until(lambda actor=actor: any(line.startswith(f"{actor}: ") for line in script.lines), actor)
        assert "``recording.should_start``" in script.text


def test_reading_prints_notifications_and_errors(rig: Rig) -> None:
    with running("reading", rig) as script:

        def arrived(text: str) -> bool:
            return text in script.text

        wait_until(
            lambda: rig.notify("hello", n=1) and arrived("b'notify.hello' : {'subject': 'hello'"), "a notification"
        )
        rig.send("logging.error", {"msg": "mine"})
        rig.send("logging.info", {"msg": "not mine"})
        wait_until(lambda: arrived("b'logging.error' : {'msg': 'mine'}"), "an error")
        assert not arrived("logging.info")


def test_a_custom_topic_arrives(rig: Rig) -> None:
    with rig.subscribe("your_custom_topic") as messages, running("custom_topic", rig) as script:
        assert messages.recv(LIMIT_S).payload == {"topic": "your_custom_topic"}
        script.wait()


def test_writing_from_outside_is_confirmed_and_starts_a_recording(rig: Rig) -> None:
    with rig.subscribe("notify.recording.") as notifications:
        with running("writing_from_outside", rig) as script:
            assert script.wait() == "Notification received"
        asked, started = notifications.recv(LIMIT_S), notifications.recv(LIMIT_S)
        assert asked.payload == {"subject": "recording.should_start", "session_name": "my session"}
        assert started.payload["subject"] == "recording.started"
        assert "my session" in started.payload["rec_path"]
        assert rig.request("r") == "OK"
        while notifications.recv(LIMIT_S).payload["subject"] != "recording.stopped":
            pass


def test_writing_directly_arrives(rig: Rig) -> None:
    with rig.subscribe("notify.calibration.should_start") as messages, running("writing_directly", rig) as script:
        assert messages.recv(LIMIT_S).payload == {"subject": "calibration.should_start"}
        script.wait()


def test_latency_is_measured(rig: Rig) -> None:
    with running("latency", rig) as script:
        measured = [[float(value) for value in line.split()] for line in script.wait().splitlines()]
    assert [len(values) for values in measured] == [3, 3]
    assert all(least <= mean <= most for least, mean, most in measured)
