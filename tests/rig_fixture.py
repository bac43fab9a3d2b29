"""A real rig for a test: ``labwire run --json`` in a process of its own, started, awaited, ended and looked after."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from labwire.rig.hub import Ready
from labwire.testing.processes import left_behind, running_process

SRC = Path(__file__).parents[1] / "src"
START_LIMIT_S = 40.0
STOP_LIMIT_S = 20.0

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

    def labwire(self, *arguments: str, timeout_s: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run a command of the command line that talks to this rig."""
        return run_labwire(
            *arguments, env={**self.env, "LABWIRE_PORT": str(self.port)}, cwd=self.folder, timeout_s=timeout_s
        )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask the rig to end and return its exit status. Safe to call twice."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(STOP_LIMIT_S)


def environment(folder: Path) -> dict[str, str]:
    """Return the environment for labwire in a test: its state stays in the folder."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("LABWIRE_PORT")}
    return {**inherited, "PYTHONPATH": str(SRC), "XDG_STATE_HOME": str(folder / "state"), "NO_COLOR": "1"}


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
) -> Iterator[RunningRig]:
    """Run a rig, and end it by SIGTERM.

    Args:
        folder: Where it runs.
        toml: Text of its rig file; None runs the demo rig.
        arguments: Further arguments of ``labwire run``.
        env: What to add to the environment.
        remote_port: Port of the Remote, 0 for any.
    """
    file: list[str] = []
    if toml is not None:
        (folder / "rig.toml").write_text(toml)
        file = ["rig.toml"]
    env = {**environment(folder), **(env or {})}
    command = [sys.executable, "-m", "labwire", "run", *file, "--remote-port", str(remote_port), "--json", *arguments]
    with (
        (folder / "stderr.txt").open("wb") as errors,
        running_process(command, env=env, cwd=folder, stderr=errors) as process,
    ):
        line = _first_line(process)
        if not line:
            pytest.fail(f"the rig did not get ready:\n{(folder / 'stderr.txt').read_text()}")
        rig = RunningRig(process, folder, msgspec.json.decode(line, type=Ready), env)
        yield rig
        status = rig.stop()
        assert status == 0, f"the rig ended with {status}:\n{rig.stderr}"
        assert left_behind(process.pid) == []


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


@pytest.fixture
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningRig]:
    """A rig that runs; ``@pytest.mark.parametrize("rig", [TOML], indirect=True)`` gives it another rig file."""
    with running_rig(tmp_path, getattr(request, "param", EYES)) as running:
        yield running


@pytest.fixture(scope="module")
def shared_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRig]:
    """A rig that all tests of a module share: for tests that leave no trace in it."""
    with running_rig(tmp_path_factory.mktemp("rig")) as running:
        yield running
