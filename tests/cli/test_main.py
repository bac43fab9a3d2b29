"""The command line as a whole: help, lazy imports, version, completion."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from labwire import __version__
from labwire.cli.commands import commands
from labwire.cli.main import main, make_app
from labwire.operations.table import SERVICES, all_services, find_service
from tests.rig_fixture import environment, run_labwire

NAMES = [command.name for command in commands()]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, out, err


def test_help_lists_every_command_with_its_first_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--help")
    assert code == 0
    for command in commands():
        assert f" {command.name} " in out
    for name in ("run", "status", "sub", "pub", "notify", "remote", "docs", "actor", "record", "config", "doctor"):
        assert name in NAMES
    assert "--install-completion" in out


@pytest.mark.parametrize("name", NAMES)
def test_every_command_loads_and_has_help(capsys: pytest.CaptureFixture[str], name: str) -> None:
    code, out, _ = run(capsys, name, "--help")
    assert code == 0
    assert f"Usage: labwire {name}" in out


@pytest.mark.parametrize("name", [name for name in SERVICES if name in NAMES])
def test_every_operation_is_a_command(capsys: pytest.CaptureFixture[str], name: str) -> None:
    _, listed, _ = run(capsys, name, "--help")
    for operation in find_service(name).operations().values():
        assert operation.name in listed
        _, out, _ = run(capsys, name, operation.name, "--help")
        assert "--json" in out
        assert "LABWIRE_PORT" in out


def test_the_table_holds_each_service_under_its_own_name() -> None:
    assert [service.service for service in all_services()] == list(SERVICES)


def test_no_command_has_two_rows() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert list(make_app())  # a name that is taken is an error there


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, f"{__version__}\n", "")


def test_without_arguments_it_shows_help(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys)
    assert code == 0
    assert "labwire run" in out


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["record", "--help"], ["sub", "--help"], ["doesnt"]]
)
def test_help_imports_no_zmq(tmp_path: Path, arguments: list[str]) -> None:
    code = (
        "import json, sys\nfrom labwire.cli.main import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit:\n    pass\n"
        "sys.stderr.write(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(tmp_path), capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert "labwire.cli.main" in loaded
    assert not loaded & {"zmq", "numpy", "asyncio", "cv2", "av", "labwire.rig.hub", "labwire.client"}


def test_a_command_that_does_not_exist_is_named_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "staus")
    assert (code, out) == (2, "")
    assert err.startswith('error: there is no command "staus"; did you mean "status"?')


def test_an_option_in_place_of_a_command_is_told_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "actors", "--json")
    assert (code, json.loads(err)["message"]) == (
        2,
        'there must be a command before "--json": list, restart, stop',
    )
    assert '"--version"?' in run(capsys, "version")[2]
    assert "`labwire actors` lists" in run(capsys, "actor", "list")[2]


def test_what_a_command_does_not_take_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "actors", "list", "world", "eyes")
    assert code == 2
    assert 'error: labwire actors list takes no arguments "world", "eyes"' in err
    assert 'error: labwire docs takes no argument "world"' in run(capsys, "docs", "world")[2]


def test_an_option_that_does_not_exist_is_json_if_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "record", "list", "--josn", "--json")
    assert (code, out) == (2, "")
    error = json.loads(err)
    assert error["error"] == "UsageError"
    assert "--josn" in error["message"]
    assert "labwire record list --help" in error["hint"]


def test_json_behind_a_double_dash_is_not_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "actor", "nocolon", "--", "--json")
    assert code != 0
    assert err.startswith("error: ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_installs(tmp_path: Path, shell: str) -> None:
    env = {**environment(tmp_path), "HOME": str(tmp_path)}
    done = run_labwire("--install-completion", "--shell", shell, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    scripts = [path for path in tmp_path.rglob("*labwire*") if path.is_file()]
    assert any("labwire" in path.read_text() for path in scripts)


def test_bash_completes_commands_of_commands(tmp_path: Path) -> None:
    env = {**environment(tmp_path), "HOME": str(tmp_path)}
    script = tmp_path / "complete"
    run_labwire("--install-completion", "--shell", "bash", "--output", str(script), env=env, cwd=tmp_path)
    ask = f"source {script}; COMP_WORDS=(labwire record st); COMP_CWORD=2; _labwire; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash", "-c", ask], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["start", "streams", "stop"]
