"""What tests of a rig with instruments ask it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from labwire.client import Rig
from labwire.client.instrument import Instrument
from labwire.operations.instruments import InstrumentStatus
from labwire.wire.bus_message import BusMessage
from tests.bus.fake_hub import wait_until


def state_of(rig: Rig, name: str) -> InstrumentStatus:
    """Return how an instrument is."""
    return rig.instrument(name).status


def ready(rig: Rig, name: str) -> Instrument:
    """Wait until an instrument takes commands, and return it."""
    wait_until(lambda: state_of(rig, name).state in {"ready", "busy"}, f"{name} is ready")
    return rig.instrument(name)


def next_of(messages: Iterator[BusMessage], **wanted: Any) -> dict[str, Any]:
    """Return the payload of the next message that has these values."""
    for message in messages:
        if all(message.payload.get(key) == value for key, value in wanted.items()):
            return message.payload
    raise AssertionError(wanted)
