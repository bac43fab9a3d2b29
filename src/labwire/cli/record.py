"""``labwire record``: the operations of the recorder; list and repair work without a rig as well."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NamedTuple

from cyclopts import Parameter

from labwire.cli.connection import DEFAULT_HOST, HERE, Connection
from labwire.cli.operation_commands import connect, finish, service_app
from labwire.cli.output import remark, write_json
from labwire.errors import DeviceError, NotFoundError, PeerGoneError, UsageError
from labwire.operations.recording import Recording, Repaired, SessionList

RigFile = Annotated[Path | None, Parameter(name="RIG.toml")]


class Place(NamedTuple):
    """A folder of recordings."""

    root: Path
    said_by: str
    """Who says so, as part of a sentence."""


def list_sessions(rig: RigFile = None, /, *, root: Path | None = None, connection: Connection = HERE) -> None:
    """List the sessions, newest first: those of the rig that runs; if none runs, those in `recordings` in this folder.

    Args:
        rig: List where this rig file records to, whether it runs or not.
        root: List this folder of recordings.
        connection: The rig to talk to.
    """
    place = named_place(rig, root)
    if place is None:
        try:
            with connect(connection) as running:
                place, sessions = _place_of(running.rig.config()), running.record.list()
        except PeerGoneError as error:
            place = usual_place(connection, error)
            sessions = _sessions_in(place.root)
    else:
        sessions = _sessions_in(place.root)
    _show_sessions(sessions, place, connection)


def repair(session: str, rig: RigFile = None, /, *, root: Path | None = None, connection: Connection = HERE) -> None:
    """Make a session whole that a crash cut off: by its folder, or by its name. A rig need not run.

    Whatever is whole stays as it is, so it does no harm to repair twice.

    Args:
        session: Folder of the session; or name and number as `labwire record list` shows them: `pilot/003`.
        rig: Look for the name where this rig file records to.
        root: Look for the name in this folder of recordings.
        connection: The rig to talk to.
    """
    place = named_place(rig, root)
    folder = Path(session)
    if place is None and not folder.is_dir():
        try:
            with connect(connection) as running:
                finish(running.record.repair(session), connection)
                return
        except PeerGoneError as error:
            place = usual_place(connection, error)
    if place is not None:
        folder = _find(place, session)
    finish(repair_here(folder, quiet=connection.json), connection)


def repair_here(folder: Path, *, quiet: bool = False) -> Repaired:
    """Repair a session in this process.

    Args:
        folder: Of the session.
        quiet: Show no progress.

    Raises:
        NotFoundError: The folder is no session.
        StateError: It is being recorded.
        DeviceError: The disk fails.
    """
    from labwire.cli.progress import progress_bar
    from labwire.sessions.repair import repair_session

    try:
        with progress_bar(quiet=quiet) as report:
            return repair_session(folder.absolute(), report=report)
    except OSError as error:
        raise DeviceError(f"the repair of {folder} stopped: {error}; another repair finishes it") from error


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
    return Place(Path(recorder.root), str(rig))


def usual_place(connection: Connection, error: PeerGoneError) -> Place:
    """Return where a rig that is started here would record to, as none answers.

    Raises:
        PeerGoneError: The command line asks for a rig on another computer: the error that says it does not answer.
    """
    if connection.host != DEFAULT_HOST:
        raise error
    from labwire.sessions.config import RecorderConfig

    return Place(Path(RecorderConfig().root).absolute(), f"the usual place, as no rig runs at {connection.address}")


def _place_of(config: dict[str, Any]) -> Place:
    recorder: dict[str, Any] = config.get("recorder") or {}
    return Place(Path(recorder.get("root", "")), f'the rig "{config.get("name", "")}"')


def _sessions_in(root: Path) -> SessionList:
    from labwire.sessions.folder import list_sessions

    return list_sessions(root)


def _find(place: Place, session: str) -> Path:
    from labwire.sessions.folder import find_session

    try:
        return find_session(place.root, session)
    except NotFoundError as error:
        raise NotFoundError(
            f"no session {session!r} in {place.root} ({place.said_by})",
            hint="give the session's folder, or --root with the folder that `labwire record list --root` lists",
        ) from error


def _show_sessions(sessions: SessionList, place: Place, connection: Connection) -> None:
    if connection.json:
        write_json({"root": str(place.root), "said_by": place.said_by, "sessions": sessions})
        return
    from labwire.cli.show import show

    if sessions:
        show(sessions)
    missing = "" if place.root.is_dir() else "; there is no such folder"
    number = {0: "no session", 1: "1 session"}.get(len(sessions), f"{len(sessions)} sessions")
    remark(f"labwire: {number} in {place.root} ({place.said_by}){missing}")


app = service_app(Recording, instead={"list": list_sessions, "repair": repair})
