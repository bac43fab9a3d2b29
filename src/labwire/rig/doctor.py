"""What would keep a rig from running well on this computer: a table of checks, each a few findings with advice."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from labwire.bus.ports import PortOwner
from labwire.operations.bus import BusStats
from labwire.operations.rig import RigStatus
from labwire.rig import doctor_disk, doctor_machine, doctor_packages
from labwire.rig.finding import Finding, fail, ok, warn
from labwire.rig.rig_config import RigConfig
from labwire.sources.config import LslConfig
from labwire.version import __version__

_HELD_BY_PUPIL = ("pupil", "capture")


class Scene(msgspec.Struct, frozen=True):
    """What is looked at."""

    config: RigConfig
    """The rig that runs or would run."""
    owners: dict[int, PortOwner | None] = {}
    """Who listens on the ports that the rig wants: None for one that somebody holds who cannot be known."""
    status: RigStatus | None = None
    """The rig that runs, if one does."""
    stats: BusStats | None = None
    recorder: dict[Any, Any] = {}
    """Its newest ``recorder.state``."""


class Section(msgspec.Struct, frozen=True):
    """The findings of one check."""

    title: str
    findings: list[Finding]


def check_versions(scene: Scene) -> Iterator[Finding]:
    """Tell what runs here; what pip should know is checked against what is installed."""
    yield ok(f"labwire {__version__}, {platform.python_implementation()} {platform.python_version()}")
    yield from doctor_packages.check_zmq()
    if scene.status and scene.status.version != __version__:
        yield warn(
            f"the rig that runs is labwire {scene.status.version}, this command {__version__}",
            "restart the rig to have one version everywhere",
        )


def check_extras(scene: Scene) -> Iterator[Finding]:
    """Look for optional dependencies; one that the rig needs must be there."""
    needed = {"camera": bool(scene.config.cameras), "record": scene.config.recorder is not None}
    needed["images"] = bool(scene.config.writers)
    needed["lsl"] = any(isinstance(source, LslConfig) for source in scene.config.sources.values())
    needed["demo"] = any(camera.demo for camera in scene.config.cameras.values())
    yield from doctor_packages.check_extras({extra for extra, is_needed in needed.items() if is_needed})


def check_ports(scene: Scene) -> Iterator[Finding]:
    """Tell who holds the ports that the rig wants."""
    if scene.status:
        yield ok(f'rig "{scene.status.name}" (pid {scene.status.pid}) answers at {scene.status.remote}')
        return
    for port, option in wanted_ports(scene.config).items():
        if port not in scene.owners:
            yield ok(f"port {port} is free")
            continue
        owner = scene.owners[port]
        who = str(owner) if owner else "a program of somebody else"
        pupil = owner and any(word in owner.command.casefold() for word in _HELD_BY_PUPIL)
        yield fail(
            f"port {port} is taken by {who}" + (", which looks like Pupil Core" if pupil else ""),
            f"stop it, or choose another port with {option} (0 takes any free one)",
        )


def wanted_ports(config: RigConfig) -> dict[int, str]:
    """Return the fixed ports of a rig, each with the option that sets it."""
    bus = config.bus
    ports = {
        config.remote.port: "--remote-port, or port under [remote]",
        bus.pub_port: "pub_port under [bus]",
        bus.sub_port: "sub_port under [bus]",
        bus.push_port: "push_port under [bus]",
        bus.rpc_port: "rpc_port under [bus]",
    }
    ports.pop(0, None)
    return ports


def check_actors(scene: Scene) -> Iterator[Finding]:
    """Look for actors that do not run."""
    if scene.status is None:
        yield ok("no rig runs")
        return
    idle = [actor for actor in scene.status.actors if actor.state not in {"running", "remote"}]
    for actor in idle:
        why = f": {actor.last_error}" if actor.last_error else ""
        yield warn(f"{actor.name} is {actor.state}{why}", f"the log has more: {scene.status.log_file}")
    if not idle:
        yield ok(f"all {len(scene.status.actors)} run")


def check_disk(scene: Scene) -> Iterator[Finding]:
    """Tell how long the disk lasts."""
    if scene.config.recorder is None:
        yield ok("this rig does not record")
        return
    yield from doctor_disk.check_disk(scene.config, scene.recorder, scene.stats)


def check_permissions(scene: Scene) -> Iterator[Finding]:
    """Look at devices and folders."""
    cameras = {camera.camera: name for name, camera in scene.config.cameras.items() if camera.camera is not None}
    yield from doctor_machine.check_cameras(cameras)
    yield from doctor_machine.check_serial_ports()
    yield from doctor_disk.check_folders(scene.config)


CHECKS: dict[str, Callable[[Scene], Iterator[Finding]]] = {
    "versions": check_versions,
    "extras": check_extras,
    "ports": check_ports,
    "actors": check_actors,
    "permissions": check_permissions,
    "limits": lambda scene: doctor_machine.check_limits(),
    "clock": lambda scene: doctor_machine.check_clock(),
    "disk": check_disk,
}
"""All checks, in the order in which they are told."""


def examine(scene: Scene) -> list[Section]:
    """Make all checks. A check that breaks is itself a finding."""
    sections: list[Section] = []
    for title, check in CHECKS.items():
        findings: list[Finding] = []
        try:
            findings.extend(check(scene))
        except Exception as error:
            findings.append(warn(f"could not be checked: {type(error).__name__}: {error}", "please report this"))
        sections.append(Section(title, findings))
    return sections
