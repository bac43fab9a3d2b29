"""The demo rig: what ``labwire run`` runs without a rig file."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labwire.instruments.linux import PLATFORM
from labwire.rig.rig_config import RigConfig
from labwire.rig.rig_file import parse_rig

_INSTRUMENTS_TOML = """\
# A multimeter: the driver of a real one, and a meter that pyvisa-sim simulates. For your own: its resource, no backend.
[instruments.DMM1]
driver = "labwire.instruments.drivers.dmm:Keysight34465A"
resource = "TCPIP0::dmm.simulated::inst0::INSTR"
backend = "@sim"

# An oscilloscope that exists in software only, and makes waveforms without end.
[instruments.SCOPE1]
driver = "labwire.instruments.drivers.simulated:Oscilloscope"
queue = "socket"

# The driver of a real oscilloscope, simulated like the meter. The simulation cannot send binary data.
[instruments.SCOPE2]
driver = "labwire.instruments.drivers.oscilloscope:KeysightOscilloscope"
resource = "TCPIP0::scope.simulated::inst0::INSTR"
backend = "@sim"
transfer = "ASCII"

"""

DEMO_TOML = """\
# The demo rig: `labwire run` without a rig file. A good place to begin a rig of your own.
name = "demo"

# Pictures, as frame.world on the bus. In place of the demo's clip: video = "FILE", or camera = 0.
[cameras.world]
demo = true

# A pair of eyes at 120 Hz. They are simulated, and their data says so.
[sources.eyes]
kind = "simulated_eyes"

{instruments}# The newest picture as a file that is never half written, and the 300 before it.
[file_ipc]
camera = "world"
metrics = false  # nobody sits in front of the demo's clip; true measures pulse and breathing
base_directory = "file_ipc_output"
max_frame_count = 300

# `labwire record start` begins a session here.
[recorder]
root = "recordings"
""".replace("{instruments}", _INSTRUMENTS_TOML if sys.platform == PLATFORM else "")
"""The demo rig as a rig file; without instruments where they cannot run."""

_WORLD = "cameras.world"


def demo_config(
    video: str | Path | None = None, camera: int | None = None, overrides: Mapping[str, Any] | None = None
) -> RigConfig:
    """Return the demo rig.

    Args:
        video: A video file in place of the demo's clip; a relative path starts at the working folder.
        camera: A camera in place of the demo's clip: 0 is /dev/video0.
        overrides: What else to change, by dotted key: ``{"remote.port": 0}``.

    Raises:
        ConfigError: There is no such file, both are given, or an override is wrong.
    """
    world: dict[str, Any] = {}
    if video is not None:
        world["video"] = str(video)
    if camera is not None:
        world["camera"] = camera
    changes = {_WORLD: world} if world else {}
    return parse_rig(DEMO_TOML, file="the demo rig", overrides={**changes, **(overrides or {})})
