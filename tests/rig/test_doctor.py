"""The doctor's judgements, on computers that are made up."""

from __future__ import annotations

import importlib.metadata
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from labwire.bus.ports import PortOwner
from labwire.operations.actors import ActorStatus
from labwire.operations.bus import BusStats
from labwire.operations.rig import RigStatus
from labwire.rig import doctor
from labwire.rig.demo import demo_config
from labwire.rig.doctor import CHECKS, Scene, examine, wanted_ports
from labwire.rig.doctor_disk import Rate, check_folders, existing_parent, judge_disk, rate_of
from labwire.rig.doctor_machine import (
    Device,
    Ntp,
    check_cameras,
    check_clock,
    check_limits,
    judge_clocksource,
    judge_device,
    judge_files,
    judge_ntp,
    judge_queues,
    look_at,
)
from labwire.rig.doctor_packages import check_extras, check_zmq, extras_of
from labwire.rig.finding import Finding, Level
from labwire.rig.rig_file import parse_rig

GB = 10**9
STATUS = RigStatus(
    name="demo",
    version="0.1.0",
    pid=7,
    uptime_s=1.0,
    rig_time_s=1.0,
    remote="tcp://127.0.0.1:50020",
    pub_port=1,
    sub_port=2,
    push_port=3,
    rpc_port=4,
    log_file="/log",
    actors=[ActorStatus("eyes", "a:B", "running"), ActorStatus("world", "c:D", "stopped", last_error="no camera")],
)
STATS = BusStats(1.0, 100.0, 2e6, 1000, [], [], [], 0, 0)


def levels(findings: Iterator[Finding]) -> list[str]:
    return [finding.level.value for finding in findings]


def one(findings: Iterator[Finding]) -> Finding:
    (finding,) = findings
    return finding


def test_every_finding_that_is_not_fine_comes_with_advice() -> None:
    sections = examine(Scene(demo_config()))
    assert [section.title for section in sections] == list(CHECKS)
    for section in sections:
        assert section.findings
        for finding in section.findings:
            assert finding.text
            assert finding.advice or finding.level is Level.OK


