"""Commands in a session: one line of JSON each, arrays as bytes in a file beside it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from labwire.bounded import BoundedQueue
from labwire.errors import DeviceError, StateError
from labwire.instruments.calling.dispatch import Outcome
from labwire.operations.recordable import Recordable, SessionStart, StreamCounters, StreamDescription

STREAM = "instruments"
COMMANDS_FILE = "instruments.jsonl"
ARRAYS_FILE = "instruments.arrays"

DEPTH = 20_000
DEPTH_BYTES = 256 << 20
_FLUSH_EVERY = 256
_ABOUT = {
    "format": "JSON Lines",
    "command": "command_id, instrument, verb, params, success, value, text, error, timestamp (rig time, s), "
    "epoch_us, duration_s; block is the number of a block of a continuous acquisition",
    "array": f"dtype, shape, offset and bytes of an array in {ARRAYS_FILE}: numpy.fromfile reads it",
}


class CommandRecorder(Recordable):
    """Writes each command of all instruments, with its id, what it returned and when.

    The ids are those on the bus: `instrument.<name>.result` in the log of the session has the same `command_id`.

    Args:
        rig_time_at: Gives rig time for a moment on the monotonic clock.
        on_trouble: Called with a text when the disk fails; on the thread that writes.
    """

    def __init__(self, rig_time_at: Callable[[float], float], on_trouble: Callable[[str], None]) -> None:
        self._rig_time_at, self._on_trouble = rig_time_at, on_trouble
        self._queue: BoundedQueue[Outcome] | None = None
        self._thread: threading.Thread | None = None
        self._files: tuple[BinaryIO, BinaryIO] | None = None
        self._session: SessionStart | None = None
        self._written = self._written_bytes = self._lost = self._offset = 0
        self._recording = False
        self._encoder = msgspec.json.Encoder(enc_hook=_as_text)

    # --- the session's contract

    def prepare(self, session: SessionStart) -> StreamDescription:
        """See `Recordable.prepare`.

        Another session that is still open is ended first: its recorder is gone, or it would have stopped it.
        """
        if self._files is not None and self._session is not None:
            if session.uuid == self._session.uuid:
                raise StateError("the instruments are being recorded already", path=self._session.path)
            self.stop()
        folder = Path(session.path)
        try:
            with ExitStack() as opened:
                commands = opened.enter_context((folder / COMMANDS_FILE).open("ab"))
                self._files = commands, opened.enter_context((folder / ARRAYS_FILE).open("ab"))
                opened.pop_all()
        except OSError as error:
            raise DeviceError(f"cannot write {error.filename}: {error.strerror}", path=session.path) from error
        self._session = session
        self._written = self._written_bytes = self._lost = 0
        self._offset = self._files[1].tell()
        self._queue = BoundedQueue(DEPTH, "drop_new", depth_bytes=DEPTH_BYTES, size_of=_size_of)
        self._thread = threading.Thread(target=self._write_all, args=(self._queue,), name="instruments are recorded")
        self._thread.start()
        return self.describe()

    def start(self) -> None:
        """See `Recordable.start`."""
        if self._files is None:
            raise StateError("prepare comes before start")
        self._recording = True

    def stop(self) -> StreamCounters:
        """See `Recordable.stop`."""
        self._recording = False
        if self._queue is not None and self._thread is not None:
            self._queue.close()
            self._thread.join()
            self._thread = None
        self._close_files()
        return self.counters()

    def describe(self) -> StreamDescription:
        """See `Recordable.describe`."""
        return StreamDescription(STREAM, [COMMANDS_FILE, ARRAYS_FILE], about=_ABOUT)

    def counters(self) -> StreamCounters:
        """See `Recordable.counters`."""
        received = dropped = 0
        if self._queue is not None:
            statistics = self._queue.statistics()
            received, dropped = statistics.received, statistics.dropped
        return StreamCounters(
            received=received,
            written=self._written,
            dropped=dropped + self._lost,
            written_bytes=self._written_bytes,
        )

    # --- what is recorded

    def put(self, outcome: Outcome) -> None:
        """Take a command, from any thread; without a session nothing happens. Never waits."""
        if self._recording and self._queue is not None:
            self._queue.put(outcome)

    def _write_all(self, queue: BoundedQueue[Outcome]) -> None:
        told = False
        for number, outcome in enumerate(queue):
            try:
                self._write(outcome)
                if number % _FLUSH_EVERY == 0 or not len(queue):
                    self._flush()
            except (OSError, ValueError) as error:
                self._lost += 1
                if not told:
                    told = True
                    self._on_trouble(f"commands are not recorded: {error}")

    def _write(self, outcome: Outcome) -> None:
        assert self._files is not None
        lines, arrays = self._files
        row = self._row(outcome)
        if is_array(outcome.value):
            data = memoryview(outcome.value.reshape(-1)).cast("B") if outcome.value.size else b""
            row["array"] = {
                "dtype": outcome.value.dtype.str,
                "shape": outcome.value.shape,
                "offset": self._offset,
                "bytes": len(data),
            }
            arrays.write(data)
            arrays.flush()  # before the line: no line may speak of bytes that a crash has taken
            self._offset += len(data)
            self._written_bytes += len(data)
        line = self._encoder.encode(row) + b"\n"
        lines.write(line)
        self._written += 1
        self._written_bytes += len(line)

    def _row(self, outcome: Outcome) -> dict[str, Any]:
        assert self._session is not None
        response, command = outcome.response, outcome.command
        row: dict[str, Any] = {
            "command_id": command.id,
            "instrument": command.instrument_name,
            "verb": command.verb,
            "params": command.params,
            "success": outcome.error is None,
            "value": None if is_array(outcome.value) else outcome.value,
            "text": response.text_response if response else "",
            "timestamp": self._rig_time_at(outcome.done_s),
            "epoch_us": self._session.start_epoch_us + round((outcome.done_s - self._session.start_monotonic_s) * 1e6),
            "duration_s": outcome.duration_s,
        }
        if outcome.error is not None:
            row["error"] = outcome.error.message
        if outcome.block is not None:
            row["block"] = outcome.block
        return row

    def _flush(self) -> None:
        for file in self._files or ():
            file.flush()

    def _close_files(self) -> None:
        files, self._files = self._files, None
        for file in files or ():
            try:
                file.close()
            except OSError as error:  # the disk is full: what was in the buffer is gone
                self._lost += 1
                self._on_trouble(f"commands are not recorded: {error}")


def is_array(value: Any) -> bool:
    """Whether a value is a numpy array; numpy is not imported for it."""
    return hasattr(value, "dtype") and hasattr(value, "shape")


def _size_of(outcome: Outcome) -> int:
    return 200 + (outcome.value.nbytes if is_array(outcome.value) else 0)


def _as_text(value: object) -> str:
    return repr(value)
