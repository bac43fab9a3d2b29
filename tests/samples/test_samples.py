"""The samples do what they say, with what a file backend wrote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from labwire.file_backend.backend import FileBackend
from labwire.file_backend.config import FileIpcOptions
from labwire.testing.processes import running_process
from tests.file_backend.test_pictures import START_US, jpeg

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "samples"
ENV = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHON": sys.executable}


def strict(value: float) -> dict[str, object]:
    return {"strict": {"value": value, "confidence": 0.9}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with FileBackend(FileIpcOptions(base_directory=str(tmp_path / "out"))) as backend:
        backend.put(jpeg(0))
        backend.status(1, "No face found: sit down", timestamp_us=START_US)
        backend.status(0, "OK", timestamp_us=START_US + 2_000_000)
        backend.metrics("core_metrics", START_US + 3_000_000, {"pulse": strict(70)})
        backend.metrics("core_metrics", START_US + 4_000_000, {"pulse": strict(74), "breathing": strict(15.5)})
    return tmp_path / "out"


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], env=ENV, capture_output=True, text=True, check=False)


def test_analyze_session(folder: Path, tmp_path: Path) -> None:
    done = run(sys.executable, SAMPLES / "analyze_session.py", folder, "--csv", tmp_path / "values.csv")
    assert done.returncode == 0, done.stderr
    assert "pulse: mean 72.0, 70.0 to 74.0 per minute, mean confidence 0.90, 2 values" in done.stdout
    assert "breathing: mean 15.5" in done.stdout
    assert "status 1 No face found: 2.0 s" in done.stdout
    assert (tmp_path / "values.csv").read_text().splitlines() == [
        "timestamp_us,pulse,pulse_confidence,breathing,breathing_confidence",
        f"{START_US + 3_000_000},70,0.9,,",
        f"{START_US + 4_000_000},74,0.9,15.5,0.9",
    ]
    (folder / "status.jsonl").unlink()
    assert "pulse: mean 72.0" in run(sys.executable, SAMPLES / "analyze_session.py", folder).stdout
    assert run(sys.executable, SAMPLES / "analyze_session.py", tmp_path / "none").returncode == 1


def test_process_metrics_hands_on_each_line_once(folder: Path) -> None:
    script = SAMPLES / "process_metrics.sh"
    assert os.access(script, os.X_OK)
    first = run(script, folder)
    assert first.stdout.splitlines() == [f"{START_US + 3_000_000},70,0.9,,", f"{START_US + 4_000_000},74,0.9,15.5,0.9"]
    with (folder / "core_metrics.jsonl").open("ab") as file:
        file.write(b'{"type":"core_metrics","timestamp":9,"payload":{}}\n{"type":')
    assert run(script, folder).stdout == "9,,,,\n"
    assert run(script, folder).stdout == ""
    with (folder / "core_metrics.jsonl").open("ab") as file:
        file.write(b'\n\xff\n[1]\n{"type":"core_metrics","timestamp":10,"payload":{}}\n')
    broken = run(script, folder)
    assert (broken.stdout, broken.stderr.count("left out")) == ("10,,,,\n", 3)
    (folder / "core_metrics.jsonl").write_bytes(b'{"type":"core_metrics","timestamp":1,"payload":{}}\n')
    assert run(script, folder).stdout == "1,,,,\n"
    assert run(script, folder / "none").returncode == 1


def test_the_example_client_shows_frames_and_values(folder: Path) -> None:
    command = [sys.executable, str(SAMPLES / "alt_ipc_example_on_prem_client.py"), str(folder)]
    with running_process(command, env=ENV) as process:
        assert process.stdout
        address = process.stdout.readline().decode().rpartition(" ")[2].strip()

        def get(path: str) -> bytes:
            with urllib.request.urlopen(address + path, timeout=20) as answer:  # noqa: S310  our own
                return answer.read()

        assert b"<img" in get("")
        assert get("frame") == jpeg(0).data
        while json.loads(get("values"))["text"] != "pulse 74.0 bpm (0.90)   breathing 15.5 /min (0.90)   0 OK":
            pass
        assert b"pulse" in process.stdout.readline()
