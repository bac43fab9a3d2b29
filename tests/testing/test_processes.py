"""What a test starts ends with it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from labwire.testing import left_behind, running_process, wait_until

PARENT = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'input()'], stdin=0); print(); input()"


def test_children_of_children_end_too_when_the_test_fails(tmp_path: Path) -> None:
    def fail() -> None:
        with running_process([sys.executable, "-c", PARENT], stdin=-1) as process:
            assert process.stdout
            process.stdout.readline()
            started.append(process.pid)
            assert len(left_behind(process.pid)) == 1
            raise ZeroDivisionError

    started: list[int] = []
    with pytest.raises(ZeroDivisionError):
        fail()
    wait_until(lambda: not left_behind(started[0]), "their end")


def test_what_does_not_come_true_is_named() -> None:
    with pytest.raises(AssertionError, match=r"the moon did not come true within 0\.01 s"):
        wait_until(lambda: False, "the moon", limit_s=0.01)
