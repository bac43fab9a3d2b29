"""``labwire files``: what a file backend has written."""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, cast

from cyclopts import App, Parameter
from cyclopts.validators import Number

from labwire.cli.connection import JsonFlag
from labwire.cli.output import console, remark, to_json, write_json, write_line
from labwire.file_backend.reader import Record, follow, read
from labwire.file_backend.summary import FolderSummary, find_problems, summarize

app = App(name="files", help="Look at the files of a file backend.")


@app.command
def tail(
    folder: Path,
    /,
    *,
    lines: Annotated[int, Parameter(name=["--lines", "-n"], validator=Number(gte=0))] = 10,
    follow_: Annotated[bool, Parameter(name=["--follow", "-f"], negative="")] = False,
    json: JsonFlag = False,
) -> None:
    """Show the newest lines of all streams, in the order of time.

    Args:
        folder: The folder.
        lines: How many.
        follow_: Go on with what comes, until Ctrl-C.
        json: Print envelopes, as they stand in the files.
    """
    last: deque[Record] = deque(maxlen=lines)
    since: dict[str, int] = {}
    if not follow_ or folder.is_dir():
        for record in read(folder, on_bad=_complain):
            last.append(record)
            since[record.stream] = record.offset
    for record in last:
        _show(record, as_json=json)
    if follow_:
        for record in follow(folder, since=since, on_bad=_complain):
            _show(record, as_json=json)


@app.command
def stats(folder: Path, /, *, json: JsonFlag = False) -> None:
    """Count lines, rates, gaps and frames.

    Args:
        folder: The folder.
        json: Print JSON.
    """
    summary = summarize(folder)
    if json:
        write_json(summary)
    else:
        _show_summary(summary)


@app.command
def check(folder: Path, /, *, json: JsonFlag = False) -> int:
    """Look whether every line and every frame is whole, and the lines in order; the exit status is 1 if not.

    Args:
        folder: The folder.
        json: Print each problem as one line of JSON.
    """
    count = 0
    for problem in find_problems(folder):
        count += 1
        if json:
            write_json(problem._asdict())
        else:
            write_line(f"{problem.file}: {problem.text}")
    if not json:
        remark(f"{count} problem{'s' * (count > 1)} in {folder}" if count else f"{folder}: all is well")
    return 1 if count else 0


@app.command
def plot(
    folder: Path,
    /,
    *,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    json: JsonFlag = False,
) -> None:
    """Draw pulse, breathing, confidence, traces and status over time.

    Args:
        folder: The folder.
        output: The PNG file; by default vitals.png in the folder.
        json: Print the path as JSON.
    """
    from labwire.file_backend.plot import plot_folder

    path = output or folder / "vitals.png"
    plot_folder(folder, path)
    if json:
        write_json({"path": str(path)})
    else:
        write_line(str(path))


def _complain(stream: str, offset: int, reason: str) -> None:
    remark(f"{stream}.jsonl, before byte {offset}: {reason}")


def _show(record: Record, *, as_json: bool) -> None:
    if as_json:
        write_json({"type": record.type, "timestamp": record.timestamp, "payload": record.payload})
        return
    payload = {name: _without_trace(value) for name, value in record.payload.items()}
    write_line(f"{_clock(record.timestamp)}  {record.type:<12}  {to_json(payload)}")


def _without_trace(value: Any) -> Any:
    # A trace is for programs: people see the values.
    if isinstance(value, dict):
        return {key: inner for key, inner in cast("dict[str, Any]", value).items() if key != "trace"}
    return value


def _clock(stamp_us: int | None) -> str:
    if stamp_us is None:
        return ""
    try:
        moment = dt.datetime.fromtimestamp(stamp_us / 1e6, dt.UTC).astimezone()
    except (OverflowError, ValueError, OSError):
        return str(stamp_us)
    return moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{stamp_us // 1000 % 1000:03d}"


def _show_summary(summary: FolderSummary) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("stream", "lines", "bad", "tail", "bytes", "per s", "longest gap", "first", "last"):
        table.add_column(name, justify="left" if name in {"stream", "first", "last"} else "right")
    for row in _rows(summary):
        table.add_row(*row)
    console().print(table)
    frames = summary.frames
    if frames:
        span = f", {_clock(summary.first_frame_us)} to {_clock(summary.last_frame_us)}"
        write_line(f"{frames} numbered frames, {summary.frame_bytes / 1e6:.1f} MB{span}")
    for stream in summary.streams:
        if stream.last is not None:
            write_line(f"last {stream.stream}: {to_json(stream.last)[:200]}")


def _rows(summary: FolderSummary) -> Iterator[tuple[str, ...]]:
    for stream in summary.streams:
        yield (
            stream.stream,
            str(stream.lines),
            str(stream.bad_lines),
            str(stream.tail_bytes),
            str(stream.size_bytes),
            "" if stream.rate_hz is None else f"{stream.rate_hz:.1f}",
            "" if stream.longest_gap_s is None else f"{stream.longest_gap_s:.2f} s",
            _clock(stream.first_us),
            _clock(stream.last_us),
        )
