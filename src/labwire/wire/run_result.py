"""What became of the images of a run: the books of one connection, and the sum over all.

The same result comes from the TCP stream (ACK by ACK) and from the ZeroMQ stream (one note per socket).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from labwire.errors import LabwireError, PeerError, PeerGoneError, error_from_name
from labwire.wire.tcp_frame import MAX_UINT32

MAX_MISSING_SHOWN = 100
"""Numbers of missing images that a result holds; their count is exact."""
MAX_FAULTS = 16
"""Faults of a connection that are kept; their count is exact."""
_FAULTS_IN_MESSAGE = 4


class Fault(msgspec.Struct, frozen=True):
    """One thing that went wrong at one writer."""

    socket_number: int
    writer: str
    """Address of the writer."""
    error: str
    """Class of `labwire.errors` that this is."""
    message: str
    code: str = ""
    """Name of the ACK code, if a writer gave one."""
    image_number: int | None = None
    """The first image that failed so."""
    images: int = 0
    """How many images failed so; 0: it was no image."""


class SocketResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one connection, or one ZeroMQ socket, did in a run.

    ``offered == acknowledged + failed + missing``, always.
    """

    socket_number: int
    writer: str
    """Address of the writer."""
    offered: int
    """Images that belong to this socket."""
    sent: int
    """Those that were handed to the connection; the others came after it was lost, or were dropped."""
    acknowledged: int
    """Images that the writer says it has."""
    failed: int
    """Images that the writer says it could not store."""
    missing: int
    """Images of which nobody said anything."""
    missing_images: tuple[int, ...] = ()
    """The first `MAX_MISSING_SHOWN` of them, as far as their numbers are known."""
    processed: int | None = None
    """How many images the writer said last that it has processed."""


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a run."""

    run_number: int
    run_name: str
    sockets: tuple[SocketResult, ...]
    """In the order of their numbers."""
    faults: tuple[Fault, ...] = ()
    """At most `MAX_FAULTS` of each socket, the first ones; images that fail for one reason are one fault."""
    faults_total: int = 0
    cancelled: bool = False

    @property
    def offered(self) -> int:
        """Images of the run."""
        return sum(socket.offered for socket in self.sockets)

    @property
    def sent(self) -> int:
        """Images that were handed to a connection."""
        return sum(socket.sent for socket in self.sockets)

    @property
    def acknowledged(self) -> int:
        """Images that a writer says it has."""
        return sum(socket.acknowledged for socket in self.sockets)

    @property
    def failed(self) -> int:
        """Images that a writer says it could not store."""
        return sum(socket.failed for socket in self.sockets)

    @property
    def missing(self) -> int:
        """Images of which nobody said anything."""
        return sum(socket.missing for socket in self.sockets)

    @property
    def ok(self) -> bool:
        """Whether all images were acknowledged and nothing else went wrong."""
        return not (self.faults_total or self.failed or self.missing or self.cancelled)

    def error(self) -> LabwireError | None:
        """Return what went wrong as one error, of the class of the first fault; None if nothing did.

        A run that was cancelled and had no fault gives None.
        """
        if not (self.faults or self.failed or (self.missing and not self.cancelled)):
            return None
        message = self._summary()
        data: dict[str, object] = {
            "run_number": self.run_number,
            "acknowledged": self.acknowledged,
            "failed": self.failed,
            "missing": self.missing,
        }
        return error_from_name(self.faults[0].error, message, data) if self.faults else PeerError(message, **data)

    def _summary(self) -> str:
        counts = f"{self.acknowledged} of {self.offered} images acknowledged"
        counts += f", {self.failed} failed" if self.failed else ""
        counts += f", {self.missing} missing" if self.missing else ""
        # A writer that gave a run up says so again at END.
        told = {(fault.socket_number, fault.code) for fault in self.faults if fault.images}
        again = [fault for fault in self.faults if not fault.images and (fault.socket_number, fault.code) in told]
        shown = [fault for fault in self.faults if fault not in again][:_FAULTS_IN_MESSAGE]
        faults = "; ".join(map(_said, shown))
        more = self.faults_total - len(shown) - len(again)
        return (
            f"run {self.run_number}: {counts}" + (f": {faults}" if faults else "") + (f"; {more} more" if more else "")
        )


def _said(fault: Fault) -> str:
    others = fault.images - 1
    if others <= 0:
        return fault.message
    return f"{fault.message}; and so with {others} other image{'' if others == 1 else 's'}"


def _without_number(message: str, image_number: int) -> str:
    """Return a message as it is for each image; a writer's own words may name the image once more."""
    return message.replace(f"image {image_number} ", "image ").replace(f"image {image_number}:", "image:")


