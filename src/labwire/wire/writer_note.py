"""Notes of writers in the ZeroMQ image stream: what each of them stored, in JSON, and the book that collects them.

Source: image-stream, "Writer notification socket". ZeroMQ tells nothing of what became of a message, so every image
socket's writer sends one note at the end of a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Annotated

import msgspec

from labwire.errors import DeadlineError, LabwireError, PeerError, ProtocolError, TooLargeError, UsageError
from labwire.wire.run_result import Fault, RunResult, SocketResult
from labwire.wire.tcp_frame import MAX_TEXT_BYTES, Readable, printable

MAX_NOTE_BYTES = 2 * MAX_TEXT_BYTES
"""Longest note that is read; real ones have some hundred bytes."""
NOTES_TIMEOUT_S = 60.0
"""How long the sender waits for the notes: image-stream, "Writer notification socket"."""

_SHOWN_BYTES = 60

_Whole = Annotated[int, msgspec.Meta(ge=0)]


class WriterNote(msgspec.Struct, frozen=True, kw_only=True):
    """What one writer says of one run, in the spec's words and order.

    >>> encode_note(WriterNote(run_number=135, run_name="a", socket_number=1, processed_images=250, ok=True))
    b'{"run_number":135,"run_name":"a","socket_number":1,"processed_images":250,"ok":true}'
    """

    run_number: _Whole
    run_name: str
    socket_number: _Whole
    processed_images: _Whole
    """Images that were written."""
    ok: bool
    error: str | msgspec.UnsetType | None = msgspec.UNSET
    """Why not `ok`."""


def encode_note(note: WriterNote) -> bytes:
    """Encode a note as one line of JSON."""
    return _encoder.encode(note)


def decode_note(data: Readable) -> WriterNote:
    """Decode a note; keys that the spec does not have are ignored.

    Raises:
        ProtocolError: It is no note.
        TooLargeError: It is above `MAX_NOTE_BYTES`.
    """
    if len(data) > MAX_NOTE_BYTES:
        raise TooLargeError(f"a note of {len(data)} bytes is above the limit of {MAX_NOTE_BYTES} bytes")
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"not a writer's note ({error}): {bytes(data[:_SHOWN_BYTES])!r}") from error


class NoteVerdict(Enum):
    """What a note was worth."""

    TAKEN = "taken"
    STRAY = "stray"
    """Of another run."""
    UNKNOWN_SOCKET = "unknown socket"
    """Of this run, with a socket number that the run does not have."""
    DUPLICATE = "duplicate"
    """That socket has sent one already; the first one counts."""
    MALFORMED = "malformed"


class NoteBook:
    """The notes of one run.

    >>> book = NoteBook(135, "lysozyme_1", ["tcp://10.0.0.1:9000"])
    >>> book.end([250], now_s=0.0)
    >>> note = WriterNote(run_number=135, run_name="lysozyme_1", socket_number=0, processed_images=250, ok=True)
    >>> book.add(encode_note(note)), book.complete, book.result().ok
    (<NoteVerdict.TAKEN: 'taken'>, True, True)

    Args:
        run_number: As in the start message.
        run_name: As in the start message.
        addresses: Of the image sockets, in the order of their numbers; for messages.
        timeout_s: How long to wait after END.

    Raises:
        UsageError: There is no socket.
    """

    def __init__(
        self, run_number: int, run_name: str, addresses: Sequence[str], *, timeout_s: float = NOTES_TIMEOUT_S
    ) -> None:
        if not addresses:
            raise UsageError("a run needs at least one image socket")
        self.run_number = run_number
        self.run_name = run_name
        self.counts = dict.fromkeys(NoteVerdict, 0)
        """How many notes of each kind came."""
        self.last_refused: str | None = None
        """Why the last note that was not taken was not, for the log."""
        self._addresses = tuple(addresses)
        self._timeout_s = timeout_s
        self._notes: dict[int, WriterNote] = {}
        self._offered: tuple[int, ...] = ()
        self._sent: tuple[int, ...] = ()
        self._transmission: list[Fault] = []
        self._transmission_total = 0
        self._deadline_s: float | None = None
        self._timed_out = False

    def add(self, data: Readable) -> NoteVerdict:
        """Take what came on the notification socket; nothing that comes raises."""
        try:
            verdict, why = self._judge(decode_note(data))
        except (ProtocolError, TooLargeError) as error:
            verdict, why = NoteVerdict.MALFORMED, str(error)
        self.counts[verdict] += 1
        if verdict is not NoteVerdict.TAKEN:
            self.last_refused = why
        return verdict

    def _judge(self, note: WriterNote) -> tuple[NoteVerdict, str]:
        if (note.run_number, note.run_name) != (self.run_number, self.run_name):
            ours = f"{self.run_number} ({self.run_name!r})"
            return (
                NoteVerdict.STRAY,
                f"a note for run {note.run_number} ({note.run_name!r:.80}), and this is run {ours}",
            )
        if note.socket_number >= len(self._addresses):
            last = len(self._addresses) - 1
            return NoteVerdict.UNKNOWN_SOCKET, f"a note for socket {note.socket_number}, and they are 0 to {last}"
        if note.socket_number in self._notes:
            return NoteVerdict.DUPLICATE, f"a second note for socket {note.socket_number}"
        self._notes[note.socket_number] = note
        return NoteVerdict.TAKEN, ""

    def end(self, sent: Sequence[int], now_s: float, *, offered: Sequence[int] | None = None) -> None:
        """Note that END is out; from now on the notes are waited for.

        Args:
            sent: Images that each socket took.
            now_s: The time.
            offered: Images that belong to each socket; more than `sent` if some were dropped. None: the same.

        Raises:
            UsageError: Not one number for each socket.
        """
        offered = sent if offered is None else offered
        if not len(sent) == len(offered) == len(self._addresses):
            raise UsageError(f"one number for each of {len(self._addresses)} sockets: {sent!r}, {offered!r}")
        self._sent, self._offered = tuple(sent), tuple(offered)
        self._deadline_s = now_s + self._timeout_s

    def note_transmission_error(self, socket_number: int, error: LabwireError) -> None:
        """Keep an error of sending (END or CALIBRATION that timed out): the run's result names it."""
        self._transmission_total += 1
        if len(self._transmission) < _MAX_TRANSMISSION_ERRORS:
            self._transmission.append(self._fault(socket_number, error))

    @property
    def complete(self) -> bool:
        """Whether each socket's note is here."""
        return len(self._notes) == len(self._addresses)

    @property
    def missing(self) -> tuple[int, ...]:
        """Numbers of the sockets whose note is not here."""
        return tuple(number for number in range(len(self._addresses)) if number not in self._notes)

    @property
    def done(self) -> bool:
        """Whether END is out, and all notes are here or no longer waited for."""
        return self._deadline_s is not None and (self.complete or self._timed_out)

    @property
    def processed_images(self) -> int:
        """Images that the writers say they have written, so far."""
        return sum(note.processed_images for note in self._notes.values())

    def next_deadline(self) -> float | None:
        """Return when `tick` is due; None if nothing is waited for."""
        return None if self.done else self._deadline_s

    def tick(self, now_s: float) -> None:
        """Stop waiting if it is time."""
        due_s = self.next_deadline()
        if due_s is not None and now_s >= due_s:
            self._timed_out = True

    def result(self) -> RunResult:
        """Return what became of the images so far; final when `done`."""
        faults = [
            *self._transmission,
            *filter(None, (self._fault_of(number) for number in range(len(self._addresses)))),
        ]
        return RunResult(
            run_number=self.run_number,
            run_name=self.run_name,
            sockets=tuple(self._socket_result(number) for number in range(len(self._addresses))),
            faults=tuple(faults),
            faults_total=self._transmission_total + len(faults) - len(self._transmission),
        )

    def _socket_result(self, number: int) -> SocketResult:
        note = self._notes.get(number)
        offered, sent = (self._offered[number], self._sent[number]) if self._sent else (0, 0)
        processed = None if note is None else note.processed_images
        acknowledged = min(processed or 0, offered)
        return SocketResult(
            socket_number=number,
            writer=self._addresses[number],
            offered=offered,
            sent=sent,
            acknowledged=acknowledged,
            failed=0,
            missing=offered - acknowledged,
            processed=processed,
        )

    def _fault_of(self, number: int) -> Fault | None:
        note, where = self._notes.get(number), f"the writer of socket {number} ({self._addresses[number]})"
        if note is None:
            if not self._timed_out:
                return None
            waited = f"sent no note within {self._timeout_s:g} s"
            return self._fault(number, DeadlineError(f"{where} {waited}: is it running, and can it reach this side?"))
        if not note.ok:
            said = printable(note.error or "no reason given")
            return self._fault(number, PeerError(f"{where} could not store the run: {said}"))
        if self._sent and note.processed_images > self._sent[number]:
            counts = f"{note.processed_images} images, and {self._sent[number]} were sent"
            return self._fault(number, PeerError(f"{where} says that it processed {counts}"))
        return None

    def _fault(self, number: int, error: LabwireError) -> Fault:
        return Fault(number, self._addresses[number], type(error).__name__, error.message)


_MAX_TRANSMISSION_ERRORS = 16
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(WriterNote)
