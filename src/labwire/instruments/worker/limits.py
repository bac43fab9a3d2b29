"""What a worker process may do and use: no new privileges, and the limits of the rig. Linux."""

from __future__ import annotations

import ctypes
import os
import resource

from labwire.errors import ResourceError
from labwire.instruments.config import LimitsConfig

_PR_SET_NO_NEW_PRIVS = 38
_MIB = 1 << 20
_CPU_GRACE_S = 5  # at the limit comes SIGXCPU, which tells what happened; SIGKILL only for who ignores it


def drop_privileges() -> None:
    """Make sure that neither this process nor what it starts ever gains privileges, by setuid programs for instance.

    *Source:* instrument-ipc, "Security Considerations": workers should run with limited privileges.

    Raises:
        ResourceError: The system refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise ResourceError(f"the system refuses no_new_privs: {os.strerror(number)}", errno=number)


def apply_limits(limits: LimitsConfig) -> None:
    """Limit what this process may use.

    Raises:
        ResourceError: A limit is above what this process may set; the message names both.
    """
    if limits.memory_mb is not None:
        _limit("memory_mb", resource.RLIMIT_AS, limits.memory_mb * _MIB)
    if limits.open_files is not None:
        _limit("open_files", resource.RLIMIT_NOFILE, limits.open_files)
    if limits.cpu_s is not None:
        _limit("cpu_s", resource.RLIMIT_CPU, limits.cpu_s, grace=_CPU_GRACE_S)


def _limit(name: str, which: int, value: int, grace: int = 0) -> None:
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY and value > hard:
        raise ResourceError(
            f"limits.{name}: {value} is above the system's own limit of {hard}; leave it out or lower it"
        )
    try:
        highest = value + grace if hard == resource.RLIM_INFINITY else min(value + grace, hard)
        resource.setrlimit(which, (value, highest))
    except (OSError, ValueError) as error:
        raise ResourceError(f"limits.{name}: the system refuses {value}: {error}") from error