class ImageAccount:
    """The books of one connection in one run."""

    def __init__(self, socket_number: int, writer: str) -> None:
        self.socket_number = socket_number
        self.writer = writer
        self.sent = 0
        self.acknowledged = 0
        self.failed = 0
        self.not_sent = 0
        self.processed: int | None = None
        self.unacknowledged: dict[int, None] = {}  # in the order in which they were sent
        self.faults: list[Fault] = []
        self.faults_total = 0
        self._reasons: dict[tuple[str, str], int] = {}  # why images failed, and which fault says so
        self._not_sent_shown: list[int] = []

    def note_sent(self, image_number: int) -> None:
        """Note that an image was handed to the connection; no other with its number may be on its way."""
        self.unacknowledged[image_number] = None
        self.sent += 1

    def note_not_sent(self, image_number: int) -> None:
        """Note that an image came when the connection was gone."""
        self.not_sent += 1
        if len(self._not_sent_shown) < MAX_MISSING_SHOWN:
            self._not_sent_shown.append(image_number)

    def note_acknowledged(self, image_number: int, processed: int) -> None:
        """Note the good ACK of an image that is in `unacknowledged`."""
        del self.unacknowledged[image_number]
        self.acknowledged += 1
        self.processed = processed

    def note_failed(self, image_number: int, processed: int, fault: Fault) -> None:
        """Note the bad ACK of an image that is in `unacknowledged`."""
        del self.unacknowledged[image_number]
        self.failed += 1
        self.processed = processed
        reason = (fault.code, _without_number(fault.message, image_number))
        place = self._reasons.get(reason)
        if place is not None:
            known = self.faults[place]
            self.faults[place] = msgspec.structs.replace(known, images=known.images + 1)
            return
        if len(self.faults) < MAX_FAULTS:
            self._reasons[reason] = len(self.faults)
        self.note_fault(msgspec.structs.replace(fault, images=1))

    def note_fault(self, fault: Fault) -> None:
        """Keep a fault, or count it if there are many."""
        self.faults_total += 1
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(fault)

    def note_end(self, processed: int) -> None:
        """Note the good ACK of END.

        A writer that did not acknowledge each DATA but says at the end that it has processed all of them is believed.
        One whose number differs from its ACKs is at fault.
        """
        self.processed = processed
        if processed == (self.acknowledged + len(self.unacknowledged)) & MAX_UINT32:
            self.acknowledged += len(self.unacknowledged)
            self.unacknowledged.clear()
        elif processed != self.acknowledged & MAX_UINT32:
            self.note_fault(
                self.fault(
                    PeerError(
                        f"{self.writer} says at END that it processed {processed} images, "
                        f"and it acknowledged {self.acknowledged} of {self.sent}"
                    )
                )
            )

    def fault(self, error: LabwireError, *, code: str = "", image_number: int | None = None) -> Fault:
        """Make a fault of this connection of an error."""
        return Fault(self.socket_number, self.writer, type(error).__name__, error.message, code, image_number)

    def result(self) -> SocketResult:
        """Return the books as they stand; what is not acknowledged now is missing."""
        shown = sorted([*self._not_sent_shown, *self.unacknowledged])[:MAX_MISSING_SHOWN]
        return SocketResult(
            socket_number=self.socket_number,
            writer=self.writer,
            offered=self.sent + self.not_sent,
            sent=self.sent,
            acknowledged=self.acknowledged,
            failed=self.failed,
            missing=self.not_sent + len(self.unacknowledged),
            missing_images=tuple(shown),
            processed=self.processed,
        )


def sum_up(run_number: int, run_name: str, accounts: Sequence[ImageAccount], *, cancelled: bool) -> RunResult:
    """Return the result of a run from the books of its connections."""
    return RunResult(
        run_number=run_number,
        run_name=run_name,
        sockets=tuple(account.result() for account in accounts),
        faults=tuple(fault for account in accounts for fault in account.faults),
        faults_total=sum(account.faults_total for account in accounts),
        cancelled=cancelled,
    )


def no_writer_error(run_number: int, addresses: Sequence[str]) -> PeerGoneError:
    """Return the error of a run that cannot start because nobody would store it; the same for TCP and ZeroMQ."""
    where = ", ".join(addresses)
    return PeerGoneError(
        f"run {run_number} does not start: no writer is connected to {where}; "
        f"to start one: labwire write {where} -o FOLDER",
        run_number=run_number,
        addresses=list(addresses),
    )
