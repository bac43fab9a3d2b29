"""A real rig for a test: ``labwire run --json`` in processes of its own, started, awaited, ended and looked after."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from labwire.client import Rig, connect
from labwire.rig.hub import Ready
from labwire.testing.processes import LIMIT_S, left_behind, running_process

START_LIMIT_S = 40.0
"""How long a rig may take to get ready on a busy machine."""

EYES = """
name = "test-rig"

[sources.eyes]
kind = "simulated_eyes"

[recorder]
disk_warn_bytes = 0
disk_stop_bytes = 0
"""
"""A rig that starts fast and has something to say: simulated eyes and a recorder."""


@dataclass
class RunningRig:
    """A rig that runs."""

    process: subprocess.Popen[bytes]
    folder: Path
    """Of the rig file: what the rig writes is here, its log under ``state``."""
    ready: Ready
    env: dict[str, str] = field(repr=False)

    @property
    def port(self) -> int:
        """Port of the Remote."""
        return int(self.ready.remote.rpartition(":")[2])

    @property
    def stderr(self) -> str:
        """What the rig wrote to standard error so far."""
        return (self.folder / "stderr.txt").read_text()

    def connect(self, *, timeout_s: float = LIMIT_S) -> Rig:
        """Connect a client: a context manager, as `labwire.connect` gives it."""
        return connect("127.0.0.1", self.port, timeout_s=timeout_s)

    def labwire(self, *arguments: str, timeout_s: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run a command of the command line that talks to this rig."""
        return run_labwire(
            *arguments, env={**self.env, "LABWIRE_PORT": str(self.port)}, cwd=self.folder, timeout_s=timeout_s
        )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask the rig to end and return its exit status. Safe to call twice."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(LIMIT_S)


def environment(folder: Path) -> dict[str, str]:
    """Return the environment for labwire in a test: it finds the modules that the test finds, its state stays here.

    Args:
        folder: Where its log files go, under ``state``.
    """
    inherited = {key: value for key, value in os.environ.items() if key not in {"LABWIRE_HOST", "LABWIRE_PORT"}}
    modules = os.pathsep.join(filter(None, sys.path))
    return {**inherited, "PYTHONPATH": modules, "XDG_STATE_HOME": str(folder / "state"), "NO_COLOR": "1"}


def run_labwire(
    *arguments: str, env: dict[str, str], cwd: Path, timeout_s: float = 30.0
) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        [sys.executable, "-m", "labwire", *arguments],
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@contextlib.contextmanager
def running_rig(
    folder: Path,
    toml: str | None = EYES,
    arguments: Sequence[str] = (),
    env: dict[str, str] | None = None,
    *,
    remote_port: int = 0,
    web: bool = False,
) -> Generator[RunningRig]:
    r"""Run a rig beside a block; end it by SIGTERM, and see that nothing of it is left.

    >>> with running_rig(tmp_path, '[actors.alarm]\nclass = "my_lab:Alarm"') as rig:  # doctest: +SKIP
    ...     with rig.connect() as client, client.subscribe("alarm.") as alarms:
    ...         client.notify("recording.failed", reason="a test")
    ...         assert alarms.recv(timeout_s=10).payload["volume"] == 7

    Args:
        folder: Where it runs, and looks for modules of actors; pytest's ``tmp_path``.
        toml: Text of its rig file; None runs the demo rig.
        arguments: Further arguments of ``labwire run``.
        env: What to add to the environment.
        remote_port: Port of the Remote, 0 for any.
        web: Serve the dashboard, on any free port: ``ready.web`` is its address.

    Raises:
        AssertionError: It does not get ready, does not end with 0, or leaves a process behind.
    """
    file: list[str] = []
    if toml is not None:
        (folder / "rig.toml").write_text(toml)
        file = ["rig.toml"]
    env = {**environment(folder), **(env or {})}
    ports = ["--remote-port", str(remote_port), *(["--web-port", "0"] if web else ["--no-web"])]
    command = [sys.executable, "-m", "labwire", "run", *file, *ports, "--json", *arguments]
    with (
        (folder / "stderr.txt").open("wb") as errors,
        running_process(command, env=env, cwd=folder, stderr=errors) as process,
    ):
        line = _first_line(process)
        if not line:
            raise AssertionError(f"the rig did not get ready:\n{(folder / 'stderr.txt').read_text()}")
        rig = RunningRig(process, folder, msgspec.json.decode(line, type=Ready), env)
        yield rig
        status = rig.stop()
        if status:
            raise AssertionError(f"the rig ended with {status}:\n{rig.stderr}")
        if left := left_behind(process.pid):
            raise AssertionError(f"the rig has ended, and left {left}")


def _first_line(process: subprocess.Popen[bytes]) -> bytes:
    """Return the first line of standard output; empty if the process ends before it, or the time is up."""
    assert process.stdout
    deadline, line = time.monotonic() + START_LIMIT_S, b""
    while not line.endswith(b"\n") and (left_s := deadline - time.monotonic()) > 0:
        if select.select([process.stdout], [], [], left_s)[0]:
            chunk = os.read(process.stdout.fileno(), 65536)
            if not chunk:
                return b""
            line += chunk
    return line
