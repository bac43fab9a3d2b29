"""``labwire doctor`` on this computer."""

from __future__ import annotations

import io
import json
import os
import socket
from pathlib import Path

import pytest
from rich.console import Console

from labwire.cli.doctor import is_taken, show
from labwire.cli.main import main
from labwire.rig.doctor import CHECKS, Section
from labwire.rig.finding import fail, ok, warn
from tests.ports import lasting_port


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str]:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", *arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return ended.value.code, out


def test_every_check_has_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    _, out = run(capsys, "--port", str(lasting_port()))
    for title in CHECKS:
        assert title in out
    assert " fine" in out.splitlines()[-1]


def test_only_a_failure_gives_an_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rig = tmp_path / "rig.toml"
    rig.write_text(f"[remote]\nport = {lasting_port()}\n")
    code, out = run(capsys, str(rig), "--json")
    report = json.loads(out)
    assert (code, report["failed"]) == (0, 0)
    rig.write_text('[remote]\nport = 0\n[cameras.top]\ncamera = 255\n[recorder]\nroot = "/dev/null/recordings"\n')
    code, out = run(capsys, str(rig), "--json")
    report = json.loads(out)
    assert code == 1
    failed = [line["text"] for section in report["sections"] for line in section["findings"] if line["level"] == "fail"]
    assert report["failed"] == len(failed)
    assert any("camera 255" in text for text in failed)
    assert any("/dev/null/recordings" in text for text in failed)


def test_a_stranger_on_the_port_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        assert is_taken(port)
        code, out = run(capsys, "--port", str(port))
    assert code == 1
    assert f"port {port} is taken by" in out
    assert f"(pid {os.getpid()})" in out
    assert not is_taken(port)


def test_advice_stands_below_its_line() -> None:
    stream = io.StringIO()
    sections = [Section("disk", [ok("[plenty]"), warn("old", "buy one")]), Section("ports", [fail("taken", "stop it")])]
    show(sections, Console(file=stream, width=200))
    assert stream.getvalue().splitlines() == [
        "ok   disk   [plenty]",
        "warn        old",
        "            -> buy one",
        "fail ports  taken",
        "            -> stop it",
        "1 fail, 1 to look at, 1 fine",
    ]
