"""A sensor of skin conductance on the bus, in place of what a camera can only guess."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import zmq

from labwire.bus.subscription import Subscription
from labwire.errors import DeadlineError, StateError
from labwire.vitals.config import VitalsConfig
from labwire.wire.bus_message import BusMessage

_DEPTH = 64
_OLD_S = 1.0


class EdaSensor:
    """Listens to ``eda_topic``; each value is told once, with the next picture, the newest of several.

    Args:
        config: Says which topic, and where in its messages the value stands.
        sub_url: Where subscribers connect.
        context: The actor's.
    """

    def __init__(self, config: VitalsConfig, sub_url: str, context: zmq.Context[Any]) -> None:
        self._config = config
        self._subscription: Subscription[BusMessage] = Subscription(
            sub_url, [config.eda_topic], depth=_DEPTH, policy="drop_old", context=context
        )

    def take(self, captured_s: float) -> float | None:
        """Return the newest value that has come since the last call; None if there is none. Never waits.

        Args:
            captured_s: Rig time of the picture that it is told with; a value that is more than a second older is not.
        """
        newest: float | None = None
        try:
            while True:
                message = self._subscription.recv(0)
                if message.topic == self._config.eda_topic and not _is_old(message.payload, captured_s):
                    value = value_of(message.payload, self._config)
                    newest = newest if value is None else value
        except (DeadlineError, StateError):
            return newest

    def close(self) -> None:
        """Listen no longer. Safe to call twice."""
        self._subscription.close()


def value_of(payload: Mapping[Any, Any], config: VitalsConfig) -> float | None:
    """Return the value in a message of the sensor, None if it has none.

    >>> config = VitalsConfig(eda_topic="lsl.gsr", eda_field="samples.-1.0")
    >>> value_of({"samples": [[1.5, 20.0], [1.6, 21.0]]}, config)
    1.6
    """
    if payload.get("success") is False or (config.eda_verb and payload.get("verb") != config.eda_verb):
        return None
    found: Any = payload
    for step in config.eda_field.split("."):
        try:
            found = cast("list[Any]", found)[int(step)] if isinstance(found, list) else found[step]
        except (KeyError, IndexError, ValueError, TypeError):
            return None
    return _number(found)


def _is_old(payload: Mapping[Any, Any], captured_s: float) -> bool:
    stamp_s = _number(payload.get("timestamp"))
    return stamp_s is not None and captured_s - stamp_s > _OLD_S


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)
