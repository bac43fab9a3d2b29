"""A session whose process is killed loses at most its last second, whatever it was doing."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from labwire.sessions.check.repair import repair_session
from labwire.sessions.check.verify import verify_session
from labwire.sessions.folder import list_sessions
from labwire.wire.bus_message import decode_payload
from tests.sessions.logs import read_messages
from tests.sessions.strict_player import check_folder, load_data, load_info, load_video

ROOT = Path(__file__).parents[3]


def record_and_kill(root: Path, after_s: float) -> tuple[Path, list[tuple[int, float]], float]:
    """Record for a while, kill -9; return the folder, what the child acknowledged, and when it was killed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    command = [sys.executable, "-m", "tests.sessions.recorder_child", str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT) as child:
        assert child.stdout is not None
        folder = Path(child.stdout.readline().strip())
        started_s = time.monotonic()
        lines: list[str] = []
        while time.monotonic() - started_s < after_s:
            lines.append(child.stdout.readline())
        killed_s = time.monotonic()
        child.kill()
        lines += [line for line in child.stdout if line.endswith("\n")]
    acknowledged = [(int(number), float(at)) for number, at in map(str.split, lines)]
    return folder, acknowledged, killed_s


@pytest.mark.parametrize("turn", range(3))
def test_kill_9_at_any_moment_loses_at_most_the_last_second(
    tmp_path: Path, seed: int, turn: int, soak: Callable[[int, int], int]
) -> None:
    # Two seconds in a run among others: then it is the machine that keeps the writer for one of them.
    check_kill(tmp_path, random.Random(seed + turn).uniform(0.05, 3.0), may_lose_s=soak(2, 1))


@pytest.mark.soak
def test_kill_9_at_many_moments(tmp_path: Path, seed: int, soak: Callable[[int, int], int]) -> None:
    moments = random.Random(seed)
    for turn in range(soak(3, 40)):
        check_kill(tmp_path / str(turn), moments.uniform(0.0, 2.5), may_lose_s=1)


def check_kill(root: Path, after_s: float, *, may_lose_s: float) -> None:
    folder, acknowledged, killed_s = record_and_kill(root, after_s)
    print(f"killed after {after_s:.3f} s, {len(acknowledged)} messages")
    (row,) = list_sessions(root)
    assert row.state == "broken"
    load_info(folder)

    repaired = repair_session(folder)

    messages = read_messages(folder / "bus.mcap")
    numbers = [decode_payload(parts[1])["number"] for parts in messages if parts[0] == b"pupil.0"]
    assert numbers == list(range(len(numbers)))
    assert repaired.messages == len(messages)
    must_be_there = [number for number, at_s in acknowledged if at_s < killed_s - may_lose_s]
    assert len(numbers) >= len(must_be_there)
    data = load_data(folder, "pupil")
    assert [datum["number"] for _, datum, _ in data] == list(range(len(data)))
    assert len(data) >= len(must_be_there)
    if must_be_there:
        pts, timestamps = load_video(folder, "world")
        assert len(pts) == len(timestamps) >= len(must_be_there) // 8
    check_folder(folder)
    assert repair_session(folder).changes == []
    (row,) = list_sessions(root)
    assert (row.state, row.messages) == ("repaired", len(messages))
    verified = verify_session(folder)
    assert verified.whole, verified.problems
    assert verified.messages == len(messages)
