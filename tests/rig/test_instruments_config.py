"""Instruments in a rig file: options beside the server's keys, and what is wrong said at once."""

from __future__ import annotations

import tomllib
from typing import Any

import jsonschema
import pytest

from labwire.bus.actor_runner import Wiring
from labwire.errors import ConfigError
from labwire.rig import rig_checks
from labwire.rig.assembly import actor_specs
from labwire.rig.rig_file import default_toml, dump, parse_rig, schema

MULTIMETER = 'driver = "labwire.instruments.drivers.simulated:Multimeter"'
BENCH = f"""
[instruments.DMM1]
{MULTIMETER}
queue = "socket"
heartbeat_s = 0.5
voltage_v = 2.5
password = "secret"

[instruments.DMM1.limits]
memory_mb = 500

[instruments.DMM1.verbs.READ]
send = "READ?"
"""


def wrong(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_rig(text, file="rig.toml")
    return caught.value.message


def test_what_the_server_does_not_know_goes_to_the_driver() -> None:
    dmm = parse_rig(BENCH).instruments["DMM1"]
    assert (dmm.queue, dmm.heartbeat_s, dmm.limits.memory_mb) == ("socket", 0.5, 500)
    assert dmm.options == {"voltage_v": 2.5, "password": "secret", "verbs": {"READ": {"send": "READ?"}}}


def test_what_the_specification_says_is_the_default() -> None:
    dmm = parse_rig(f"[instruments.DMM1]\n{MULTIMETER}").instruments["DMM1"]
    assert (dmm.queue, dmm.profile) == ("boost", "spec")
    assert (dmm.heartbeat_s, dmm.heartbeat_timeout_s) == (1.0, 10.0)


def test_a_dump_has_the_form_of_the_file_and_no_secret() -> None:
    tree = dump(parse_rig(BENCH))["instruments"]["DMM1"]
    assert (tree["voltage_v"], tree["restart_tries"], tree["limits"]["memory_mb"]) == (2.5, 10, 500)
    assert tree["password"] == "(hidden)"
    assert "options" not in tree


def test_one_actor_runs_them_all() -> None:
    config = parse_rig(f"{BENCH}\n[instruments.DMM2]\n{MULTIMETER}\n")
    wiring = Wiring(*["tcp://127.0.0.1:9"] * 5)
    specs = {spec.name: spec for spec in actor_specs(config, wiring, 0, folder="/lab")}
    assert set(specs["instruments"].config["instruments"]) == {"DMM1", "DMM2"}
    assert specs["instruments"].config["instruments"]["DMM1"]["options"]["voltage_v"] == 2.5
    assert specs["instruments"].config["python_path"] == ["/lab"]
    assert "instruments" not in {spec.name for spec in actor_specs(parse_rig(""), wiring, 0, folder="/lab")}


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("[instruments.DMM1]\n", 'driver: is missing; write "module:Class", or external = true'),
        ('[instruments.DMM1]\ndriver = "a b"\n', '"a b" does not name a driver'),
        ('[instruments.DMM1]\ndriver = "my_lab:"\n', "does not name a driver"),
        (f'[instruments.DMM1]\n{MULTIMETER}\nqueue = "bost"\n', 'did you mean "boost"?'),
        (f"[instruments.DMM1]\n{MULTIMETER}\nheartbeat_timout_s = 3\n", "did you mean heartbeat_timeout_s?"),
        (f"[instruments.DMM1]\n{MULTIMETER}\nheartbeat_s = 0\n", "heartbeat_s"),
        (f"[instruments.DMM1]\n{MULTIMETER}\nexternal = true\n", "has no meaning with external = true"),
        ('[instruments.DMM1]\nexternal = true\nqueue = "socket"\n', "cannot join a socket"),
        (f'[instruments."D M"]\n{MULTIMETER}\n', "is not a name"),
        (f"[instruments.eyes]\n{MULTIMETER}\n[sources.eyes]\nkind = 'simulated_eyes'\n", "has this name already"),
        (f"[instruments.recorder]\n{MULTIMETER}\n", "belongs to the recorder"),
        ('[actors.instruments]\nclass = "a:B"\n', "belongs to the instruments' server"),
        (f"[instruments.DMM1]\n{MULTIMETER}\n[instruments.DMM1.limits]\nmemory = 5\n", "did you mean memory_mb?"),
    ],
)
def test_mistakes_are_told(table: str, told: str) -> None:
    message = wrong(table)
    assert told in message
    assert message.startswith("rig.toml, line ")


def test_an_entry_point_may_name_the_driver() -> None:
    assert parse_rig('[instruments.X]\ndriver = "scpi"\nresource = "R"\n').instruments["X"].driver == "scpi"


def test_another_platform_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig_checks.sys, "platform", "darwin")
    message = wrong(f"{BENCH}\n[instruments.DMM2]\n{MULTIMETER}\n")
    assert message.count("needs Linux") == 1


def uncommented(text: str) -> str:
    return "\n".join(
        line[1:] if line.startswith("#") and not line.startswith("# ") else line for line in text.split("\n")
    )


def test_the_default_file_shows_an_instrument() -> None:
    tables: dict[str, Any] = tomllib.loads(uncommented(default_toml()))["instruments"]
    assert "driver" in tables["DMM1"]
    assert "limits" in tables["DMM1"]


def test_the_schema_lets_the_drivers_options_through() -> None:
    made = schema()
    jsonschema.validate(tomllib.loads(BENCH), made)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"instruments": {"DMM1": {"queue": "bost"}}}, made)
