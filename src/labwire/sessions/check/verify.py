"""Prove what a session holds: recount it, open every file, tell what is missing and what nobody can know."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

from labwire.clock import epoch_us
from labwire.errors import CancelledError, LabwireError, NotFoundError, ProtocolError, StateError
from labwire.file_lock import is_locked
from labwire.operations.recordable import StreamCounters
from labwire.operations.recording import RepairProgress
from labwire.operations.session_check import FileCheck, Verified
from labwire.sessions import events, manifest, verified_file
from labwire.sessions.check.numbering import MAX_GAPS
from labwire.sessions.check.verify_files import check_file
from labwire.sessions.check.verify_log import LogCount
from labwire.sessions.check.verify_series import Between, look_between
from labwire.sessions.log import bus_log
from labwire.sessions.log.log_reader import LogReader
from labwire.sessions.log.mcap_repair import is_whole
from labwire.sessions.log.mcap_scan import Report
from labwire.sessions.manifest import Manifest
from labwire.sessions.pictures import video
from labwire.sessions.player import player_format
from labwire.sessions.reading.image_runs import check_runs
from labwire.version import __version__

_DATA, _VIDEO = "data", "video"
_SHOWN_RESTARTS = 5
_SHOWN_KINDS = 8
_REPAIR = "`labwire sessions repair` makes it whole"


def verify_session(
    folder: Path,
    *,
    report: Callable[[RepairProgress], None] = lambda progress: None,
    cancelled: Callable[[], bool] = lambda: False,
    keep: bool = True,
) -> Verified:
    """Check a session; nothing of it is changed.

    Args:
        folder: Of the session.
        report: Hears of progress.
        cancelled: Asked within long steps.
        keep: Leave what was found in the folder as ``verified.json``; where that cannot be written it is left out.

    Raises:
        NotFoundError: The folder is no session.
        StateError: It is still being recorded.
        CancelledError: `cancelled` said so.
    """
    log_path = folder / bus_log.FILE_NAME
    if not log_path.exists() and not (folder / manifest.FILE_NAME).exists():
        raise NotFoundError(f"{folder} is not a session", path=str(folder))
    if is_locked(log_path):
        raise StateError(f"{folder} is still being recorded: stop the recording before checking it", path=str(folder))
    fingerprint = verified_file.fingerprint_of(folder)
    verified = _Check(folder, report, cancelled).run()
    if keep:
        verified_file.write(folder, verified, fingerprint)
    return verified


class _Log(NamedTuple):
    check: FileCheck
    content: LogCount | None


class _Check:
    def __init__(self, folder: Path, report: Callable[[RepairProgress], None], cancelled: Callable[[], bool]) -> None:
        self._folder, self._report, self._cancelled = folder, report, cancelled
        self._problems: list[str] = []

    def run(self) -> Verified:
        known = self._read_manifest()
        log = self._check_log(known)
        files = [log.check, *self._check_files()]
        for file in files:
            if not file.ok:
                self._problems.append(f"{file.name}: {file.note}")
        pictures = _items_of(files, _VIDEO)
        announced, dropped = 0, 0
        if known is not None:
            self._compare(known, log, files)
            dropped = known.counters.get(bus_log.STREAM, StreamCounters()).dropped
        self._progress_of("images of detectors")
        runs = check_runs(self._folder, known)
        self._problems += runs.problems
        whole = not self._problems
        count = log.content
        if count is not None:
            announced = count.announced.total()
            self._tell_losses(count, dropped, announced - pictures)
            self._tell_pictures(count)
        if known is not None:
            self._tell_end(known)
        between = self._look_between(known, count)
        if runs.missing:
            self._problems.append(f"{runs.missing} images of detectors did not arrive, or could not be stored")
        lossless = count is not None and not self._problems
        unknown = dict(sorted(count.not_observable.items())) if count else {}
        return Verified(
            path=str(self._folder),
            state=self._state_of(known),
            whole=whole,
            lossless=lossless,
            verdict=_verdict(unknown, whole=whole, lossless=lossless),
            messages=count.messages if count else 0,
            pictures=pictures,
            images=runs.images,
            images_missing=runs.missing,
            pictures_missing=count.indexes.missing if count else 0,
            missing=count.numbers.missing if count else 0,
            missing_before=between.messages,
            dropped=dropped + max(0, announced - pictures),
            problems=self._problems,
            remarks=[*filter(None, [between.remark]), *(_remarks_of(count) if count else [])],
            files=files,
            gaps=[*between.gaps, *between.picture_gaps, *(count.numbers.gaps + count.indexes.gaps if count else [])][
                :MAX_GAPS
            ],
            numbered=count.numbers.topics if count else [],
            indexed=count.indexes.topics if count else [],
            not_observable=unknown,
            checked_epoch_us=epoch_us(),
            labwire=__version__,
        )

    def _read_manifest(self) -> Manifest | None:
        try:
            known = manifest.read_manifest(self._folder)
        except LabwireError as error:
            self._problems.append(f"{error.message}; {_REPAIR}")
            return None
        if known.state not in (manifest.COMPLETE, manifest.REPAIRED):
            self._problems.append(f"it was cut off; {_REPAIR}")
        return known

    @staticmethod
    def _state_of(known: Manifest | None) -> str:
        return known.state if known and known.state != manifest.RECORDING else manifest.BROKEN

    def _progress_of(self, step: str) -> Report:
        def progress(done_bytes: int, total_bytes: int) -> None:
            if self._cancelled():
                raise CancelledError(f"the check of {self._folder} was cancelled at {step}")
            self._report(RepairProgress(step, done_bytes, total_bytes))

        progress(0, 0)
        return progress

    def _check_log(self, known: Manifest | None) -> _Log:
        path, name = self._folder / bus_log.FILE_NAME, bus_log.FILE_NAME
        size_bytes = path.stat().st_size if path.exists() else 0
        progress = self._progress_of(name)
        try:
            with LogReader(path, progress) as log:
                start_ns = known.start_epoch_us * 1000 if known else 0
                count = LogCount(log, start_ns, pictures=_picture_topics(known), report=progress)
                wrong = log.check_crc(progress)
        except (ProtocolError, NotFoundError, OSError) as error:
            return _Log(FileCheck(name, "log", size_bytes, None, ok=False, note=str(error)), None)
        note = ""
        if not is_whole(path):
            note = "it has no whole index: it was cut off"
        if count.went_back:
            note = f"{count.went_back} messages lie before the one before them"
        if wrong:
            note = f"{wrong} stretches have another checksum than was written: the disk has changed them"
        return _Log(FileCheck(name, "log", size_bytes, count.messages, not note, note), count)

    def _check_files(self) -> list[FileCheck]:
        checks: list[FileCheck] = []
        own = {bus_log.FILE_NAME, verified_file.FILE_NAME}
        for path in sorted(self._folder.rglob("*")):
            if path.name in own or not path.is_file() or path.is_symlink():
                continue
            check = check_file(self._folder, path, self._progress_of(path.name))
            if check is not None:
                checks.append(check)
        return checks

    def _compare(self, known: Manifest, log: _Log, files: list[FileCheck]) -> None:
        """Hold what was counted while recording against what is there."""
        for stream, described in known.streams.items():
            if described.host:
                self._problems.append(f"{stream}: its files are on {described.host}, check them there")
                continue
            for name in described.files:
                if not (self._folder / name).exists():
                    self._problems.append(f"{name}, which {stream} wrote, is missing")
        there = {
            bus_log.STREAM: log.content.messages if log.content else 0,
            player_format.STREAM: _items_of(files, _DATA),
            video.STREAM: _items_of(files, _VIDEO),
        }
        for stream, found in there.items():
            counters = known.counters.get(stream)
            if counters is not None and known.state != manifest.RECORDING and counters.written != found:
                self._problems.append(f"{stream}: {counters.written} were written, {found} are there")

    def _look_between(self, known: Manifest | None, count: LogCount | None) -> Between:
        if known is None or count is None:
            return Between()
        between = look_between(self._folder, known, count, self._progress_of("the session before"))
        if between.text:
            self._problems.append(between.text)
        return between

    def _tell_end(self, known: Manifest) -> None:
        """Tell of what nobody can have recorded; the files may be whole all the same."""
        if known.ended == events.RIG_DIED:
            self._problems.append(
                f"the rig died {known.duration_s:.3f} s after the start: what would have come then is in no session"
            )
        elif known.state == manifest.REPAIRED and not known.ended:
            self._problems.append("it was cut off: what came in its last moment, and after it, is not in it")
        for failure in known.failed:
            self._problems.append(f"{failure.stream} did not take part, or not to the end: {failure.reason}")

    def _tell_losses(self, count: LogCount, dropped: int, pictures_missing: int) -> None:
        if count.numbers.missing:
            gaps = len(count.numbers.gaps)
            self._problems.append(f"{count.numbers.missing} numbered messages are missing, in {gaps} gaps")
        if dropped:
            self._problems.append(f"{dropped} messages came and could not be stored")
        if pictures_missing > 0:
            self._problems.append(f"{pictures_missing} pictures were announced and are in no video")

    def _tell_pictures(self, count: LogCount) -> None:
        """Tell what the indexes of pictures, and the cameras themselves, say of pictures that never came."""
        for row in count.indexes.topics:
            if row.missing:
                gaps = sum(gap.topic == row.topic for gap in count.indexes.gaps)
                self._problems.append(f"{row.missing} pictures of {row.topic} are missing by its index, in {gaps} gaps")
            if row.restarts:
                where = [one for one in count.indexes.restarts if one.topic == row.topic]
                shown = ", ".join(f"{one.from_s:.3f} and {one.at_s:.3f} s" for one in where[:_SHOWN_RESTARTS])
                more = f" and {row.restarts - _SHOWN_RESTARTS} more times" if row.restarts > _SHOWN_RESTARTS else ""
                self._problems.append(
                    f"{row.topic}: its index begins anew between {shown}{more}: what came there nobody knows"
                )
        self._problems += count.happenings.gaps


def _verdict(unknown: Collection[str], *, whole: bool, lossless: bool) -> str:
    if not whole:
        return "not whole"
    if not lossless:
        return "whole, but something is missing, or nobody knows whether it is"
    if not unknown:
        return "whole, and nothing is missing"
    kinds = sorted({topic.partition(".")[0] for topic in unknown})
    more = f" and {len(kinds) - _SHOWN_KINDS} more" if len(kinds) > _SHOWN_KINDS else ""
    return f"whole, and nothing that is numbered is missing; not numbered: {', '.join(kinds[:_SHOWN_KINDS])}{more}"


def _remarks_of(count: LogCount) -> list[str]:
    told = count.happenings
    return [*told.remarks, *([f"and {told.untold} more such messages"] if told.untold else [])]


def _items_of(files: list[FileCheck], kind: str) -> int:
    return sum(file.items or 0 for file in files if file.kind == kind)


def _picture_topics(known: Manifest | None) -> tuple[str, ...]:
    """Return the topics whose pictures became a video, as the manifest has them."""
    about = known.streams[video.STREAM].about if known and video.STREAM in known.streams else {}
    return tuple(about.get("topics", ())) or (("frame.",) if about else ())
