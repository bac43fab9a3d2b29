"""Options of instruments: tables ``[instruments.NAME]`` of a rig file."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from labwire.strict import Strict

QueueKind: TypeAlias = Literal["boost", "posix", "socket"]
ProfileName: TypeAlias = Literal["spec", "native", "iss"]
Seconds: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=86400)]


class LimitsConfig(Strict):
    """What a worker process may use at most. None leaves the system's own limit."""

    memory_mb: Annotated[int, msgspec.Meta(ge=16)] | None = None
    """Address space, in MiB."""
    open_files: Annotated[int, msgspec.Meta(ge=16)] | None = None
    cpu_s: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Processor time in all, in seconds; above it the worker is ended."""


class InstrumentConfig(Strict):
    """An instrument: one table ``[instruments.NAME]``. Keys that are not named here go to the driver."""

    driver: str = ""
    """Where its class is: "module:Class", or the name of an entry point of group labwire.drivers."""
    queue: QueueKind = "boost"
    """boost: shared memory, which C++ programs can join; posix: message queues of the kernel; socket: the fastest."""
    profile: ProfileName = "spec"
    """Layout of the messages; iss is the C++ instrument-script-server of today."""
    external: bool = False
    """Wait for a worker that somebody else starts, instead of starting one."""
    heartbeat_s: Seconds = 1.0
    """How often the worker says that it is alive."""
    heartbeat_timeout_s: Seconds = 10.0
    """A worker that has been silent for so long is taken for dead."""
    start_timeout_s: Seconds = 30.0
    """How long a worker's driver may take to get ready."""
    stop_timeout_s: Seconds = 5.0
    """How long a worker may take to finish before it is terminated."""
    stuck_restart_s: Seconds | None = None
    """Restart a worker whose command is so much past its timeout. Off by default: it may only be slow."""
    restart: bool = True
    """Start a worker again that has died."""
    restart_tries: Annotated[int, msgspec.Meta(ge=0)] = 10
    """Deaths in a row, without a command answered between, before it is given up."""
    limits: LimitsConfig = LimitsConfig()
    options: dict[str, Any] = {}
    """Options of the driver itself, checked when it starts."""
