"""``labwire sessions`` where no rig runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labwire.cli.main import main
from tests.sessions.recorded import record_session

NO_RIG = ("--port", "1", "--timeout", "0.2")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return record_session(tmp_path / "recordings", lost=[5, 6])[0]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["sessions", *arguments, *(() if arguments[0] == "schema" else NO_RIG)])
    out, err = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, out, err


def test_verify_names_the_gap_and_the_exit_status_tells(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "verify", "pilot/000")
    assert code == 1
    for words in ("2 numbered messages are missing, in 1 gaps", "scales", "not numbered", "pupil.0 (60)"):
        assert words in out


def test_a_folder_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "verify", str(tmp_path / "gone" / "000"))
    assert code == 4
    assert f"there is no folder {tmp_path}/gone/000" in err.replace("\n", "")
    code, _, err = run(capsys, "verify", "../gone/000")
    assert (code, "/../gone/000\n" in err) == (4, True), "a path, and no name of a session"


def test_verify_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other, _ = record_session(folder.parents[1], name="other")
    code, out, err = run(capsys, "verify", "--all", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (1, "")
    assert [(row["path"], row["lossless"]) for row in rows] == [(str(folder), False), (str(other), True)]
    assert run(capsys, "verify", str(other))[0] == 0


def test_show(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "show", "pilot/000")
    assert code == 0
    for words in ("complete", "pupil.0", "frame.world", "pictures", "world.mp4"):
        assert words in out
    told = json.loads(run(capsys, "show", str(folder), "--json")[1])
    assert [row["messages"] for row in told["topics"] if row["topic"] == "pupil.0"] == [60]


def test_prune_asks_for_a_limit_and_follows_the_rig_file(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "prune")[0] == 2
    assert run(capsys, "prune", "--older-than-days", "-1")[0] == 2
    rig = tmp_path / "rig.toml"
    rig.write_text("[recorder]\nretention = { max_bytes = 1, keep = 0 }\n")
    code, out, _ = run(capsys, "prune", "rig.toml", "--json")
    (row,) = json.loads(out)["sessions"]
    assert (code, row["removed"], "never verified" in row["why"]) == (0, False, True)
    run(capsys, "verify", "pilot/000")
    assert "1 would be removed" in run(capsys, "prune", "rig.toml", "--dry-run")[2]
    assert folder.exists()
    assert "1 removed" in run(capsys, "prune", "rig.toml")[2]
    assert not folder.exists()


def test_schema(capsys: pytest.CaptureFixture[str]) -> None:
    printed = run(capsys, "schema")[1]
    assert json.loads(printed)["title"] == "labwire.session"
    in_one_line = run(capsys, "schema", "--json")[1]
    assert (in_one_line.count("\n"), json.loads(in_one_line)) == (1, json.loads(printed))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["verify"], 2),
        (["verify", "pilot/000", "--all"], 2),
        (["verify", "pilot/007"], 4),
        (["show", "nothing"], 4),
        (["verify", "--all", "--root", "nowhere"], 4),
    ],
)
def test_refusals(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int) -> None:
    assert run(capsys, *arguments)[0] == code
