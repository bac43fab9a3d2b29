"""A stream of the Lab Streaming Layer: found, read in chunks, its times moved to this computer's monotonic clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

import msgspec

from labwire.clock_offset import measure_offset
from labwire.errors import DeviceError, needs_extra
from labwire.sources.config import LslConfig

_FIND_S = 1.0
_PULL_S = 0.1
_MAX_SAMPLES = 1024
_CORRECT_EVERY_S = 5.0
_CORRECT_LIMIT_S = 2.0
_ROUND_TRIPS = 20
_MAX_CHANNELS = 4096


class LslStream(msgspec.Struct, frozen=True):
    """What a stream says of itself."""

    name: str
    type: str
    host: str
    source_id: str
    rate_hz: float
    """Nominal samples per second; 0 if they come irregularly."""
    format: str
    """``float32``, ``double64``, ``string``, ``int32``, ``int16``, ``int8`` or ``int64``."""
    channels: list[str]
    """Labels of the channels; ``1``, ``2``, ... where the stream has none."""
    units: list[str]
    """Units of the channels; empty where the stream has none."""


class Chunk(NamedTuple):
    """Samples that came together."""

    monotonic_s: list[float]
    """When each was taken, on this computer's monotonic clock."""
    samples: list[Sequence[Any]]
    """One list for each sample, one value for each channel."""


class LslReader:
    """Reads one stream until it is lost. A context manager; used by one thread.

    Args:
        config: Which stream.

    Raises:
        DeviceError: There is no such stream now.
        MissingExtraError: pylsl is not installed.
    """

    def __init__(self, config: LslConfig) -> None:
        with needs_extra("lsl"):
            import pylsl  # pyright: ignore[reportMissingTypeStubs]
            from pylsl import util  # pyright: ignore[reportMissingTypeStubs]
        self._lsl: Any = pylsl
        lost: Any = util
        self._errors: tuple[type[Exception], ...] = (
            lost.LostError,
            lost.InternalError,
            lost.TimeoutError,
            TimeoutError,
        )
        wanted = {"name": config.stream, "type": config.type, "source_id": config.source_id}
        asked = " and ".join(f"{key}={_quoted(value)}" for key, value in wanted.items() if value)
        found: list[Any] = self._lsl.resolve_bypred(asked, 1, _FIND_S)
        if not found:
            raise DeviceError(f"there is no LSL stream with {asked}")
        # It is not to look for a lost stream on its own: the gap would go unseen.
        self._inlet: Any = self._lsl.StreamInlet(found[0], max_buflen=config.max_buffered_s, recover=False)
        try:
            self._inlet.open_stream(_CORRECT_LIMIT_S)
            self.stream = _describe(self._inlet.info(_CORRECT_LIMIT_S))
            self._correct(_CORRECT_LIMIT_S)
        except self._errors as error:
            self.close()
            raise DeviceError(
                f"the LSL stream with {asked} does not answer: {error or type(error).__name__}"
            ) from error

    @property
    def offset_s(self) -> float:
        """The sender's clock minus this computer's monotonic clock, as LSL measures it."""
        return self._offset_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self) -> Chunk | None:
        """Return what has come, waiting a moment for it; None if nothing came.

        Raises:
            DeviceError: The stream is gone.
        """
        try:
            sample, stamp = self._inlet.pull_sample(_PULL_S)
            if sample is None:
                return None
            samples, stamps = self._inlet.pull_chunk(0.0, _MAX_SAMPLES - 1)
            if time.monotonic() >= self._correct_s:
                self._correct(_PULL_S)
        except self._errors as error:
            raise DeviceError(
                f"the LSL stream {self.stream.name!r} is gone: {error or type(error).__name__}"
            ) from error
        offset_s = self._offset_s
        return Chunk([one - offset_s for one in (stamp, *stamps)], [sample, *samples])

    def close(self) -> None:
        """Let the stream go. Safe to call twice."""
        inlet, self._inlet = self._inlet, None
        if inlet is not None:
            inlet.close_stream()
            del inlet

    def _correct(self, limit_s: float) -> None:
        self._correct_s = time.monotonic() + _CORRECT_EVERY_S
        clock: Callable[[], float] = self._lsl.local_clock
        # time_correction leads from the sender's clock to LSL's own clock here, which may not be Python's.
        self._offset_s = measure_offset(clock, _ROUND_TRIPS).offset_s - self._inlet.time_correction(limit_s)


def _describe(info: Any) -> LslStream:
    labels, units, channel = list[str](), list[str](), info.desc().child("channels").child("channel")
    count = info.channel_count()
    while not channel.empty() and len(labels) < min(count, _MAX_CHANNELS):
        labels.append(channel.child_value("label"))
        units.append(channel.child_value("unit"))
        channel = channel.next_sibling("channel")
    named = len(labels) == count and all(labels)
    return LslStream(
        name=info.name(),
        type=info.type(),
        host=info.hostname(),
        source_id=info.source_id(),
        rate_hz=info.nominal_srate(),
        format=_FORMATS.get(info.channel_format(), "unknown"),
        channels=labels if named else [str(number + 1) for number in range(count)],
        units=units if named and any(units) else [],
    )


_FORMATS = {1: "float32", 2: "double64", 3: "string", 4: "int32", 5: "int16", 6: "int8", 7: "int64"}
"""Numbers of channel formats: lsl_channel_format_t in lsl/common.h."""


def _quoted(text: str) -> str:
    quote = '"' if "'" in text else "'"
    return f"{quote}{text.replace(quote, '')}{quote}"  # XPath 1.0 has no way to escape one
