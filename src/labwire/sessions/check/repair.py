"""Make a session whole that a crash cut off: the log, the Player's files, the videos, the manifest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from labwire.errors import CancelledError, LabwireError, NotFoundError, StateError
from labwire.file_lock import is_locked
from labwire.operations.recordable import StreamCounters, StreamDescription
from labwire.operations.recording import Repaired, RepairProgress
from labwire.sessions import manifest
from labwire.sessions.ballast import drop_ballast
from labwire.sessions.check.jsonl_repair import count_lines, is_whole_jsonl, repair_jsonl
from labwire.sessions.check.manifest_repair import clock_changes_from_log, manifest_from_log
from labwire.sessions.files import TEMPORARY, replace_file
from labwire.sessions.log import bus_log
from labwire.sessions.log.mcap_repair import is_whole, repair_log
from labwire.sessions.log.mcap_scan import LogScan
from labwire.sessions.manifest import Manifest
from labwire.sessions.pictures import video
from labwire.sessions.pictures.video_repair import is_finished, repair_video
from labwire.sessions.player import player_format
from labwire.sessions.player.pldata_repair import repair_pldata
from labwire.sessions.player.timestamps import SUFFIX as TIMESTAMPS_SUFFIX
from labwire.sessions.player.timestamps import header_count
from labwire.sessions.reading.image_runs import folders_of_writers


def repair_session(
    folder: Path,
    *,
    report: Callable[[RepairProgress], None] = lambda progress: None,
    cancelled: Callable[[], bool] = lambda: False,
    repair_images: Callable[[Path], list[str]] = lambda folder: [],
) -> Repaired:
    """Make a session whole in place. Nothing that is whole is changed, so doing it twice does no harm.

    Args:
        folder: Of the session.
        report: Hears of progress.
        cancelled: Asked between steps and within long ones.
        repair_images: Finishes what writers left under way in a folder of images, and tells of each file. That it
            fails is told, too.

    Raises:
        NotFoundError: The folder is no session.
        StateError: It is still being recorded.
        ProtocolError: A file is not what its name says; what was mended before stays mended.
        CancelledError: `cancelled` said so; another repair finishes the work.
        OSError: The disk fails; another repair finishes the work.
    """
    log_path = folder / bus_log.FILE_NAME
    if not log_path.exists() and not (folder / manifest.FILE_NAME).exists():
        raise NotFoundError(f"{folder} is not a session", path=str(folder))
    if is_locked(log_path):
        raise StateError(f"{folder} is still being recorded: stop the recording before repairing it", path=str(folder))
    repaired = _Repair(folder, report, cancelled).run()
    changes = list(repaired.changes)
    for place in folders_of_writers(manifest.read_manifest(folder)):
        try:
            changes += repair_images(place)
        except (LabwireError, OSError) as error:  # the session itself is whole
            changes.append(f"images in {place} could not be looked at: {error}")
    return msgspec.structs.replace(repaired, changes=changes)


class _Repair:
    def __init__(self, folder: Path, report: Callable[[RepairProgress], None], cancelled: Callable[[], bool]) -> None:
        self._folder, self._report, self._cancelled = folder, report, cancelled
        self._log_path = folder / bus_log.FILE_NAME
        self._changes: list[str] = []
        self._counts: dict[str, int] = {}

    def run(self) -> Repaired:
        try:
            known = manifest.read_manifest(self._folder)
        except LabwireError:
            known = None
        if known is not None and known.state in (manifest.COMPLETE, manifest.REPAIRED) and self._looks_whole(known):
            log = known.counters.get(bus_log.STREAM, StreamCounters())
            return Repaired(str(self._folder), [], log.written)
        scan = self._repair_log()
        session = self._restore_manifest(known, scan)
        self._repair_player(session)
        self._repair_videos(session)
        self._repair_lines(session)
        self._remove_leftovers()
        self._finish_manifest(session)
        return Repaired(str(self._folder), self._changes, self._counts[bus_log.STREAM])

    def _looks_whole(self, known: Manifest) -> bool:
        data = self._files("*.pldata")
        info = self._folder / player_format.INFO_FILE
        return (
            is_whole(self._log_path)
            and all(header_count(path.with_name(path.stem + TIMESTAMPS_SUFFIX)) is not None for path in data)
            and (not data or player_format.recorded_duration_s(info) is not None)
            and all(is_finished(path) for path in self._files("*.mp4"))
            and all(is_whole_jsonl(path) for path in self._files("*.jsonl") if path.name in _files_of(known))
            and not self._files(f"*{TEMPORARY}")
        )

    def _files(self, pattern: str) -> list[Path]:
        return sorted(path for path in self._folder.glob(pattern) if path.is_file() and not path.is_symlink())

    def _progress_of(self, step: str) -> Callable[[int, int], None]:
        def progress(done_bytes: int, total_bytes: int) -> None:
            if self._cancelled():
                raise CancelledError(f"the repair of {self._folder} was cancelled at {step}; another one finishes it")
            self._report(RepairProgress(step, done_bytes, total_bytes))

        progress(0, 0)
        return progress

    def _repair_log(self) -> LogScan:
        whole = is_whole(self._log_path)
        if not self._log_path.exists():
            self._log_path.touch()
            self._changes.append(f"{bus_log.FILE_NAME} was missing: an empty log stands there now")
        scan = repair_log(self._log_path, self._progress_of(bus_log.FILE_NAME))
        self._counts[bus_log.STREAM] = bus_log.count_messages(scan.channels)
        if not whole:
            cut = f"cut {scan.torn_bytes} torn bytes, " if scan.torn_bytes else ""
            self._changes.append(
                f"{bus_log.FILE_NAME}: {cut}wrote the index of {self._counts[bus_log.STREAM]} messages"
            )
        return scan

    def _restore_manifest(self, known: Manifest | None, scan: LogScan) -> Manifest:
        """Return what is known of the session from its manifest and its log."""
        if known is None:
            known = manifest_from_log(scan.notes, self._folder)
            self._changes.append(f"{manifest.FILE_NAME} was missing or broken: wrote it from the log")
        duration_s = known.duration_s
        if scan.last_log_time_ns is not None:
            duration_s = max(duration_s, (scan.last_log_time_ns - known.start_epoch_us * 1000) / 1e9)
        changes = clock_changes_from_log(scan.notes)
        if len(changes) < len(known.clock_changes):
            changes = known.clock_changes
        return msgspec.structs.replace(known, duration_s=duration_s, clock_changes=changes)

    def _repair_player(self, session: Manifest) -> None:
        data = self._files("*.pldata")
        info = self._folder / player_format.INFO_FILE
        if not data and not info.exists():
            return
        for path in data:
            done = repair_pldata(path, self._progress_of(path.name))
            self._counts[player_format.STREAM] = self._counts.get(player_format.STREAM, 0) + done.count
            if done.wrote_timestamps:
                cut = f"cut {done.torn_bytes} torn bytes, " if done.torn_bytes else ""
                self._changes.append(f"{path.name}: {cut}wrote the timestamps of {done.count} data")
        if player_format.recorded_duration_s(info) != session.duration_s:
            replace_file(info, player_format.encode_info(session.start, session.duration_s))
            self._changes.append(f"{info.name}: wrote the duration, {session.duration_s:.3f} s")

    def _repair_videos(self, session: Manifest) -> None:
        for path in self._files("*.mp4"):
            self._progress_of(path.name)
            done = repair_video(path, session.start_rig_time_s)
            if done is None:
                continue
            self._counts[video.STREAM] = self._counts.get(video.STREAM, 0) + done.count
            if not done.count:
                self._changes.append(f"{path.name}: removed, it had no whole picture")
            elif done.wrote_index or done.wrote_timestamps:
                cut = f"cut {done.torn_bytes} torn bytes, " if done.torn_bytes else ""
                self._changes.append(f"{path.name}: {cut}wrote index and timestamps of {done.count} pictures")

    def _repair_lines(self, session: Manifest) -> None:
        """Mend what others have recorded as JSON Lines: the instruments, for instance."""
        streams = _files_of(session)
        for path in self._files("*.jsonl"):
            if path.name not in streams:
                continue
            self._progress_of(path.name)
            torn_bytes = repair_jsonl(path)
            if torn_bytes is not None:
                done = f"cut {torn_bytes} torn bytes" if torn_bytes else "ended its last line"
                self._changes.append(f"{path.name}: {done}")
            stream = streams[path.name]
            self._counts[stream] = self._counts.get(stream, 0) + count_lines(path)

    def _remove_leftovers(self) -> None:
        for path in self._files(f"*{TEMPORARY}"):
            path.unlink()
            self._changes.append(f"{path.name}: removed, it was never finished")
        drop_ballast(self._folder)

    def _finish_manifest(self, session: Manifest) -> None:
        counters = dict(session.counters)
        for stream, count in self._counts.items():
            old = counters.get(stream, StreamCounters())
            received = max(old.received, count + old.dropped)
            counters[stream] = msgspec.structs.replace(old, written=count, received=received)
        if self._changes or session.state not in (manifest.COMPLETE, manifest.REPAIRED):
            repaired = msgspec.structs.replace(
                session,
                state=manifest.REPAIRED,
                counters=counters,
                repairs=[*session.repairs, *self._changes],
                streams=self._streams_with_all_files(session),
            )
            manifest.write_manifest(self._folder, repaired)

    def _streams_with_all_files(self, session: Manifest) -> dict[str, StreamDescription]:
        """Add the files that were begun after the manifest was written last."""
        videos = [(path.name, path.stem + TIMESTAMPS_SUFFIX) for path in self._files("*.mp4")]
        found = {
            player_format.STREAM: [path.name for path in self._files("*.pldata")],
            video.STREAM: [name for names in videos for name in names],
        }
        streams = dict(session.streams)
        for stream in found.keys() & streams.keys():
            known = streams[stream].files
            more = [name for name in found[stream] if name not in known]
            streams[stream] = msgspec.structs.replace(streams[stream], files=[*known, *more])
        return streams


def _files_of(session: Manifest) -> dict[str, str]:
    """Return the files that streams of a session have on this computer, with the names of their streams."""
    return {name: stream for stream, about in session.streams.items() if not about.host for name in about.files}
