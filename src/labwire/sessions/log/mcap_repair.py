"""Make a cut-off log whole: cut the torn end and let the writer finish the file."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

from labwire.errors import StateError
from labwire.file_lock import try_lock
from labwire.sessions.log import mcap_format as mcap
from labwire.sessions.log.mcap_scan import LogScan, Report, ignore_progress, scan_log
from labwire.sessions.log.mcap_writer import McapWriter

_FOOTER = struct.Struct("<BQQQI")


def is_whole(path: Path) -> bool:
    """Tell whether a file ends as a finished MCAP file does, its summary intact."""
    tail_bytes = mcap.FOOTER_BYTES + len(mcap.MAGIC)
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            if size < tail_bytes:
                return False
            file.seek(size - tail_bytes)
            tail = file.read()
            opcode, _, start, _, crc = _FOOTER.unpack_from(tail)
            if not tail.endswith(mcap.MAGIC) or opcode != mcap.Opcode.FOOTER or not 0 < start < size:
                return False
            file.seek(start)
            section = file.read(size - start - len(mcap.MAGIC) - 4)
    except OSError:
        return False
    return zlib.crc32(section) == crc


def repair_log(path: Path, report: Report = ignore_progress) -> LogScan:
    """Make a log whole in place; whole records stay byte for byte, and so does a whole log.

    Args:
        path: The log; an empty one becomes a whole log without messages.
        report: Hears of progress; may raise, then nothing has been changed.

    Returns:
        What was found.

    Raises:
        StateError: It is being written.
        ProtocolError: It is no log of labwire, or damaged inside; nothing was changed.
        OSError: The disk fails; another repair finishes the work.
    """
    fd = os.open(path, os.O_RDWR)
    try:
        if not try_lock(fd):
            raise StateError(f"{path} is being written: stop the recording before repairing it", path=str(path))
        scan = scan_log(fd, report)
        if is_whole(path):
            return scan
        os.ftruncate(fd, scan.end)
        os.lseek(fd, scan.end, os.SEEK_SET)
        _finish(McapWriter(fd), scan)
        os.fsync(fd)
    finally:
        os.close(fd)
    return scan


def _finish(writer: McapWriter, scan: LogScan) -> None:
    if scan.end == 0:
        writer.begin()
    else:
        writer.resume(scan.end, channels=scan.channels, chunks=scan.chunks, metadata=scan.metadata)
    if scan.open_chunk is not None:
        writer.resume_chunk(
            scan.open_chunk, crc=scan.open_crc, start_time_ns=scan.open_start_ns, end_time_ns=scan.open_end_ns
        )
    writer.finish()
