"""A digital multimeter of Keysight's Truevolt family (34460A to 34470A), real or simulated."""

from __future__ import annotations

from typing import Annotated, Literal

from labwire.errors import DeviceError
from labwire.instruments.driver import quantity
from labwire.instruments.drivers.scpi import parse_number
from labwire.instruments.drivers.visa import VisaConfig, VisaDriver

_SLOWEST_LINE_HZ = 50.0
_AC_READING_S = 2.5  # with the slowest of the filters
_MARGIN = 1.5  # of the time that the meter should take, for settling and autozero
Nplc = Annotated[float, quantity("PLC", ge=0.02, le=100)]
Samples = Annotated[int, quantity(ge=1, le=1_000_000)]


class DmmConfig(VisaConfig):
    """Options."""

    check_errors: bool = True
    """Ask for errors after each command."""
    autozero: bool = True
    """Measure zero as well each time: twice as long, and no drift."""


class Keysight34465A(VisaDriver):
    """A Keysight 34465A or one of its family.

    For a simulated one: ``backend = "@sim"``, ``resource = "TCPIP0::dmm.simulated::inst0::INSTR"``.
    """

    Config = DmmConfig
    options: DmmConfig

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

    def measure_voltage(
        self,
        range: Annotated[float, quantity("V", ge=0.1, le=1000)] = 10.0,  # noqa: A002 (the name that multimeters use)
        samples: Samples = 1,
        nplc: Nplc = 10.0,
        mode: Literal["DC", "AC"] = "DC",
    ) -> Annotated[float, quantity("V")]:
        """Measure a voltage.

        Args:
            range: Largest voltage expected; the meter takes the next of its ranges.
            samples: Readings to average.
            nplc: Time of one reading in power line cycles; more is slower and less noisy. Not for AC.
            mode: Direct or alternating voltage.
        """
        return self._measure(f"VOLT:{mode}", range, samples, nplc)

    def measure_current(
        self,
        range: Annotated[float, quantity("A", ge=1e-6, le=10)] = 1.0,  # noqa: A002
        samples: Samples = 1,
        nplc: Nplc = 10.0,
        mode: Literal["DC", "AC"] = "DC",
    ) -> Annotated[float, quantity("A")]:
        """Measure a current.

        Args:
            range: Largest current expected.
            samples: Readings to average.
            nplc: Time of one reading in power line cycles. Not for AC.
            mode: Direct or alternating current.
        """
        return self._measure(f"CURR:{mode}", range, samples, nplc)

    def measure_resistance(
        self,
        range: Annotated[float, quantity("Ω", ge=100, le=1e9)] = 1000.0,  # noqa: A002
        samples: Samples = 1,
        nplc: Nplc = 10.0,
        *,
        four_wire: bool = False,
    ) -> Annotated[float, quantity("Ω")]:
        """Measure a resistance.

        Args:
            range: Largest resistance expected.
            samples: Readings to average.
            nplc: Time of one reading in power line cycles.
            four_wire: With a second pair of leads, which takes the leads' own resistance out.
        """
        return self._measure("FRES" if four_wire else "RES", range, samples, nplc)

    def _measure(self, function: str, full: float, samples: int, nplc: float) -> float:
        self._write(f"CONF:{function} {full:g}")
        seconds = samples * _AC_READING_S
        if not function.endswith("AC"):
            self._write(f"{function}:NPLC {nplc:g}")
            seconds = samples * nplc / _SLOWEST_LINE_HZ * 2
        if function.endswith("DC") or function == "RES":  # with four wires it is always on
            self._write(f"{function}:ZERO:AUTO {int(self.options.autozero)}")
        if samples == 1:
            query = "READ?"
        else:
            # The meter averages: one number comes back, however many readings there are.
            self._write(f"SAMP:COUN {samples}")
            self._write("CALC:AVER:STAT ON")
            self._write("INIT")
            query = "*WAI;:CALC:AVER:AVER?"
        with self._within(self.options.timeout_s + _MARGIN * seconds):
            text = self._query(query)
        self._check()
        try:
            return parse_number(text)
        except ValueError as error:
            raise DeviceError(
                f"{self.options.resource} answered {text[:100]!r} to {query}, which is no number"
            ) from error

    def _check(self) -> None:
        if self.options.check_errors:
            self._check_errors()
