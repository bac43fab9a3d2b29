"""A process that works apart from the server does not outlive it, however that ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

WORK = """
import time
from labwire.web.apart import give_way
give_way()
print("at work", flush=True)
time.sleep(1000)
"""
SERVER = """
import time
import msgspec
from labwire.web.apart import begin_apart
class Order(msgspec.Struct):
    pass
works = [begin_apart("long_work", Order()) for _ in range(2)]
print(*[work.stdout.readline() for work in works], flush=True)
time.sleep(1000)
"""


def test_it_ends_with_a_server_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "long_work.py").write_text(WORK)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline().count(b"at work") == 2
        server.kill()
        _, said = server.communicate(timeout=30)  # ends when nobody has standard error any more
    assert said == b""
