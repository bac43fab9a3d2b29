"""``labwire export`` where no rig runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labwire.cli.main import main
from tests.sessions.recorded import record_session


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    record_session(tmp_path / "recordings", name="a pilot")
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["export", *arguments, "--port", "1", "--timeout", "0.2"])
    out, err = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, out, err


def test_an_export_has_the_name_of_its_session(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "a pilot/000", "--to", "csv")
    assert code == 0
    assert "pupil_0.csv" in out
    assert f"messages in {here / 'a_pilot_000_csv'}" in err
    assert "2 that are no map left out" in err
    assert run(capsys, "a pilot/000", "--to", "csv")[0] == 5, "it is there already"


def test_topics_and_times_are_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(
        capsys, "a pilot/000", "--to", "csv", "-o", "some", "--topics", "pupil", "scale", "--from", "0.3s", "--json"
    )
    told = json.loads(out)
    assert code == 0
    assert [table["topic"] for table in told["tables"]] == ["pupil.0", "scale"]
    assert 0 < told["messages"] < 80


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["a pilot/000"], 2), (["a pilot/000", "--to", "xls"], 2), (["nothing", "--to", "csv"], 4),
     (["a pilot/000", "--to", "csv", "--from", "soon"], 2)],
)  # fmt: skip
def test_refusals(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int) -> None:
    assert run(capsys, *arguments)[0] == code
