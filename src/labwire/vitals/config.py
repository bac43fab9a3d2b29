"""What can be set about vital signs."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from labwire.strict import Strict

_OF_INSTRUMENT = re.compile(r"instrument\.[^.]+\.(result|block)")


class VitalsConfig(Strict, kw_only=True):
    """Which vital signs are measured in a camera's pictures, and how often they are told."""

    pulse: bool = True
    """Measure the pulse, from the colour of the face."""
    breathing: bool = True
    """Measure breathing, from the motion of the chest."""
    hrv: bool = True
    """Tell heart rate variability once the pulse has been seen for 60 s; needs `pulse`."""
    eda: bool = True
    """Tell `eda`: the unitless arousal proxy, from 35 s on, which needs `pulse` and is no skin conductance; or what a
    sensor measures, see `eda_topic`."""
    eda_topic: str = ""
    """Topic of a sensor of skin conductance on the bus of the rig: `eda` is then its newest value in its own unit, and
    never the proxy. "lsl.NAME", "instrument.NAME.result", or a topic of your own. Empty: the proxy."""
    eda_field: str = "value"
    """Where in its messages the number stands: keys and positions with dots between them, as "value" for an instrument
    or "samples.-1.0" for the newest sample of the first channel of LSL."""
    eda_verb: str = ""
    """Which of an instrument's commands measures it; the results of others are left out."""
    least_confidence: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.85
    """Pulse and breathing with less confidence than this are withheld, 0 to 1."""
    metrics_interval_s: Annotated[float, msgspec.Meta(ge=0.05, le=10)] = 0.2
    """Time between two core metrics, in seconds."""

    def __post_init__(self) -> None:
        if _OF_INSTRUMENT.fullmatch(self.eda_topic) and not self.eda_verb:
            raise ValueError(f"eda_verb must say which command's results on {self.eda_topic} are meant")
