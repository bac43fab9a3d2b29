"""Classes that a rig names: those of its user are imported apart, and everything wrong is told at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

import pytest

from labwire.errors import ConfigError
from labwire.rig import rig_classes
from labwire.rig.rig_classes import check_classes
from labwire.rig.rig_file import load_rig

MY_LAB = """
import sys
import labwire
from labwire.instruments.driver import Driver
from labwire.strict import Strict

print("a module may print")
sys.stdout.flush()

class Alarm(labwire.Actor):
    class Config(Strict):
        volume: int = 1

class Meter(Driver):
    pass
"""
MODULES = {
    "my_lab": MY_LAB,
    "leaves": "raise SystemExit('no licence')",
    "crashes": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "broken": "def f(:",
    "opens": "open('/nowhere/at/all')",
}
RIG = """
[actors.fine]
class = "my_lab:Alarm"
volume = 3
[actors.typo]
class = "my_lab:Alrm"
[actors.option]
class = "my_lab:Alarm"
volme = 3
[actors.value]
class = "my_lab:Alarm"
volume = "loud"
[actors.nowhere]
class = "no_lab:Alarm"
[actors.leaves]
class = "leaves:Alarm"
[actors.crashes]
class = "crashes:Alarm"
[actors.broken]
class = "broken:Alarm"
[actors.opens]
class = "opens:Alarm"
[instruments.FINE]
driver = "my_lab:Meter"
[instruments.TYPO]
driver = "my_lab:Metre"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def mistakes_in(folder: Path, text: str) -> dict[str, str]:
    (folder / "rig.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_rig(folder / "rig.toml", also=lambda config: check_classes(config, folder))
    mistakes = cast("list[dict[str, str]]", caught.value.data["mistakes"])
    return {entry["key"]: f"{entry['text']} {entry['hint']}" for entry in mistakes}


def test_classes_of_the_user_are_looked_at(folder: Path) -> None:
    found = mistakes_in(folder, RIG)
    said = {
        "[actors.typo] class": "did you mean 'Alarm'?",
        "[actors.option] volme": "did you mean volume?",
        "[actors.value] volume": "must be a whole number",
        "[actors.nowhere] class": "no no_lab.py beside the rig file",
        "[actors.leaves] class": "ends the process that does it (exit status 1: no licence)",
        "[actors.crashes] class": "ends the process that does it (exit status -9)",
        "[actors.broken] class": "SyntaxError",
        "[instruments.TYPO] driver": "did you mean 'Meter'?",
    }
    assert list(found) == list(said)
    for key, words in said.items():
        assert words in found[key]
    assert not sys.modules.keys() & MODULES.keys(), "nothing of them is imported here"


def test_a_module_that_takes_for_ever_is_given_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "waits.py").write_text("import time; time.sleep(3600)")
    monkeypatch.setattr(rig_classes, "IMPORT_LIMIT_S", 0.2)
    found = mistakes_in(folder, '[actors.waits]\nclass = "waits:Alarm"\n')
    assert "takes longer than 0.2 s" in found["[actors.waits] class"]


def test_without_a_folder_they_are_left_alone(folder: Path) -> None:
    (folder / "rig.toml").write_text(RIG)
    assert "typo" in load_rig(folder / "rig.toml", also=check_classes).actors
