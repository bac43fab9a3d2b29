"""A worker's log: records there and back as lines of JSON, whatever they hold."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.instruments.sparse_log import SparseLog
from labwire.instruments.worker.log import JsonLinesHandler, encode_record, read_line
from labwire.stderr_lines import MAX_LINE_BYTES


def record_of(message: Any = "text", args: Any = (), level: int = logging.WARNING, **keys: Any) -> logging.LogRecord:
    return logging.LogRecord("some.name", level, "/a/file.py", 12, message, args, keys.pop("exc_info", None), **keys)


def round_trip(record: logging.LogRecord) -> logging.LogRecord:
    line = encode_record(record)
    assert line.endswith(b"\n")
    assert b"\n" not in line[:-1]
    assert len(line) < MAX_LINE_BYTES
    read = read_line(line.decode().rstrip("\n"))
    assert read
    return read


def test_a_record_comes_back_with_all_that_tells_where_it_is_from() -> None:
    record = record_of("voltage %s %d", ("low", 3), func="measure")
    read = round_trip(record)
    assert read.getMessage() == "voltage low 3"
    names = ("levelno", "levelname", "name", "pathname", "lineno", "funcName", "threadName", "process", "created")
    assert [getattr(read, name) for name in names] == [getattr(record, name) for name in names]


def test_an_exception_comes_with_its_traceback() -> None:
    try:
        raise ValueError("bad")
    except ValueError:
        record = record_of("failed", exc_info=sys.exc_info())
    read = round_trip(record)
    assert read.exc_text
    assert read.exc_text.startswith("Traceback")
    assert read.exc_text.rstrip().endswith("ValueError: bad")
    assert "ValueError: bad" in logging.Formatter().format(read)


@given(st.text(), st.integers(0, 100))
def test_any_text_comes_back(text: str, level: int) -> None:
    read = round_trip(record_of("%s", (text,), level=level))
    assert read.getMessage() == text


@pytest.mark.parametrize("text", ["x" * 100_000, "\n" * 20_000, "\x01" * 20_000, "ü" * 20_000, "\udcff", '"' * 20_000])
def test_a_text_that_is_long_or_odd_makes_a_line_that_can_be_read(text: str) -> None:
    assert round_trip(record_of(text)).getMessage()


def test_what_does_not_fit_its_format_is_logged_all_the_same() -> None:
    assert round_trip(record_of("%d items", ("many",))).getMessage() == "%d items ('many',)"


@pytest.mark.parametrize("line", ["", "printed", "{", "{}", '{"level":1}', '{"a":' * 5000, "[1]", "Fatal Python error"])
def test_what_is_no_record_is_plain_text(line: str) -> None:
    assert read_line(line) is None


@given(st.text(max_size=30).map(lambda tail: "{" + tail))
def test_no_line_breaks_the_reader(line: str) -> None:
    read_line(line)


def test_an_unknown_level_is_information() -> None:
    read = read_line('{"level":"LOUD","name":"a","text":"100 %"}')
    assert read
    assert (read.levelno, read.getMessage()) == (logging.INFO, "100 %")


def test_nobody_who_reads_is_no_reason_to_fail() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    JsonLinesHandler(writing).emit(record_of())
    os.close(writing)


def test_of_many_warnings_of_a_kind_ever_fewer_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    sparse = SparseLog(logging.getLogger("sparse"))
    for number in range(1, 1001):
        sparse.warning("odd: %d", number)
    assert sparse.count == 1000
    assert len(caplog.records) == 10
    assert caplog.records[0].getMessage() == "odd: 1"
    assert caplog.records[-1].getMessage() == "odd: 512 (number 512 of its kind)"
