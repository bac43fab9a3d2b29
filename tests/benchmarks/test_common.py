"""What the benchmarks compute from their samples."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import common
from benchmarks.common import Case, LoadWatch, Results, conditions, cpu_s, interleave, percentile, table, verdict


@pytest.mark.parametrize(
    ("count", "percent", "expected"),
    [
        (100, 99, 99),
        (100, 50, 50),
        (101, 99, 100),
        (1, 99, 1),
        (2, 50, 1),
        (1000, 99.9, 999),
        (10, 100, 10),
        (10, 0, 1),
    ],
)
def test_a_percentile_is_a_sample(count: int, percent: float, expected: int) -> None:
    assert percentile(range(1, count + 1), percent) == expected


@given(st.lists(st.floats(allow_nan=False), min_size=1), st.integers(0, 100))
def test_so_many_samples_are_not_above_a_percentile(samples: list[float], percent: int) -> None:
    ordered = sorted(samples)
    found = percentile(ordered, percent)
    assert found in ordered
    assert sum(sample <= found for sample in ordered) * 100 >= percent * len(ordered)
    assert sum(sample < found for sample in ordered) * 100 < max(1, percent) * len(ordered)


def results(**rounds: Sequence[Sequence[float]]) -> Results:
    made = Results()
    for name, samples in rounds.items():
        for one in samples:
            made.add(name, one, 0.0)
    return made


def test_the_summary_is_of_all_rounds() -> None:
    made = results(a=[[3, 1], [5, 2, 4]])
    assert made.summary("a") == (1, 3, 5, 5)


def test_a_ratio_is_of_the_same_round() -> None:
    # In the second round the machine was ten times slower: over all rounds the ratio of medians would be 15.
    made = results(ours=[[2, 2, 2], [30, 30, 30]], theirs=[[1, 1, 1], [15, 15, 15]])
    assert made.ratio("ours", "theirs") == 2
    assert made.ratio("theirs", "ours") == 0.5
    assert made.difference("ours", "theirs") == (1 + 15) / 2


def test_one_bad_round_does_not_move_a_ratio() -> None:
    made = results(ours=[[1.1], [1.1], [9.0]], theirs=[[1.0], [1.0], [1.0]])
    assert made.ratio("ours", "theirs") == pytest.approx(1.1)


def test_a_ratio_to_nothing_is_no_number() -> None:
    made = results(ours=[[1.0]], theirs=[[0.0]])
    assert math.isnan(made.ratio("ours", "theirs"))


def test_cases_that_were_not_measured_as_often_are_not_compared() -> None:
    made = results(ours=[[1.0], [1.0]], theirs=[[1.0]])
    with pytest.raises(ValueError, match="shorter"):
        made.ratio("ours", "theirs")


def test_each_round_begins_with_another_case() -> None:
    order: list[str] = []

    def measure(name: str) -> Case:
        return Case(name, lambda: order.append(name) or [float(len(order))])

    said: list[str] = []
    made = interleave([measure(name) for name in "abc"], 4, say=said.append)
    assert "".join(order) == "abc" + "bca" + "cab" + "abc"
    assert made.rounds["a"] == [[1.0], [6.0], [8.0], [10.0]]
    assert {name: len(loads) for name, loads in made.other_load.items()} == {"a": 4, "b": 4, "c": 4}
    assert said[-1] == "round 4 of 4"


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /proc that a test writes: `write_proc`."""
    monkeypatch.setattr(common, "_PROC", tmp_path)
    monkeypatch.setattr(common, "_TICKS_HZ", 100)
    return tmp_path


def write_proc(proc: Path, busy_ticks: int, **processes: tuple[int, int]) -> None:
    """Write the ticks of the whole machine, and parent and ticks of each process."""
    (proc / "stat").write_text(f"cpu  {busy_ticks} 0 0 999 7 0 0 0 0 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
    for name, (parent, ticks) in processes.items():
        pid = int(name.removeprefix("p"))
        folder = proc / str(pid)
        folder.mkdir(exist_ok=True)
        (folder / "stat").write_text(f"{pid} (a (strange) name) S {parent} {'0 ' * 9}{ticks} 0 0 0 20")


def test_ones_own_work_is_nobody_elses_load(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, now_s = os.getpid(), [100.0]
    monkeypatch.setattr(common.time, "monotonic", lambda: now_s[0])
    family = {f"p{own}": (1, 10), "p4000001": (own, 20), "p4000002": (4000001, 30)}
    write_proc(proc, 1000, p1=(0, 500), **family)
    watch = LoadWatch()
    assert watch.other_cores() == 0.0
    # In two seconds a grandchild works for 1.5 s and somebody else for 1 s.
    now_s[0] = 102.0
    write_proc(proc, 1250, **{**family, "p1": (0, 600), "p4000002": (4000001, 180)})
    assert watch.other_cores() == pytest.approx(0.5)


def test_where_the_system_does_not_tell_there_is_no_load(proc: Path) -> None:
    assert not list(proc.iterdir())
    assert LoadWatch().other_cores() == 0.0


def test_processor_time_is_that_of_the_whole_process() -> None:
    before_s = cpu_s(os.getpid())
    end_s = time.process_time() + 0.02
    while time.process_time() < end_s:
        pass
    assert cpu_s(os.getpid()) - before_s >= 0.02


def test_a_table_stands_in_columns() -> None:
    assert table("t", ("name", "value"), [("a", "1"), ("longer", "22,222")]).splitlines() == [
        "t",
        "name     value",
        "------  ------",
        "a            1",
        "longer  22,222",
    ]


def test_a_verdict_names_the_aim() -> None:
    assert verdict(1.15, 1.15, at_most=True) == "≤ 1.15 kept"
    assert verdict(1.16, 1.15, at_most=True) == "≤ 1.15 MISSED"
    assert verdict(1.6, 1.6, at_most=False) == "≥ 1.6 kept"
    assert verdict(1.59, 1.6, at_most=False) == "≥ 1.6 MISSED"


def test_the_conditions_name_machine_versions_and_settings() -> None:
    machine, versions, settings = conditions(["pyzmq"], payload="300 bytes", rounds=3)
    assert f"{os.cpu_count()} cores" in machine
    assert "pyzmq 2" in versions
    assert settings == "settings: payload 300 bytes, rounds 3"
