"""docs/how-to/two-computers.md, on two computers with a cable that is pulled and plugged in again."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labwire.testing import wait_until
from tests.network.namespaces import FIRST_ADDRESS, LIMIT_S, NETWORK, Host, plug_cable, pull_cable, two_hosts

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


def comes(condition: Callable[[], object], what: str) -> None:
    """Wait for something that a command of the command line shows."""
    wait_until(condition, what, limit_s=LIMIT_S)


@pytest.mark.timeout(400)
def test_two_computers(tmp_path: Path) -> None:
    with two_hosts(tmp_path) as (first, second), first.rig(RIG):
        (second.folder / "my_lab.py").write_text(BEACON)
        comes(lambda: "first-rig" in second.labwire("status", *THERE), "the first rig, from the second computer")
        check_discovery(second)
        joined = second.rig(JOINS)
        with joined, second.running("actor", "my_lab:Beacon", "--rig", f"{FIRST_ADDRESS}:50020"):
            comes(lambda: actors(first).get("beacon", {}).get("state") == "remote", "the remote actor")
            comes(lambda: actors(first).get("beacon", {}).get("host") == "second", "its host")
            comes(lambda: last(second, "source.tracker").get("connected"), "the source")
            assert newest(second, "clock.offset")["uncertainty_s"] > 0
            check_times(first, second)
            comes(lambda: last(second, "notify.time_sync.role").get("master") == "first-rig", "one clock")
            pull_cable(first)
            comes(lambda: (found := actors(first)) and "beacon" not in found, "the loss of the actor")
            comes(lambda: last(second, "source.tracker").get("connected") is False, "the loss of the source")
            plug_cable(first)
            comes(lambda: "beacon" in actors(first), "the actor again")
            comes(lambda: last(second, "source.tracker").get("connected"), "the source again")
            assert newest(second, "notify.source.found")["gap_s"] > 0
            check_times(first, second)
            comes(lambda: actors(second).get("tracker", {}).get("restarts") == 0, "that it is the same source")


def check_times(first: Host, second: Host) -> None:
    """What the other computer sends is fresh, and has the time of the rig that shows it."""
    for host, topic in ((first, "beacon"), (second, "pupil.0.3d")):
        before = newest(host, topic)["timestamp"]
        comes(lambda: newest(host, topic)["timestamp"] > before, f"a fresh {topic}")  # noqa: B023
        assert abs(newest(host, topic)["timestamp"] - float(host.labwire("remote", "t"))) < 10


def newest(host: Host, topic: str) -> dict[str, Any]:
    """Return the newest message of a topic that there is; on a busy machine a command may come to nothing."""
    found: list[dict[str, Any]] = []
    comes(lambda: found.append(last(host, topic)) or found[-1], topic)
    return found[-1]


def check_discovery(second: Host) -> None:
    if not importlib.util.find_spec("zeroconf"):
        return

    def is_found() -> bool:
        told = second.labwire("discover")
        return "first-rig" in told and f"--host {FIRST_ADDRESS}" in told

    comes(is_found, "the advertisement")
