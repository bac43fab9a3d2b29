"""The front door: `connect` to a rig, call its operations, listen and speak on its bus."""

from __future__ import annotations

from labwire.client.clock_offset import ClockOffset
from labwire.client.ports import Ports
from labwire.client.rig import Rig, connect

__all__ = ["ClockOffset", "Ports", "Rig", "connect"]
