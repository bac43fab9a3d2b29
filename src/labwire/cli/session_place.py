"""Where the command line looks for sessions: a folder, a rig file, the rig that runs, or the usual place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
from cyclopts import Parameter

from labwire.cli.connection import DEFAULT_HOST, Connection
from labwire.cli.operation_commands import connect
from labwire.errors import NotFoundError, PeerGoneError, UsageError

RigFile = Annotated[Path | None, Parameter(name="RIG.toml")]


class Place(NamedTuple):
    """A folder of recordings."""

    root: Path
    said_by: str
    """Who says so, as part of a sentence."""
    retention: dict[str, Any] = {}
    """What the rig file says under ``[recorder.retention]``."""


def named_place(rig: Path | None, root: Path | None) -> Place | None:
    """Return the folder of recordings that the command line names; None if it names none.

    Raises:
        UsageError: It names two, or a rig without a recorder.
        NotFoundError: There is no such folder.
        ConfigError: The rig file is wrong.
    """
    if rig and root:
        raise UsageError(f"--root and {rig} both say where to look: give one of them")
    if root:
        if not root.is_dir():
            raise NotFoundError(f"there is no folder {root.absolute()}", path=str(root))
        return Place(root.absolute(), "--root")
    if rig is None:
        return None
    from labwire.rig.rig_file import load_rig

    recorder = load_rig(rig).recorder
    if recorder is None:
        raise UsageError(f"the rig of {rig} has no recorder: it says nothing under [recorder]")
    return Place(Path(recorder.root), str(rig), msgspec.to_builtins(recorder.retention))


def usual_place(connection: Connection, error: PeerGoneError) -> Place:
    """Return where a rig that is started here would record to, as none answers.

    Raises:
        PeerGoneError: The command line asks for a rig on another computer: the error that says it does not answer.
    """
    if connection.host != DEFAULT_HOST:
        raise error
    from labwire.sessions.config import RecorderConfig

    return Place(Path(RecorderConfig().root).absolute(), f"the usual place, as no rig runs at {connection.address}")


def place_of(config: dict[str, Any]) -> Place:
    """Return where a running rig records to.

    Args:
        config: The rig's configuration, as it tells it.
    """
    recorder: dict[str, Any] = config.get("recorder") or {}
    return Place(Path(recorder.get("root", "")), f'the rig "{config.get("name", "")}"', recorder.get("retention") or {})


def any_place(rig: Path | None, root: Path | None, connection: Connection) -> Place:
    """Return the folder that the command line names, else that of the rig that runs, else the usual one.

    Raises:
        NotFoundError: The rig that runs records to a folder that is not on this computer.
        LabwireError: As in `named_place` and `usual_place`.
    """
    place = named_place(rig, root)
    if place is not None:
        return place
    try:
        with connect(connection) as running:
            place = place_of(running.rig.config())
    except PeerGoneError as error:
        return usual_place(connection, error)
    if connection.host != DEFAULT_HOST and not place.root.is_dir():
        raise NotFoundError(f"{place.said_by} records to {place.root} on {connection.host}: do this there")
    return place


def find_in(place: Place, session: str) -> Path:
    """Return the folder of a session by its name.

    Raises:
        NotFoundError: There is no such session in this place.
    """
    from labwire.sessions.folder import find_session

    if Path(session).is_absolute() and not Path(session).exists():
        raise _no_folder(session)
    try:
        return find_session(place.root, session)
    except NotFoundError as error:
        raise NotFoundError(
            f"no session {session!r} in {place.root} ({place.said_by})",
            hint="give the session's folder, or --root with the folder that `labwire sessions list --root` lists",
        ) from error


def find_folder(session: str, rig: Path | None, root: Path | None, connection: Connection) -> Path:
    """Return the folder of a session that is given by its folder or its name.

    Raises:
        LabwireError: As in `any_place` and `find_in`.
    """
    folder = Path(session)
    if rig is None and root is None:
        if folder.is_dir():
            return folder.absolute()
        if session.startswith("./") or ".." in folder.parts:  # a path, and no name of a session
            raise _no_folder(str(folder.absolute()))
    return find_in(any_place(rig, root, connection), session)


def _no_folder(path: str) -> NotFoundError:
    return NotFoundError(
        f"there is no folder {path}", hint="`labwire sessions list` shows the sessions and their folders"
    )
