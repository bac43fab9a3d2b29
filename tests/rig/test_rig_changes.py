"""A rig with a part more, or less."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from labwire.errors import ConfigError, LabwireError, NotFoundError, UsageError
from labwire.rig.rig_changes import keep_fixed, with_part, without
from labwire.rig.rig_config import RigConfig, named_parts, single_parts
from labwire.rig.rig_file import parse_rig

RIG = parse_rig("""
name = "x"
[cameras.world]
demo = true
[file_ipc]
camera = "world"
[sources.eyes]
kind = "simulated_eyes"
""")


def add(part: str, **options: object) -> RigConfig:
    return with_part(RIG, part, options, Path("/rigs"))


def test_parts_are_what_the_rig_file_says() -> None:
    assert {"cameras", "sources", "instruments", "actors"} <= set(named_parts())
    assert {"recorder", "file_ipc", "time_sync"} <= set(single_parts())
    assert not {"bus", "remote", "network", "log", "name"} & {*named_parts(), *single_parts()}


def test_one_more() -> None:
    more = add("cameras.top", camera=2)
    assert list(more.cameras) == ["world", "top"]
    assert more.cameras["top"].camera == 2
    dmm = add("instruments.DMM1", driver="simulated_multimeter", range_v=3).instruments["DMM1"]
    assert dmm.options == {"range_v": 3}, "keys that are not the server's go to the driver"
    recorder = add("recorder", root="data").recorder
    assert recorder
    assert recorder.root == "/rigs/data"


@pytest.mark.parametrize(
    ("part", "options", "error", "words"),
    [
        ("cameras.world", {"camera": 1}, UsageError, "already"),
        ("file_ipc", {"camera": "world"}, UsageError, "already"),
        ("bus", {}, UsageError, "cannot be added"),
        ("bus.pub_port", {}, UsageError, "cannot be added"),
        ("cameras", {"camera": 1}, UsageError, "cannot be added"),
        ("cameras.top", {}, ConfigError, "needs exactly one"),
        ("cameras.top", {"cammera": 1}, ConfigError, "did you mean camera?"),
        ("cameras.eyes", {"camera": 1}, ConfigError, "has this name already"),
        ("cameras.a b", {"camera": 1}, ConfigError, "is not a name"),
        ("cameras.hub", {"camera": 1}, ConfigError, "belongs to the rig itself"),
        ("actors.x", {"class": "nothing"}, ConfigError, "module:Class"),
    ],
)
def test_what_cannot_be_added(part: str, options: dict[str, object], error: type[LabwireError], words: str) -> None:
    with pytest.raises(error, match=words):
        add(part, **options)


def test_one_less() -> None:
    assert without(RIG, "eyes").sources == without(RIG, "sources.eyes").sources == {}
    assert without(RIG, "file_ipc").file_ipc is None
    assert without(without(RIG, "file_ipc"), "world").cameras == {}
    with pytest.raises(ConfigError, match="world"):
        without(RIG, "world")  # the file backend needs it
    with pytest.raises(NotFoundError, match=r"there are: cameras.world, sources.eyes, file_ipc"):
        without(RIG, "top")
    with pytest.raises(NotFoundError):
        without(RIG, "recorder")


def test_what_must_wait_for_the_next_start() -> None:
    bus = msgspec.structs.replace(RIG.bus, pub_port=5)
    config, waiting = keep_fixed(RIG, msgspec.structs.replace(without(RIG, "eyes"), bus=bus, name="y"))
    assert waiting == ["name", "bus"]
    assert (config.name, config.bus, config.sources) == ("x", RIG.bus, {})
