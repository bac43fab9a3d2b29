"""Rigs share one clock: who is master, who follows, and what happens to rig time."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest

from labwire.bus.subscription import Subscription
from labwire.client import Rig
from labwire.errors import DeadlineError
from labwire.testing import wait_until
from labwire.testing.waiting import LIMIT_S
from labwire.time_sync.time_service import TimeService
from labwire.time_sync.zre_node import ZreNode
from labwire.wire.time_sync import GROUP_SUFFIX, Announcement, encode_announcement
from tests.rig_fixture import running_rig

GROUP = "default" + GROUP_SUFFIX


@pytest.fixture
def port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def toml(name: str, port: int, rest: str = "") -> str:
    recorder = "[recorder]\ndisk_warn_bytes = 0\ndisk_stop_bytes = 0"
    return f'name = "{name}"\n[time_sync]\nbeacon_port = {port}\n{rest}\n{recorder}\n'


def apart_s(one: Rig, other: Rig) -> float:
    a, b = one.clock_offset(), other.clock_offset()
    return max(0.0, abs(a.offset_s - b.offset_s) - a.uncertainty_s - b.uncertainty_s)


def test_two_rigs_share_a_clock(tmp_path: Path, port: int) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    with running_rig(tmp_path / "first", toml("first", port, "bias = 10")) as a, a.connect() as first:
        first.request("T 5000")
        with running_rig(tmp_path / "second", toml("second", port)) as b, b.connect() as second:
            wait_until(lambda: apart_s(first, second) < 0.001, "one clock")
            assert second.now() > 5000
            roles = [value.payload for value in second.bus.last("notify.time_sync.role")]
            assert [(one["role"], one["master"]) for one in roles] == [("follower", "first")]
            (offset,) = (value.payload for value in second.bus.last("clock.offset"))
            assert (offset["source"], offset["host"]) == ("first", "127.0.0.1")
            assert 0 < offset["uncertainty_s"] <= offset["round_trip_s"] / 2


def test_rig_time_waits_for_the_end_of_a_recording(tmp_path: Path, port: int) -> None:
    with (
        running_rig(tmp_path, toml("follower", port, 'role = "follower"')) as running,
        running.connect() as rig,
        rig.subscribe("notify.") as notices,
    ):
        rig.record.start("x")
        offset_s = 9000.0
        with (
            TimeService(lambda: time.monotonic() + offset_s) as service,
            ZreNode("master", [GROUP], lambda _: None, beacon_port=port) as node,
        ):
            announced = encode_announcement(Announcement(1004.0, service.port))
            while "notify.time_sync.waiting" not in topics_until_quiet(notices):
                node.shout(GROUP, announced)
            assert abs(rig.clock_offset().offset_s) < 1, "it waits"
            rig.record.stop()
            wait_until(lambda: abs(rig.clock_offset().offset_s - offset_s) < 0.001, "the master's time")
            while notices.recv(LIMIT_S).topic != "notify.clock.changed":
                pass
        wait_until(lambda: role_of(rig) == "alone", "the master's goodbye")


def topics_until_quiet(notices: Subscription[Any]) -> set[str]:
    topics: set[str] = set()
    try:
        while True:
            topics.add(notices.recv(timeout_s=0.3).topic)
    except DeadlineError:
        return topics


def role_of(rig: Rig) -> str:
    return rig.bus.last("notify.time_sync.role")[-1].payload["role"]
