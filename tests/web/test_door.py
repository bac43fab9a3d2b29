"""The listening socket of the dashboard, and rigs without one."""

from __future__ import annotations

import importlib.util
import socket
from pathlib import Path

import pytest

from labwire.errors import ConfigError
from labwire.rig import web_door
from labwire.rig.rig_file import parse_rig
from labwire.rig.web_door import WebDoor
from labwire.testing.rig import running_rig


def test_off_is_off(tmp_path: Path) -> None:
    door = WebDoor(parse_rig("[web]\nenabled = false"))
    assert (door.url, door.note, door.fds) == ("", "", [])
    with running_rig(tmp_path, 'name = "bare"') as rig:
        assert rig.ready.web == ""
        assert "web" not in rig.ready.actors


def test_a_taken_default_port_gives_way_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setattr(web_door, "DEFAULT_PORT", other.getsockname()[1])
        door = WebDoor(parse_rig(""))
        assert door.url.startswith("http://127.0.0.1:")
        assert not door.url.endswith(f":{other.getsockname()[1]}")
        assert f"{other.getsockname()[1]} is taken by" in door.note
        assert "(pid " in door.note
        door.close()


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "uvicorn" else find(name))
    door = WebDoor(parse_rig(""))
    assert (door.url, door.fds) == ("", [])
    assert "pip install 'labwire[web]'" in door.note


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ('[web]\nlisten = "bench.lab"', "is not an IPv4 address"),
        ('[web]\ncertificate = "rig.toml"', "there is no file"),
        ("[web]\nport = 50020", "is already"),
        ("[web]\nprot = 1", "did you mean port"),
        ('[actors.web]\nclass = "a:B"', "belongs to the dashboard"),
    ],
)
def test_what_can_be_wrong(toml: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_rig(toml)
