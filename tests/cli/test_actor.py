"""``labwire actor`` at a rig that runs, and what a newcomer does wrong with actors of his own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labwire.errors import ERROR_CODES, InternalError, ResourceError
from tests.rig_fixture import RunningRig, running_rig

LAB = """
from labwire import Actor


class Bad(Actor):
    def on_start(self):
        self.helper()

    def helper(self):
        1 / 0


class NoFile(Actor):
    def on_start(self):
        open("calibration.json")
"""


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRig]:
    folder = tmp_path_factory.mktemp("rig")
    (folder / "mistaken_lab.py").write_text(LAB)
    with running_rig(folder, 'name = "lab"\n') as running:
        yield running


def test_a_mistake_in_the_actor_is_told_with_its_lines_and_is_none_of_labwire(rig: RunningRig) -> None:
    done = rig.labwire("actor", "mistaken_lab:Bad")
    assert done.returncode == ERROR_CODES[InternalError].exit_code
    file = rig.folder / "mistaken_lab.py"
    assert (
        f"""\
error: the actor mistaken_lab:Bad failed with ZeroDivisionError: division by zero
  File "{file}", line 7, in on_start: self.helper()
  File "{file}", line 10, in helper: 1 / 0
hint: mend the actor"""
        in done.stderr
    )
    assert "bug in labwire" not in done.stderr


def test_a_file_that_the_actor_misses_is_of_the_machine(rig: RunningRig) -> None:
    done = rig.labwire("actor", "mistaken_lab:NoFile")
    assert done.returncode == ERROR_CODES[ResourceError].exit_code
    assert "calibration.json" in done.stderr
    assert "line 15, in on_start" in done.stderr
