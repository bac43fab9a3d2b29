"""labwire files: tail, stats, check and plot of a folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from labwire.cli.main import main
from labwire.file_backend.backend import FileBackend
from labwire.file_backend.config import FileIpcOptions
from labwire.file_backend.plot import collect
from labwire.file_backend.summary import find_problems, summarize
from labwire.testing.processes import running_process
from labwire.wire.envelope import Envelope, encode_envelope
from tests.file_backend.test_pictures import START_US, jpeg

SRC = Path(__file__).parents[2] / "src"


def core(bpm: float, stamp_us: int) -> dict[str, object]:
    pulse = {"strict": {"value": bpm, "confidence": 0.9}, "trace": [{"timestamp": stamp_us, "value": 0.5}]}
    return {"pulse": pulse, "breathing": {"strict": {"value": 15.0, "confidence": 0.8}}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of three seconds, with a gap."""
    out = tmp_path / "out"
    with FileBackend(FileIpcOptions(base_directory=str(out)), policy="block") as backend:
        backend.status(0, "OK", timestamp_us=START_US)
        for n in range(5):
            backend.put(jpeg(n))
        for n in range(30):
            backend.metrics("edge_metrics", START_US + n * 100_000, {"upper_breathing_trace": n / 10})
        for n in (0, 1, 2, 10):
            backend.metrics("core_metrics", START_US + n * 200_000, core(70 + n, START_US + n * 200_000))
        backend.status(1, "No face found: sit in front", timestamp_us=START_US + 2_500_000)
    return out


