"""Whatever fits the OpenAPI, and whatever does not, gets an answer that the OpenAPI foresees."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from labwire.testing.rig import EYES, running_rig

# 400: an operation knows more of names and ranges than a schema can say. 502 to 507: the rig could not, and says why.
SETTINGS = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "4xx", 501, 502, 503, 504, 507]

[checks.positive_data_acceptance]
expected-statuses = ["2xx", 400, 401, 403, 404, 409, 413, 422, 429, 499, 501, 502, 503, 504, 507]
"""


RIG = (
    EYES
    + """
[instruments.fuzz_DMM1]
driver = "simulated_multimeter"
queue = "socket"
"""
)


@pytest.mark.timeout(240)
def test_schemathesis_finds_nothing(tmp_path: Path, seed: int, soak: Callable[[int, int], int]) -> None:
    pytest.importorskip("schemathesis")
    with running_rig(tmp_path, RIG, web=True) as rig:  # its own: workers may be restarted
        ask_everything(rig.ready.web, tmp_path, seed, soak(3, 20))


def ask_everything(url: str, tmp_path: Path, seed: int, examples: int) -> None:
    command = shutil.which("schemathesis", path=str(Path(sys.executable).parent)) or "schemathesis"
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)
    done = subprocess.run(
        [
            command,
            *("--config-file", str(tmp_path / "schemathesis.toml"), "run", f"{url}/openapi.json"),
            *("--max-examples", str(examples), "--seed", str(seed), "--request-timeout", "20"),
            # Actors that are stopped, and parts that are taken away, would be missing for the rest.
            *("--exclude-path-regex", "^/api/(actors/(stop|restart)|rig/.*)$", "--warnings", "off", "--no-color"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
