"""Errors, exit statuses, and what is never shown: a traceback."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cyclopts.completion.detect import ShellDetectionError

from labwire.cli.failures import hint_for, run_guarded
from labwire.errors import ERROR_CODES, DeadlineError, LabwireError, NotFoundError, PeerGoneError, StateError
from labwire.testing.processes import running_process
from tests.rig_fixture import environment


def guarded(error: BaseException, *, as_json: bool = False) -> int:
    def call() -> object:
        raise error

    return run_guarded(call, as_json=as_json)


@pytest.mark.parametrize("kind", ERROR_CODES)
def test_every_error_has_its_exit_status(kind: type[LabwireError], capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(kind("the lamp is broken")) == ERROR_CODES[kind].exit_code != 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: the lamp is broken\n")


def test_a_hint_follows_the_message(capsys: pytest.CaptureFixture[str]) -> None:
    guarded(StateError("it rains", hint="take a coat"))
    assert capsys.readouterr().err == "error: it rains\nhint: take a coat\n"


def test_a_rig_that_does_not_answer_has_a_hint() -> None:
    assert "labwire doctor" in hint_for(PeerGoneError("nobody there"))
    assert "--timeout" in hint_for(DeadlineError("too slow"))
    assert hint_for(NotFoundError("no lamp")) == ""


def test_json_errors_have_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(NotFoundError("no lamp", name="lamp", hint="buy one"), as_json=True) == 4
    assert json.loads(capsys.readouterr().err) == {
        "error": "NotFoundError",
        "message": "no lamp",
        "hint": "buy one",
        "exit_code": 4,
        "data": {"name": "lamp"},
    }


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_output_that_is_closed_ends_nothing(closed: str, tmp_path: Path) -> None:
    code = """
import sys
from labwire.cli.failures import run_guarded

def call():
    print("to nobody")
    print("to nobody", file=sys.stderr)
    open("done", "w").close()
    return 3

sys.exit(run_guarded(call))
"""
    done = subprocess.run(["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, code], cwd=tmp_path, check=False)
    assert done.returncode == 3
    assert (tmp_path / "done").read_bytes() == b""


def test_a_result_is_the_exit_status_if_it_is_a_number() -> None:
    assert run_guarded(lambda: 3) == 3
    assert run_guarded(lambda: None) == 0
    assert run_guarded(lambda: "text") == 0


def test_ctrl_c_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(KeyboardInterrupt()) == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("as_json", [False, True])
def test_a_bug_is_written_to_a_file_not_to_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, as_json: bool
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert guarded(ZeroDivisionError("by zero"), as_json=as_json) == 70
    err = capsys.readouterr().err
    (report,) = (tmp_path / "labwire").iterdir()
    assert "bug in labwire: ZeroDivisionError: by zero" in err
    assert str(report) in err
    assert "Traceback" not in err
    assert "Traceback" in report.read_text()
    assert "ZeroDivisionError" in report.read_text()


def test_a_file_that_does_not_do_is_no_bug(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(PermissionError(13, "Permission denied", "/root/x")) == 13
    assert capsys.readouterr().err == "error: /root/x: Permission denied\n"
    assert guarded(OSError(28, "No space left on device")) == 13
    assert "No space left" in capsys.readouterr().err


def test_a_shell_that_cannot_be_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(ShellDetectionError("?")) == 2
    assert "--shell" in capsys.readouterr().err


def test_a_bug_where_nothing_can_be_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null")
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/dev/null")
    assert guarded(ZeroDivisionError("by zero")) == 70
    assert "could not be written" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    code = "from labwire.cli.failures import run_guarded\nimport sys\n"
    code += "def call():\n    for _ in range(100_000):\n        print('x' * 100, flush=True)\n"
    code += "sys.exit(run_guarded(call))"
    with running_process([sys.executable, "-c", code], env=environment(tmp_path)) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline().strip() == b"x" * 100
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(20) == 141


def test_a_closed_standard_error_does_not_hide_the_exit_status(tmp_path: Path) -> None:
    code = "from labwire.cli.main import main\nmain(['staus'])"
    done = subprocess.run(
        [sys.executable, "-c", f"import os; os.close(2)\n{code}"],
        env={**environment(tmp_path), "PYTHONUNBUFFERED": ""},  # what is buffered is written at the very end
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 2


def test_a_signal_that_asks_to_end_closes_everything_and_shows_in_the_status() -> None:
    closed: list[str] = []

    def work(number: signal.Signals) -> None:
        try:
            signal.raise_signal(number)
        finally:
            if number == signal.SIGHUP:
                signal.raise_signal(number)  # a closed terminal may say so twice
            closed.append(number.name)

    assert run_guarded(lambda: work(signal.SIGTERM)) == 143
    assert run_guarded(lambda: work(signal.SIGHUP)) == 129
    assert closed == ["SIGTERM", "SIGHUP"]
