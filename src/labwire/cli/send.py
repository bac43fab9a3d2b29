"""``labwire pub``, ``notify`` and ``remote``: say one thing to a rig."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from labwire.cli.connection import HERE, Connection
from labwire.cli.fields import parse_fields
from labwire.cli.output import remark, write_json, write_line
from labwire.errors import UsageError

_NOT_UNDERSTOOD = ("Unknown command.", "cannot be converted to float.")


def pub(
    topic: str,
    /,
    *fields: str,
    raw: Annotated[tuple[Path, ...], Parameter(negative="", show_default=False)] = (),
    connection: Connection = HERE,
) -> None:
    """Put a message on the bus.

    Args:
        topic: Topic; subscribers match it by its first bytes.
        fields: The payload: key=value, or a JSON object. A value is JSON if it can be read so, otherwise text.
        raw: A file that follows the payload as a raw part; may be given more than once.
        connection: The rig to talk to.
    """
    payload = {"topic": topic, **parse_fields(fields)}
    parts = [_read(path) for path in raw]
    with connection.connect() as rig:
        _tell(rig.send(topic, payload, parts), connection)


def notify(
    subject: str,
    /,
    *fields: str,
    delay: float | None = None,
    connection: Connection = HERE,
) -> None:
    """Send a notification to all actors.

    Args:
        subject: What it is about: `recording.should_start`.
        fields: The payload: key=value, or a JSON object. A value is JSON if it can be read so, otherwise text.
        delay: Send it this many seconds later; a newer one of the same subject replaces it.
        connection: The rig to talk to.
    """
    payload = parse_fields(fields)
    if "subject" in payload:
        raise UsageError("the subject stands before the fields: labwire notify SUBJECT key=value ...")
    if delay is not None:
        payload["delay"] = delay
    with connection.connect() as rig:
        _tell(rig.notify(subject, **payload), connection)


def remote(*command: str, connection: Connection = HERE) -> int:
    """Send a command to the Remote.

    Args:
        command: The command and its argument: `t`, `T 1234.56`, `R my session`.
        connection: The rig to talk to.
    """
    if not command:
        raise UsageError("which command? R, R NAME, r, C, c, T SECONDS, t, v, PUB_PORT, SUB_PORT, PUSH_PORT, RPC_PORT")
    with connection.connect() as rig:
        reply = rig.request(" ".join(command))
    if connection.json:
        write_json({"reply": reply})
    else:
        write_line(reply)
    return UsageError().codes.exit_code if reply.endswith(_NOT_UNDERSTOOD) else 0


def _tell(reply: object, connection: Connection) -> None:
    if connection.json:
        write_json({"reply": reply})
    elif isinstance(reply, str):
        remark(reply)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", path=str(path)) from error
