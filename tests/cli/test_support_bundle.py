"""``labwire support-bundle``: what is in it, and what is not."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from labwire.cli.main import main
from labwire.rig.rig_config import without_secrets
from labwire.rig.support_bundle import MAX_LOG_BYTES, SupportBundle, logs
from labwire.testing import wait_until
from tests.rig_fixture import running_rig

SECRET = "xyzzy-42"
TOML = f"""
name = "bundle"

[sources.eyes]
kind = "simulated_eyes"

[actors.mail]
class = "mail:Mail"
password = "{SECRET}"

[recorder]
disk_warn_bytes = 0
disk_stop_bytes = 0
"""
MAIL = """
import labwire
from labwire.strict import Strict

class Mail(labwire.Actor):
    "Knows a secret, and is careless."

    class Config(Strict):
        password: str

    def on_start(self):
        self.log.warning("connecting with password=%s", self.options.password)
"""


def read(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def test_of_a_rig_that_runs(tmp_path: Path) -> None:
    (tmp_path / "mail.py").write_text(MAIL)
    with running_rig(tmp_path, TOML) as running:
        with running.connect() as rig:
            rig.record.start("one")
            rig.record.stop()
            wait_until(lambda: len(rig.bus.history()) >= 2, "two seconds of statistics")
            assert rig.bus.history()[-1].messages >= rig.bus.history()[0].messages
        done = running.labwire("support-bundle", "-o", "it.zip")
        assert done.returncode == 0, done.stderr
        assert done.stdout == "it.zip\n"
    found = read(tmp_path / "it.zip")
    manifest: dict[str, Any] = json.loads(found["manifest.json"])
    assert manifest["missing"] == {}
    rows = {row["name"]: row["sha256"] for row in manifest["files"]}
    assert rows == {name: hashlib.sha256(data).hexdigest() for name, data in found.items() if name != "manifest.json"}
    assert {"rig.toml", "versions.json", "doctor.json", "status.json", "logs/bundle.log"} <= set(found)
    assert json.loads(found["bus-stats.jsonl"].splitlines()[0])["messages"] >= 0
    assert b"rig.ready" in found["last-notifications.jsonl"]
    assert json.loads(found["sessions/one-000.json"])
    assert b"connecting with password=(hidden)" in found["logs/bundle.log"]
    assert b"(hidden)" in found["rig.toml"]
    assert SECRET.encode() not in b"".join(found.values())


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["support-bundle", *arguments])
    out, err = capsys.readouterr()
    return ended.value.code, out, err


def test_when_nothing_runs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "rig.toml").write_text('name = "off"\n[remote]\nport = 0\n')
    target = tmp_path / "it.zip"
    code, out, _ = run(capsys, str(tmp_path / "rig.toml"), "-o", str(target), "--json", "--port", "9")
    assert code in {0, None}
    assert json.loads(out)["missing"] == {"status.json": "no rig answers"}
    assert b'name = "off"' in read(target)["rig.toml"]


def test_when_the_rig_file_is_wrong(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "rig.toml").write_text(f'nme = "x"\ntoken = "{SECRET}"\n')
    target = tmp_path / "it.zip"
    assert run(capsys, str(tmp_path / "rig.toml"), "-o", str(target))[0] in {0, None}
    found = read(target)
    assert "did you mean name?" in json.loads(found["manifest.json"])["missing"]["rig.toml"]
    assert b'nme = "x"' in found["rig-file.txt"]
    assert SECRET.encode() not in found["rig-file.txt"]


def test_what_cannot_be_had_keeps_nothing_away(tmp_path: Path) -> None:
    bundle = SupportBundle()
    bundle.add("a.json", lambda: 1 / 0)
    bundle.add("b.json", lambda: {"b": 1})
    bundle.write(tmp_path / "it.zip")
    manifest = json.loads(read(tmp_path / "it.zip")["manifest.json"])
    assert manifest["missing"] == {"a.json": "ZeroDivisionError: division by zero"}
    assert [row["name"] for row in manifest["files"]] == ["b.json"]


def test_of_long_logs_the_end(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_bytes(b"first line\n" + b"x" * MAX_LOG_BYTES + b"\nlast line\n")
    (tmp_path / "x.log.1").write_text("older")
    found = {name: read() for name, read in logs(tmp_path / "x.log")}
    assert found["logs/x.log.1"] == b"older"
    assert found["logs/x.log"].endswith(b"last line\n")
    assert b"first" not in found["logs/x.log"]
    assert list(logs(tmp_path / "y.log")) == []


@pytest.mark.parametrize(
    "text",
    [
        f"token={SECRET}",
        f'{{"api_key": "{SECRET} more"}}',
        f"Authorization: {SECRET}",
        f"http://me:{SECRET}@host/x",
        f"RTSP://me:{SECRET}@host/x",
        f"rtsp://me:pa@{SECRET}#?@host/x",
    ],
)
def test_secrets_are_hidden(text: str) -> None:
    assert SECRET not in without_secrets(text)
