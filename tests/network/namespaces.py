"""Two computers in one: two network namespaces with a cable between them, and processes in each."""

from __future__ import annotations

import contextlib
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from labwire.testing.processes import running_process
from labwire.testing.rig import environment

LIMIT_S = 40.0
FIRST_ADDRESS, SECOND_ADDRESS, NETWORK = "10.77.0.1", "10.77.0.2", "10.77.0.0/24"
_TOOLS = ("unshare", "nsenter", "ip", "hostname")


class Host:
    """One of the computers.

    Args:
        pid: A process that lives in its namespaces.
        folder: Where its processes run.
    """

    def __init__(self, pid: int, folder: Path) -> None:
        self._pid = pid
        self.folder = folder

    def command(self, *words: str) -> list[str]:
        """Return what runs a command there."""
        return ["nsenter", "--preserve-credentials", "-U", "-n", "-u", "-t", str(self._pid), "--", *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command there to its end."""
        return subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env=environment(self.folder),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )

    def labwire(self, *words: str) -> str:
        """Run a command of labwire there and return what it prints."""
        done = self.run(sys.executable, "-m", "labwire", *words)
        return done.stdout or done.stderr

    @contextlib.contextmanager
    def running(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run labwire there beside a block; what it writes to standard error is in the folder."""
        command = self.command(sys.executable, "-m", "labwire", *words)
        with (
            (self.folder / "stderr.txt").open("ab") as errors,
            running_process(command, cwd=self.folder, env=environment(self.folder), stderr=errors) as process,
        ):
            yield process
            process.terminate()
            process.wait(LIMIT_S)

    @contextlib.contextmanager
    def rig(self, toml: str) -> Iterator[None]:
        """Run a rig there beside a block."""
        (self.folder / "rig.toml").write_text(toml)
        with self.running("run", "rig.toml", "--json") as process:
            assert process.stdout
            assert select.select([process.stdout], [], [], LIMIT_S)[0]
            assert process.stdout.readline(), (self.folder / "stderr.txt").read_text()
            yield


@contextlib.contextmanager
def two_hosts(folder: Path) -> Iterator[tuple[Host, Host]]:
    """Make two computers with a cable between them; skip the test where that is not permitted."""
    if sys.platform != "linux" or not all(map(shutil.which, _TOOLS)):
        pytest.skip(f"needs Linux with {', '.join(_TOOLS)}")
    with contextlib.ExitStack() as stack:
        first = _host(stack, folder / "first", ["unshare", "-U", "-r", "-n", "-u"])
        second = _host(stack, folder / "second", [*first.command("unshare", "-n", "-u")])
        _configure(first, second)
        yield first, second


def pull_cable(host: Host) -> None:
    """Take the cable out on one side: nobody is told."""
    assert host.run("ip", "link", "set", "cable", "down").returncode == 0


def plug_cable(host: Host) -> None:
    """Put it in again."""
    assert host.run("ip", "link", "set", "cable", "up").returncode == 0
    host.run("ip", "route", "add", "224.0.0.0/4", "dev", "cable")


def _host(stack: contextlib.ExitStack, folder: Path, prefix: Sequence[str]) -> Host:
    folder.mkdir()
    # It says that it is there, and stays until its standard input ends.
    process = stack.enter_context(
        running_process([*prefix, "sh", "-c", f"hostname {folder.name} && echo $$; exec cat"], stdin=subprocess.PIPE)
    )
    assert process.stdout
    said = process.stdout.readline()
    if not said:
        assert process.stderr
        pytest.skip(f"network namespaces are not permitted here: {process.stderr.read().decode().strip()}")
    return Host(int(said), folder)


def _configure(first: Host, second: Host) -> None:
    there = str(second._pid)
    steps = [
        (first, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", there),
        (first, "addr", "add", f"{FIRST_ADDRESS}/24", "dev", "cable"),
        (second, "addr", "add", f"{SECOND_ADDRESS}/24", "dev", "cable"),
        *((host, "link", "set", device, "up") for host in (first, second) for device in ("lo", "cable")),
        *((host, "route", "add", "224.0.0.0/4", "dev", "cable") for host in (first, second)),
    ]
    for host, *words in steps:
        done = host.run("ip", *words)
        if done.returncode:
            pytest.skip(f"no cable between two network namespaces: ip {' '.join(words)}: {done.stderr.strip()}")


__all__ = ["FIRST_ADDRESS", "LIMIT_S", "NETWORK", "SECOND_ADDRESS", "Host", "plug_cable", "pull_cable", "two_hosts"]
