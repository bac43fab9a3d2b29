"""What a person reads when a rig is ready, and the commands it tells them to type."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from labwire.cli.banner import banner
from labwire.cli.program import program_name
from labwire.rig.demo import demo_config
from labwire.rig.hub import Ready
from labwire.rig.rig_file import parse_rig

READY = Ready(
    remote="tcp://127.0.0.1:50020",
    pub_port=1,
    sub_port=2,
    push_port=3,
    rpc_port=4,
    pid=5,
    actors=["hub", "steward", "eyes"],
    name="demo",
    log_file="/state/demo.log",
    exposed=False,
    failed=[],
)


def test_it_tells_where_everything_is_and_what_to_do_next() -> None:
    config = demo_config()
    assert config.recorder
    text = banner(READY, config, "labwire")
    for words in ('"demo"', "tcp://127.0.0.1:50020", "hub, steward, eyes", config.recorder.root, "/state/demo.log"):
        assert words in text
    assert "file_ipc_output/latest.jpg" in text
    assert "this computer only" in text
    for command in ("labwire sub pupil. --count 5", 'labwire record start "my first session"', "labwire record stop"):
        assert f"{command}  " in text, "without --port: it is the usual one"
    assert "NOT RUNNING" not in text


def test_commands_name_another_port() -> None:
    text = banner(msgspec.structs.replace(READY, remote="tcp://127.0.0.1:7000"), demo_config(), ".venv/bin/labwire")
    assert ".venv/bin/labwire record stop --port 7000" in text


def test_it_warns_of_what_is_exposed_and_what_does_not_run() -> None:
    config = parse_rig('[network]\nlisten = "0.0.0.0"\nallow = ["192.168.1.0/24"]\n')
    text = banner(msgspec.structs.replace(READY, exposed=True, failed=["world"]), config, "labwire")
    assert "EXPOSED" in text
    assert "0.0.0.0; 192.168.1.0/24 may connect" in text
    assert "NOT RUNNING" in text
    assert "world" in text


def test_a_bare_rig_has_steps_too() -> None:
    text = banner(READY, parse_rig(""), "labwire")
    assert "labwire sub --stats" in text
    assert "record" not in text


def test_the_program_is_called_as_the_shell_would_find_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / ".venv" / "bin" / "labwire"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "argv", [str(program)])
    assert program_name() == ".venv/bin/labwire"
    monkeypatch.setattr(sys, "argv", [str(program.with_name("instrument-server"))])
    assert program_name() == ".venv/bin/labwire"
    monkeypatch.chdir("/")
    assert program_name() == str(program).removeprefix("/")
    monkeypatch.setenv("PATH", str(program.parent))
    assert program_name() == "labwire"
    monkeypatch.setattr(sys, "argv", ["/lib/labwire/__main__.py"])
    assert program_name().endswith("-m labwire")
