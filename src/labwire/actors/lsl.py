"""A stream of the Lab Streaming Layer on the bus."""

from __future__ import annotations

import threading
import time
from typing import Any

import msgspec

from labwire.bus.actor import Actor, ActorContext, Notification
from labwire.errors import DeviceError, LabwireError
from labwire.sources.config import LslConfig
from labwire.sources.lsl import Chunk, LslReader
from labwire.strict import Strict

_STATE_S = 1.0
_RETRY_S = 1.0


class LslOptions(Strict):
    """Options of this actor; the rig fills them in."""

    source: LslConfig


class Lsl(Actor):
    """Puts an LSL stream on the bus."""

    Config = LslOptions
    options: LslOptions
    hears = ()

    def __init__(self, context: ActorContext) -> None:
        super().__init__(context)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._read_for_ever, name=f"LSL of {self.name}", daemon=True)
        self._reader: LslReader | None = None
        self._samples = 0
        self._lost_s: float | None = None
        self._told = False
        self._offset_s: float | None = None

    def on_start(self) -> None:
        """Begin to look for the stream; the rig does not wait for it."""
        self._thread.start()
        self.every(_STATE_S, self._tell_state)

    def on_stop(self) -> None:
        """Let it go."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()

    def on_notify(self, notification: Notification) -> None:
        """Put an LSL stream on the bus.

        Emits notifications:
            ``source.found``: The stream is there; what it says of itself, and how long it was not there.
            ``source.lost``: It is gone, and is looked for.

        Emits data:
            ``lsl.<name>``: Samples as they come, with the rig time of each.
            ``source.<name>``: Each second: whether it is there, samples so far, what the stream says of itself.
            ``clock.offset``: How far the sender's clock is from the monotonic one here, as LSL measures it.
        """

    def _read_for_ever(self) -> None:
        """On a thread of its own."""
        while not self._end.is_set():
            try:
                with LslReader(self.options.source) as reader:
                    self._found(reader)
                    while not self._end.is_set():
                        if chunk := reader.read():
                            self._emit(chunk)
                        self._tell_offset(reader)
            except DeviceError as error:
                self._lost(error.message)
            except LabwireError as error:  # without the extra there is no use in trying again
                self.log.error("%s", error.message)  # noqa: TRY400 - the message says it all
                self._lost(error.message)
                return
            finally:
                self._reader = None
            self._end.wait(_RETRY_S)

    def _emit(self, chunk: Chunk) -> None:
        self._samples += len(chunk.samples)
        stamps = [self.clock.at(moment_s) for moment_s in chunk.monotonic_s]
        payload = {"timestamp": stamps[0], "timestamps": stamps, "samples": chunk.samples}
        self.context.publisher.publish_numbered(f"lsl.{self.name}", {"topic": f"lsl.{self.name}", **payload})

    def _found(self, reader: LslReader) -> None:
        gap_s = 0.0 if self._lost_s is None else time.monotonic() - self._lost_s
        self._lost_s, self._told, self._reader, stream = None, False, reader, reader.stream
        self.log.info("found the LSL stream %s of %s", stream.name, stream.host)
        about: dict[str, Any] = {"stream": msgspec.to_builtins(stream), "gap_s": gap_s}
        self.post(lambda: self.notify("source.found", source=self.name, address=stream.host, **about))

    def _lost(self, why: str) -> None:
        self._lost_s = self._lost_s or time.monotonic()
        if not self._told:
            self._told = True
            self.log.warning("%s; looked for until it is there", why)
            self.post(lambda: self.notify("source.lost", source=self.name, reason=why, timestamp=self.clock.now()))

    def _tell_offset(self, reader: LslReader) -> None:
        if reader.offset_s == self._offset_s:
            return
        self._offset_s = reader.offset_s
        offset = {"source": self.name, "host": reader.stream.host, "offset_s": reader.offset_s}
        payload = {"topic": "clock.offset", **offset, "timestamp": self.clock.now()}
        self.context.publisher.publish_numbered("clock.offset", payload)

    def _tell_state(self) -> None:
        reader = self._reader
        state: dict[str, Any] = {"kind": "lsl", "connected": reader is not None, "samples": self._samples}
        if reader:
            state["stream"] = msgspec.to_builtins(reader.stream)
        self.emit(f"source.{self.name}", {**state, "timestamp": self.clock.now()}, numbered=True)
