"""A rig for a user's tests: it runs, a client connects, and a rig that does not start says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from labwire.testing import running_rig

MODULE = """
from labwire import Actor

class Echo(Actor):
    def on_notify(self, notification):
        if notification["subject"] == "shout":
            self.emit("echo", {"word": notification["word"]})
"""


def test_an_actor_of_ones_own_in_a_real_rig(tmp_path: Path) -> None:
    (tmp_path / "my_echo.py").write_text(MODULE)
    with (
        running_rig(tmp_path, '[actors.echo]\nclass = "my_echo:Echo"\n') as rig,
        rig.connect() as client,
        client.subscribe("echo") as echoes,
    ):
        client.notify("shout", word="hello")
        assert echoes.recv(timeout_s=10).payload["word"] == "hello"


def test_a_rig_that_does_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="did you mean"), running_rig(tmp_path, "nane = 1\n"):
        pass
