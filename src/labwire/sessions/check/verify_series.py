"""What is missing between a session and the one that it goes on from."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from labwire.errors import CancelledError, LabwireError
from labwire.operations.session_check import Gap
from labwire.sessions.check.verify_log import LogCount
from labwire.sessions.log.log_reader import LogReader
from labwire.sessions.log.mcap_scan import Report
from labwire.sessions.manifest import Manifest, read_manifest, uuid_of


class Between(NamedTuple):
    """Numbered messages that neither of two sessions has."""

    before: str = ""
    """Name and number of the session before; empty if there is none, or it is not here any more."""
    gaps: tuple[Gap, ...] = ()
    """Times are those of the later session: before its start they are negative."""

    restarted: tuple[str, ...] = ()
    """Emitters that began to count anew in between."""
    picture_gaps: tuple[Gap, ...] = ()
    """Pictures that neither has, by their index."""
    apart_s: float = 0.0
    """Seconds from the last message of a session that was cut off to the first of this one; else 0."""

    @property
    def messages(self) -> int:
        """How many are known to be missing."""
        return sum(gap.messages for gap in self.gaps)

    @property
    def text(self) -> str:
        """Tell it; empty if nothing is missing."""
        said: list[str] = []
        if self.gaps:
            said.append(f"{self.messages} numbered messages came behind its end and before the start of this one")
        if self.restarted:
            who = ", ".join(self.restarted)
            said.append(f"how far {who} had counted there nobody knows: the numbers begin anew in between")
        said += [f"{gap.messages} pictures of {gap.topic} came in between" for gap in self.picture_gaps]
        return f"this session goes on from {self.before}: {'; '.join(said)}" if said else ""

    @property
    def remark(self) -> str:
        """Tell how long no message was recorded, numbered or not; empty if there was no such time."""
        if not self.before or self.apart_s <= 0:
            return ""
        return f"the last message of {self.before} came {self.apart_s:.3f} s before the first one of this session"


def look_between(folder: Path, known: Manifest, count: LogCount, report: Report) -> Between:
    """Hold a session against the one before it, which stands beside it.

    Args:
        folder: Of the session.
        known: Its manifest.
        count: What is in its log.
        report: Hears of progress; may raise to end the work.
    """
    before = _find(folder, known.follows) if known.follows else None
    if before is None:
        return Between()
    try:
        with LogReader.open(before) as log:
            start_ns = read_manifest(before).start_epoch_us * 1000
            then = LogCount(log, start_ns, pictures=(), report=report)
    except CancelledError:
        raise
    except (LabwireError, OSError):  # a check of that session tells
        return Between()
    name = f"{before.parent.name}/{before.name}"
    cut_off = known.segment == 0 and count.messages and then.messages
    apart_s = (count.first_ns - then.last_ns) / 1e9 if cut_off else 0.0
    return Between(
        name,
        tuple(count.numbers.gaps_since(then.numbers)),
        tuple(count.numbers.restarted_since(then.numbers)),
        tuple(gap for gap in count.indexes.gaps_since(then.indexes) if gap.first),
        apart_s,
    )


def _find(folder: Path, uuid: str) -> Path | None:
    others = sorted((one for one in folder.absolute().parent.iterdir() if one.is_dir()), reverse=True)
    return next((one for one in others if one.name != folder.absolute().name and uuid_of(one) == uuid), None)
