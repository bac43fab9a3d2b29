"""What can be set about vital signs."""

from __future__ import annotations

from typing import Annotated

import msgspec

from labwire.strict import Strict


class VitalsConfig(Strict, kw_only=True):
    """Which vital signs are measured in a camera's pictures, and how often they are told."""

    pulse: bool = True
    """Measure the pulse, from the colour of the face."""
    breathing: bool = True
    """Measure breathing, from the motion of the chest."""
    hrv: bool = True
    """Tell heart rate variability once the pulse has been seen for 60 s; needs `pulse`."""
    eda: bool = True
    """Tell the unitless arousal proxy `eda`, from 35 s on; needs `pulse`. It is no skin conductance."""
    least_confidence: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.85
    """Pulse and breathing with less confidence than this are withheld, 0 to 1."""
    metrics_interval_s: Annotated[float, msgspec.Meta(ge=0.05, le=10)] = 0.2
    """Time between two core metrics, in seconds."""
