"""What a server tells a worker that it starts: one line of JSON on standard input, which stays open as the lifeline."""

from __future__ import annotations

from typing import Any

import msgspec

from labwire.instruments.config import LimitsConfig, ProfileName, QueueKind
from labwire.wire.instrument_extras import Feature


class WorkerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a worker process needs to know."""

    name: str
    """Name of the instrument."""
    driver: str
    """"module:Class", or the name of an entry point."""
    options: dict[str, Any] = {}
    queue: QueueKind = "boost"
    profile: ProfileName = "spec"
    socket_fd: int | None = None
    """For queue kind socket: the worker's end, inherited."""
    heartbeat_s: float = 1.0
    features: list[Feature] = []
    """What it may use beyond the spec; none towards a foreign server."""
    waveform_prefix: str = ""
    """Names of its files in shared memory begin with this, so that the server can remove what a killed worker left."""
    limits: LimitsConfig = LimitsConfig()
    python_path: list[str] = []
    log_level: str = "INFO"
    debug: bool = False
    """Log all traffic (INSTRUMENT_IPC_DEBUG)."""
