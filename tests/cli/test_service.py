"""``labwire service``: the unit file, and the word that a rig is ready."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from labwire.cli.main import main
from labwire.rig import supervisor
from labwire.rig.systemd_unit import STOP_S, tell_systemd, unit_text
from tests.rig_fixture import running_rig


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["service", *arguments])
    out, err = capsys.readouterr()
    return ended.value.code, out, err


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / 'a "lab" 100%'
    folder.mkdir()
    (folder / "rig.toml").write_text('name = "lab"\n')
    return folder / "rig.toml"


def test_it_is_installed_and_removed(capsys: pytest.CaptureFixture[str], rig: Path, tmp_path: Path) -> None:
    code, out, err = run(capsys, "install", str(rig))
    file = tmp_path / "config" / "systemd" / "user" / "labwire-lab.service"
    assert (code, err) == (0, "")
    assert "systemctl --user enable --now labwire-lab.service" in out.replace("daemon-reload && ", "")
    shown = run(capsys, "show", str(rig))[1]
    assert file.read_text() == shown
    told = json.loads(run(capsys, "show", str(rig), "--json")[1])
    assert told == {"unit": file.name, "file": str(file), "text": shown}
    assert '"run"' in file.read_text()
    code, out, _ = run(capsys, "remove", "lab", "--json")
    assert (code, json.loads(out), file.exists()) == (0, {"removed": str(file)}, False)
    code, _, err = run(capsys, "remove", "lab")
    assert code != 0
    assert "there are: none" in err


def test_a_rig_file_that_is_wrong_is_not_installed(capsys: pytest.CaptureFixture[str], rig: Path) -> None:
    rig.write_text("nme = 1\n")
    code, _, err = run(capsys, "install", str(rig))
    assert code == 3
    assert "did you mean name?" in err


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_understands_it(capsys: pytest.CaptureFixture[str], rig: Path, tmp_path: Path) -> None:
    file = tmp_path / "labwire-lab.service"
    file.write_text(run(capsys, "show", str(rig))[1])
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", str(file)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)},
    )
    assert "labwire-lab" not in done.stderr, done.stderr


def test_systemd_waits_longer_than_the_rig_for_its_actors() -> None:
    assert supervisor.STOP_LIMIT_S + supervisor.TERMINATE_LIMIT_S + supervisor.KILL_LIMIT_S < STOP_S


def test_words_of_the_command_line_are_quoted() -> None:
    text = unit_text("x", Path('/a $b/100% "sure"/rig.toml'), ["/usr/bin/python3"])
    assert r'ExecStart="/usr/bin/python3" "run" "/a $$b/100%% \"sure\"/rig.toml"' in text
    assert 'WorkingDirectory=/a $b/100%% "sure"\n' in text


def test_systemd_is_told_when_the_rig_is_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not tell_systemd()
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        systemd.settimeout(20)
        with running_rig(tmp_path, "[web]\nenabled = false\n", env={"NOTIFY_SOCKET": str(path)}):
            assert systemd.recv(100) == b"READY=1"
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    path.unlink()
    assert not tell_systemd(), "nobody listens any more"
