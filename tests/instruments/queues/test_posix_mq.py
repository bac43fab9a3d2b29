"""POSIX queues: real ones in an IPC namespace with raised limits, where one can be made; errors that name limits."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from labwire.errors import NotFoundError, RefusedError, ResourceError
from labwire.instruments.queues import posix_mq
from labwire.instruments.queues.open import create_pair
from tests.instruments.queues.posix_checks import CHECKS, FOREIGN, is_above_limits, limits_are_named, the_whole_server
from tests.interop.peers import posix_peer

ROOT = Path(__file__).parents[3]
UNSHARE = ["unshare", "--ipc"] if os.geteuid() == 0 else ["unshare", "--ipc", "--map-root-user"]
_RAISE = "echo 100 > /proc/sys/fs/mqueue/msg_max && echo 16384 > /proc/sys/fs/mqueue/msgsize_max"


@cache
def why_not() -> str:
    try:
        done = subprocess.run([*UNSHARE, "sh", "-c", _RAISE], capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    return done.stderr.strip()


def depth_that_is_allowed() -> int:
    """Two queues of the spec's 100 messages, or what this user's memory for them allows."""
    limit, _ = resource.getrlimit(resource.RLIMIT_MSGQUEUE)
    return 100 if limit == resource.RLIM_INFINITY else min(100, limit // (2 * (8208 + 96)) - 1)


def run_check(check: Callable[[int], None], **environment: str) -> None:
    if reason := why_not():
        pytest.skip(f"no IPC namespace with raised limits can be made: {reason}")
    command = [*UNSHARE, sys.executable, "-m", "tests.instruments.queues.posix_checks", check.__name__]
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    done = subprocess.run(
        [*command, str(depth_that_is_allowed())],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_in_a_namespace(check: Callable[[int], None]) -> None:
    if check is limits_are_named and is_above_limits():
        pytest.skip("limits do not hold for a user with CAP_SYS_RESOURCE")
    if check is the_whole_server:
        pytest.importorskip("numpy")
    run_check(check)


@pytest.mark.parametrize("check", FOREIGN, ids=lambda check: check.__name__)
def test_against_a_program_in_c(check: Callable[[int], None]) -> None:
    run_check(check, POSIX_PEER=str(posix_peer()))


def test_what_the_limits_of_this_machine_forbid_is_told() -> None:
    limits = {name: int((posix_mq.LIMITS / name).read_text()) for name in ("msgsize_max", "msg_max")}
    if is_above_limits() or (limits["msgsize_max"] >= 8208 and limits["msg_max"] >= 100):
        pytest.skip(f"this machine allows them: {limits}")
    with pytest.raises(ResourceError, match=r"set it as root: sysctl fs\.mqueue\.") as caught:
        create_pair("posix", f"P{os.getpid()}")
    limits["RLIMIT_MSGQUEUE"], _ = resource.getrlimit(resource.RLIMIT_MSGQUEUE)
    needed = {"msgsize_max": 8208, "msg_max": 100, "RLIMIT_MSGQUEUE": 2 * 100 * (8208 + 96)}
    assert caught.value.data["limits"] == {
        name: least for name, least in needed.items() if 0 <= limits[name] < least
    }, "all of them at once"


@pytest.mark.parametrize(
    ("code", "error", "text"),
    [
        (errno.ENOENT, NotFoundError, "its creator has not started"),
        (errno.EACCES, RefusedError, "another user's"),
        (errno.EMFILE, ResourceError, "must be at least 1660800 for each instrument"),
        (errno.ENOSPC, ResourceError, "queues_max="),
        (errno.ENOSYS, ResourceError, "use kind boost or socket"),
        (errno.ENOMEM, ResourceError, "Cannot allocate memory"),
    ],
)
def test_each_refusal_of_the_system_has_its_words(code: int, error: type[Exception], text: str) -> None:
    made = posix_mq.open_error("instrument_DMM1_req", code, 8208)
    assert isinstance(made, error)
    assert text in str(made)
