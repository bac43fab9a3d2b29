"""The doctor looks at the computer: devices and groups, limits, clock."""

from __future__ import annotations

import ctypes
import os
import pwd
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from labwire.rig.finding import Finding, fail, ok, warn

FEWEST_FILES = 1024
"""A rig with 200 peers on each of its ports; below, ZeroMQ refuses connections."""
FAST_CLOCKSOURCES = {"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page"}
"""Those that are read without asking the kernel."""
_QUEUE_MESSAGE_BYTES = 8208  # an instrument message: instrument-ipc, "IPCMessage"
_UNKNOWN = "cannot be known on this system"


class Device(NamedTuple):
    """A device file."""

    path: str
    accessible: bool
    group: str
    member: bool
    """The user is in the group, says the list of groups; this process may have begun before that."""


def check_cameras(wanted: Mapping[int, str]) -> Iterator[Finding]:
    """Look at the cameras.

    Args:
        wanted: Numbers of the cameras that the rig wants, each with its name in the rig.
    """
    there = {int(number): path for path in Path("/dev").glob("video*") if (number := path.name[5:]).isdigit()}
    for number, name in wanted.items():
        if number not in there:
            have = ", ".join(str(one) for one in sorted(there)) or "no camera at all"
            yield fail(
                f'camera {number} for "{name}" is not there: this computer has {have}',
                "plug it in, or give another number",
            )
    for number, path in sorted(there.items()):
        yield judge_device(look_at(path), needed=number in wanted)
    if not there and not wanted:
        yield ok("no camera is plugged in, and the rig wants none")


def check_serial_ports() -> Iterator[Finding]:
    """Look at the serial ports that are plugged in."""
    for pattern in ("ttyUSB*", "ttyACM*"):
        for path in sorted(Path("/dev").glob(pattern)):
            yield judge_device(look_at(path), needed=False)


def look_at(path: Path) -> Device:
    """Return what is known of a device file."""
    import grp

    try:
        entry = grp.getgrgid(path.stat().st_gid)
        name, members = entry.gr_name, entry.gr_mem
        member = _user() in members or entry.gr_gid == os.getgid()
    except (OSError, KeyError):
        name, member = "?", False
    return Device(str(path), os.access(path, os.R_OK | os.W_OK), name, member)


def judge_device(device: Device, *, needed: bool) -> Finding:
    """Return the finding for a device file."""
    if device.accessible:
        return ok(f"{device.path} can be used")
    text = f"{device.path} cannot be used: it is for members of the group {device.group}"
    if device.member:
        advice = "you are in it, but were not yet when you logged in: log out and in again"
    else:
        advice = f"sudo usermod -aG {device.group} {_user()}, then log out and in again"
    return fail(text, advice) if needed else warn(text, advice)


def check_limits() -> Iterator[Finding]:
    """Look at what the system allows one process."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield judge_files(soft, hard)
    yield judge_queues(_read_int("/proc/sys/fs/mqueue/msgsize_max"), _limit("RLIMIT_MSGQUEUE"))
    shm = Path("/dev/shm")  # noqa: S108 - looked at, not written to
    if shm.is_dir() and not os.access(shm, os.W_OK | os.X_OK):
        yield fail(f"{shm} cannot be written to: no shared memory for instruments", f"mount it with mode 1777: {shm}")


def judge_files(soft: int, hard: int) -> Finding:
    """Return the finding for the limit of open files; -1 means no limit."""
    if soft in {-1, hard} and soft < 0:
        return ok("open files: no limit")
    text = f"open files: {soft}"
    if soft >= FEWEST_FILES or soft < 0:
        return ok(text)
    advice = f"ulimit -n {FEWEST_FILES}" if hard < 0 or hard >= FEWEST_FILES else "raise nofile in limits.conf"
    return warn(f"{text}, few for a rig with many peers", advice)


def judge_queues(message_bytes: int | None, total_bytes: int | None) -> Finding:
    """Return the finding for POSIX message queues: only instruments with ``posix`` transport need them."""
    if message_bytes is None:
        return ok("POSIX message queues: not on this system; instruments use shared memory, which needs none")
    total = "no limit" if total_bytes is None or total_bytes < 0 else f"{total_bytes} bytes together"
    text = f"POSIX message queues: {message_bytes} bytes a message, {total}"
    if message_bytes >= _QUEUE_MESSAGE_BYTES:
        return ok(text)
    return ok(f"{text}; too small for instruments with posix transport, the usual transport needs none")


def check_clock() -> Iterator[Finding]:
    """Look at the clocks: is the wall clock kept right, is the monotonic clock cheap to read?"""
    yield judge_ntp(read_ntp())
    try:
        source = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource").read_text().strip()
    except OSError:
        return
    yield judge_clocksource(source)


class Ntp(NamedTuple):
    """What the kernel says of its wall clock."""

    synchronised: bool
    error_us: int
    """Largest error, as the kernel estimates it."""


def read_ntp() -> Ntp | None:
    """Ask the kernel; None where it cannot be asked. *Source:* adjtimex(2)."""
    if sys.platform != "linux":
        return None
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        buffer = _Timex()
        state = libc.adjtimex(ctypes.byref(buffer))
    except (OSError, AttributeError):
        return None
    if state < 0:
        return None
    return Ntp(state != _TIME_ERROR and not buffer.status & _STA_UNSYNC, buffer.maxerror)


def judge_ntp(ntp: Ntp | None) -> Finding:
    """Return the finding for the wall clock."""
    if ntp is None:
        return warn(f"whether the wall clock is kept right {_UNKNOWN}", "compare it with another clock")
    if ntp.synchronised:
        return ok(f"the wall clock is kept right over the network, to {ntp.error_us / 1000:.0f} ms at worst")
    return warn(
        "nobody keeps the wall clock right: dates in recordings may be wrong, and differ from other computers'",
        "timedatectl set-ntp true, or start chrony (in a container: on the host)",
    )


def judge_clocksource(source: str) -> Finding:
    """Return the finding for what the monotonic clock is read from."""
    if source in FAST_CLOCKSOURCES:
        return ok(f"the monotonic clock comes from {source}")
    return warn(
        f"the monotonic clock comes from {source}, which is slow to read", "see /sys/devices/system/clocksource"
    )


_TIME_ERROR, _STA_UNSYNC = 5, 0x0040


class _Timex(ctypes.Structure):
    # struct timex; what follows is not looked at, but the kernel writes it.
    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 32),
    )


def _read_int(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None


def _limit(name: str) -> int | None:
    import resource

    number = getattr(resource, name, None)
    return None if number is None else resource.getrlimit(number)[0]


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
