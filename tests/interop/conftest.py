"""A rig for foreign clients: it has what Pupil Core has, a world camera, two eyes and a recorder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import zmq

from tests.rig_fixture import EYES, RunningRig, running_rig

PUPIL_LIKE = f"""{EYES}
[cameras.world]
demo = true
"""


@pytest.fixture(scope="module")
def pupil_like_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRig]:
    """A rig that looks like Pupil Core to its clients, which come one after the other."""
    with running_rig(tmp_path_factory.mktemp("rig"), PUPIL_LIKE) as rig:
        yield rig


@pytest.fixture
def foreign_context() -> Iterator[None]:
    """End the process-wide ZeroMQ context that foreign clients use and never end."""
    yield
    zmq.Context.instance().destroy(linger=0)
