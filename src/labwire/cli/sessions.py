"""``labwire sessions``: what stands on the disk; no rig need run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import App, Group, Parameter
from cyclopts.validators import Number

from labwire.cli.connection import HERE, Connection, JsonFlag
from labwire.cli.operation_commands import connect
from labwire.cli.output import remark, to_json, write_json, write_line
from labwire.cli.session_place import (
    Place,
    RigFile,
    any_place,
    find_folder,
    find_in,
    named_place,
    place_of,
    usual_place,
)
from labwire.errors import DeviceError, PeerGoneError, UsageError
from labwire.operations.recording import Repaired, SessionList
from labwire.operations.session_check import Pruned, Verified

_NOT_SOUND = 1
_POSITIVE, _NOT_NEGATIVE = Number(gt=0), Number(gte=0)


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
                place, sessions = place_of(running.rig.config()), running.record.list()
        except PeerGoneError as error:
            place = usual_place(connection, error)
            sessions = _sessions_in(place.root)
    else:
        sessions = _sessions_in(place.root)
    _show_sessions(sessions, place, connection)


def repair(session: str, rig: RigFile = None, /, *, root: Path | None = None, connection: Connection = HERE) -> None:
    """Make a session whole that a crash cut off: by its folder, or by its name. A rig need not run.

    Image files that its writers left under way when they were killed are finished as well.
    Whatever is whole stays as it is, so it does no harm to repair twice.

    Args:
        session: Folder of the session; or name and number as `labwire sessions list` shows them: `pilot/003`.
        rig: Look for the name where this rig file records to.
        root: Look for the name in this folder of recordings.
        connection: The rig to talk to.
    """
    from labwire.cli.progress import follow

    place = named_place(rig, root)
    folder = Path(session)
    if place is None and not folder.is_dir():
        try:
            with connect(connection) as running:
                _show_repaired(follow(running.record.repair(session), quiet=connection.json), connection)
                return
        except PeerGoneError as error:
            place = usual_place(connection, error)
    if place is not None:
        folder = find_in(place, session)
    _show_repaired(repair_here(folder, quiet=connection.json), connection)


def _show_repaired(repaired: Repaired, connection: Connection) -> None:
    if connection.json:
        write_json(repaired)
        return
    from labwire.cli.session_text import show_repaired

    show_repaired(repaired)


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
    from labwire.images.repair import repair_left
    from labwire.sessions.check.repair import repair_session

    try:
        with progress_bar(quiet=quiet) as report:
            return repair_session(folder.absolute(), report=report, repair_images=repair_left)
    except OSError as error:
        raise DeviceError(f"the repair of {folder} stopped: {error}; another repair finishes it") from error


def show_session(
    session: str, rig: RigFile = None, /, *, root: Path | None = None, connection: Connection = HERE
) -> None:
    """Show what is in a session: clocks, streams, topics, marks, losses.

    Args:
        session: Folder of the session, or its name and number.
        rig: Look for the name where this rig file records to.
        root: Look for the name in this folder of recordings.
        connection: The rig to talk to.
    """
    from labwire.cli.session_text import show_overview
    from labwire.sessions.reading.overview import overview_of

    overview = overview_of(find_folder(session, rig, root, connection))
    if connection.json:
        write_json(overview)
    else:
        show_overview(overview)


def verify(
    *sessions: str,
    everything: Annotated[bool, Parameter(name="--all", negative="")] = False,
    root: Path | None = None,
    connection: Connection = HERE,
) -> int:
    """Prove what sessions hold: count all that is numbered again, open every file, name what is missing.

    What is not numbered is named, too: of that nobody knows. So is who died or stood still meanwhile.
    What was found stays in the session as `verified.json`; nothing else is changed. The exit status is 0 if every file
    is whole and nothing is known to be missing, otherwise 1.

    Args:
        sessions: Folders of sessions, or their names and numbers.
        everything: Check all sessions.
        root: Look for the sessions in this folder of recordings.
        connection: The rig to talk to.
    """
    folders = _folders(sessions, everything=everything, root=root, connection=connection)
    sound = True
    for folder in folders:
        verified = _verify_here(folder, quiet=connection.json)
        sound = sound and verified.lossless
        if connection.json:
            write_json(verified)
        else:
            from labwire.cli.session_text import show_verified

            show_verified(verified)
    if not folders:
        remark("labwire: no session to check")
    return 0 if sound else _NOT_SOUND


def _folders(sessions: tuple[str, ...], *, everything: bool, root: Path | None, connection: Connection) -> list[Path]:
    if everything == bool(sessions):
        raise UsageError("name the sessions to check, or say --all")
    if not everything:
        return [find_folder(session, None, root, connection) for session in sessions]
    from labwire.sessions.folder import list_sessions
    from labwire.sessions.manifest import RECORDING

    found = list_sessions(any_place(None, root, connection).root)
    return [Path(summary.path) for summary in reversed(found) if summary.state != RECORDING]


def _verify_here(folder: Path, *, quiet: bool) -> Verified:
    from labwire.cli.progress import progress_bar
    from labwire.sessions.check.verify import verify_session

    with progress_bar(quiet=quiet) as report:
        return verify_session(folder, report=report)


def prune(
    rig: RigFile = None,
    /,
    *,
    older_than: Annotated[float | None, Parameter(name="--older-than-days", validator=_POSITIVE)] = None,
    above: Annotated[float | None, Parameter(name="--above-gb", validator=_POSITIVE)] = None,
    keep: Annotated[int | None, Parameter(validator=_NOT_NEGATIVE)] = None,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    root: Path | None = None,
    connection: Connection = HERE,
) -> None:
    """Remove old sessions: by the limits given here, else by `[recorder.retention]` of the rig file.

    Only what `labwire sessions verify` has found whole, and has not changed since, is ever removed.

    Args:
        rig: Look where this rig file records to, and follow its limits.
        older_than: Sessions that began longer ago than this many days may go.
        above: While all sessions together are larger than this many GB, the oldest goes.
        keep: So many of the newest stay, whatever the limits say; 1 unless the rig file says another number.
        dry_run: Remove nothing, only tell what would go.
        root: Look in this folder of recordings.
        connection: The rig to talk to.
    """
    from labwire.clock import epoch_us
    from labwire.sessions.check.prune import prune_sessions
    from labwire.sessions.config import RetentionConfig

    place = any_place(rig, root, connection)
    limits = place.retention
    if older_than is not None or above is not None:
        limits = {**limits, "max_age_days": older_than or 0.0, "max_bytes": round((above or 0.0) * 1e9)}
    rule = msgspec.convert({**limits, "keep": keep} if keep is not None else limits, RetentionConfig)
    if not rule.limits_something:
        raise UsageError(
            f"nothing says how long sessions are kept: give --older-than-days or --above-gb, "
            f"or write limits under [recorder.retention] ({place.said_by})"
        )
    rows: list[Pruned] = []
    prune_sessions(place.root, rule, now_epoch_us=epoch_us(), dry_run=dry_run, on_session=rows.append)
    if connection.json:
        write_json({"root": str(place.root), "dry_run": dry_run, "sessions": rows})
        return
    from labwire.cli.session_text import show_pruned

    show_pruned(rows, dry_run=dry_run, where=f"{place.root} ({place.said_by})")


def schema(*, json: JsonFlag = False) -> None:
    """Print the JSON Schema of `session.json`.

    Args:
        json: Print it on one line.
    """
    from labwire.sessions.manifest import manifest_schema

    text = to_json(manifest_schema())
    write_line(text if json else msgspec.json.format(text, indent=2))


def _sessions_in(root: Path) -> SessionList:
    from labwire.sessions.folder import list_sessions

    return list_sessions(root)


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


app = App(name="sessions", group_commands=Group("Commands"))
for place, (name, command) in enumerate(
    {
        "list": list_sessions,
        "show": show_session,
        "verify": verify,
        "repair": repair,
        "prune": prune,
        "schema": schema,
    }.items()
):
    app.command(command, name=name, sort_key=place)
