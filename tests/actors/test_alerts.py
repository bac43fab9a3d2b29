"""Alerts: a command or a notification when something happens."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from labwire.actors.alerts import Alerts
from labwire.bus.alert_config import AlertConfig
from labwire.rig.rig_file import parse_rig
from labwire.strict import find_mistakes
from labwire.testing import ActorBench, wait_until
from tests.rig_fixture import running_rig

NOTE = "import os, sys; open(sys.argv[1], 'a').write(os.environ['LABWIRE_ALERT'] + ' ' + sys.stdin.read() + '\\n')"


def bench(folder: Path | None = None, **alert: Any) -> ActorBench[Alerts]:
    config = {"on": "instrument.died", "at_most_every_s": 0, **alert}
    return ActorBench(Alerts, alerts={"died": config}, folder=str(folder or ""))


def failed(bench: ActorBench[Alerts]) -> list[str]:
    bench.advance(0)
    return [said["reason"] for said in bench.notified("alert.failed")]


def test_a_notification_is_sent() -> None:
    with bench(notify="alert.raised") as alerts:
        alerts.notify("instrument.died", instrument="DMM1", why="gone")
        alerts.notify("instrument.started", instrument="DMM1")
        (raised,) = alerts.notified("alert.raised")
        assert (raised["alert"], raised["about"], raised["cause"]["why"]) == ("died", "instrument.died", "gone")


def test_the_death_of_a_worker_is_told_of_its_instrument() -> None:
    with bench(on="worker.died", notify="alert.raised") as alerts:
        alerts.notify("instrument.died", instrument="DMM1", why="gone")
        alerts.notify("instrument.restarted", instrument="DMM1")
        (raised,) = alerts.notified("alert.raised")
        assert raised["about"] == "instrument.died"


def test_a_command_gets_what_happened(tmp_path: Path) -> None:
    with bench(tmp_path, command=[sys.executable, "-c", NOTE, "told.txt"]) as alerts:
        alerts.notify("instrument.died", instrument="DMM1", raw=b"\x00\xff", odd={1: "one"})
        told = tmp_path / "told.txt"
        wait_until(lambda: told.exists() and told.read_text().endswith("\n"), "the command")
        name, _, text = told.read_text().partition(" ")
        assert name == "died"
        assert json.loads(text)["instrument"] == "DMM1"
        assert failed(alerts) == []


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["/nowhere/at/all"], "No such file"),
        ([sys.executable, "-c", "import sys; sys.exit('no paper')"], "ended with 1: no paper"),
        ([sys.executable, "-c", "import time; time.sleep(60)"], "took longer than 0.3 s"),
    ],
)
def test_a_command_that_fails_is_told(command: list[str], words: str) -> None:
    with bench(command=command, timeout_s=0.3 if "longer" in words else 20) as alerts:
        alerts.notify("instrument.died")
        wait_until(lambda: failed(alerts), "the failure")
        assert words in failed(alerts)[0]


def test_many_are_told_as_one() -> None:
    with bench(notify="alert.raised", at_most_every_s=3600) as alerts:
        for number in range(5):
            alerts.notify("instrument.died", number=number)
        (raised,) = alerts.notified("alert.raised")
        assert raised["cause"]["number"] == 0


def test_a_flood_of_commands_has_a_bound() -> None:
    with bench(command=[sys.executable, "-c", "import time; time.sleep(60)"]) as alerts:
        for _ in range(100):
            alerts.notify("instrument.died")
        assert any("are waiting already" in text for text in failed(alerts))


def test_alerts_do_not_answer_each_other() -> None:
    one = {"on": "b", "notify": "a", "at_most_every_s": 0}
    other = {"on": "a", "notify": "b", "at_most_every_s": 0}
    with ActorBench(Alerts, alerts={"one": one, "other": other}) as alerts:
        alerts.notify("a")
        alerts.notify("b", alert="other")
        assert [said["subject"] for said in alerts.notified()] == ["b"]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"on": "x"}, "`command`, `notify` or both"),
        ({"on": [], "notify": "y"}, "names at least one"),
        ({"on": ["x", ""], "notify": "y"}, "names at least one"),
        ({"on": "x.", "notify": "x.y"}, "answer itself"),
        ({"on": 3, "notify": "y"}, "must be"),
        ({"on": "x", "comand": ["ls"]}, "did you mean command?"),
    ],
)
def test_mistakes(table: dict[str, Any], words: str) -> None:
    assert words in str(list(find_mistakes(table, AlertConfig)))


def test_in_a_rig(tmp_path: Path) -> None:
    text = """
[sources.eyes]
kind = "simulated_eyes"

[alerts.died]
on = "actor.died"
notify = "alert.raised"
"""
    assert parse_rig(text).alerts["died"].subjects == ("actor.died",)
    with running_rig(tmp_path, text) as running, running.connect() as rig, rig.subscribe("notify.alert") as bus:
        (pid,) = (actor.pid for actor in rig.actors.list() if actor.name == "eyes")
        assert pid
        os.kill(pid, signal.SIGKILL)
        assert bus.recv(20).payload["cause"]["actor"] == "eyes"
        wait_until(lambda: {one.name: one.state for one in rig.actors.list()}["eyes"] == "running", "the eyes again")
