"""What the connections of the TCP image stream report."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from labwire.errors import LabwireError


class StartAcknowledged(msgspec.Struct, frozen=True):
    """Sender: the writer takes the run."""


class StartFailed(msgspec.Struct, frozen=True):
    """Sender: the writer refused START, or did not answer in time."""

    error: LabwireError


class ImageFailed(msgspec.Struct, frozen=True):
    """Sender: the writer could not store an image; the run goes on."""

    image_number: int
    error: LabwireError
    fatal: bool
    """The writer says that it will store none of the following either."""


class EndAcknowledged(msgspec.Struct, frozen=True):
    """Sender: the writer has finished the run."""

    processed_images: int


class EndFailed(msgspec.Struct, frozen=True):
    """Sender: the writer could not finish the run, or did not answer in time."""

    error: LabwireError


class Cancelled(msgspec.Struct, frozen=True):
    """Sender: the run is taken back on this connection."""

    acknowledged: bool
    """False: the writer did not answer in time; the connection can be used again all the same."""


class StartReceived(msgspec.Struct, frozen=True):
    """Writer: a run wants to begin. Answer with ``accept_start`` or ``refuse_start`` within 5 s."""

    run_number: int
    socket_number: int
    payload: memoryview


class CalibrationReceived(msgspec.Struct, frozen=True):
    """Writer: a calibration message; it is not answered."""

    run_number: int
    payload: memoryview


class ImageReceived(msgspec.Struct, frozen=True):
    """Writer: an image. Answer with ``acknowledge_image`` or ``fail_image``."""

    run_number: int
    image_number: int
    payload: memoryview


class EndReceived(msgspec.Struct, frozen=True):
    """Writer: the run ends. Answer the images, then ``accept_end`` or ``refuse_end`` within 10 s."""

    run_number: int
    payload: memoryview


class FailedRunEnded(msgspec.Struct, frozen=True):
    """Writer: a run that ``fail_run`` gave up has ended; the sender has been told, nothing is to be answered."""

    run_number: int
    refused_images: int = 0
    """Images that were answered with its failure, those that waited then included."""


class RunCancelled(msgspec.Struct, frozen=True):
    """Writer: the sender took the run back; it has been answered. Later answers to this run are ignored."""

    run_number: int


class RunLost(msgspec.Struct, frozen=True):
    """Writer: the run ends without END, because the connection broke or the sender began another run."""

    run_number: int
    error: LabwireError


class ConnectionLost(msgspec.Struct, frozen=True):
    """Both: this connection is over. Send what ``data_to_send`` still gives, if it goes at once; close the socket."""

    error: LabwireError


SenderEvent: TypeAlias = (
    StartAcknowledged | StartFailed | ImageFailed | EndAcknowledged | EndFailed | Cancelled | ConnectionLost
)
WriterEvent: TypeAlias = (
    StartReceived
    | CalibrationReceived
    | ImageReceived
    | EndReceived
    | FailedRunEnded
    | RunCancelled
    | RunLost
    | ConnectionLost
)
