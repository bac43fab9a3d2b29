"""An oscilloscope of Keysight's InfiniiVision family, real or simulated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from labwire.errors import DeviceError, needs_extra
from labwire.instruments.driver import Waveform, quantity
from labwire.instruments.drivers.scpi import parse_number, parse_waveform
from labwire.instruments.drivers.visa import VisaConfig, VisaDriver

Channel = Annotated[int, quantity(ge=1, le=4)]
Points = Annotated[int, quantity(ge=100, le=8_000_000)]
_BYTES_PER_S = 1e6  # what even a slow connection carries
_PREAMBLE_FIELDS = 10
_TYPES = {"BYTE": "B", "WORD": "H"}


class OscilloscopeConfig(VisaConfig):
    """Options."""

    transfer: Literal["WORD", "BYTE", "ASCII"] = "WORD"
    """How samples travel: 16 bits, 8 bits, or as text (slow, but every backend can do it)."""
    check_errors: bool = True
    """Ask for errors after each command."""


class KeysightOscilloscope(VisaDriver):
    """A Keysight InfiniiVision 2000, 3000, 4000 or 6000 X.

    For a simulated one: ``backend = "@sim"``, ``resource = "TCPIP0::scope.simulated::inst0::INSTR"`` and
    ``transfer = "ASCII"``.
    """

    Config = OscilloscopeConfig
    options: OscilloscopeConfig

    def open(self) -> None:
        """Connect; forget errors of before."""
        super().open()
        self._write("*CLS")

    def identify(self) -> str:
        """Tell maker, model, serial number and firmware."""
        return self._query("*IDN?")

    def reset(self) -> None:
        """Set everything to its factory state."""
        self._write("*RST")
        self._check()

    def set_channel(
        self,
        channel: Channel = 1,
        scale: Annotated[float, quantity("V", ge=1e-3, le=10)] = 1.0,
        offset: Annotated[float, quantity("V", ge=-100, le=100)] = 0.0,
    ) -> None:
        """Set the vertical scale of a channel.

        Args:
            channel: Which one.
            scale: Volts per division.
            offset: What stands at the middle of the screen.
        """
        self._write(f":CHAN{channel}:SCAL {scale:g}")
        self._write(f":CHAN{channel}:OFFS {offset:g}")
        self._check()

    def set_timebase(self, scale: Annotated[float, quantity("s", ge=1e-9, le=50)]) -> None:
        """Set the horizontal scale.

        Args:
            scale: Seconds per division.
        """
        self._write(f":TIM:SCAL {scale:g}")
        self._check()

    def measure(
        self, channel: Channel = 1, what: Literal["VPP", "VAV", "VRMS", "VMAX", "VMIN", "FREQ", "PER"] = "VPP"
    ) -> float:
        """Measure something of the waveform on the screen.

        Args:
            channel: Which one.
            what: Peak to peak, average, RMS, highest or lowest voltage in V; frequency in Hz; period in s.
        """
        text = self._query(f":MEAS:{what}? CHAN{channel}")
        self._check()
        return self._number(text)

    def single(self, timeout: Annotated[float, quantity("s", ge=0.001, le=3600)] = 10.0) -> None:
        """Record once, when the trigger comes.

        Args:
            timeout: How long to wait for the trigger.
        """
        with self._within(self.options.timeout_s + timeout):
            self._query(":DIG;*OPC?")
        self._check()

    def read_waveform(self, channel: Channel = 1, points: Points = 1000) -> Annotated[Waveform, quantity("V")]:
        """Read what a channel has recorded.

        Args:
            channel: Which one.
            points: How many samples at most; the oscilloscope may have recorded fewer.

        Returns:
            (points,), float32, volts.
        """
        samples = self._read(channel, points)
        self._check()
        return samples

    def acquire(
        self, channel: Channel = 1, points: Points = 1000, blocks: Annotated[int, quantity(ge=0)] = 0
    ) -> Iterator[Annotated[Waveform, quantity("V")]]:
        """Record again and again, with gaps between.

        Args:
            channel: Which one.
            points: How many samples of each record at most.
            blocks: How many records; 0 means until it is cancelled.
        """
        number = 0
        while not blocks or number < blocks:
            self._query(":DIG;*OPC?")
            yield self.read_waveform(channel, points)
            number += 1

    def _read(self, channel: int, points: int) -> Any:
        with needs_extra("waveforms"):
            import numpy as np
        transfer = self.options.transfer
        for command in (f"SOUR CHAN{channel}", f"FORM {transfer}", "UNS 1", "BYT LSBF", f"POIN {points}"):
            self._write(f":WAV:{command}")
        if transfer == "ASCII":
            with self._within(self.options.timeout_s + 15 * points / _BYTES_PER_S):
                text = self._query(":WAV:DATA?")
            try:
                return parse_waveform(text).astype(np.float32)
            except ValueError as error:
                raise DeviceError(f"{self.options.resource}: the waveform is no list of numbers: {error}") from error
        fields = self._query(":WAV:PRE?").split(",")
        if len(fields) != _PREAMBLE_FIELDS:
            raise DeviceError(
                f"{self.options.resource}: a preamble has 10 fields, this one: {','.join(fields)[:200]!r}"
            )
        step, origin, reference = (self._number(text) for text in fields[7:])
        with self._within(self.options.timeout_s + 2 * points / _BYTES_PER_S):
            raw = self._query_block(":WAV:DATA?", _TYPES[transfer], big_endian=False)
        return ((raw.astype(np.float64) - reference) * step + origin).astype(np.float32)

    def _number(self, text: str) -> float:
        try:
            return parse_number(text)
        except ValueError as error:
            raise DeviceError(f"{self.options.resource} answered {text[:100]!r}, which is no number") from error

    def _check(self) -> None:
        if self.options.check_errors:
            self._check_errors(":SYST:ERR?")
