"""What travels inside a message's ``user_data``: text that holds JSON.

Source: image-stream, "Writer notification socket" and "Splitting image stream", which say what START tells a writer,
not where; it is therefore sent both in ``user_data`` and at top level, and read from both. The other keys are those
that Jungfraujoch and the beamlines around it use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from labwire.errors import UsageError
from labwire.wire.image_fields import Extra, Uint
from labwire.wire.image_message import StartMessage

_MIRRORED: Final = ("socket_number", "write_master_file", "writer_notification_zmq_addr")
"""In both places, under one name."""


class UserData(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The keys of START's ``user_data`` that a writer acts upon; all others are in `extra`."""

    user: Any = None
    """What the person who started the run wants to be kept with it."""
    file_prefix: str | None = None
    """Folder and first part of the names of the run's files. None: nothing is to be stored."""
    images_per_file: Uint | None = None
    """0 and None: all images in one file."""
    socket_number: Uint | None = None
    write_master_file: bool | None = None
    writer_notification_zmq_addr: str | None = None
    source_name: str | None = None
    source_type: str | None = None
    instrument_name: str | None = None
    sample_name: str | None = None
    attenuator_transmission: float | None = None
    """0 to 1."""
    total_flux: float | None = None
    """Photons/s."""
    beam_size_x: float | None = None
    """m"""
    beam_size_y: float | None = None
    """m"""
    space_group_number: Uint | None = None
    sample_temperature_K: float | None = None  # noqa: N815 - the name on the wire
    ring_current_mA: float | None = None  # noqa: N815
    overwrite: bool | None = None
    file_format: str | None = None
    extra: Extra = {}


_FIELDS: Final = {field.name: field.type for field in msgspec.structs.fields(UserData) if field.name != "extra"}


def encode_user_data(user_data: UserData) -> str:
    """Return the JSON text that goes into a message's ``user_data``.

    Raises:
        UsageError: It holds something that JSON has no form for.
    """
    known = {name: value for name in _FIELDS if (value := getattr(user_data, name)) is not None}
    try:
        return msgspec.json.encode({**user_data.extra, **known}).decode()
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise UsageError(f"user_data cannot be written as JSON: {error}") from error


def read_user_data(start: StartMessage) -> UserData:
    """Read what START says in ``user_data`` and at top level; the top level wins.

    Never fails: text that is not a JSON object, and anything that is not a map, is taken as `user`; a known key whose
    value is of another type goes to `extra`.
    """
    found = _object_in(start.user_data)
    if found is None:
        found = {} if start.user_data is None else {"user": start.user_data}
    found |= {name: value for name in _MIRRORED if (value := getattr(start, name)) is not None}
    known: dict[str, Any] = {}
    extra: Extra = {}
    for key, value in found.items():
        try:
            known[key] = msgspec.convert(value, _FIELDS[key])
        except (KeyError, msgspec.ValidationError):
            extra[key] = value
    return UserData(**known, extra=extra)


def start_for_socket(
    start: StartMessage,
    *,
    socket_number: int,
    write_master_file: bool | None = None,
    writer_notification_zmq_addr: str | None = None,
) -> StartMessage:
    """Return START as one socket or connection sends it: with its number, in ``user_data`` and at top level.

    Args:
        start: What is the same for all.
        socket_number: From 0.
        write_master_file: None: socket 0 does, the others do not.
        writer_notification_zmq_addr: Where the writer reports that it is done; with ZeroMQ only.

    Raises:
        UsageError: `user_data` cannot be written as JSON.
    """
    own: dict[str, Any] = {
        "socket_number": socket_number,
        "write_master_file": socket_number == 0 if write_master_file is None else write_master_file,
        "writer_notification_zmq_addr": writer_notification_zmq_addr,
    }
    start = msgspec.structs.replace(start, **own)
    return msgspec.structs.replace(start, user_data=encode_user_data(read_user_data(start)))


def _object_in(user_data: Any) -> dict[str, Any] | None:
    if isinstance(user_data, Mapping):
        return {str(key): value for key, value in cast("Mapping[Any, Any]", user_data).items()}
    if not isinstance(user_data, str):
        return None
    try:
        return msgspec.json.decode(str(user_data), type=dict[str, Any])  # a date is a text of another class
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
