"""Every command and snippet in the README and the documentation is run."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from labwire.rig.rig_file import parse_rig
from labwire.testing.processes import left_behind, running_process
from labwire.testing.waiting import wait_until
from tests.rig_fixture import RunningRig, running_rig

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")

# Commands that a test cannot run as they stand, and why.
NOT_RUN = {
    "scripts/run": "sets up the environment that this test runs in; tests/cli runs the demo rig",
    "scripts/test": "runs this test",
    "scripts/run --video holiday.mp4": "needs a video of the reader's; tests/cli runs --video with one",
    "scripts/run --camera 0": "needs a camera",
    ".venv/bin/python -m benchmarks.bus": "takes minutes; tests/benchmarks runs it with small counts",
    ".venv/bin/python -m benchmarks.instruments": "takes minutes; tests/benchmarks runs it with small counts",
    ".venv/bin/python -m benchmarks.images": "takes minutes; tests/benchmarks runs it with small counts",
    ".venv/bin/python -m benchmarks.web": "takes minutes; tests/benchmarks runs it with small counts",
    ".venv/bin/python -m benchmarks.sessions": "takes minutes; tests/benchmarks runs it with small counts",
    ".venv/bin/python -m benchmarks.vitals": "takes minutes; tests/benchmarks runs it with small counts",
}
UNTIL_TOLD = ("actor", "replay", "run")
"""Commands of labwire that go on until Ctrl-C."""
RIGS = ("replay", "run")
"""Those that are rigs themselves, and say when they are ready."""

CAMERA_RIG = """
name = "docs"

[cameras.world]
demo = true

[sources.eyes]
kind = "simulated_eyes"

[instruments.DMM1]
driver = "labwire.instruments.drivers.simulated:Multimeter"
queue = "socket"

[instruments.SCOPE1]
driver = "labwire.instruments.drivers.simulated:Oscilloscope"
queue = "socket"

[recorder]
disk_warn_bytes = 0
disk_stop_bytes = 0
"""


class Snippet(NamedTuple):
    page: Path
    language: str
    text: str
    number: int

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.number}"


def snippets(*languages: str) -> list[Snippet]:
    return [
        Snippet(page, match[1], match[2], number)
        for page in PAGES
        for number, match in enumerate(_FENCE.finditer(page.read_text()))
        if match[1] in languages
    ]


def of_every_kind() -> set[str]:
    return {match[1] for page in PAGES for match in _FENCE.finditer(page.read_text())}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRig]:
    folder = tmp_path_factory.mktemp("docs")
    (folder / "my_lab.py").write_text((ROOT / "examples" / "alarm" / "alarm.py").read_text() + BEACON)
    (folder / "file_ipc_output").mkdir()
    with running_rig(folder, CAMERA_RIG) as running:
        (folder / "my-rig.toml").write_text('name = "my-rig"\n')
        # A worker that starts in the middle of a test would look like one that the test left behind.
        wait_until(lambda: running.labwire("instruments").stdout.count("ready") == 2, "the instruments")
        yield running


BEACON = next(s.text for s in snippets("python") if "class Beacon" in s.text)


def test_each_kind_of_snippet_is_known() -> None:
    assert of_every_kind() <= {"sh", "python", "toml", "text", "json"}


@pytest.mark.parametrize("snippet", snippets("toml"), ids=str)
def test_rig_files(snippet: Snippet, tmp_path: Path) -> None:
    text = snippet.text if "name =" in snippet.text else f'name = "docs"\n{snippet.text}'
    assert parse_rig(text, folder=tmp_path).name


@pytest.mark.parametrize("snippet", snippets("python"), ids=str)
def test_python(snippet: Snippet, rig: RunningRig) -> None:
    program = snippet.text.replace('connect("192.168.1.20")', "connect()")
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**rig.env, "LABWIRE_PORT": str(rig.port)},
        cwd=rig.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("snippet", snippets("sh"), ids=str)
def test_commands(snippet: Snippet, rig: RunningRig) -> None:
    for line in snippet.text.splitlines():
        words = shlex.split(line, comments=True)
        if not words or " ".join(words) in NOT_RUN:
            continue
        assert words[0] in {"labwire", ".venv/bin/labwire"}, f"{line!r}: run it, or say in NOT_RUN why not"
        run_command(rig, words[1:])


def run_command(rig: RunningRig, words: list[str]) -> None:
    if words[:2] == ["sessions", "repair"]:
        words = ["sessions", "repair", "my first session/000"]
    words = [f"127.0.0.1:{rig.port}" if word.endswith(":50020") else word for word in words]
    if words[0] in UNTIL_TOLD:
        run_until_told(rig, words)
        return
    done = rig.labwire(*words)
    assert done.returncode == 0, f"labwire {shlex.join(words)}:\n{done.stdout}{done.stderr}"


def run_until_told(rig: RunningRig, words: list[str]) -> None:
    options = ["--remote-port", "0"] if words[0] in RIGS else []
    command = [sys.executable, "-m", "labwire", *words, *options]
    with running_process(command, env=rig.env, cwd=rig.folder) as process:
        assert process.stdout
        if words[0] in RIGS:
            assert process.stdout.readline(), process.communicate()  # the banner: it runs
        else:
            name = words[1].partition(":")[2].lower()
            while f'"{name}"' not in rig.labwire("actors", "list", "--json").stdout:
                assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode in {0, 130}, errors.decode()
        assert left_behind(process.pid) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target
