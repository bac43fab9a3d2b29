"""The table itself: which services there are. A new service adds one row, and every surface has it.

`labwire.operations.recordable` is not in it: the recorder asks that, people do not.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from labwire.errors import NotFoundError
from labwire.operations.service import Service

SERVICES: dict[str, str] = {
    "rig": "labwire.operations.rig:RigOperations",
    "actors": "labwire.operations.actors:Actors",
    "bus": "labwire.operations.bus:BusOperations",
    "record": "labwire.operations.recording:Recording",
    "replay": "labwire.operations.replay:Replay",
    "instruments": "labwire.operations.instruments:Instruments",
    "detectors": "labwire.operations.detectors:Detectors",
    "writers": "labwire.operations.writers:Writers",
}
"""Name of each service and where its class is."""


def find_service(name: str) -> type[Service]:
    """Import the class of a service.

    Raises:
        NotFoundError: There is no service of that name.
    """
    if name not in SERVICES:
        raise NotFoundError(f"there is no service {name!r}; there are: {', '.join(SERVICES)}", name=name)
    module, _, class_name = SERVICES[name].partition(":")
    return getattr(importlib.import_module(module), class_name)


def all_services() -> Iterator[type[Service]]:
    """Yield the classes of all services, in the order of the table."""
    return map(find_service, SERVICES)