def test_a_check_that_breaks_does_not_end_the_examination(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(scene: Scene) -> Iterator[Finding]:
        yield from ()
        raise OSError("no /proc")

    monkeypatch.setitem(CHECKS, "limits", broken)
    section = next(section for section in examine(Scene(demo_config())) if section.title == "limits")
    assert "no /proc" in one(iter(section.findings)).text
    assert section.findings[0].level is Level.WARN


# --- ports


def test_a_free_port_is_fine() -> None:
    assert levels(doctor.check_ports(Scene(demo_config()))) == ["ok"]


def test_a_taken_port_fails_and_names_its_owner_and_the_option() -> None:
    finding = one(doctor.check_ports(Scene(demo_config(), owners={50020: PortOwner(42, "nginx")})))
    assert finding.level is Level.FAIL
    assert "nginx (pid 42)" in finding.text
    assert "--remote-port" in finding.advice


def test_pupil_core_is_recognised() -> None:
    finding = one(doctor.check_ports(Scene(demo_config(), owners={50020: PortOwner(42, "/opt/pupil_capture/x")})))
    assert "Pupil Core" in finding.text


def test_an_owner_that_cannot_be_known() -> None:
    finding = one(doctor.check_ports(Scene(demo_config(), owners={50020: None})))
    assert "somebody else" in finding.text


def test_a_rig_that_answers_is_fine() -> None:
    finding = one(doctor.check_ports(Scene(demo_config(), owners={50020: None}, status=STATUS)))
    assert finding.level is Level.OK
    assert '"demo" (pid 7)' in finding.text


def test_only_fixed_ports_are_wanted() -> None:
    config = parse_rig("[remote]\nport = 0\n[bus]\nsub_port = 7001\n")
    assert wanted_ports(config) == {7001: "sub_port under [bus]"}


# --- versions, extras, actors


def test_an_old_libzmq_fails() -> None:
    assert levels(check_zmq((4, 1, 0))) == ["fail"]
    assert levels(check_zmq()) == ["ok"]


def test_a_rig_of_another_version_is_noticed() -> None:
    status = msgspec.structs.replace(STATUS, version="0.0.1")
    assert "warn" in levels(doctor.check_versions(Scene(demo_config(), status=status)))


REQUIREMENTS = [
    "pyzmq>=27",
    "numpy>=2; extra == 'camera'",
    'opencv-python-headless<5,>=4.12 ; extra == "camera"',
    "mcap>=1.3; extra == 'record'",
    "labwire[camera,record]; extra == 'demo'",
    "matplotlib>=3.9; extra == 'demo'",
    "labwire[camera,demo,record]; extra == 'all'",
]


def version_of(name: str) -> str:
    if name in {"mcap", "matplotlib"}:
        raise importlib.metadata.PackageNotFoundError(name)
    return "1.0"


def test_extras_are_read_from_the_requirements() -> None:
    found = extras_of(REQUIREMENTS)
    assert found["camera"] == ["numpy", "opencv-python-headless"]
    assert found["record"] == ["mcap"]
    assert sorted(found["demo"]) == ["matplotlib", "mcap", "numpy", "opencv-python-headless"]


def test_a_missing_extra_is_told_with_the_command_and_fails_if_needed() -> None:
    camera, record, demo = check_extras({"record"}, REQUIREMENTS, version_of)
    assert camera.level is Level.OK
    assert record.level is Level.FAIL
    assert record.advice == f"{shlex.quote(sys.executable)} -m pip install 'labwire[record]'"
    assert demo.level is Level.WARN
    assert "pip install 'labwire[demo]'" in demo.advice
    assert "matplotlib" in demo.text


def test_an_actor_that_does_not_run_is_named_with_its_reason() -> None:
    finding = one(doctor.check_actors(Scene(demo_config(), status=STATUS)))
    assert "world is stopped: no camera" in finding.text
    assert "/log" in finding.advice


# --- devices and folders


def test_a_device_without_permission_names_the_group() -> None:
    finding = judge_device(Device("/dev/video0", False, "video", False), needed=True)
    assert finding.level is Level.FAIL
    assert "usermod -aG video" in finding.advice
    assert judge_device(Device("/dev/ttyUSB0", False, "dialout", False), needed=False).level is Level.WARN


def test_a_new_member_is_told_to_log_in_again() -> None:
    finding = judge_device(Device("/dev/video0", False, "video", True), needed=True)
    assert "usermod" not in finding.advice
    assert "log out" in finding.advice


def test_a_camera_that_is_not_there_fails() -> None:
    assert "fail" in levels(check_cameras({255: "world"}))


def test_a_device_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "video0"
    path.touch()
    assert look_at(path).accessible
    assert not look_at(tmp_path / "video1").accessible


def test_folders_that_do_not_exist_yet_are_judged_by_what_does(tmp_path: Path) -> None:
    assert existing_parent(tmp_path / "a" / "b") == tmp_path
    config = parse_rig(f'[log]\nfolder = "{tmp_path}/new"\n[recorder]\nroot = "/dev/null/recordings"\n')
    log, recordings = check_folders(config)
    assert log.level is Level.OK
    assert recordings.level is Level.FAIL
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_fails(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert one(check_folders(parse_rig(f'[log]\nfolder = "{tmp_path}"\n'))).level is Level.FAIL


# --- limits and clock


@pytest.mark.parametrize(
    ("soft", "hard", "level"), [(20_000, 20_000, "ok"), (-1, -1, "ok"), (256, 4096, "warn"), (256, 256, "warn")]
)
def test_open_files(soft: int, hard: int, level: str) -> None:
    finding = judge_files(soft, hard)
    assert finding.level.value == level
    assert ("ulimit -n" in finding.advice) == (hard == 4096)


def test_message_queues() -> None:
    assert "too small" in judge_queues(8192, 819_200).text
    assert "too small" not in judge_queues(65_536, None).text
    assert "not on this system" in judge_queues(None, None).text


@pytest.mark.parametrize(
    ("ntp", "level", "word"),
    [(Ntp(True, 5000), "ok", "5 ms"), (Ntp(False, 0), "warn", "timedatectl"), (None, "warn", "cannot be known")],
)
def test_the_wall_clock(ntp: Ntp | None, level: str, word: str) -> None:
    finding = judge_ntp(ntp)
    assert finding.level.value == level
    assert word in finding.text + finding.advice


def test_the_clock_source() -> None:
    assert judge_clocksource("tsc").level is Level.OK
    assert judge_clocksource("hpet").level is Level.WARN


def test_this_computer_can_be_looked_at() -> None:
    assert levels(check_limits())
    assert levels(check_clock())


# --- disk


@pytest.mark.parametrize(
    ("free_bytes", "bytes_hz", "level", "words"),
    [
        (500 * GB, 1e6, "ok", "139 h"),
        (500 * GB, 0.0, "ok", "cannot be said"),
        (10 * GB, 3e6, "warn", "1 h"),
        (3 * GB, 1.0, "warn", ""),
        (GB // 2, 1e6, "fail", "no session starts"),
    ],
)
def test_hours_on_the_disk(free_bytes: int, bytes_hz: float, level: str, words: str) -> None:
    finding = judge_disk("/rec", free_bytes, Rate(bytes_hz, "measured"), GB, 5 * GB)
    assert finding.level.value == level
    assert words in finding.text


def test_the_rate_is_measured_if_it_can_be() -> None:
    config = demo_config()
    state = {"recording": True, "written_bytes": 10_000_000, "duration_s": 10.0}
    assert rate_of(config, state, STATS) == Rate(1e6, "as the present session grows")
    assert rate_of(config, {**state, "recording": False}, STATS).bytes_hz == 2e6
    guess = rate_of(config, {}, None)
    assert guess.bytes_hz > 1e6
    assert "guess" in guess.how


def test_foreign_nonsense_in_the_recorders_state_is_no_measurement() -> None:
    state = {"recording": True, "written_bytes": "many", "duration_s": None}
    assert rate_of(demo_config(), state, STATS).bytes_hz == 2e6


def test_a_rig_that_does_not_record_needs_no_disk() -> None:
    assert levels(doctor.check_disk(Scene(parse_rig('name = "bare"')))) == ["ok"]
