"""What every test gets: leak checks, the printed seed, counts for soak runs, hypothesis profiles."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.leaks import Snapshot, end_what_is_left, mark_children

pytest_plugins = ["tests.rig_fixture"]

_SOAK = os.environ.get("LABWIRE_SOAK", "") not in {"", "0"}
_SEED = int(os.environ.get("LABWIRE_SEED") or random.SystemRandom().randrange(2**32))
_SOAK_TIMEOUT_S = 1800
_LEFT_BEHIND = 6  # an exit code that is not pytest's: no test that is tried again may hide what was left

# No deadline: a loaded machine is not a bug, and no test asserts a time.
settings.register_profile("ci", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("soak", settings.get_profile("ci"), max_examples=5_000)
settings.load_profile("soak" if _SOAK else "ci")


_guard = pytest.StashKey[subprocess.Popen[bytes]]()


def pytest_configure(config: pytest.Config) -> None:
    """Mark every process that the tests will start, so that a leaked one can be told from other people's."""
    config.stash[_guard] = mark_children()


@pytest.hookimpl(trylast=True)  # after -x, fixtures of modules and of the session end only at the end of the run
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if a process that it started is left, of a module's or the session's fixture for instance."""
    if left := end_what_is_left():
        print("\nleft behind by this run, and ended by force:\n  " + "\n  ".join(left))
        session.exitstatus = _LEFT_BEHIND


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let the guard go, which ends what is left when the run itself is killed."""
    config.stash[_guard].communicate()


def pytest_report_header() -> str:
    """Show how to repeat this run."""
    return f"labwire: LABWIRE_SEED={_SEED}{' LABWIRE_SOAK=1' if _SOAK else ''}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip soak tests in a normal run; in a soak run give every test the time that long counts need."""
    for item in items:
        if not _SOAK and item.get_closest_marker("soak"):
            item.add_marker(pytest.mark.skip(reason="long counts: scripts/test --soak"))
        if _SOAK and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(_SOAK_TIMEOUT_S))


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Fail a test that leaves a thread, process, socket or shared-memory segment behind."""
    before = Snapshot.take()
    yield
    if leaked := before.wait_for_leaks_to_end():
        pytest.fail("left behind by this test:\n  " + "\n  ".join(leaked), pytrace=False)


@pytest.fixture
def seed() -> int:
    """Seed of this run, from LABWIRE_SEED or random; pytest prints it with a failure."""
    print(f"repeat with LABWIRE_SEED={_SEED}")
    return _SEED


@pytest.fixture
def soak() -> Callable[[int, int], int]:
    """``soak(1_000, 100_000)`` is the first count in a normal run and the second under ``scripts/test --soak``."""
    return lambda normal, long: long if _SOAK else normal
