"""Python files of commands: what they find, and whose mistakes are told how."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from labwire.cli import script
from labwire.cli.script import progress, run_file
from labwire.errors import NotFoundError


def test_it_is_a_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "s.py"
    file.write_text("import sys\nprint(__name__, sys.argv[1:], given)\n")
    before = list(sys.path)
    assert run_file(file, ["a"], {"given": 3}) == 0
    assert capsys.readouterr().out == "__main__ ['a'] 3\n"
    assert sys.path == before


def test_a_mistake_in_it_is_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "s.py"
    file.write_text("def f():\n    return 1 / 0\n\nf()\n")
    assert run_file(file, [], {}) == 1
    told = capsys.readouterr().err
    assert "line 4, in <module>" in told
    assert "line 2, in f" in told
    assert "ZeroDivisionError" in told
    assert "runpy" not in told
    file.write_text("this is no Python\n")
    assert run_file(file, [], {}) == 1
    assert "SyntaxError" in capsys.readouterr().err


def test_an_error_of_the_rig_is_told_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "s.py"
    file.write_text("x = 1\nfail()\n")

    def fail() -> None:
        raise NotFoundError("no instrument 'X'")

    with pytest.raises(NotFoundError):
        run_file(file, [], {"fail": fail})
    assert capsys.readouterr().err == f"{file}, line 2:\n"
    with pytest.raises(NotFoundError) as caught:
        run_file(file, [], {"fail": fail}, quiet=True)
    assert (capsys.readouterr().err, caught.value.data) == ("", {"script": str(file), "script_line": 2})


def test_it_may_exit(tmp_path: Path) -> None:
    file = tmp_path / "s.py"
    file.write_text("raise SystemExit(5)\n")
    with pytest.raises(SystemExit) as caught:
        run_file(file, [], {})
    assert caught.value.code == 5


def test_progress_is_silent_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress(range(3))) == [0, 1, 2]
    assert list(progress(iter("ab"), "text")) == ["a", "b"]
    assert capsys.readouterr().err == ""


def test_progress_is_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(script.sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    assert list(progress([1, 2, 3], "measuring")) == [1, 2, 3]
    assert "measuring" in terminal.getvalue()
    assert "3/3" in terminal.getvalue()
    assert list(progress(iter([1]), total=1)) == [1]
