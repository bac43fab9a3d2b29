"""Parts come and go while a real rig runs; the others go on."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import pytest

from labwire.client import Rig
from labwire.errors import ERROR_CODES, ConfigError, LabwireError, NotFoundError, StateError
from labwire.operations.rig import RigChanges
from labwire.rig.live_rig import LiveRig, ReadRig
from labwire.rig.rig_config import RigConfig
from labwire.testing import wait_until
from labwire.testing.waiting import LIMIT_S
from tests.rig_fixture import RunningRig, running_rig

DMM, PSU, SCOPE = (f"{name}{os.getpid()}" for name in ("DMM", "PSU", "SCOPE"))
SIMULATED = "labwire.instruments.drivers.simulated:Multimeter"
TOML = f"""
name = "live"

[sources.eyes]
kind = "simulated_eyes"

[instruments.{DMM}]
driver = "{SIMULATED}"
queue = "socket"
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningRig]:
    with running_rig(tmp_path, TOML) as running, running.connect() as rig:
        wait_until(lambda: answers(rig, DMM), "the instrument")
        yield running


@pytest.fixture
def rig(running: RunningRig) -> Iterator[Rig]:
    with running.connect() as rig:
        yield rig


def actors(rig: Rig) -> dict[str, str]:
    return {actor.name: actor.state for actor in rig.actors.list()}


def pids(rig: Rig) -> dict[str, int | None]:
    found = {actor.name: actor.pid for actor in rig.actors.list()}
    return found | {one.name: one.pid for one in rig.instruments.list()}


def answers(rig: Rig, name: str) -> bool:
    try:
        return bool(rig.instrument(name).measure_voltage(range=10.0))
    except LabwireError:
        return False


def test_a_source_comes_and_goes(running: RunningRig, rig: Rig) -> None:
    before = pids(rig)
    with rig.subscribe("pupil.", "notify.rig.changed") as bus:
        changes = rig.rig.add("sources.more", {"kind": "simulated_eyes", "eyes": [0], "rate_hz": 10})
        assert changes.added == ["sources.more"]
        while bus.recv(20).payload.get("added") != ["sources.more"]:
            pass
    wait_until(lambda: actors(rig).get("more") == "running", "the new source")
    assert list(rig.rig.config()["sources"]) == ["eyes", "more"]
    assert rig.rig.remove("more").removed == ["sources.more"]
    wait_until(lambda: "more" not in actors(rig), "its end")
    assert list(rig.rig.config()["sources"]) == ["eyes"]
    assert {name: pid for name, pid in pids(rig).items() if name in before} == before, "nobody else was touched"
    check_mistakes(rig)
    check_by_hand(running, rig)


def test_an_instrument_comes_and_goes(rig: Rig) -> None:
    before = pids(rig)
    rig.rig.add(f"instruments.{PSU}", {"driver": SIMULATED, "queue": "socket"})
    wait_until(lambda: answers(rig, PSU), "the new instrument")
    rig.actors.restart("instruments")
    wait_until(lambda: answers(rig, PSU), "the new instrument, when its actor was started again")
    wait_until(lambda: answers(rig, DMM), "the old one")
    before = pids(rig)
    rig.rig.remove(PSU)
    assert [one.name for one in rig.instruments.list()] == [DMM]
    assert answers(rig, DMM)
    assert pids(rig) == {name: pid for name, pid in before.items() if name != PSU}


def check_mistakes(rig: Rig) -> None:
    before = rig.rig.config()
    with pytest.raises(ConfigError, match="did you mean rate_hz"):
        rig.rig.add("sources.more", {"kind": "simulated_eyes", "rate_h": 3})
    with pytest.raises(NotFoundError, match="eyes"):
        rig.rig.remove("nobody")
    assert rig.rig.config() == before


def test_the_rig_file_is_read_again(running: RunningRig, rig: Rig) -> None:
    file = running.folder / "rig.toml"
    wait_until(lambda: answers(rig, DMM), "the instrument")
    before = pids(rig)
    scope = f'[instruments.{SCOPE}]\ndriver = "labwire.instruments.drivers.simulated:Oscilloscope"\nqueue = "socket"\n'
    eyes = 'kind = "simulated_eyes"\nrate_hz = 30\n'
    file.write_text(TOML.replace('kind = "simulated_eyes"\n', eyes) + scope + "[bus]\nslow_subscriber_s = 3\n")
    done = running.labwire("config", "reload")
    assert done.stdout.splitlines() == [
        f"added: instruments.{SCOPE}",
        "changed: sources.eyes",
        "these count when the rig is started again: bus",
    ], done.stderr
    wait_until(lambda: actors(rig)["eyes"] == "running" and pids(rig)["eyes"] != before["eyes"], "the changed source")
    wait_until(lambda: {one.name: one.state for one in rig.instruments.list()}.get(SCOPE) == "ready", "the new one")
    assert pids(rig)[DMM] == before[DMM]
    file.write_text(TOML + "[buss]\n")
    broken = running.labwire("config", "reload")
    assert "did you mean bus?" in broken.stderr
    file.write_text(TOML)
    changes = rig.rig.reload()
    assert (changes.added, changes.removed, changes.changed) == ([], [f"instruments.{SCOPE}"], ["sources.eyes"])
    again = rig.rig.reload()
    assert (again.added, again.removed, again.changed, again.waiting) == ([], [], [], [])


