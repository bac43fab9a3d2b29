"""What the parts of a rig demand of each other: names, ports, addresses, files."""

from __future__ import annotations

import difflib
import ipaddress
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from labwire.errors import ConfigError, InvalidNameError
from labwire.images.writer_address import parse_writer_address
from labwire.instruments.linux import PLATFORM, TEXT
from labwire.names import check_actor_name
from labwire.rig.rig_config import INSTRUMENT_KEYS, RigConfig
from labwire.sources.config import PupilConfig
from labwire.strict import Mistake, nearest

RESERVED_NAMES = {
    "hub": "the rig itself",
    "steward": "the log and the statistics",
    "recorder": "the recorder",
    "instruments": "the instruments' server",
    "web": "the dashboard",
    "time_sync": "the clock that is shared with other computers",
    "alerts": "the alerts",
    "discovery": "what tells the local network of the rig",
}
"""Names of actors that every rig may have."""

_DOTTED_CLASS = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_ENTRY_POINT = re.compile(r"[\w.-]+")
_ALMOST_EQUAL = 0.85
_HERE = frozenset({"127.0.0.1", "localhost"})
_PARTS = ("cameras", "sources", "instruments", "detectors", "writers", "actors")


def check_rig(config: RigConfig, cameras: Collection[str]) -> Iterator[Mistake]:
    """Yield what is wrong with a rig although each key by itself is right.

    Args:
        config: The rig, its paths absolute.
        cameras: All cameras that the file names, those included that are wrong and so not in `config`.
    """
    yield from _check_names(config)
    yield from _check_ports(config)
    yield from _check_network(config)
    yield from _check_web(config)
    yield from _check_cameras(config)
    yield from _check_sources(config)
    yield from _check_file_ipc(config, cameras)
    yield from _check_instruments(config)
    yield from _check_detectors(config, cameras)
    yield from _check_writers(config)
    for name, actor in config.actors.items():
        if not _DOTTED_CLASS.fullmatch(actor.actor_class):
            path = ("actors", name, "class")
            yield Mistake(path, f'"{actor.actor_class}" does not name a class', 'write "module:Class"')


def _check_detectors(config: RigConfig, cameras: Collection[str]) -> Iterator[Mistake]:
    for name, detector in config.detectors.items():
        camera = getattr(detector.source, "camera", None)
        if camera is not None and camera not in cameras:
            path = ("detectors", name, "source", "camera")
            yield Mistake(path, f"there is no [cameras.{camera or 'NAME'}]", _which(camera, cameras))


def _check_writers(config: RigConfig) -> Iterator[Mistake]:
    for name, writer in config.writers.items():
        try:
            where = parse_writer_address(writer.address)
        except ConfigError:
            hint = "write tcp://HOST:PORT for the TCP stream, zmq+tcp://HOST:PORT for ZeroMQ"
            yield Mistake(("writers", name, "address"), f'"{writer.address}" is no address of an image stream', hint)
            continue
        if where.zeromq and writer.connections > 1:
            hint = "a ZeroMQ stream has a port for each writer: one table for each"
            yield Mistake(("writers", name, "connections"), "must be 1 with ZeroMQ", hint)


def _check_names(config: RigConfig) -> Iterator[Mistake]:
    yield from _check_name(config.name, ("name",))
    taken: dict[str, str] = {}
    for part in _PARTS:
        for name in getattr(config, part):
            yield from _check_name(name, (part, name))
            if name in RESERVED_NAMES:
                yield Mistake((part, name), f'the name "{name}" belongs to {RESERVED_NAMES[name]}', "choose another")
            elif name in taken:
                yield Mistake((part, name), f"[{taken[name]}.{name}] has this name already", "choose another")
            taken.setdefault(name, part)


def _check_name(name: str, path: tuple[str, ...]) -> Iterator[Mistake]:
    try:
        check_actor_name(name)
    except InvalidNameError as error:
        what, _, hint = error.message.partition(": ")
        yield Mistake(path, what, hint)


def _check_ports(config: RigConfig) -> Iterator[Mistake]:
    taken: dict[int, str] = {}
    bus = ("pub_port", "sub_port", "push_port", "rpc_port")
    ports = [("remote", "port"), *(("bus", key) for key in bus), *([("web", "port")] if config.web.enabled else [])]
    for table, key in ports:
        port: int | None = getattr(getattr(config, table), key)
        if port and port in taken:
            yield Mistake((table, key), f"{port} is already {taken[port]}", "0 takes any free port")
        if port:
            taken.setdefault(port, f"[{table}] {key}")


