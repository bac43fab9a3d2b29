"""What the start of a run may say of it, and what the rig file says where it does not."""

from __future__ import annotations

import time

import msgspec

from labwire.actors.detector_config import DetectorConfig
from labwire.images.acquisition import RunRequest
from labwire.operations.detectors import WAIT_S


class RunSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the start of a run may say; what it does not say is as the rig file has it."""

    images: int | None = None
    rate_hz: float | None = None
    file_prefix: str | None = None
    images_per_file: int | None = None
    run_number: int | None = None
    run_name: str | None = None
    wait_writers: int | None = None
    wait_s: float = WAIT_S


def request_of(options: DetectorConfig, settings: RunSettings, last_run_number: int | None) -> RunRequest:
    """Return the run that is wanted; without a number it follows the last one, and the first is told by the clock."""
    number = settings.run_number
    if number is None:
        number = int(time.time()) if last_run_number is None else last_run_number + 1
    prefix = options.file_prefix if settings.file_prefix is None else settings.file_prefix
    return RunRequest(
        run_number=number,
        run_name=settings.run_name,
        images=options.images if settings.images is None else settings.images,
        file_prefix=prefix or None,
        images_per_file=settings.images_per_file or options.images_per_file,
        rate_hz=settings.rate_hz or options.rate_hz,
    )
