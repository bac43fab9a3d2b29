"""Skin conductance from a sensor on the bus, beside what a camera sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from labwire.actors.eda_sensor import value_of
from labwire.errors import DeadlineError
from labwire.file_backend.reader import read
from labwire.testing.rig import running_rig
from labwire.testing.waiting import wait_until
from labwire.vitals.config import VitalsConfig
from tests.sources.clips import jpegs, motion_jpeg

LIMIT_S, _PATIENCE_S = 40.0, 0.5

RIG = """
[cameras.face]
video = "clip.avi"
[cameras.face.vitals]
eda_topic = "lsl.gsr"
eda_field = "samples.-1.0"
[file_ipc]
camera = "face"
base_directory = "out"
max_frame_count = 20
"""


@pytest.mark.parametrize(
    ("payload", "field", "value"),
    [
        ({"value": 2}, "value", 2.0),
        ({"value": {"conductance": 2.5}}, "value.conductance", 2.5),
        ({"samples": [[1.5, 20.0], [1.6, 21.0]]}, "samples.-1.0", 1.6),
        ({"value": 2.5, "success": False}, "value", None),
        ({"value": 2.5, "verb": "identify"}, "value", None),
        ({"value": 2.5, "verb": "conductance"}, "value", 2.5),
        ({"value": True}, "value", None),
        ({"value": "2.5"}, "value", None),
        ({"value": float("nan")}, "value", None),
        ({"value": None}, "value.conductance", None),
        ({"samples": []}, "samples.-1.0", None),
        ({"samples": [[1.5]]}, "samples.last.0", None),
        ({}, "value", None),
    ],
)
def test_value_of_a_message(payload: dict[str, Any], field: str, value: float | None) -> None:
    verb = "conductance" if "verb" in payload else ""
    assert value_of(payload, VitalsConfig(eda_topic="gsr", eda_field=field, eda_verb=verb)) == value


def test_results_of_an_instrument_need_a_verb() -> None:
    with pytest.raises(msgspec.ValidationError, match="eda_verb"):
        msgspec.convert({"eda_topic": "instrument.gsr.result"}, VitalsConfig)
    msgspec.convert({"eda_topic": "instrument.gsr.result", "eda_verb": "conductance"}, VitalsConfig)


def test_a_sensors_value_is_told_once_with_the_next_picture(tmp_path: Path) -> None:
    motion_jpeg(tmp_path / "clip.avi", jpegs(30))
    told: list[float] = []
    with running_rig(tmp_path, RIG) as running, running.connect() as rig, rig.subscribe("edge_metrics.face") as edge:

        def sample(value: float, age_s: float = 0.0) -> None:
            rig.publish("lsl.gsr", {"samples": [[0.0], [value]], "timestamp": rig.now() - age_s})

        def is_told() -> bool:
            sample(2.0, age_s=5.0)
            sample(3.25)
            try:
                told.append(edge.recv(_PATIENCE_S).payload["eda"])
            except DeadlineError:
                return False  # the camera does not listen yet
            return True

        wait_until(is_told, "the sensor's value", limit_s=LIMIT_S)
    assert told == [3.25]
    written = [record.payload for record in read(tmp_path / "out") if record.type == "edge_metrics"]
    assert written
    assert {payload["eda"] for payload in written} == {3.25}