def _check_network(config: RigConfig) -> Iterator[Mistake]:
    network = config.network
    for index, entry in enumerate(network.allow):
        try:
            ipaddress.ip_network(entry, strict=False)
        except ValueError:
            hint = 'write an address and how many bits of it count: "192.168.1.0/24"'
            yield Mistake(("network", "allow", index), f'"{entry}" is not a network', hint)
    try:
        exposed = not ipaddress.IPv4Address(network.listen).is_loopback
    except ValueError:
        hint = '"127.0.0.1" is this computer only, "0.0.0.0" is every network it is on'
        yield Mistake(("network", "listen"), f'"{network.listen}" is not an IPv4 address', hint)
        return
    if exposed and not network.allow:
        text = f"must name the networks that may connect, because the rig listens on {network.listen}"
        yield Mistake(("network", "allow"), text, 'for example allow = ["192.168.1.0/24"]')


def _check_web(config: RigConfig) -> Iterator[Mistake]:
    web = config.web
    try:
        ipaddress.IPv4Address(web.listen)
    except ValueError:
        hint = '"127.0.0.1" is this computer only, "0.0.0.0" is every network it is on'
        yield Mistake(("web", "listen"), f'"{web.listen}" is not an IPv4 address', hint)
    for key, other in (("certificate", "key"), ("key", "certificate")):
        path = getattr(web, key)
        if path and not Path(path).is_file():
            yield Mistake(
                ("web", key), f"there is no file {path}", "a relative path starts at the folder of the rig file"
            )
        if path and not getattr(web, other):
            yield Mistake(("web", other), f"is missing: {key} alone is not enough", "https needs both")


def _check_cameras(config: RigConfig) -> Iterator[Mistake]:
    taken: dict[int, str] = {}
    for name, camera in config.cameras.items():
        for key, path, found in (
            ("video", camera.video, Path.exists),
            ("video_times", camera.video_times, Path.is_file),
        ):
            if path and not found(Path(path)):
                hint = "a relative path starts at the folder of the rig file"
                yield Mistake(("cameras", name, key), f"there is no file {path}", hint)
        if camera.camera is None:
            continue
        if camera.camera in taken:
            text = f"camera {camera.camera} is already [cameras.{taken[camera.camera]}]"
            yield Mistake(("cameras", name, "camera"), text, "a camera can be opened once")
        taken.setdefault(camera.camera, name)


def _check_sources(config: RigConfig) -> Iterator[Mistake]:
    for name, source in config.sources.items():
        if isinstance(source, PupilConfig) and source.host in _HERE and source.port == config.remote.port:
            text = f"{source.port} is this rig's own Remote: it would hear itself without end"
            yield Mistake(("sources", name, "port"), text, "give one of the two another port")


def _check_file_ipc(config: RigConfig, cameras: Collection[str]) -> Iterator[Mistake]:
    if not config.file_ipc:
        return
    camera, folder = config.file_ipc.camera, config.file_ipc.base_directory
    if camera not in cameras:
        yield Mistake(("file_ipc", "camera"), f"there is no [cameras.{camera or 'NAME'}]", _which(camera, cameras))
    if Path(folder).resolve() in {Path(one.video).resolve() for one in config.cameras.values() if one.video}:
        text = f"{folder} is read from by a camera, and would be cleared"
        yield Mistake(("file_ipc", "base_directory"), text, "choose another folder")


def _check_instruments(config: RigConfig) -> Iterator[Mistake]:
    if config.instruments and sys.platform != PLATFORM:
        yield Mistake(("instruments",), TEXT)
    for name, instrument in config.instruments.items():
        path, driver = ("instruments", name, "driver"), instrument.driver
        if instrument.external:
            if driver:
                text = "has no meaning with external = true: somebody else starts the worker, and its driver"
                yield Mistake(path, text, "leave it out")
            if instrument.queue == "socket":
                text = "a worker that somebody else starts cannot join a socket"
                yield Mistake(("instruments", name, "queue"), text, 'write "boost" or "posix"')
        elif not driver:
            yield Mistake(path, "is missing", 'write "module:Class", or external = true')
        elif not (_DOTTED_CLASS if ":" in driver else _ENTRY_POINT).fullmatch(driver):
            yield Mistake(path, f'"{driver}" does not name a driver', 'write "module:Class", or a name without spaces')
        yield from _check_near_keys(name, instrument.options)


def _check_near_keys(name: str, options: Mapping[str, object]) -> Iterator[Mistake]:
    """Find what goes to the driver, but is meant for the server: one letter wrong, or in a wrong place."""
    for key in options:
        close = difflib.get_close_matches(key, INSTRUMENT_KEYS, n=1, cutoff=_ALMOST_EQUAL)
        if close:
            yield Mistake(("instruments", name, key), "unknown key", f"did you mean {close[0]}?")


def _which(name: str, known: Collection[str]) -> str:
    if near := nearest(name, known):
        return f'did you mean "{near}"?'
    return f"the rig has: {', '.join(known)}" if known else "the rig has no camera"
