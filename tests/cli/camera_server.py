"""Run by test_physiology_server.py: the program, with device files in a folder of the test's."""

from __future__ import annotations

import os
from pathlib import Path

from labwire.cli import physiology_server
from labwire.sources import camera

if __name__ == "__main__":
    camera.DEVICES = Path(os.environ["FAKE_V4L2_DEVICE"]).parent
    physiology_server.main()
