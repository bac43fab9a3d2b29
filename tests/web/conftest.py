"""Rigs with a dashboard."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labwire.testing import wait_until
from labwire.testing.rig import EYES, RunningRig, running_rig

RIG = (
    EYES
    + """
[instruments.web_DMM1]
driver = "simulated_multimeter"
queue = "socket"

[instruments.web_SLOW1]
driver = "simulated_slow"
queue = "socket"
"""
)


@pytest.fixture(scope="session", autouse=True)
def _needs_the_extra() -> None:
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")


@pytest.fixture(scope="module")
def web_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRig]:
    """A rig with eyes, recorder, two instruments and the dashboard, for all tests of a module."""
    with running_rig(tmp_path_factory.mktemp("web"), RIG, web=True) as rig:
        with rig.connect() as client:  # a worker that starts later would count as left behind by the first test
            wait_until(lambda: {status.state for status in client.instruments.list()} == {"ready"}, limit_s=40.0)
        yield rig


@pytest.fixture
def url(web_rig: RunningRig) -> str:
    """Where its dashboard is."""
    assert web_rig.ready.web, web_rig.stderr
    return web_rig.ready.web
