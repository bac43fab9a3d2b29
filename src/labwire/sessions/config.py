"""What a rig file may say about recording."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from labwire.strict import Strict

_Bytes = Annotated[int, Meta(ge=0)]
_Count = Annotated[int, Meta(ge=1)]


class RetentionConfig(Strict):
    """Which sessions may be removed: the ``[recorder.retention]`` table of a rig file.

    A session goes if one of the limits says so; never one that was not verified, or in which something was wrong.
    """

    max_age_days: Annotated[float, Meta(ge=0.0)] = 0.0
    """Sessions that began longer ago may go; 0 is no limit."""
    max_bytes: _Bytes = 0
    """While all sessions together are larger, the oldest goes; 0 is no limit."""
    keep: Annotated[int, Meta(ge=0)] = 1
    """So many of the newest stay, whatever the limits say."""
    automatic: bool = False
    """Check each session once it has ended, and then remove what may go; in a process that gives way to all others."""

    @property
    def limits_something(self) -> bool:
        """Whether there is a limit at all."""
        return self.max_age_days > 0 or self.max_bytes > 0


class RecorderConfig(Strict):
    """How sessions are recorded: the ``[recorder]`` table of a rig file."""

    root: str = "recordings"
    """Folder that holds the sessions, one folder each: ``<root>/<name>/NNN``."""
    topics: tuple[str, ...] = ("",)
    """Prefixes of the topics to record; the empty prefix means all."""
    exclude: tuple[str, ...] = ()
    """Prefixes of topics to leave out; they win over `topics`."""
    pictures: tuple[str, ...] = ("frame.",)
    """Prefixes of the topics whose pictures become a video."""
    raw_in_log: bool = False
    """Keep the raw part of a picture in the log as well, not only in the video."""
    player_folder: bool = True
    """Write the files that Pupil Player opens beside the log."""
    flush_s: Annotated[float, Meta(ge=0.01, le=1.0)] = 0.2
    """A message is with the operating system at most this many seconds after it came: what a crash can cost."""
    sync_s: Annotated[float, Meta(ge=0.0)] = 5.0
    """How often the log is forced to the disk itself: what a power failure can cost. 0 leaves it to the system."""
    queue_messages: _Count = 200_000
    """Messages that may wait for the disk; more are refused and counted as lost."""
    queue_bytes: Annotated[int, Meta(ge=1 << 20)] = 256 << 20
    """Bytes that may wait for the disk; more are refused and counted as lost."""
    picture_queue_bytes: Annotated[int, Meta(ge=1 << 20)] = 128 << 20
    """Bytes of pictures that may wait for the video; the raw parts of more stay in the log instead."""
    segment_s: Annotated[float, Meta(ge=0.0)] = 0.0
    """After so many seconds a session is closed and the next one of the series begun, without a message in between
    being lost: for recordings of days. 0 never does."""
    disk_warn_bytes: _Bytes = 5_000_000_000
    """Below this much free space a warning is published."""
    disk_stop_bytes: _Bytes = 1_000_000_000
    """Below this much free space no session starts, and a running one is stopped cleanly."""
    retention: RetentionConfig = RetentionConfig()
