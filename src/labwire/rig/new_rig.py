"""A rig file made from a few answers: what ``labwire init`` writes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from labwire.errors import ConfigError, UsageError
from labwire.names import MAX_NAME_CHARS
from labwire.rig.rig_config import RigConfig
from labwire.rig.rig_file import parse_rig
from labwire.sources.config import PupilConfig
from labwire.strict import nearest

SIMULATED = "simulated"
DEMO = "demo"
NONE = "none"
_INSTRUMENT = re.compile(r"(?P<name>[^=\s]+)=(?P<what>\S.*)")
_VISA = re.compile(r"\w+::.+")


class NewRig(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of somebody who makes a rig."""

    name: str = "rig"
    eyes: str = NONE
    """``simulated``, the address of Pupil Core (``HOST`` or ``HOST:PORT``), or ``none``."""
    camera: str = NONE
    """``demo``, the number of a camera, the path of a video file, or ``none``."""
    instruments: Mapping[str, str] = {}
    """By name: the driver (``module:Class`` or an entry point), or a VISA resource, which gets the SCPI driver."""
    recordings: str = "recordings"
    """Folder of the sessions, or ``none``."""
    allow: tuple[str, ...] = ()
    """Networks that may connect; none means this computer only."""


def rig_text(new: NewRig, *, schema_file: str = "") -> str:
    """Return the rig file that the answers ask for.

    Args:
        new: The answers.
        schema_file: Name of a file with the JSON Schema beside it, named in the first line for editors.
    """
    head = [f"#:schema {schema_file}", ""] if schema_file else []
    return "\n".join([*head, *_lines(new)]) + "\n"


def check_text(text: str, file: Path) -> RigConfig:
    """Read a text that is about to be written.

    Raises:
        ConfigError: The answers do not make a rig; a line for each mistake.
    """
    try:
        return parse_rig(text, file=str(file), folder=file.absolute().parent)
    except ConfigError as error:
        raise ConfigError(
            f"these answers make no rig, and nothing was written: {error.message}", **error.data
        ) from None


def parse_instrument(text: str) -> tuple[str, str]:
    """Read ``NAME=DRIVER`` or ``NAME=RESOURCE``.

    Raises:
        UsageError: It is neither.
    """
    match = _INSTRUMENT.fullmatch(text.strip())
    if not match:
        raise UsageError(
            f"{text!r} does not say what an instrument is: write NAME=DRIVER or NAME=RESOURCE, "
            "as DMM1=simulated_multimeter or DMM1=TCPIP0::192.168.1.9::INSTR"
        )
    return match["name"], match["what"]


def name_from(text: str) -> str:
    """Return a name for a rig that is made from the name of its folder."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-_")[:MAX_NAME_CHARS] or "rig"


def _lines(new: NewRig) -> Iterator[str]:
    yield "# Check it with: labwire config check. All that can stand here: labwire config default."
    yield f"name = {_text(new.name)}"
    yield from _network(new)
    yield from _eyes(new)
    yield from _camera(new)
    for name, what in new.instruments.items():
        yield from ("", f"[instruments.{_key(name)}]")
        yield from (['driver = "scpi"', f"resource = {_text(what)}"] if _VISA.fullmatch(what) else [_driver(what)])
    if new.recordings != NONE:
        yield from ("", "# `labwire record start NAME` begins a session here.", "[recorder]")
        yield f"root = {_text(new.recordings)}"


def _network(new: NewRig) -> Iterator[str]:
    if new.allow:
        yield from ("", "# Who may connect. There is no encryption: name only networks that you trust.", "[network]")
        yield 'listen = "0.0.0.0"'
        yield f"allow = [{', '.join(map(_text, new.allow))}]"


def _eyes(new: NewRig) -> Iterator[str]:
    if new.eyes == SIMULATED:
        yield from ("", "# Simulated eyes; their data says so.", "[sources.eyes]", 'kind = "simulated_eyes"')
    elif new.eyes != NONE:
        host, colon, port = new.eyes.partition(":")
        if not host or bool(colon) != port.isdecimal():
            raise UsageError(f"--eyes {new.eyes}: write {SIMULATED}, HOST, HOST:PORT or {NONE}")
        if host.isdecimal():
            raise UsageError(
                f"--eyes {new.eyes}: a number is no computer; write {SIMULATED}, HOST, HOST:PORT or {NONE}"
            )
        if not colon and (near := nearest(host.lower(), [SIMULATED, NONE])):
            raise UsageError(
                f"--eyes {new.eyes}: did you mean {near}? A computer of that name is {host}:{PupilConfig().port}"
            )
        yield from ("", "# Pupil Core: its data appear on this bus, and sessions are recorded there too.")
        yield from ("[sources.eyes]", 'kind = "pupil"', f"host = {_text(host)}")
        yield from ([f"port = {int(port)}"] if port else [])
        yield "relay = true"


def _camera(new: NewRig) -> Iterator[str]:
    if new.camera != NONE:
        yield from ("", "# Pictures, as frame.world on the bus.", "[cameras.world]")
        if new.camera == DEMO:
            yield "demo = true"
        else:
            yield f"camera = {int(new.camera)}" if new.camera.isdecimal() else f"video = {_text(new.camera)}"


def _driver(what: str) -> str:
    return f"driver = {_text(what)}"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # TOML's strings are JSON's, but for DEL
