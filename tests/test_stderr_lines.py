"""What an actor's process writes to standard error, cut to lines and to size."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from labwire.stderr_lines import LINES_PER_S, MAX_LINE_BYTES, StderrLines


@given(st.binary(max_size=300), st.integers(1, 20))
def test_any_chunking_gives_the_same_lines(data: bytes, step: int) -> None:
    whole, chunked = StderrLines(), StderrLines()
    expected = [*whole.take(data, 0.0), *whole.take(b"", 0.0)] if data else [*whole.take(b"", 0.0)]
    found = [line for start in range(0, len(data), step) for line in chunked.take(data[start : start + step], 0.0)]
    found += chunked.take(b"", 0.0)
    assert found == expected
    assert all(line == line.rstrip() and line for line in found)
    assert whole.last == chunked.last == (expected[-1] if expected else "")


def test_a_last_line_without_an_end_is_one() -> None:
    lines = StderrLines()
    assert list(lines.take(b"first\nsec", 0.0)) == ["first"]
    assert list(lines.take(b"", 0.0)) == ["sec"]


def test_a_flood_is_cut_and_told_of() -> None:
    lines = StderrLines()
    passed = list(lines.take(b"x\n" * (LINES_PER_S + 50), 10.2))
    assert passed == ["x"] * LINES_PER_S
    assert list(lines.take(b"y\n", 11.0)) == ["(50 more lines left out)", "y"]
    assert lines.last == "y"
    list(lines.take(b"z\n" * LINES_PER_S, 11.5))
    assert list(lines.take(b"", 11.6)) == ["(1 more lines left out)"]
    assert lines.last == "z"


def test_a_line_without_end_takes_no_more_than_its_bound() -> None:
    lines = StderrLines()
    for _ in range(100):
        assert list(lines.take(b"x" * 10_000, 0.0)) == []
        assert len(lines._rest) <= MAX_LINE_BYTES
    assert [len(line) for line in lines.take(b"\n", 0.0)] == [MAX_LINE_BYTES]
