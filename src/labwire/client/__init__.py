"""The front door: `connect` to a rig, call its operations, listen and speak on its bus."""

from __future__ import annotations

from labwire.client.ports import Ports
from labwire.client.rig import Rig, connect
from labwire.clock_offset import ClockOffset

__all__ = ["ClockOffset", "Ports", "Rig", "connect"]