def check_by_hand(running: RunningRig, rig: Rig) -> None:
    added = running.labwire("config", "add", "sources.hand", "kind=simulated_eyes", "eyes=[1]")
    assert added.stdout == "added: sources.hand\n", added.stderr
    wait_until(lambda: actors(rig).get("hand") == "running", "the new source")
    assert running.labwire("config", "remove", "hand").stdout == "removed: sources.hand\n"
    assert "cannot be added" in running.labwire("config", "add", "bus.x").stderr


def test_a_rig_that_others_can_reach_takes_no_code_from_them(tmp_path: Path) -> None:
    text = '[network]\nlisten = "0.0.0.0"\nallow = ["10.99.99.0/24"]\n[sources.eyes]\nkind = "simulated_eyes"\n'
    with running_rig(tmp_path, text) as running, running.connect() as rig:
        with pytest.raises(StateError, match="config reload"):
            rig.rig.add("actors.evil", {"class": "os:system"})
        rig.rig.add("sources.more", {"kind": "simulated_eyes"})


LAB = """
import labwire
from labwire.strict import Strict

class Level(labwire.Actor):
    class Config(Strict):
        level: int = 1
"""


def test_a_file_with_a_wrong_option_changes_nothing_and_a_corrected_one_starts_the_actor(tmp_path: Path) -> None:
    def with_option(text: str) -> str:
        return f'name = "lab"\n[actors.level]\nclass = "level_lab:Level"\n{text}\n'

    (tmp_path / "level_lab.py").write_text(LAB)
    with running_rig(tmp_path, with_option("levle = 3")) as running, running.connect() as rig:
        wait_until(lambda: rig.actors.list()[-1].last_error, "the actor that cannot run")
        (tmp_path / "rig.toml").write_text(with_option("level = 3"))
        assert running.labwire("config", "reload", "--timeout", "25").stdout == "changed: actors.level\n"
        wait_until(lambda: actors(rig)["level"] == "running", "the corrected actor")
        before = rig.actors.list()[-1].pid
        (tmp_path / "rig.toml").write_text(
            with_option("level = 4\nlevle = 3") + '[sources.eyes]\nkind = "simulated_eyes"'
        )
        refused = running.labwire("config", "reload", "--timeout", "25")
        assert refused.returncode == ERROR_CODES[ConfigError].exit_code
        assert "rig.toml, line 5: [actors.level] levle: unknown key; did you mean level?" in refused.stderr
        with pytest.raises(ConfigError, match="did you mean 'Level'"):
            rig.rig.add("actors.more", {"class": "level_lab:Levle"})
        assert rig.actors.list()[-1].pid == before
        assert rig.rig.config()["actors"]["level"]["level"] == 3
        rig.actors.stop("level")
        wait_until(lambda: actors(rig)["level"] == "stopped", "its end")
        (tmp_path / "rig.toml").write_text(with_option("level = 5"))
        assert rig.rig.reload().changed == ["actors.level"]
        assert actors(rig)["level"] == "stopped", "a person has stopped it"
        rig.actors.restart("level")
        wait_until(lambda: actors(rig)["level"] == "running", "the actor that was started again")


def live_rig(folder: Path, read: ReadRig, *, post: Callable[[Callable[[], None]], bool]) -> LiveRig:
    never: Any = None
    return LiveRig(
        RigConfig(), folder=folder, supervisor=never, specs_of=lambda _: [], instruments=never, read=read,
        on_change=lambda _: None, post=post,
    )  # fmt: skip


def test_one_change_at_a_time_is_checked_however_many_are_asked_for(tmp_path: Path) -> None:
    go_on = threading.Event()

    def read(_: object) -> RigConfig:
        go_on.wait(LIMIT_S)
        raise ConfigError("no rig")

    rig = live_rig(tmp_path, read, post=lambda _: True)
    first, threads = cast("Future[RigChanges]", rig.reload()), threading.active_count()
    for _ in range(50):
        with pytest.raises(StateError, match="being checked"):
            rig.reload()
    assert threading.active_count() == threads
    go_on.set()
    with pytest.raises(ConfigError, match="no rig"):
        first.result(LIMIT_S)
    with pytest.raises(ConfigError, match="no rig"):  # who has an answer may ask again
        cast("Future[RigChanges]", rig.reload()).result(LIMIT_S)
    rig.close()


def test_a_change_for_which_the_rig_has_no_time_is_told(tmp_path: Path) -> None:
    rig = live_rig(tmp_path, lambda _: RigConfig(), post=lambda _: False)
    with pytest.raises(StateError, match="too much to do"):
        cast("Future[RigChanges]", rig.reload()).result(LIMIT_S)
    rig.close()
