"""Replies shown to people."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest
from rich.console import Console

from labwire.cli.progress import read_report
from labwire.cli.show import show
from labwire.operations.actors import ActorStatus
from labwire.operations.recordable import StreamCounters
from labwire.operations.recording import Mark, RecordingStopped, RepairProgress


class Nested(msgspec.Struct):
    name: str
    actors: list[ActorStatus]
    missing: str = ""


def shown(reply: Any) -> str:
    stream = io.StringIO()
    show(reply, Console(file=stream, width=200))
    return stream.getvalue()


def test_a_list_of_structs_is_a_table_without_empty_columns() -> None:
    text = shown([ActorStatus("eyes", "a:B", "running", 12), ActorStatus("world", "c:D", "stopped")])
    heading, first, second = text.splitlines()
    assert heading.split() == ["name", "actor", "class", "state", "pid", "restarts", "uptime"]
    assert first.split()[:4] == ["eyes", "a:B", "running", "12"]
    assert second.split()[3] == "-"


def test_an_empty_list_is_said() -> None:
    assert shown([]) == "none\n"


def test_a_struct_is_its_fields_and_its_tables() -> None:
    text = shown(Nested("rig", [ActorStatus("eyes", "a:B", "running")]))
    assert text.splitlines()[0].split() == ["name", "rig"]
    assert "missing" not in text
    assert "eyes  a:B" in text


def test_structs_by_key_have_the_key_in_front() -> None:
    text = shown(RecordingStopped("/rec/000", 61.0, {"bus log": StreamCounters(written=5, written_bytes=2_000_000)}))
    assert "1 min 01 s" in text
    assert "bus log" in text
    assert "2.00 MB" in text


def test_two_columns_never_have_the_same_heading() -> None:
    text = shown(RecordingStopped("/rec/000", 61.0, {"bus log": StreamCounters(written=5, written_bytes=2_000_000)}))
    headings = next(line for line in text.splitlines() if line.startswith("name"))
    assert headings.split("  ").count("written") == 1
    assert "written bytes" in headings


def test_a_tree_is_toml() -> None:
    assert shown({"bus": {"pub_port": 0}}) == "[bus]\npub_port = 0\n"


def test_plain_values() -> None:
    assert shown(["a", "b"]) == "a, b\n"
    assert shown("[red]not markup[/red]") == "[red]not markup[/red]\n"
    assert shown(None) == ""


def test_progress_is_read_from_any_report() -> None:
    assert read_report(RepairProgress("bus.mcap", 5, 10)) == ("bus.mcap", 5, 10)
    assert read_report(RepairProgress("", 0, 0)) == ("", 0, None)
    assert read_report("halfway") == ("halfway", None, None)


def test_what_goes_into_a_file_has_no_padding(capsys: pytest.CaptureFixture[str]) -> None:
    show([Mark("a long label", 1.0), Mark("b", 2.0)])
    out = capsys.readouterr().out
    assert "a long label" in out
    assert [line for line in out.splitlines() if line != line.rstrip()] == []


class Outer(msgspec.Struct):
    name: str
    last: Mark | None = None
    sockets: list[dict[str, Any]] = []


def test_a_struct_in_a_struct_and_a_list_of_maps_stand_below_it() -> None:
    text = shown(Outer("det1", Mark("x", 1.5), [{"writer": "a", "sent_bytes": 2000}, {"writer": "b"}]))
    name, _, last, mark, moment, *_, sockets, heading, first, second = text.splitlines()
    assert (name.split(), last, mark.split()) == (["name", "det1"], "last", ["label", "x"])
    assert moment.split()[0] == "timestamp"
    assert (sockets, heading.split()) == ("sockets", ["writer", "sent"])
    assert (first.split(), second.split()) == (["a", "2.00", "kB"], ["b", "-"])
    assert shown(Outer("det1")).split() == ["name", "det1"]
