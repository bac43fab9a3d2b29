"""What a rig file may say of time sync with other computers."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from labwire.strict import Strict


class TimeSyncConfig(Strict):
    """Share one clock with Pupil Core and other rigs, by Pupil Time Sync v1: the ``[time_sync]`` table.

    Reaches other computers only if the rig listens beyond this one (``[network]``).
    """

    role: Literal["auto", "follower"] = "auto"
    """auto: whoever ranks highest is the clock master; follower: never this rig."""
    prefix: str = "default"
    """Only nodes of the same prefix share a clock: the group is <prefix>-time_sync-v1."""
    node_name: str = ""
    """Name that others see; empty means the name of this computer."""
    bias: Annotated[float, Meta(ge=0, le=1e6)] = 1.0
    """How much this rig should be the clock master: Pupil Core has 1, a dedicated master 1000."""
    beacon_port: Annotated[int, Meta(ge=1, le=65535)] = 5670
    """UDP port of the beacons by which nodes find each other; all must have the same. 5670 is the usual one."""
