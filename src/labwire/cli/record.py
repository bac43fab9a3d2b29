"""``labwire record``: the operations of the recorder, and repair without a rig."""

from __future__ import annotations

from pathlib import Path

from labwire.cli.connection import HERE, Connection
from labwire.cli.operation_commands import connect, finish, service_app
from labwire.errors import DeviceError, NotFoundError, PeerGoneError
from labwire.operations.recording import Recording, Repaired

_USUAL_ROOT = "recordings"


def repair(session: str, /, *, connection: Connection = HERE) -> None:
    """Make a session whole that a crash cut off: by its folder, or by its name if a rig runs.

    Whatever is whole stays as it is, so it does no harm to repair twice.

    Args:
        session: Folder of the session; or name and number as `labwire record list` shows them: `pilot/003`.
        connection: The rig to talk to.
    """
    folder = Path(session)
    if not folder.is_dir():
        try:
            with connect(connection) as rig:
                finish(rig.record.repair(session), connection)
                return
        except PeerGoneError as error:
            folder = _USUAL_ROOT / folder
            if not folder.is_dir():
                raise NotFoundError(
                    f"{session} is not a folder here, and no rig runs at {connection.address} that could know it",
                    hint="give the path of the session's folder",
                ) from error
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


app = service_app(Recording, instead={"repair": repair})
