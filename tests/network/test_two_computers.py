"""docs/how-to/two-computers.md, on two computers with a cable that is pulled and plugged in again."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from labwire.testing import wait_until
from tests.network.namespaces import FIRST_ADDRESS, NETWORK, Host, plug_cable, pull_cable, two_hosts

RIG = f"""
name = "first-rig"

[network]
listen = "0.0.0.0"
allow = ["{NETWORK}"]

[web]
enabled = false

[time_sync]
bias = 10

[sources.eyes]
kind = "simulated_eyes"

[recorder]
disk_warn_bytes = 0
disk_stop_bytes = 0
"""
JOINS = f"""
name = "second-rig"

[network]
listen = "0.0.0.0"
allow = ["{NETWORK}"]

[time_sync]

[web]
enabled = false

[sources.tracker]
kind = "pupil"
host = "{FIRST_ADDRESS}"
"""
BEACON = """
import labwire

class Beacon(labwire.Actor):
    "Says once in a while that it is there."

    def on_start(self):
        self.every(0.1, lambda: self.emit("beacon", {"timestamp": self.clock.now()}))
"""
THERE = ("--host", FIRST_ADDRESS)


def last(host: Host, topic: str, *where: str) -> dict[str, Any]:
    """Return the newest message of a topic, as `labwire bus last` tells it."""
    try:
        rows = json.loads(host.labwire("bus", "last", topic, "--json", *where))
    except ValueError:
        return {}
    return rows[-1]["payload"] if isinstance(rows, list) and rows else {}


def actors(host: Host, *where: str) -> dict[str, Any]:
    try:
        return {row["name"]: row for row in json.loads(host.labwire("actors", "list", "--json", *where))}
    except (ValueError, TypeError, KeyError):
        return {}


@pytest.mark.timeout(180)
def test_two_computers(tmp_path: Path) -> None:
    with two_hosts(tmp_path) as (first, second), first.rig(RIG):
        (second.folder / "my_lab.py").write_text(BEACON)
        assert "first-rig" in second.labwire("status", *THERE)
        check_discovery(second)
        joined = second.rig(JOINS)
        with joined, second.running("actor", "my_lab:Beacon", "--rig", f"{FIRST_ADDRESS}:50020"):
            wait_until(lambda: actors(first).get("beacon", {}).get("state") == "remote", "the remote actor")
            assert actors(first)["beacon"]["host"] == "second"
            wait_until(lambda: last(second, "source.tracker").get("connected"), "the source")
            assert last(second, "clock.offset")["uncertainty_s"] > 0
            check_times(first, second)
            wait_until(lambda: last(second, "notify.time_sync.role").get("master") == "first-rig", "one clock")
            pull_cable(first)
            wait_until(lambda: "beacon" not in actors(first), "the loss of the actor")
            wait_until(lambda: last(second, "source.tracker").get("connected") is False, "the loss of the source")
            plug_cable(first)
            wait_until(lambda: "beacon" in actors(first), "the actor again")
            wait_until(lambda: last(second, "source.tracker").get("connected"), "the source again")
            assert last(second, "notify.source.found")["gap_s"] > 0
            check_times(first, second)
            assert actors(second)["tracker"]["restarts"] == 0


def check_times(first: Host, second: Host) -> None:
    """What the other computer sends is fresh, and has the time of the rig that shows it."""
    before = last(first, "beacon")["timestamp"]
    wait_until(lambda: last(first, "beacon")["timestamp"] > before, "a fresh beacon")
    assert abs(last(first, "beacon")["timestamp"] - float(first.labwire("remote", "t"))) < 10
    before = last(second, "pupil.0.3d")["timestamp"]
    wait_until(lambda: last(second, "pupil.0.3d")["timestamp"] > before, "fresh eyes")
    assert abs(last(second, "pupil.0.3d")["timestamp"] - float(second.labwire("remote", "t"))) < 10


def check_discovery(second: Host) -> None:
    if not importlib.util.find_spec("zeroconf"):
        return
    wait_until(lambda: "first-rig" in second.labwire("discover"), "the advertisement")
    assert f"--host {FIRST_ADDRESS}" in second.labwire("discover")
