"""Every error that labwire raises on purpose, and the one table that gives each its codes.

The tree says whose fault it is::

    LabwireError
    ├── UsageError            the caller asked for something that makes no sense
    │   ├── ConfigError       a rig file or an option is wrong
    │   ├── InvalidNameError  a name breaks the grammar of `labwire.names`
    │   ├── NotFoundError     nothing has that name
    │   └── StateError        right request, wrong moment (already recording, not connected)
    ├── PeerError             the other side did it
    │   ├── ProtocolError     it sent something that the format forbids
    │   ├── PeerGoneError     it died or closed the connection
    │   ├── CommandFailedError  an instrument answered that a command failed
    │   └── RefusedError      it, or we, do not let the caller in
    ├── LimitError            a bound was reached
    │   ├── TooLargeError     a message, frame or file above its limit
    │   ├── QueueFullError    a bounded queue with policy ``fail`` is full
    │   └── DiskLowError      less free space than the rig demands
    ├── DeadlineError         no answer in time
    ├── CancelledError        the caller took the request back
    ├── ResourceError         the machine does not give what is needed
    │   ├── PortTakenError    somebody else listens there
    │   ├── DeviceError       a camera, file or instrument does not work
    │   └── MissingExtraError an optional dependency is not installed
    └── InternalError         our own fault: a bug in labwire or in an actor's code
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import NamedTuple


class LabwireError(Exception):
    """Base of every error that labwire raises on purpose.

    Args:
        message: What failed, on what, with which values, and what to do.
        **data: The values again, for programs; they travel with the error over the RPC port.
    """

    def __init__(self, message: str = "", **data: object) -> None:
        super().__init__(message)
        self.message = message
        self.data = data

    @property
    def codes(self) -> Codes:
        """The codes of this error's class, or of its nearest ancestor that has a row."""
        return codes_of(type(self))


class UsageError(LabwireError):
    """The caller asked for something that makes no sense."""


class ConfigError(UsageError):
    """A rig file or an option is wrong."""


class InvalidNameError(UsageError):
    """A name breaks the grammar of `labwire.names`."""


class NotFoundError(UsageError):
    """Nothing has that name."""


class StateError(UsageError):
    """The request is right, the moment is wrong."""


class PeerError(LabwireError):
    """The other side did it."""


class ProtocolError(PeerError):
    """The peer sent something that the format forbids."""


class PeerGoneError(PeerError):
    """The peer died or closed the connection."""


class CommandFailedError(PeerError):
    """An instrument answered that a command failed."""


class RefusedError(PeerError):
    """The caller is not allowed in."""


class LimitError(LabwireError):
    """A bound was reached."""


class TooLargeError(LimitError):
    """A message, frame or file is above its limit."""


class QueueFullError(LimitError):
    """A bounded queue with policy ``fail`` is full."""


class DiskLowError(LimitError):
    """The disk has less free space than the rig demands."""


class DeadlineError(LabwireError):
    """No answer in time."""


class CancelledError(LabwireError):
    """The caller took the request back."""


class ResourceError(LabwireError):
    """The machine does not give what is needed."""


class PortTakenError(ResourceError):
    """Somebody else listens on that port."""


class DeviceError(ResourceError):
    """A camera, a file or an instrument does not work."""


class MissingExtraError(ResourceError):
    """An optional dependency is not installed."""


class InternalError(LabwireError):
    """Our own fault: a bug in labwire or in an actor's code."""


class Codes(NamedTuple):
    """What one error is called on each surface."""

    exit_code: int
    """Exit status of the command line."""
    http_status: int
    """Status of the HTTP API."""
    ack_code: int
    """Code in an ACK of the image stream (`labwire.wire.tcp_frame.AckCode`); 0: the code of the frame that failed."""
    worker_code: int
    """``error_code`` in an instrument worker's response."""


# Exit codes 1 and 2 keep their usual meaning (failure, wrong usage); 64 and above stay free for shells.
ERROR_CODES: dict[type[LabwireError], Codes] = {
    LabwireError: Codes(1, 500, 0, 1),
    UsageError: Codes(2, 400, 0, 2),
    ConfigError: Codes(3, 400, 0, 3),
    InvalidNameError: Codes(2, 422, 0, 4),
    NotFoundError: Codes(4, 404, 0, 5),
    StateError: Codes(5, 409, 0, 6),
    PeerError: Codes(6, 502, 0, 7),
    ProtocolError: Codes(6, 502, 8, 8),
    PeerGoneError: Codes(7, 503, 0, 9),
    CommandFailedError: Codes(17, 502, 0, 22),
    RefusedError: Codes(8, 403, 6, 10),
    LimitError: Codes(9, 507, 0, 11),
    TooLargeError: Codes(9, 413, 8, 12),
    QueueFullError: Codes(9, 429, 0, 13),
    DiskLowError: Codes(10, 507, 5, 14),
    DeadlineError: Codes(11, 504, 0, 15),
    CancelledError: Codes(12, 499, 0, 16),
    ResourceError: Codes(13, 503, 7, 17),
    PortTakenError: Codes(14, 503, 7, 18),
    DeviceError: Codes(15, 503, 7, 19),
    MissingExtraError: Codes(16, 501, 0, 20),
    InternalError: Codes(70, 500, 0, 21),
}


def codes_of(error_type: type[LabwireError]) -> Codes:
    """Return the codes of an error class, taken from its nearest ancestor that has a row."""
    return next(ERROR_CODES[base] for base in error_type.__mro__ if base in ERROR_CODES)


BY_NAME: dict[str, type[LabwireError]] = {error.__name__: error for error in ERROR_CODES}


def error_from_name(name: str, message: str, data: dict[str, object] | None = None) -> LabwireError:
    """Rebuild an error that a peer reported by its class name; an unknown name gives the base class."""
    safe = {key: value for key, value in (data or {}).items() if key not in {"self", "message"}}
    return BY_NAME.get(name, LabwireError)(message, **safe)


def install_command(extra: str) -> str:
    """Return the command that installs an extra where this program runs.

    It names the interpreter: the ``pip`` of a terminal often belongs to another one.

    >>> install_command("camera").endswith("-m pip install 'labwire[camera]'")
    True
    """
    return f"{shlex.quote(sys.executable or 'python')} -m pip install 'labwire[{extra}]'"


@contextmanager
def needs_extra(extra: str) -> Generator[None]:
    """Import optional dependencies under this, so that a missing one tells what to install.

    >>> with needs_extra("camera"):
    ...     import json

    Raises:
        MissingExtraError: An import failed; the message names the extra.
    """
    try:
        yield
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] == "labwire":
            raise  # our own module is broken or misspelt: not for pip to mend
        missing = error.name or str(error)
        raise MissingExtraError(
            f"this needs {missing}, which cannot be imported ({error}); to install it: {install_command(extra)}",
            extra=extra,
        ) from error
