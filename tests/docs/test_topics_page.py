"""The page on topics names what a rig really emits, and what its actors say of themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from labwire.client import Rig, connect
from labwire.sessions import events
from tests.rig_fixture import RunningRig, running_rig

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "topics.md").read_text()
NAMED = re.findall(r"`([a-z_0-9.<> ]+)`", PAGE)
RIG = """
name = "topics"

[cameras.world]
demo = true

[sources.eyes]
kind = "simulated_eyes"

[recorder]
disk_warn_bytes = 0
disk_stop_bytes = 0
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRig]:
    with running_rig(tmp_path_factory.mktemp("topics"), RIG) as running:
        yield running


@pytest.fixture
def rig(running: RunningRig) -> Iterator[Rig]:
    with connect(port=running.port) as rig:
        yield rig


def is_named(topic: str) -> bool:
    bare = topic.removeprefix("notify.")
    patterns = (re.sub(r"<[^>]+>", "\0", name) for name in NAMED)
    return any(re.fullmatch(re.escape(name).replace("\0", "[^ ]+"), bare) for name in patterns)


def test_a_name_with_a_gap_names_what_fits() -> None:
    assert is_named("notify.recording.started")
    assert is_named("pupil.0.3d")
    assert not is_named("pupil.0.4d")
    assert not is_named("no.such.topic")


def test_every_topic_that_is_seen_is_named(rig: Rig) -> None:
    rig.record.start("x")
    rig.record.stop()
    while not {"gaze.3d.0.", "bus.stats", "recorder.state"} <= (seen := {last.topic for last in rig.bus.last("")}):
        pass  # a blink comes within seconds
    assert sorted(topic for topic in seen if not is_named(topic)) == []


def test_what_the_actors_say_of_themselves_is_named(running: RunningRig) -> None:
    documents = json.loads(running.labwire("docs", "--json").stdout)
    said = [
        (document["actor"], word)
        for document in documents
        for line in document["doc"].partition("\n")[2].partition("Commands:")[0].splitlines()
        for word in re.findall(r"``([^`]+)``", line.partition(": ")[0])
    ]
    assert len(said) > 20
    assert [(actor, word) for actor, word in said if f"`{word}`" not in PAGE and not is_named(word)] == []


@pytest.mark.parametrize(
    "kind", [events.DISK_LOW, events.DATA_LOST, events.MALFORMED, events.GAPS, events.STREAM_FAILED]
)
def test_every_kind_of_warning_is_named(kind: str) -> None:
    assert f"`{kind}`" in PAGE
