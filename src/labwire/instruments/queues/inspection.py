"""Look at all queues of instruments on this machine, without taking a message out, and remove stale ones.

Boost queues are files in /dev/shm, read without their lock; POSIX queues are asked through the kernel. A socket pair
has no name: its server tells of it (`MessageQueue.state`). Source: instrument-ipc, "Inspect Queues".
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator

import msgspec

from labwire.errors import LabwireError, RefusedError
from labwire.instruments.queues.contract import QueueState
from labwire.instruments.queues.posix_mq import DEFAULT_MOUNT, look_at_posix, unlink_queue
from labwire.instruments.queues.shared_memory import FOLDER, look_at, remove_name
from labwire.instruments.queues.users import mapped_by, opened_by

_NAME = re.compile(r"instrument_[A-Za-z0-9][A-Za-z0-9_-]*_(req|resp)")


def queue_states(names: Iterable[str] = ()) -> list[QueueState]:
    """Look at queues.

    Args:
        names: Of the queues, such as ``instrument_DMM1_req``; none: all that can be found. POSIX queues that are not
            asked for by name are found only where ``/dev/mqueue`` is mounted.

    Returns:
        One state for each that exists, with `QueueState.used_by`; by name, Boost before POSIX. On another system than
        Linux there is none.
    """
    if sys.platform != "linux":
        return []
    wanted = sorted(set(names))
    return [*_boost_states(wanted), *_posix_states(wanted)]


def remove_stale(names: Iterable[str] = ()) -> list[str]:
    """Remove queues that no living process has open, as far as this user may see and remove them.

    Args:
        names: As for `queue_states`.

    Returns:
        Which were removed, as paths.
    """
    removed: list[str] = []
    for state in queue_states(names):
        if state.used_by:
            continue
        try:
            if remove_queue(state):
                removed.append(path_of(state))
        except RefusedError:  # another user's
            continue
    return removed


def remove_queue(state: QueueState) -> bool:
    """Remove a queue's name; processes that have it open keep it.

    Returns:
        False if it was gone already.

    Raises:
        RefusedError: It is another user's.
    """
    return unlink_queue(state.name) if state.kind == "posix" else remove_name(state.name)


def path_of(state: QueueState) -> str:
    """Return where a queue is."""
    return str((DEFAULT_MOUNT if state.kind == "posix" else FOLDER) / state.name)


def _boost_states(wanted: list[str]) -> Iterator[QueueState]:
    for name in wanted or sorted(filter(_NAME.fullmatch, _listed(str(FOLDER)))):
        state, identity = look_at(name)
        if identity is not None or (FOLDER / name).exists():
            yield msgspec.structs.replace(state, used_by=sorted(mapped_by(FOLDER / name)))


def _posix_states(wanted: list[str]) -> Iterator[QueueState]:
    there = sorted(filter(_NAME.fullmatch, _listed(str(DEFAULT_MOUNT))))
    for name in wanted or there:
        try:
            state = look_at_posix(name)
        except LabwireError as error:
            if name not in there and not isinstance(error, RefusedError):
                continue  # this system cannot tell
            state = QueueState(name, "posix", 0, None, note=error.message)
        if state is not None:
            yield msgspec.structs.replace(state, used_by=sorted(opened_by(f"/{name}")))


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # /dev/mqueue is not mounted everywhere
        return []
