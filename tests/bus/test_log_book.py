"""Log records off the bus: as text, into a file, onto a terminal."""

from __future__ import annotations

import os
import pty
import re
import select
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.bus.log_book import MAX_LINE_CHARS, Console, LogFile, format_record
from labwire.errors import ResourceError
from labwire.testing.waiting import LIMIT_S

RECORD: dict[Any, Any] = {
    "levelname": "WARNING",
    "name": "camera",
    "msg": "%d lost",
    "args": [3],
    "created": 0.25,
    "exc_text": None,
}


def test_a_record_as_text() -> None:
    text = format_record(RECORD)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.250 WARNING  camera: 3 lost", text)


def test_a_traceback_stands_below() -> None:
    assert format_record({**RECORD, "exc_text": "Traceback ...\nZeroDivisionError"}).endswith("\nZeroDivisionError")


keys = st.sampled_from(["levelname", "name", "msg", "args", "created", "exc_text", "x"]) | st.integers()
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(st.dictionaries(keys, values))
def test_garbage_from_strangers_is_shown_as_it_is(payload: dict[Any, Any]) -> None:
    assert len(format_record(payload)) <= MAX_LINE_CHARS


@pytest.mark.parametrize("text", ["%999999999999d", "%*d", "%.99999999999f", "%(a)s", "%"])
def test_a_format_cannot_ask_for_the_moon(text: str) -> None:
    assert text in format_record({**RECORD, "msg": text, "args": [1000000000, 1]})


# --- the file


def test_the_file_rotates_and_keeps_so_many(tmp_path: Path) -> None:
    file = LogFile(str(tmp_path / "a" / "rig.log"), max_bytes=1000, backups=2)
    for n in range(400):
        file.write(f"line {n} \x00 ü")
    file.close()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["rig.log", "rig.log.1", "rig.log.2"]
    newest = (tmp_path / "a" / "rig.log").read_text(encoding="utf-8")
    assert newest.endswith("line 399 \\0 ü\n")
    assert file.failed == 0


def test_a_restart_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    for text in ("first", "second"):
        file = LogFile(str(tmp_path / "rig.log"), max_bytes=1000, backups=2)
        file.write(text)
        file.close()
    assert (tmp_path / "rig.log").read_text() == "first\nsecond\n"


def test_a_full_disk_is_counted() -> None:
    file = LogFile("/dev/full", max_bytes=10**9, backups=0)
    file.write("x")
    file.write("y")
    assert file.failed == 2
    file.close()
    assert file.failed == 3
    file.close()


def test_a_folder_that_cannot_be_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match=str(tmp_path / "file")):
        LogFile(str(tmp_path / "file" / "rig.log"), max_bytes=1000, backups=2)


# --- the terminal


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    master, slave = pty.openpty()
    yield master, slave
    for fd in (master, slave):
        try:
            os.close(fd)
        except OSError:
            pass


def shown(fd: int, end: str) -> str:
    """Return what is on the terminal once it ends like this, and nothing follows."""
    data = b""
    while not data.endswith(end.encode()) or select.select([fd], [], [], 0.05)[0]:
        assert select.select([fd], [], [], LIMIT_S)[0], data
        data += os.read(fd, 65536)
    return data.decode()


def test_records_scroll_above_the_status_line(terminal: tuple[int, int]) -> None:
    master, slave = terminal
    console = Console(slave)
    assert console.has_status_line
    console.show_status("the rig at work")
    console.show_record("camera: lost", "WARNING")
    shown(master, "camera: lost\x1b[0m\r\nthe rig at work")
    console.end_status()
    assert shown(master, "\r\x1b[K") == "\r\x1b[K"
    console.end_status()
    assert not select.select([master], [], [], 0.05)[0]


def test_what_strangers_log_cannot_drive_the_terminal(terminal: tuple[int, int]) -> None:
    master, slave = terminal
    Console(slave).show_record("\x1b[2J\x1b]0;title\x07 evil\r\x08 ok", "INFO")
    text = shown(master, " ok\r\n")
    assert "\x1b" not in text.removeprefix("\r\x1b[K")
    assert "\x07" not in text
    assert "\x08" not in text


def test_a_terminal_that_takes_nothing_is_not_waited_for() -> None:
    read, write = os.pipe()
    console = Console(write)
    assert not console.has_status_line
    for n in range(2000):
        console.show_record(f"{n} " + "x" * 300, "INFO")
    assert console.left_out
    first = os.read(read, 100)
    assert first.startswith(b"0 x")
    os.close(read)
    console.show_record("nobody there", "INFO")
    console.show_status("nobody there")
    os.close(write)


def test_a_terminal_that_goes_away_is_forgotten(terminal: tuple[int, int]) -> None:
    master, slave = terminal
    console = Console(slave)
    os.close(master)
    console.show_status("x")
    console.show_record("y", "INFO")
    assert not console.has_status_line


def test_quiet() -> None:
    console = Console(None)
    console.show_record("x", "INFO")
    console.show_status("x")
    console.end_status()
