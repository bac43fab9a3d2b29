"""The reference pages that are made from the code say what the code says."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from labwire.cli.commands import commands
from labwire.cli.main import main
from labwire.rig.rig_file import default_toml
from scripts.reference_pages import COMMAND, GENERATED, PAGES

_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
_COLUMN = 30  # further right, in a box, are words about options
_CONNECTION = {"--host", "--port", "--timeout", "--json"}


@pytest.mark.parametrize("name", GENERATED)
def test_page_is_what_the_code_makes(name: str) -> None:
    assert (PAGES / name).read_text() == GENERATED[name](), f"out of date: run {COMMAND}"


def help_of(capsys: pytest.CaptureFixture[str], *path: str) -> str:
    with pytest.raises(SystemExit):
        main([*path, "--help"])
    return capsys.readouterr().out


def sections() -> Iterator[tuple[tuple[str, ...], str]]:
    text = (PAGES / "cli.md").read_text()
    for section in re.split(r"^##+ labwire ", text, flags=re.MULTILINE)[1:]:
        heading, _, body = section.partition("\n")
        if not heading.startswith("--"):
            yield tuple(heading.split()), body


def test_every_command_has_its_section() -> None:
    assert {path[0] for path, _ in sections()} == {command.name for command in commands()}


@pytest.mark.parametrize(("path", "body"), [pytest.param(*row, id=" ".join(row[0])) for row in sections()])
def test_section_has_the_options_that_the_real_help_shows(
    capsys: pytest.CaptureFixture[str], path: tuple[str, ...], body: str
) -> None:
    listed = {option for names in re.findall(r"^\* `([^`]*)`", body, re.MULTILINE) for option in _OPTION.findall(names)}
    if "(#connection)" in body:
        listed |= _CONNECTION
    shown = help_of(capsys, *path)
    boxes = [line for line in shown.splitlines() if line.startswith("│ ")]
    named = {match[0] for line in boxes for match in _OPTION.finditer(line) if match.start() < _COLUMN}
    assert listed >= named, shown
    assert listed <= set(_OPTION.findall(shown)), shown


def test_every_command_can_print_json() -> None:
    usable = {path: body for path, body in sections() if "```text" in body}
    assert len(usable) > 60
    assert [path for path, body in usable.items() if "`--json`" not in body and "(#connection)" not in body] == []


def test_every_key_of_the_default_file_has_its_row() -> None:
    page = (PAGES / "rig-file.md").read_text()
    keys = set(re.findall(r"^#?(?:# )?(\w+) (?:=|is not set)", default_toml(), re.MULTILINE))
    assert len(keys) > 40
    assert {key for key in keys if f"| `{key}` |" not in page} == set()
