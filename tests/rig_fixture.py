"""Fixtures: a real rig for a test or a module. The rig itself is in the test kit, for users as well."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from labwire.testing.rig import EYES, RunningRig, environment, run_labwire, running_rig

__all__ = ["EYES", "RunningRig", "environment", "rig", "run_labwire", "running_rig", "shared_rig"]


@pytest.fixture
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningRig]:
    """A rig that runs; ``@pytest.mark.parametrize("rig", [TOML], indirect=True)`` gives it another rig file."""
    with running_rig(tmp_path, getattr(request, "param", EYES)) as running:
        yield running


@pytest.fixture(scope="module")
def shared_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRig]:
    """A rig that all tests of a module share: for tests that leave no trace in it."""
    with running_rig(tmp_path_factory.mktemp("rig")) as running:
        yield running
