"""The work of an export, and the process of its own that does it: ``python -m labwire.web.export_work``.

Reading and packing a long session takes minutes. Standard output is `ExportNews`, a line of JSON each.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from labwire.errors import CancelledError, DeviceError, InternalError, LabwireError, error_from_name
from labwire.sessions.reading.export import MCAP_FILE, ExportProgress, Format, export_session
from labwire.web.apart import begin_apart, give_way
from labwire.wire.rpc_message import ErrorReport

Report = Callable[[ExportProgress], None]
Cancelled = Callable[[], bool]

_COPY_BYTES = 1 << 20
_LOOK_S = 0.1
_END_S = 5.0
_REPORT_S = 0.1


class ExportOrder(msgspec.Struct, frozen=True):
    """What is to be made, and where."""

    folder: str
    """Of the session."""
    place: str
    """Folder for the result, and for what is on the way to it; it is made."""
    to: Format


class ExportMade(msgspec.Struct, frozen=True):
    """A finished export."""

    path: str
    messages: int
    skipped: int
    tables: int


class ExportNews(msgspec.Struct, frozen=True):
    """What the process tells: one of the three."""

    progress: ExportProgress | None = None
    made: ExportMade | None = None
    failure: ErrorReport | None = None


def export_here(order: ExportOrder, report: Report, cancelled: Cancelled) -> ExportMade:
    """Export a session into one file: an archive of tables, or an MCAP file.

    Raises:
        LabwireError: As `export_session`.
    """
    folder, place = Path(order.folder), Path(order.place)
    stem, out = f"{folder.parent.name}_{folder.name}".replace(" ", "_"), place / "files"
    exported = export_session(folder, out, to=order.to, report=report, cancelled=cancelled)
    path = place / (f"{stem}.mcap" if order.to == "mcap" else f"{stem}_{order.to}.zip")
    try:
        if order.to == "mcap":
            (out / MCAP_FILE).rename(path)
        else:
            _pack(out, path, report, cancelled)
    except OSError as error:
        raise DeviceError(f"cannot write {path}: {error.strerror or error}", path=str(path)) from error
    shutil.rmtree(out, ignore_errors=True)
    return ExportMade(str(path), exported.messages, exported.skipped, len(exported.tables))


def export_apart(order: ExportOrder, report: Report, cancelled: Cancelled) -> ExportMade:
    """Do the same in a process of its own; it is ended when `cancelled` says so.

    Raises:
        LabwireError: As `export_session`.
    """
    with begin_apart(__name__, order) as process:
        assert process.stdout is not None
        try:
            for line in _lines(process.stdout.fileno(), cancelled):
                news = msgspec.json.decode(line, type=ExportNews)
                if news.progress is not None:
                    report(news.progress)
                if news.failure is not None:
                    raise error_from_name(news.failure.error, news.failure.message, news.failure.data)
                if news.made is not None:
                    return news.made
            with contextlib.suppress(subprocess.TimeoutExpired):  # it has nothing to say any more, and ends
                process.wait(_END_S)
        finally:
            process.kill()  # it has nothing to tidy up: whoever gave the order removes the folder
    raise InternalError(f"the export ended with status {process.returncode}")


def _lines(fd: int, cancelled: Cancelled) -> Iterator[bytes]:
    lines, waiting = list[bytes](), b""
    while True:
        if cancelled():
            raise CancelledError("the export was cancelled")
        if lines:  # one by one: many may be there at once, and what one says may be answered by a cancel
            yield lines.pop(0)
        elif select.select([fd], [], [], _LOOK_S)[0]:
            data = os.read(fd, 1 << 16)
            if not data:
                return
            *lines, waiting = (waiting + data).split(b"\n")


def _pack(out: Path, target: Path, report: Report, cancelled: Cancelled) -> None:
    files = sorted(path for path in out.rglob("*") if path.is_file())
    done, total = 0, sum(path.stat().st_size for path in files)
    with zipfile.ZipFile(target, "w") as archive:
        for path in files:
            # Parquet is compressed already.
            kind = zipfile.ZIP_STORED if path.suffix == ".parquet" else zipfile.ZIP_DEFLATED
            about = zipfile.ZipInfo.from_file(path, str(path.relative_to(out)))
            about.compress_type = kind
            with path.open("rb") as source, archive.open(about, "w") as sink:
                while chunk := source.read(_COPY_BYTES):
                    if cancelled():
                        raise CancelledError("the export was cancelled while it was packed")
                    sink.write(chunk)
                    done += len(chunk)
                    report(ExportProgress("packs the files", done, total))


# --- in the process of its own


def main() -> None:
    """Do what the command line orders."""
    give_way()
    order = msgspec.json.decode(sys.argv[1], type=ExportOrder)
    told_s = 0.0

    def report(progress: ExportProgress) -> None:
        nonlocal told_s
        now_s = time.monotonic()
        if now_s - told_s >= _REPORT_S or progress.done_bytes == progress.total_bytes:
            told_s = now_s
            _tell(ExportNews(progress=progress))

    try:
        _tell(ExportNews(made=export_here(order, report, lambda: False)))
    except LabwireError as error:
        _tell(ExportNews(failure=ErrorReport(type(error).__name__, error.message, error.data)))


def _tell(news: ExportNews) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(news, enc_hook=repr) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
