"""The doctor looks at folders and at how long the disk lasts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from labwire.bus.config import state_folder
from labwire.operations.bus import BusStats
from labwire.rig.finding import Finding, fail, ok, warn
from labwire.rig.rig_config import RigConfig
from labwire.sources.config import SimulatedEyesConfig

SHORT_HOURS = 4.0
_CAMERA_BYTES_HZ = 3_000_000
"""JPEG of 1280 x 720 pixels at 30 Hz and quality 90, about 100 kB each."""
_SOURCE_BYTES_HZ = 500_000  # 480 pupil and 240 gaze messages a second; what others send is not known
_SAMPLE_BYTES = 2 * 1500
"""A pupil datum or half a gaze datum as the spec's software sends them, in the log and in the Player's files."""


class Rate(NamedTuple):
    """How fast a recording grows."""

    bytes_hz: float
    how: str
    """How it is known."""


def check_disk(config: RigConfig, state: Mapping[Any, Any], stats: BusStats | None) -> Iterator[Finding]:
    """Tell how many hours of recording the disk takes.

    Args:
        config: The rig; it has a recorder.
        state: ``recorder.state`` of the rig that runs; empty if none does.
        stats: Traffic of the rig that runs.
    """
    assert config.recorder
    root = Path(config.recorder.root)
    free_bytes = shutil.disk_usage(existing_parent(root)).free
    yield judge_disk(
        str(root),
        free_bytes,
        rate_of(config, state, stats),
        config.recorder.disk_stop_bytes,
        config.recorder.disk_warn_bytes,
    )


def judge_disk(root: str, free_bytes: int, rate: Rate, stop_bytes: int, warn_bytes: int) -> Finding:
    """Return the finding for a disk.

    Args:
        root: Folder of the recordings.
        free_bytes: Free space.
        rate: How fast a recording grows.
        stop_bytes: Below this much free space no session starts.
        warn_bytes: Below this much free space the recorder warns.
    """
    text = f"{free_bytes / 1e9:.1f} GB free for {root}"
    advice = "delete recordings that are safe elsewhere, or set root under [recorder] to another disk"
    if free_bytes < stop_bytes:
        return fail(f"{text}: below {stop_bytes / 1e9:.1f} GB no session starts", advice)
    if not rate.bytes_hz:
        return ok(f"{text}; nothing is on the bus now, so it cannot be said for how long")
    hours = (free_bytes - stop_bytes) / rate.bytes_hz / 3600
    text = f"{text}: {hours:,.0f} h at {rate.bytes_hz / 1e6:.1f} MB/s, {rate.how}"
    return warn(text, advice) if free_bytes < warn_bytes or hours < SHORT_HOURS else ok(text)


def rate_of(config: RigConfig, state: Mapping[Any, Any], stats: BusStats | None) -> Rate:
    """Return how fast a recording grows: measured, else from the traffic on the bus, else guessed from the rig."""
    written, duration_s = state.get("written_bytes"), state.get("duration_s")
    if state.get("recording") and isinstance(written, int) and isinstance(duration_s, float) and duration_s > 1:
        return Rate(written / duration_s, "as the present session grows")
    if stats and stats.messages_hz:
        return Rate(stats.bytes_hz, "what is on the bus now")
    guess = len(config.cameras) * _CAMERA_BYTES_HZ
    guess += sum(
        source.rate_hz * len(source.eyes) * _SAMPLE_BYTES
        if isinstance(source, SimulatedEyesConfig)
        else _SOURCE_BYTES_HZ
        for source in config.sources.values()
    )
    return Rate(guess, "guessed from the rig file")


def check_folders(config: RigConfig) -> Iterator[Finding]:
    """Look whether the rig may write where it wants to."""
    folders = {"log": Path(config.log.folder) if config.log.folder else state_folder()}
    if config.recorder:
        folders["recordings"] = Path(config.recorder.root)
    if config.file_ipc:
        folders["pictures"] = Path(config.file_ipc.base_directory)
    for what, folder in folders.items():
        nearest = existing_parent(folder)
        if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
            yield ok(f"{what} can be written to {folder}")
        else:
            yield fail(
                f"{what} cannot be written to {folder}", f"allow it (chmod, chown {nearest}) or name another folder"
            )


def existing_parent(folder: Path) -> Path:
    """Return the folder itself, or the nearest above it that exists."""
    return next((one for one in (folder, *folder.parents) if one.exists()), Path("/"))
