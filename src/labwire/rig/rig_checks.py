"""What the parts of a rig demand of each other: names, ports, addresses, files."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from labwire.errors import InvalidNameError
from labwire.names import check_actor_name
from labwire.rig.rig_config import RigConfig
from labwire.strict import Mistake, nearest

RESERVED_NAMES = {"hub": "the rig itself", "steward": "the log and the statistics", "recorder": "the recorder"}
"""Names of actors that every rig may have."""

_DOTTED_CLASS = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_PARTS = ("cameras", "sources", "actors")


def check_rig(config: RigConfig, cameras: Collection[str]) -> Iterator[Mistake]:
    """Yield what is wrong with a rig although each key by itself is right.

    Args:
        config: The rig, its paths absolute.
        cameras: All cameras that the file names, those included that are wrong and so not in `config`.
    """
    yield from _check_names(config)
    yield from _check_ports(config)
    yield from _check_network(config)
    yield from _check_cameras(config)
    yield from _check_file_ipc(config, cameras)
    for name, actor in config.actors.items():
        if not _DOTTED_CLASS.fullmatch(actor.actor_class):
            path = ("actors", name, "class")
            yield Mistake(path, f'"{actor.actor_class}" does not name a class', 'write "module:Class"')


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
    ports = [("remote", "port"), *(("bus", key) for key in ("pub_port", "sub_port", "push_port", "rpc_port"))]
    for table, key in ports:
        port: int = getattr(getattr(config, table), key)
        if port and port in taken:
            yield Mistake((table, key), f"{port} is already {taken[port]}", "0 takes any free port")
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


def _check_cameras(config: RigConfig) -> Iterator[Mistake]:
    taken: dict[int, str] = {}
    for name, camera in config.cameras.items():
        if camera.video and not Path(camera.video).is_file():
            hint = "a relative path starts at the folder of the rig file"
            yield Mistake(("cameras", name, "video"), f"there is no file {camera.video}", hint)
        if camera.camera is None:
            continue
        if camera.camera in taken:
            text = f"camera {camera.camera} is already [cameras.{taken[camera.camera]}]"
            yield Mistake(("cameras", name, "camera"), text, "a camera can be opened once")
        taken.setdefault(camera.camera, name)


def _check_file_ipc(config: RigConfig, cameras: Collection[str]) -> Iterator[Mistake]:
    if config.file_ipc and config.file_ipc.camera not in cameras:
        camera = config.file_ipc.camera
        yield Mistake(("file_ipc", "camera"), f"there is no [cameras.{camera or 'NAME'}]", _which(camera, cameras))


def _which(name: str, known: Collection[str]) -> str:
    if near := nearest(name, known):
        return f'did you mean "{near}"?'
    return f"the rig has: {', '.join(known)}" if known else "the rig has no camera"
