"""Write a session in the formats of other tools: Parquet, CSV, MCAP with JSON.

Memory does not grow with the length of the session: the log is read twice, once for the columns of each topic and once
for the rows, which go to the files in batches.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import msgspec

from labwire.errors import CancelledError, DeviceError, StateError, UsageError
from labwire.sessions.file_names import FileNames
from labwire.sessions.files import TEMPORARY
from labwire.sessions.log.log_reader import LoggedMessage, LogReader, Prefixes
from labwire.sessions.log.mcap_scan import Report
from labwire.sessions.manifest import Manifest, read_manifest
from labwire.sessions.pictures.video_reader import RecordedPictures, videos_of
from labwire.sessions.reading.columns import Column, RowMaker, SchemaBuilder, flatten
from labwire.sessions.reading.export_mcap import McapExport
from labwire.sessions.reading.overview import MarkRow, marks_of
from labwire.sessions.reading.picture_join import PictureJoin
from labwire.sessions.reading.table_files import CsvFile, ParquetFile, TableFile
from labwire.sessions.reading.tables import payload_of, times_of
from labwire.sessions.reading.time_axis import TimeAxis

Format: TypeAlias = Literal["parquet", "csv", "mcap"]
FORMATS: tuple[Format, ...] = get_args(Format)
ABOUT_FILE = "export.json"
MCAP_FILE = "session.mcap"

_AT_ONCE = 200  # tables whose files are open together
_FLUSH_ROWS = 10_000
_FLUSH_BYTES = 32 << 20  # of payloads that wait in all tables together
_MAX_MARKS = 10_000


class ExportProgress(msgspec.Struct, frozen=True):
    """How far an export is."""

    step: str
    done_bytes: int
    total_bytes: int


class ExportedTable(msgspec.Struct, frozen=True):
    """One topic of an export."""

    topic: str
    file: str
    rows: int
    columns: list[ExportedColumn]


class ExportedColumn(msgspec.Struct, frozen=True):
    """One column of a table."""

    name: str
    kind: str
    unit: str


class Exported(msgspec.Struct, frozen=True):
    """What an export wrote; also the content of its ``export.json``."""

    path: str
    session: str
    """Name of the session."""
    uuid: str
    start_epoch_us: int
    """Zero of the time axis, microseconds since 1970."""
    time_axis: str
    messages: int
    """Messages written."""
    skipped: int
    """Messages whose payload is no map: they stand in the log only."""
    tables: list[ExportedTable]
    marks: list[MarkRow]


_AXIS_WORDS = (
    "time_s: when it was measured, by its timestamp; arrival_s: when the recorder got it. "
    "Both are seconds since the start of the session, on one axis for everything; no jump of a clock bends it."
)


class _Wanted(msgspec.Struct, frozen=True):
    """Which messages are asked for."""

    prefixes: Prefixes
    start_ns: int
    end_ns: int


def export_session(
    folder: Path,
    out: Path,
    *,
    to: Format,
    topics: Prefixes = ("",),
    from_s: float = 0.0,
    to_s: float = float("inf"),
    report: Callable[[ExportProgress], None] = lambda progress: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Exported:
    """Export a session into a new folder: a file per topic, or one MCAP file, and ``export.json`` with the units.

    Args:
        folder: Of the session.
        out: Folder to make; until the export is done, it has another name.
        to: Format.
        topics: Prefixes of the topics.
        from_s: Messages that came earlier are left out; seconds since the start of the session.
        to_s: Messages that came from here on are left out.
        report: Hears of progress.
        cancelled: Asked again and again.

    Raises:
        NotFoundError: The folder is no session.
        StateError: `out` is there already.
        UsageError: There is no such format.
        MissingExtraError: What the format needs is not installed.
        DeviceError: The files cannot be written.
        CancelledError: `cancelled` said so; nothing is left.
    """
    if to not in FORMATS:
        raise UsageError(f"{to!r} is no format of an export: use one of {', '.join(FORMATS)}")
    if out.exists():
        raise StateError(f"{out} is there already: remove it, or give another folder", path=str(out))
    manifest = read_manifest(folder)
    unfinished = out.with_name(out.name + TEMPORARY)
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        with LogReader.open(folder) as log:
            axis = TimeAxis.of(manifest)
            wanted = _Wanted(topics, axis.log_time_ns(from_s), axis.log_time_ns(to_s))
            export = _Export(log, axis, wanted, unfinished, report, cancelled)
            exported = export.run(folder, manifest, to, out)
        content = msgspec.json.format(msgspec.json.encode(exported), indent=2) + b"\n"
        (unfinished / ABOUT_FILE).write_bytes(content)
        unfinished.rename(out)
    except OSError as error:
        raise DeviceError(f"cannot write {out}: {error.strerror or error}", path=str(out)) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return exported


class _Export:
    def __init__(
        self,
        log: LogReader,
        axis: TimeAxis,
        wanted: _Wanted,
        out: Path,
        report: Callable[[ExportProgress], None],
        cancelled: Callable[[], bool],
    ) -> None:
        self._log, self._axis, self._wanted, self._out = log, axis, wanted, out
        self._report, self._cancelled = report, cancelled
        self._messages = self._skipped = 0

    def run(self, folder: Path, manifest: Manifest, to: Format, out: Path) -> Exported:
        schemas = self._learn()
        if to == "mcap":
            tables = self._write_mcap(folder, manifest, schemas)
        else:
            tables = self._write_tables(schemas, CsvFile if to == "csv" else ParquetFile, manifest)
        return Exported(
            path=str(out),
            session=manifest.name,
            uuid=manifest.uuid,
            start_epoch_us=manifest.start_epoch_us,
            time_axis=_AXIS_WORDS,
            messages=self._messages,
            skipped=self._skipped,
            tables=tables,
            marks=[mark for mark, _ in zip(marks_of(self._log, self._axis), range(_MAX_MARKS), strict=False)],
        )

    def _progress(self, step: str) -> Report:
        def progress(done_bytes: int, total_bytes: int) -> None:
            if self._cancelled():
                raise CancelledError(f"the export was cancelled while it {step}")
            self._report(ExportProgress(step, done_bytes, total_bytes))

        return progress

    def _chosen(self, step: str) -> Iterator[LoggedMessage]:
        wanted = self._wanted
        return self._log.messages(
            prefixes=wanted.prefixes, start_ns=wanted.start_ns, end_ns=wanted.end_ns, report=self._progress(step)
        )

    def _learn(self) -> dict[str, SchemaBuilder]:
        schemas: dict[str, SchemaBuilder] = {}
        for message in self._chosen("learns the columns"):
            payload = payload_of(message)
            if payload is None:
                self._skipped += 1
                continue
            topic = message.parts[0].decode("utf-8", "backslashreplace")
            schema = schemas.get(topic)
            if schema is None:
                schema = schemas[topic] = SchemaBuilder()
            schema.learn(flatten(payload, topic))
        return dict(sorted(schemas.items()))

    def _write_tables(
        self, schemas: dict[str, SchemaBuilder], kind: type[TableFile], manifest: Manifest
    ) -> list[ExportedTable]:
        names, tables = FileNames(), list[ExportedTable]()
        topics = list(schemas)
        for start in range(0, len(topics), _AT_ONCE):
            files = {
                topic: kind(
                    self._out / f"{names.claim(topic)}{kind.suffix}",
                    schemas[topic].columns(),
                    {"topic": topic, "session": manifest.name, "start_epoch_us": str(manifest.start_epoch_us)},
                )
                for topic in topics[start : start + _AT_ONCE]
            }
            try:
                self._write_rows({topic: _Waiting(file) for topic, file in files.items()})
            except BaseException:
                for file in files.values():
                    with suppress(Exception):
                        file.close()
                raise
            for topic, file in files.items():
                file.close()
                tables.append(_told(topic, file.path.name, schemas[topic]))
        return tables

    def _write_rows(self, waiting: dict[str, _Waiting]) -> None:
        waiting_bytes = 0
        for message in self._chosen("writes the rows"):
            topic = message.parts[0].decode("utf-8", "backslashreplace")
            table = waiting.get(topic)
            payload = payload_of(message) if table is not None else None
            if table is None or payload is None:
                continue
            table.add(*times_of(message, payload, self._axis), flatten(payload, topic))
            self._messages += 1
            waiting_bytes += len(message.parts[1])
            if waiting_bytes >= _FLUSH_BYTES:
                waiting_bytes = 0
                for one in waiting.values():
                    one.flush()
        for one in waiting.values():
            one.flush()

    def _write_mcap(self, folder: Path, manifest: Manifest, schemas: dict[str, SchemaBuilder]) -> list[ExportedTable]:
        videos = {topic: RecordedPictures(topic, paths) for topic, paths in videos_of(folder, manifest)}
        join = PictureJoin(videos)
        join.seek(self._axis.of_arrival(self._wanted.start_ns))
        try:
            with McapExport(self._out / MCAP_FILE, manifest, schemas) as file:
                for message in self._chosen("writes the messages"):
                    payload = payload_of(message)
                    if payload is not None:
                        time_s, _ = times_of(message, payload, self._axis)
                        file.add(message, payload, self._axis.log_time_ns(time_s), join.jpeg_of(message))
                        self._messages += 1
        finally:
            for pictures in videos.values():
                pictures.close()
        return [_told(topic, MCAP_FILE, schema) for topic, schema in schemas.items()]


class _Waiting:
    """Rows on their way into a file."""

    def __init__(self, file: TableFile) -> None:
        self._file = file
        self._make = RowMaker(file.columns).row
        self._rows: list[list[Any]] = []

    def add(self, time_s: float, arrival_s: float, flat: dict[str, Any]) -> None:
        self._rows.append(self._make(time_s, arrival_s, flat))
        if len(self._rows) >= _FLUSH_ROWS:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            self._file.write(self._rows)
            self._rows = []


def _told(topic: str, file: str, schema: SchemaBuilder) -> ExportedTable:
    return ExportedTable(topic, file, schema.rows, [_told_column(column) for column in schema.columns()])


def _told_column(column: Column) -> ExportedColumn:
    return ExportedColumn(column.name, column.kind.name.lower(), column.unit)
