"""A driver of PyMeasure inside a labwire worker: pip install pymeasure.

Its object lives in the worker's process, made in `open`. What it does wrong costs nobody else anything. The same way
leads to a driver of QCoDeS: make the instrument in `open`, close it in `close`, one method for each thing to do.
"""

from __future__ import annotations

from typing import Any, Literal

from labwire.errors import needs_extra
from labwire.instruments.driver import Driver
from labwire.strict import Strict


class PyMeasureMultimeter(Driver):
    """An Agilent or Keysight 34410A or one of its family, through PyMeasure."""

    class Config(Strict):
        """Options in the rig file."""

        resource: str
        """VISA name of the instrument."""
        backend: str = "@py"
        """VISA library."""

    options: Config

    def open(self):
        """Connect."""
        with needs_extra("visa"):
            from pymeasure.instruments.agilent import Agilent34410A  # pyright: ignore[reportMissingImports]
        ends = {"read_termination": "\n", "write_termination": "\n"}
        self._dmm: Any = Agilent34410A(self.options.resource, visa_library=self.options.backend, **ends)

    def close(self):
        """Disconnect."""
        self._dmm.adapter.close()

    def identify(self) -> str:
        """Tell maker, model, serial number and firmware."""
        return self._dmm.id

    def measure(
        self, what: Literal["voltage_dc", "voltage_ac", "current_dc", "current_ac", "resistance"] = "voltage_dc"
    ) -> float:
        """Measure in V, A or Ω.

        Args:
            what: What to measure.
        """
        return getattr(self._dmm, what)
