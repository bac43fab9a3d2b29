"""`scripts/test` itself, with small tests of its own in place of ours."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from labwire.testing import wait_until

SCRIPT = Path(__file__).parents[1] / "scripts" / "test"
ROOMS = ("actors", "benchmarks", "cli", "examples", "faults", "interop", "network", "rig", "wire")
OTHER_PROGRAM = """
import pathlib, subprocess, time
def test_it():
    program = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    try:
        pathlib.Path("begun").touch()
        time.sleep(1000)
    finally:
        program.kill()
        program.wait()
        pathlib.Path("ended").touch()
"""
FAILS_ONCE = """
import pathlib, pytest
@pytest.mark.parametrize("name", ["a b"])
def test_it(name):
    begun = pathlib.Path(f"begun {name}")
    there = begun.exists()
    begun.touch()
    assert there
"""

LIMIT_S = 120.0
pytestmark = [pytest.mark.skipif(shutil.which("bash") is None, reason="no bash"), pytest.mark.timeout(2 * LIMIT_S)]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder in which the script finds tools that are content, and a test in each room."""
    made = tmp_path / "project"
    (made / "scripts").mkdir(parents=True)
    shutil.copy(SCRIPT, made / "scripts")
    (made / "scripts" / "setup.sh").write_text(f"ROOT={made}\nensure_venv() {{ :; }}\n")
    (made / "dashboard" / "node_modules").mkdir(parents=True)
    (made / "dashboard" / "node_modules" / ".package-lock.json").touch()
    tools = made / ".venv" / "bin"
    tools.mkdir(parents=True)
    for name in ("ruff", "lint-imports", "pyright", "chromium"):
        _program(tools / name, "exit 0")
    _program(tools / "python", f'exec {sys.executable} "$@"')
    _program(tools / "getconf", "echo 2")
    (made / "pytest.ini").write_text("[pytest]\n")
    for room in ROOMS:
        (made / "tests" / room).mkdir(parents=True)
        (made / "tests" / room / f"test_{room}.py").write_text("def test_it(): pass\n")
    return made


def _program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def begin(project: Path) -> subprocess.Popen[str]:
    path = f"{project / '.venv' / 'bin'}:{os.environ['PATH']}"
    environment = {key: value for key, value in os.environ.items() if key != "LABWIRE_SOAK"} | {"PATH": path}
    return subprocess.Popen(
        ["bash", str(project / "scripts" / "test")],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, text=True, start_new_session=True,
    )  # fmt: skip


def test_a_failure_beside_the_rest_is_told(project: Path) -> None:
    (project / "tests" / "rig" / "test_more.py").write_text("def test_it(): assert False\n")
    said, _ = (script := begin(project)).communicate(timeout=LIMIT_S)
    assert script.returncode == 1, said
    assert "FAILED tests/rig/test_more.py" in said
    assert said.count("FAILED  pytest") == 1


def test_what_failed_beside_the_rest_is_tried_once_more_and_named(project: Path) -> None:
    (project / "tests" / "rig" / "test_more.py").write_text(FAILS_ONCE)
    said, _ = (script := begin(project)).communicate(timeout=LIMIT_S)
    assert script.returncode == 0, said
    assert "TWICE   failed beside others, passed by itself: tests/rig/test_more.py::test_it[a b]" in said
    assert "FAILED  pytest" not in said


def test_many_failures_are_not_tried_again(project: Path) -> None:
    (project / "tests" / "rig" / "test_more.py").write_text(FAILS_ONCE.replace('["a b"]', "range(4)"))
    said, _ = (script := begin(project)).communicate(timeout=LIMIT_S)
    assert script.returncode == 1, said
    assert "a second look" not in said


def test_a_run_that_ends_by_itself_is_not_tried_again(project: Path) -> None:
    (project / "tests" / "rig" / "test_more.py").write_text("import os\ndef test_it(): os._exit(6)\n")
    said, _ = (script := begin(project)).communicate(timeout=LIMIT_S)
    assert script.returncode == 1, said
    assert "FAILED  pytest of whole rigs (exit 6)" in said


def test_what_npm_did_not_finish_is_not_there(project: Path) -> None:
    modules = project / "dashboard" / "node_modules"
    (modules / ".package-lock.json").unlink()
    _program(project / ".venv" / "bin" / "npm", "exit 1")
    said, _ = (script := begin(project)).communicate(timeout=LIMIT_S)
    assert script.returncode == 0, said
    assert "npm cannot fetch" in said
    assert not modules.exists()


def test_interrupted_it_ends_what_tests_have_started(project: Path) -> None:
    (project / "tests" / "rig" / "test_more.py").write_text(OTHER_PROGRAM)
    (project / "tests" / "wire" / "test_more.py").write_text("import time\ndef test_it(): time.sleep(1000)\n")
    script = begin(project)
    wait_until((project / "begun").exists, limit_s=LIMIT_S)
    os.killpg(script.pid, signal.SIGTERM)  # as an interrupt, which may be ignored where these tests run
    said, _ = script.communicate(timeout=LIMIT_S)
    assert script.returncode == 130, said
    assert (project / "ended").exists()
