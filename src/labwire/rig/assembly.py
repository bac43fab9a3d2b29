"""From the rig file to the actors: which class runs under which name with which options."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from labwire.bus.actor_runner import ActorSpec, Wiring
from labwire.rig.rig_config import RigConfig, dump
from labwire.rig.web_door import WEB, WebDoor
from labwire.sources.config import LslConfig, PupilConfig, SimulatedEyesConfig

STEWARD = "steward"
RECORDER = "recorder"
INSTRUMENTS = "instruments"
TIME_SYNC = "time_sync"
ALERTS = "alerts"
DISCOVERY = "discovery"
SOURCE_ACTORS: Mapping[type, str] = {
    SimulatedEyesConfig: "labwire.actors.eyes:SimulatedEyes",
    PupilConfig: "labwire.actors.pupil:Pupil",
    LslConfig: "labwire.actors.lsl:Lsl",
}


def actor_specs(
    config: RigConfig,
    wiring: Wiring,
    clock_fd: int,
    *,
    folder: str,
    console_fd: int | None = None,
    web: WebDoor | None = None,
) -> list[ActorSpec]:
    """Return what to start, in order; actors are named by dotted name, so the hub imports none of them."""
    everything = dump(config)

    def spec(name: str, actor_class: str, options: dict[str, Any]) -> ActorSpec:
        console = [console_fd] if name == STEWARD and console_fd is not None else []
        door = web.fds if web and name == WEB else []
        return ActorSpec(
            name=name,
            actor_class=actor_class,
            wiring=wiring,
            config=options,
            clock_fd=clock_fd,
            rig_name=config.name,
            rig_config=everything,
            log_level=config.log.level,
            python_path=[folder],
            inherited_fds=[*console, *door],
        )

    specs = [spec(*row) for row in _rows(config, wiring, folder, console_fd)]
    if web and web.fds:
        specs.append(spec(WEB, "labwire.web.actor:Web", web.options(wiring)))
    return specs


def _rows(
    config: RigConfig, wiring: Wiring, folder: str, console_fd: int | None
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    log = config.log
    yield (
        STEWARD,
        "labwire.actors.steward:Steward",
        {
            "log_file": log.file_path(config.name),
            "log_max_bytes": log.max_bytes,
            "log_backups": log.backups,
            "sub_port": int(wiring.sub_url.rpartition(":")[2]),
            "slow_subscriber_s": config.bus.slow_subscriber_s,
            "console_fd": console_fd,
        },
    )
    yield from _network_rows(config, wiring)
    for name, camera in config.cameras.items():
        table = msgspec.to_builtins(camera)
        vitals: dict[str, Any] | None = table.pop("vitals")
        options = {"camera": table}
        if config.file_ipc and config.file_ipc.camera == name:
            options["file_ipc"] = msgspec.to_builtins(config.file_ipc)
            vitals = vitals or ({} if config.file_ipc.metrics else None)
        if vitals is not None:
            options["vitals"] = vitals
        yield name, "labwire.actors.camera:Camera", options
    for name, source in config.sources.items():
        yield name, SOURCE_ACTORS[type(source)], {"source": msgspec.to_builtins(source)}
    if config.instruments:
        instruments = {name: msgspec.to_builtins(instrument) for name, instrument in config.instruments.items()}
        options = {"instruments": instruments, "python_path": [folder]}
        yield INSTRUMENTS, "labwire.actors.instruments:InstrumentsActor", options
    yield from _image_rows(config)
    if config.recorder:
        yield RECORDER, "labwire.actors.recorder:Recorder", msgspec.to_builtins(config.recorder)
    if config.alerts:
        alerts = {name: msgspec.to_builtins(alert) for name, alert in config.alerts.items()}
        yield ALERTS, "labwire.actors.alerts:Alerts", {"alerts": alerts, "folder": folder}
    for name, actor in config.actors.items():
        yield name, actor.actor_class, dict(actor.options)


def _network_rows(config: RigConfig, wiring: Wiring) -> Iterator[tuple[str, str, dict[str, Any]]]:
    if config.network.exposed and config.network.advertise and importlib.util.find_spec("zeroconf"):
        remote_port = int(wiring.remote_url.rpartition(":")[2])
        options: dict[str, Any] = {"listen": config.network.listen, "remote_port": remote_port}
        yield DISCOVERY, "labwire.actors.discovery:Discovery", options
    if config.time_sync:
        options = {
            "time_sync": msgspec.to_builtins(config.time_sync),
            "listen": config.network.listen,
            "allow": config.network.allow,
        }
        yield TIME_SYNC, "labwire.actors.time_sync:TimeSync", options


def _image_rows(config: RigConfig) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name, detector in config.detectors.items():
        options = msgspec.to_builtins(detector)
        given = {key: value for key, value in options.items() if value is not None}  # a table is there or is not
        yield name, "labwire.actors.detector:Detector", given
    for name, writer in config.writers.items():
        yield name, "labwire.actors.writer:Writer", msgspec.to_builtins(writer)
