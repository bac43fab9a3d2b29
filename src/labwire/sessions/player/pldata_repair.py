"""Make a cut-off ``.pldata`` file whole: cut the torn datum, write the timestamps from the data."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import msgspec

from labwire.sessions.log.mcap_scan import Report, ignore_progress
from labwire.sessions.player.pldata import read_records
from labwire.sessions.player.timestamps import SUFFIX, TimestampFile, header_count

_REPORT_EVERY = 10_000


class PldataRepaired(msgspec.Struct, frozen=True):
    """What was found and done."""

    count: int
    torn_bytes: int
    """Cut off at the end."""
    wrote_timestamps: bool
    """The timestamps were missing or did not agree with the data."""


def repair_pldata(path: Path, report: Report = ignore_progress) -> PldataRepaired:
    """Make one file and its timestamps whole; what is whole stays as it is.

    Args:
        path: The ``.pldata`` file.
        report: Hears of progress; may raise, then nothing has been changed.

    Raises:
        OSError: The disk fails; another repair finishes the work.
    """
    timestamps_path = path.with_name(path.stem + SUFFIX)
    timestamps = TimestampFile(timestamps_path, ready=False)
    try:
        with path.open("r+b") as file:
            end = _copy_timestamps(file.fileno(), timestamps, report)
            torn_bytes = file.seek(0, os.SEEK_END) - end
            if not torn_bytes and header_count(timestamps_path) == timestamps.count:
                timestamps.abandon()
                return PldataRepaired(timestamps.count, 0, False)
            # First the data, then the timestamps: a file without them opens, one that disagrees with them does not.
            timestamps_path.unlink(missing_ok=True)
            file.truncate(end)
        timestamps.close()
    except BaseException:
        timestamps.abandon()
        raise
    return PldataRepaired(timestamps.count, torn_bytes, True)


def _copy_timestamps(fd: int, timestamps: TimestampFile, report: Report) -> int:
    """Copy the timestamps of the whole data; return where they end."""
    end, size = 0, os.fstat(fd).st_size
    if size == 0:
        return 0
    with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as data:
        for number, record in enumerate(read_records(data)):
            end = record.end
            timestamps.append(record.timestamp)
            if number % _REPORT_EVERY == 0:
                timestamps.flush()
                report(end, size)
    timestamps.flush()
    return end