def labwire(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["files", *words])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def test_tail_shows_the_newest_in_the_order_of_time(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = labwire(capsys, "tail", str(folder), "-n", "7")
    lines = out.splitlines()
    assert code == 0
    assert len(lines) == 7
    assert 'status        {"code":1' in lines[2]
    assert lines[-1].endswith('edge_metrics  {"upper_breathing_trace":2.9}')
    _, out, _ = labwire(capsys, "tail", str(folder), "-n", "100")
    assert 'trace":[' not in out


def test_tail_as_json_prints_the_envelopes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = labwire(capsys, "tail", str(folder), "-n", "1000", "--json")
    written = b"".join((folder / f"{name}.jsonl").read_bytes() for name in ("core_metrics", "edge_metrics", "status"))
    assert sorted(out.encode().splitlines()) == sorted(written.splitlines())


def test_tail_follows(folder: Path) -> None:
    command = [sys.executable, "-m", "labwire", "files", "tail", str(folder), "-f", "-n", "100", "--json"]
    with running_process(command, env={**os.environ, "PYTHONPATH": str(SRC)}) as process:
        assert process.stdout
        options = FileIpcOptions(base_directory=str(folder), truncate_on_init=False)
        with FileBackend(options) as backend:
            for _ in range(36):
                json.loads(process.stdout.readline())  # what was there
            backend.metrics("core_metrics", START_US + 9_000_000, core(99, START_US))
            while (
                json.loads(process.stdout.readline())["payload"].get("pulse", {}).get("strict", {}).get("value") != 99
            ):
                pass


def test_stats_count(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = summarize(folder)
    by_name = {stream.stream: stream for stream in summary.streams}
    assert (by_name["core_metrics"].lines, by_name["core_metrics"].longest_gap_s) == (4, 1.6)
    assert (by_name["edge_metrics"].lines, by_name["edge_metrics"].rate_hz) == (30, 10.0)
    assert by_name["status"].last == {"code": 1, "message": "No face found: sit in front"}
    assert summary.frames == 5
    assert summary.first_frame_us == START_US
    code, out, _ = labwire(capsys, "stats", str(folder))
    assert code == 0
    assert "5 numbered frames" in out
    _, out, _ = labwire(capsys, "stats", str(folder), "--json")
    assert json.loads(out)["frames"] == 5


def test_frames_that_make_room_meanwhile_are_not_counted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known, looked = Path.stat, list[Path]()

    def stat(path: Path, **how: bool) -> os.stat_result:
        if path.name.startswith("frame"):
            looked.append(path)
            if len(looked) == 2:
                path.unlink()
        return known(path, **how)

    size = {path: path.stat().st_size for path in folder.glob("frame*")}
    monkeypatch.setattr(Path, "stat", stat)
    summary = summarize(folder)
    assert (summary.frames, summary.frame_bytes) == (4, sum(size.values()) - size[looked[1]])


def test_a_good_folder_passes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = labwire(capsys, "check", str(folder))
    assert (code, out) == (0, "")
    assert "all is well" in err


def test_everything_that_is_wrong_is_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (folder / "core_metrics.jsonl").open("ab") as file:
        file.write(b"{}\n" + encode_envelope(Envelope("status", START_US + 9_000_000, {})) + b'{"type":')
    with (folder / "status.jsonl").open("ab") as file:
        file.write(encode_envelope(Envelope("status", 5, {"code": 0, "message": "OK"})))
        file.write(encode_envelope(Envelope("status", START_US + 9_000_000, {"code": "0"})))
    (folder / "edge_metrics.jsonl").unlink()
    (folder / "latest.jpg").write_bytes(jpeg(0).data[:-9])
    found = {(problem.file, problem.text.partition(":")[0]) for problem in find_problems(folder)}
    assert {file for file, _ in found} == {"core_metrics.jsonl", "status.jsonl", "edge_metrics.jsonl", "latest.jpg"}
    texts = " | ".join(text for _, text in found)
    for words in (
        "no envelope",
        "is a status envelope",
        "8 bytes without a newline",
        "not later",
        "no code",
        "missing",
    ):
        assert words in texts
    code, out, err = labwire(capsys, "check", str(folder))
    assert code == 1
    assert len(out.splitlines()) == 7
    assert "7 problems" in err


def test_a_folder_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("tail", "stats", "check", "plot"):
        code, _, err = labwire(capsys, command, str(tmp_path / "none"))
        assert code != 0
        assert "no folder" in err


def test_what_is_plotted(folder: Path) -> None:
    shown = collect(folder)
    assert shown.series["pulse"].values == [70, 71, 72, 80]
    assert shown.series["pulse"].times_s == [0, 0.2, 0.4, 2]
    assert shown.series["confidence of breathing"].values == [0.8] * 4
    assert shown.series["pulse trace"].times_s == [0, 0.2, 0.4, 2]
    assert len(shown.series["upper_breathing_trace"].values) == 30
    assert [row[:2] for row in shown.statuses] == [(0, 0), (2.5, 1)]


def test_the_plot_is_a_png(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    code, out, _ = labwire(capsys, "plot", str(folder), "-o", str(tmp_path / "plot.png"))
    assert code == 0
    assert out.strip() == str(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert labwire(capsys, "plot", str(folder))[0] == 0
    assert (folder / "vitals.png").exists()


def test_a_plot_of_nothing_and_one_that_cannot_be_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    assert labwire(capsys, "plot", str(tmp_path))[0] == 0
    assert (tmp_path / "vitals.png").exists()
    code, _, told = labwire(capsys, "plot", str(tmp_path), "-o", str(tmp_path / "plot.txt"))
    assert (code, "plot.txt cannot be drawn: the name must end in .png" in told) == (2, True)


def test_a_folder_of_somebody_else_does_not_break_the_plot(tmp_path: Path) -> None:
    odd = [{"pulse": 3}, {"pulse": {"strict": "x"}}, {"pulse": {"trace": [1, {"value": 2}]}}, {}]
    data = b"".join(encode_envelope(Envelope("core_metrics", n, payload)) for n, payload in enumerate(odd))
    (tmp_path / "core_metrics.jsonl").write_bytes(data)
    (tmp_path / "status.jsonl").write_bytes(encode_envelope(Envelope("status", 1, {"code": "well"})))
    assert collect(tmp_path).series == {}
    assert collect(tmp_path).statuses == []


def test_without_a_terminal_nothing_is_cut(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "labwire", "files", "stats", str(folder)],
        env={**os.environ, "PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "…" not in done.stdout
