"""`instrument-server --config FILE`: the instruments of a rig and nothing else."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from labwire.cli.instrument_server import instruments_of
from labwire.client import connect
from labwire.errors import ConfigError
from tests.bus.fake_hub import LIMIT_S
from tests.rig_fixture import environment, run_labwire

RIG = """
name = "whole"

[sources.eyes]
kind = "simulated_eyes"

[recorder]

[actors.alarm]
class = "nowhere:Alarm"

[instruments.DMM1]
driver = "labwire.instruments.drivers.simulated:Multimeter"
queue = "socket"
"""
PROGRAM = "from labwire.cli.instrument_server import main; main()"


def test_it_runs_the_instruments_of_a_rig_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "rig.toml").write_text(RIG)
    command = [sys.executable, "-c", PROGRAM, "--config", "rig.toml", "--remote-port", "0", "--json"]
    env = {**environment(tmp_path), "INSTRUMENT_IPC_DEBUG": "1"}
    with subprocess.Popen(command, env=env, cwd=tmp_path, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            assert select.select([process.stdout], [], [], LIMIT_S)[0]
            ready = json.loads(process.stdout.readline())
            assert ready["actors"] == ["hub", "steward", "instruments"]
            port = int(ready["remote"].rpartition(":")[2])
            with connect(port=port, timeout_s=LIMIT_S) as rig, rig.subscribe("logging.info") as log:
                assert rig.instrument("DMM1").identify() == "labwire,Simulated multimeter,0,1"
                while "IDENTIFY" not in str(log.recv(LIMIT_S).payload.get("msg")):
                    pass  # the traffic is logged
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(LIMIT_S) == 0


def test_a_rig_without_instruments_is_told(tmp_path: Path) -> None:
    (tmp_path / "rig.toml").write_text('name = "bare"\n')
    with pytest.raises(ConfigError, match="has no instruments"):
        instruments_of(tmp_path / "rig.toml")
    with pytest.raises(ConfigError, match="there is no rig file"):
        instruments_of(tmp_path / "nowhere.toml")
    assert run_labwire("instruments", "--port", "1", env=environment(tmp_path), cwd=tmp_path).returncode != 0
