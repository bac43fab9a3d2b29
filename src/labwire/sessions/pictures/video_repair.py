"""Make a cut-off video whole: cut the torn picture, write the index, bring the timestamps into step."""

from __future__ import annotations

import os
from array import array
from pathlib import Path

import msgspec

from labwire.sessions.files import append_whole
from labwire.sessions.pictures.mp4_format import TIME_BASE_HZ, Fragment, encode_index, is_ours, scan_fragments
from labwire.sessions.player.timestamps import SUFFIX, TimestampFile, header_count, read_timestamps


class VideoRepaired(msgspec.Struct, frozen=True):
    """What was found and done."""

    count: int
    """Whole pictures."""
    torn_bytes: int
    wrote_index: bool
    wrote_timestamps: bool


def is_finished(path: Path) -> bool:
    """Tell whether a video needs no repair: its index is there and its timestamps are whole, or it is not ours."""
    with path.open("rb") as file:
        if not is_ours(file.fileno()):
            return True
        fragments, _, finished = scan_fragments(file.fileno())
    return finished and header_count(path.with_name(path.stem + SUFFIX)) == len(fragments)


def repair_video(path: Path, start_rig_time_s: float) -> VideoRepaired | None:
    """Make one video and its timestamps whole; what is whole stays as it is.

    A video without a single whole picture is removed: players stumble over it.

    Args:
        path: The ``.mp4`` file.
        start_rig_time_s: Rig time at the start of the session, for pictures whose timestamps are missing.

    Returns:
        What was done; None if the file was not written by labwire, which is then left alone.

    Raises:
        OSError: The disk fails; another repair finishes the work.
    """
    timestamps_path = path.with_name(path.stem + SUFFIX)
    with path.open("r+b", buffering=0) as file:
        if not is_ours(file.fileno()):
            return None
        fragments, end, finished = scan_fragments(file.fileno())
        torn_bytes = 0 if finished else file.seek(0, os.SEEK_END) - end
        if not finished and fragments:
            file.truncate(end)
            file.seek(end)
            append_whole(file.fileno(), encode_index(fragments), end)
    if not fragments:
        path.unlink()
        timestamps_path.unlink(missing_ok=True)
        return VideoRepaired(0, torn_bytes, False, False)
    wrote = _repair_timestamps(timestamps_path, fragments, start_rig_time_s)
    return VideoRepaired(len(fragments), torn_bytes, not finished, wrote)


def _repair_timestamps(path: Path, fragments: list[Fragment], start_rig_time_s: float) -> bool:
    """Give every picture its timestamp: the recorded one, or for the last ones if need be its time in the video."""
    count = len(fragments)
    if header_count(path) == count:
        return False
    try:
        timestamps = read_timestamps(path)[:count]
    except (OSError, ValueError):
        timestamps = array("d")
    # Rig time may have jumped, so missing ones go on from the last that is known.
    shift_s = start_rig_time_s
    if timestamps:
        shift_s = timestamps[-1] - fragments[len(timestamps) - 1].pts / TIME_BASE_HZ
    timestamps.extend(fragment.pts / TIME_BASE_HZ + shift_s for fragment in fragments[len(timestamps) :])
    file = TimestampFile(path, ready=False)
    try:
        for timestamp in timestamps:
            file.append(timestamp)
        file.close()
    except BaseException:
        file.abandon()
        raise
    return True
