"""``labwire config`` without a rig that runs."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

from labwire.cli.main import main
from labwire.rig.rig_file import dump, load_rig


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["config", *arguments])
    out, err = capsys.readouterr()
    return ended.value.code, out, err


@pytest.mark.parametrize("flags", [[], ["--demo"]])
def test_what_default_prints_is_fine(capsys: pytest.CaptureFixture[str], tmp_path: Path, flags: list[str]) -> None:
    file = tmp_path / "rig.toml"
    file.write_text(run(capsys, "default", *flags)[1])
    code, out, err = run(capsys, "check", str(file))
    assert (code, err) == (0, "")
    assert "is fine" in out
    assert ("camera world" in out) == bool(flags)
    assert json.loads(run(capsys, "default", *flags, "--json")[1]).keys() == dump(load_rig(file)).keys()


def test_check_lists_all_mistakes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "rig.toml"
    file.write_text(
        '[bus]\npup_port = 1\n[recorder]\nflush_s = "often"\n[instruments.A]\ndriver = "m:D"\nqueu = "posix"\n'
    )
    code, out, err = run(capsys, "check", str(file))
    assert (code, out) == (3, "")
    assert "did you mean pub_port?" in err
    assert "flush_s" in err
    assert "queu: unknown key; did you mean queue?" in err
    assert "there is no module 'm' on the Python path" in err
    code, _, err = run(capsys, "check", str(file), "--json")
    assert [mistake["line"] for mistake in json.loads(err)["data"]["mistakes"]] == [2, 4, 6, 7]


def test_check_as_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "rig.toml"
    file.write_text('name = "x"\n[cameras.top]\ncamera = 0\n[recorder]\n')
    found = json.loads(run(capsys, "check", str(file), "--json")[1])
    assert found == {"file": str(file), "name": "x", "parts": ["camera top", "recorder"]}


def test_the_schema_fits_the_demo_rig(capsys: pytest.CaptureFixture[str]) -> None:
    schema = json.loads(run(capsys, "schema")[1])
    assert schema == json.loads(run(capsys, "schema", "--json")[1])
    demo = tomllib.loads(run(capsys, "default", "--demo")[1])
    jsonschema.validate(demo, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"recorder": {"flush_s": "often"}}, schema)


def test_show_fills_in_the_defaults(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "rig.toml"
    file.write_text('[recorder]\nroot = "rec"\n[actors.a]\nclass = "m:A"\npassword = "x"\n')
    shown = tomllib.loads(run(capsys, "show", str(file))[1])
    assert shown["recorder"]["root"] == str(tmp_path / "rec")
    assert shown["remote"]["port"] == 50020
    assert shown["actors"]["a"] == {"class": "m:A", "password": "(hidden)"}
    assert json.loads(run(capsys, "show", str(file), "--json")[1])["recorder"] == shown["recorder"]
    assert load_rig(file).name == shown["name"]
