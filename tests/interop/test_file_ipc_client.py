"""The Python client of the file-ipc page, unmodified, while physiology_server writes and afterwards."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from labwire.testing.processes import running_process
from labwire.testing.waiting import wait_until
from tests.films import FPS, SECONDS, write_film

SCRIPT = Path(__file__).parent / "spec_scripts" / "read_file_ipc.py"
SRC = Path(__file__).parents[2] / "src"
LIMIT_S = 40.0


def collected(folder: Path) -> tuple[int, int]:
    """Run the client in a folder; return how many samples it counted."""
    done = subprocess.run([sys.executable, SCRIPT], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    counts = re.findall(r"Collected (\d+)", done.stdout)
    return int(counts[0]), int(counts[1])


def test_the_client_of_the_spec_counts_what_is_written(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.avi")
    code = "from labwire.cli.physiology_server import main; main()"
    command = [sys.executable, "-c", code, "--streaming_backend=file", f"--input_video_path={film}"]
    env = {**os.environ, "PYTHONPATH": str(SRC), "XDG_STATE_HOME": str(tmp_path / "state")}
    with running_process(command, env=env, cwd=tmp_path) as process:
        wait_until((tmp_path / "file_ipc_output" / "edge_metrics.jsonl").exists, "the files", limit_s=LIMIT_S)
        while process.poll() is None:
            collected(tmp_path)
        assert process.returncode == 0
    core, edge = collected(tmp_path)
    assert core >= 5
    assert SECONDS * FPS * 0.9 < edge <= SECONDS * FPS
