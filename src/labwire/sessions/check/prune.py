"""Remove old sessions by a rule: never one that was not verified, never the newest ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from labwire.errors import DeviceError, UsageError
from labwire.operations.recording import SessionSummary
from labwire.operations.session_check import Pruned
from labwire.sessions import manifest, verified_file
from labwire.sessions.config import RetentionConfig
from labwire.sessions.folder import PRUNED_SUFFIX, list_sessions

_DAY_US = 86_400_000_000


def prune_sessions(
    root: Path, rule: RetentionConfig, *, now_epoch_us: int, dry_run: bool = False, on_session: Callable[[Pruned], None]
) -> None:
    """Remove the sessions below a root that the rule lets go, oldest first.

    Touched are only sessions that are not being recorded, and whose last check found every file whole and unchanged
    since.

    Args:
        root: Of all recordings.
        rule: What may go.
        now_epoch_us: Now, microseconds since 1970.
        dry_run: Remove nothing, only say what would go.
        on_session: Hears of each session that a limit concerns.

    Raises:
        UsageError: The rule has no limit.
        DeviceError: A session cannot be removed.
    """
    if not rule.limits_something:
        raise UsageError("the rule has no limit: say how old or how large the sessions may become")
    if not dry_run:
        _sweep(root)
    for summary, why in choose(list_sessions(root), rule, now_epoch_us):
        protected = why_protected(summary)
        if not (protected or dry_run):
            remove_session(Path(summary.path))
        on_session(
            Pruned(
                summary.name,
                summary.path,
                summary.size_bytes,
                summary.start_epoch_us,
                removed=not protected,
                why=protected or why,
            )
        )


def choose(
    sessions: Iterable[SessionSummary], rule: RetentionConfig, now_epoch_us: int
) -> Iterator[tuple[SessionSummary, str]]:
    """Yield the sessions that a limit concerns, oldest first, and which one."""
    newest_first = sorted(sessions, key=lambda summary: summary.start_epoch_us, reverse=True)
    total_bytes = sum(summary.size_bytes for summary in newest_first)
    for summary in reversed(newest_first[max(0, rule.keep) :]):
        age_days = (now_epoch_us - summary.start_epoch_us) / _DAY_US
        if rule.max_age_days and age_days > rule.max_age_days:
            why = f"{age_days:.1f} days old, the limit is {rule.max_age_days:g}"
        elif rule.max_bytes and total_bytes > rule.max_bytes:
            why = f"{total_bytes / 1e9:.3f} GB in all sessions, the limit is {rule.max_bytes / 1e9:.3f}"
        else:
            continue
        yield summary, why
        if not why_protected(summary):
            total_bytes -= summary.size_bytes


def why_protected(summary: SessionSummary) -> str:
    """Return why a session must not be removed; empty if it may be."""
    if summary.state not in (manifest.COMPLETE, manifest.REPAIRED):
        return f"kept: it is {summary.state}"
    verified = verified_file.read(Path(summary.path))
    if verified is None:
        return "kept: it was never verified, or has changed since"
    return "" if verified.whole else "kept: its check found something wrong"


def remove_session(folder: Path) -> None:
    """Remove a session's folder; what an interruption leaves is no session any more, and the next `prune` sweeps it.

    Raises:
        DeviceError: It cannot be removed.
    """
    condemned = folder.with_name(folder.name + PRUNED_SUFFIX)
    try:
        folder.rename(condemned)
        shutil.rmtree(condemned)
    except OSError as error:
        raise DeviceError(f"cannot remove {folder}: {error.strerror}", path=str(folder)) from error


def _sweep(root: Path) -> None:
    for condemned in root.rglob(f"*{PRUNED_SUFFIX}"):
        if condemned.is_dir() and not condemned.is_symlink():
            shutil.rmtree(condemned, ignore_errors=True)
