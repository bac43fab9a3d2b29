"""``labwire init``: ask a few questions, write a rig file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, cast

import msgspec
from cyclopts import Parameter

from labwire.cli.connection import JsonFlag
from labwire.cli.output import remark, write_json, write_line
from labwire.cli.program import program_name
from labwire.errors import ConfigError, LabwireError, StateError
from labwire.rig.new_rig import DEMO, NONE, SIMULATED, NewRig, check_text, name_from, parse_instrument, rig_text
from labwire.rig.rig_classes import check_classes
from labwire.rig.rig_file import parse_rig
from labwire.rig.rig_file import schema as rig_schema

SCHEMA_FILE = "rig.schema.json"

Flag = Annotated[bool, Parameter(negative="")]


def init(  # noqa: PLR0913 - each option answers one question
    rig: Annotated[Path, Parameter(name="RIG.toml")] = Path("rig.toml"),
    /,
    *,
    name: str | None = None,
    eyes: str | None = None,
    camera: str | None = None,
    instrument: Annotated[list[str] | None, Parameter(negative="")] = None,
    recordings: str | None = None,
    allow: Annotated[list[str] | None, Parameter(negative="")] = None,
    yes: Flag = False,
    schema: Flag = False,
    force: Flag = False,
    json: JsonFlag = False,
) -> None:
    """Ask a few questions and write a rig file. What an option says is not asked; without a terminal nothing is.

    Args:
        rig: The file to write.
        name: Name of the rig; by default that of the folder.
        eyes: Eye tracker: simulated, where Pupil Core is (HOST or HOST:PORT), or none.
        camera: Camera: its number, the path of a video file, demo or none.
        instrument: An instrument: NAME=DRIVER, or NAME=RESOURCE for one that speaks SCPI; may be given many times.
        recordings: Folder of the sessions, or none.
        allow: A network that may connect, as 192.168.1.0/24; may be given many times. Default: this computer only.
        yes: Ask nothing.
        schema: Write rig.schema.json beside it, by which editors complete and check the file.
        force: Replace a file that is there.
        json: Print JSON.
    """
    if rig.exists() and not force:
        raise StateError(f"{rig} is there already and was left as it is: --force replaces it", file=str(rig))
    said = {
        "name": name,
        "eyes": eyes,
        "camera": camera,
        "instruments": dict(map(parse_instrument, instrument)) if instrument is not None else None,
        "recordings": recordings,
        "allow": tuple(allow) if allow is not None else None,
    }
    new = NewRig(name=name_from(rig.absolute().parent.name))
    new = msgspec.structs.replace(new, **{key: value for key, value in said.items() if value is not None})
    if sys.stdin.isatty() and not yes:
        _check(new, rig)  # an option that is wrong would make every answer wrong
        new = ask(new, {key for key, value in said.items() if value is None}, check=lambda new: _check(new, rig))
    _write(rig, new, schema=schema)
    if json:
        write_json({"file": str(rig), "name": new.name})
    else:
        write_line(f"{rig} is written; start it with: {program_name()} run {rig}")


def ask(
    new: NewRig,
    open_questions: set[str],
    read: Callable[[str], str] = input,
    check: Callable[[NewRig], object] = lambda new: None,
) -> NewRig:
    """Ask what is open; an empty answer keeps what is there, one that makes no rig is told why, and asked again.

    Args:
        new: What holds if nothing is answered.
        open_questions: Fields of `NewRig` to ask for.
        read: Shows a question and returns the answer.
        check: Raises if the answers so far make no rig.
    """
    questions = {
        "name": "name of the rig",
        "eyes": f"eye tracker: {SIMULATED}, HOST:PORT of Pupil Core, or {NONE}",
        "camera": f"camera: its number, a video file, {DEMO} or {NONE}",
        "recordings": f"folder for recordings, or {NONE}",
    }
    for field, question in questions.items():
        if field in open_questions:
            new = _ask_until_right(new, f"{question} [{getattr(new, field)}]: ", field, read, check)
    if "instruments" in open_questions:
        new = msgspec.structs.replace(new, instruments=_ask_instruments(new, read, check))
    if "allow" in open_questions:
        question = "networks that may connect, as 192.168.1.0/24 [none, this computer only]: "
        new = _ask_until_right(new, question, "allow", read, check)
    return new


def _ask_until_right(
    new: NewRig, question: str, field: str, read: Callable[[str], str], check: Callable[[NewRig], object]
) -> NewRig:
    while answer := read(question).strip():
        value = _networks(answer) if field == "allow" else answer
        answered = msgspec.structs.replace(new, **{field: value})
        try:
            check(answered)
        except LabwireError as error:
            remark(error.message)
        else:
            return answered
    return new


def _networks(answer: str) -> tuple[str, ...]:
    networks = tuple(answer.replace(",", " ").split())
    return () if networks == (NONE,) else networks


def _ask_instruments(new: NewRig, read: Callable[[str], str], check: Callable[[NewRig], object]) -> dict[str, str]:
    found: dict[str, str] = {}
    while answer := read("an instrument, as DMM1=simulated_multimeter [no more]: ").strip():
        try:
            name, what = parse_instrument(answer)
            check(msgspec.structs.replace(new, instruments={**found, name: what}))
        except LabwireError as error:
            remark(error.message)
        else:
            found[name] = what
    return found


def _check(new: NewRig, rig: Path) -> None:
    try:
        parse_rig(rig_text(new), file="the answers", folder=rig.absolute().parent, also=check_classes)
    except ConfigError as error:
        mistakes = cast("list[dict[str, str]]", error.data["mistakes"])  # their lines say nothing: there is no file yet
        said = ["; ".join(filter(None, (mistake["text"], mistake["hint"]))) for mistake in mistakes]
        raise ConfigError(", and ".join(said)) from None


def _write(rig: Path, new: NewRig, *, schema: bool) -> None:
    text = rig_text(new, schema_file=SCHEMA_FILE if schema else "")
    check_text(text, rig)
    if schema:
        rig.with_name(SCHEMA_FILE).write_bytes(_schema_bytes())
    rig.write_text(text, encoding="utf-8")


def _schema_bytes() -> bytes:
    return msgspec.json.format(msgspec.json.encode(rig_schema()), indent=2) + b"\n"
