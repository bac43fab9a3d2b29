"""A driver in a few lines: a heater with a thermometer, as it could stand on any bench. Here it is simulated."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated, Literal

from labwire.errors import DeviceError
from labwire.instruments.driver import Driver, quantity
from labwire.strict import Strict

Power = Annotated[float, quantity("W", ge=0, le=50)]
Temperature = Annotated[float, quantity("°C")]


class Heater(Driver):
    """A heater with a thermometer."""

    class Config(Strict):
        """Options in the rig file."""

        room_c: float = 21.0
        """Temperature of the room, in °C."""

    options: Config

    def open(self):
        """Connect: the worker is ready when this returns."""
        self._power_w = 0.0
        self._since_s = time.monotonic()

    def close(self):
        """Leave it in a safe state: called at the end, whatever happened."""
        self._power_w = 0.0

    def set_power(self, power: Power, ramp: Literal["fast", "slow"] = "fast") -> None:
        """Heat.

        Args:
            power: Electrical power.
            ramp: How quickly it is reached.
        """
        self.log.info("%g W, %s", power, ramp)
        self._power_w, self._since_s = power, time.monotonic()

    def read_temperature(self) -> Temperature:
        """Measure the temperature."""
        celsius = self.options.room_c + self._power_w * min(1.0, time.monotonic() - self._since_s)
        if celsius > 70:
            raise DeviceError(f"the thermometer reads {celsius:.1f} °C: above its range")
        return celsius

    def watch(self, interval: Annotated[float, quantity("s", ge=0.001, le=3600)] = 1.0) -> Iterator[Temperature]:
        """Measure again and again, until somebody cancels it.

        Args:
            interval: Time between two measurements.
        """
        while True:
            yield self.read_temperature()
            time.sleep(interval)
