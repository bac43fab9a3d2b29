"""What a rig file may say, composed from the rooms' own structs."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, cast, get_origin

import msgspec

from labwire.actors.detector_config import DetectorConfig
from labwire.bus.alert_config import AlertConfig
from labwire.bus.config import BusConfig, LogConfig, NetworkConfig, RemoteConfig, WebConfig
from labwire.file_backend.config import FileIpcConfig
from labwire.images.config import WriterConfig
from labwire.images.stream_config import CborDumpConfig, Hdf5Config
from labwire.instruments.config import InstrumentConfig
from labwire.sessions.config import RecorderConfig
from labwire.sources.config import CameraConfig, SourceConfig
from labwire.sources.detector_config import ReplayConfig
from labwire.strict import KeyPath, Strict
from labwire.time_sync.config import TimeSyncConfig
from labwire.vitals.config import VitalsConfig

_CLASS, _OPTIONS = "class", "options"
INSTRUMENT_KEYS = frozenset(InstrumentConfig.__struct_fields__) - {_OPTIONS}
"""Keys of ``[instruments.NAME]`` that are not the driver's."""
_SECRETS = ("password", "passphrase", "secret", "token", "api_key")
HIDDEN = "(hidden)"
_LOGIN = re.compile(r"(?<=[a-zA-Z])://[^/\s]*@")  # user and password of a URL; a password may have an @ in it
_SAID = re.compile(
    rf"(?i)((?:{'|'.join(_SECRETS)})[\"']?\s*[=:]\s*|authorization[\"']?\s*[=:]\s*(?:bearer\s+|basic\s+)?)"
    r"(\"[^\"]*\"|'[^']*'|[^\s,;}&]+)"
)
"""A secret in a text: ``token=abc``, ``Authorization: Bearer abc``."""


class ActorConfig(Strict, rename={"actor_class": _CLASS}):
    """An actor of your own: one table ``[actors.NAME]``. Keys besides `class` go to the actor's own Config."""

    actor_class: str
    """Where its class is: "module:Class". The module is also looked for in the folder of the rig file."""
    options: dict[str, Any] = {}
    """Options of the actor itself, checked when it starts."""


class CameraTable(CameraConfig, kw_only=True):
    """One table ``[cameras.NAME]``: a camera, a video or the demo's clip, shown on the bus as ``frame.NAME``."""

    vitals: VitalsConfig | None = None
    """Measure vital signs in its pictures. Default: only if `[file_ipc]` writes them."""


class RigConfig(Strict):
    """A rig: everything that a rig file may say, with what holds if it does not."""

    name: str = "rig"
    """Name of the rig: letters, digits, _ and -. The log file is named for it."""
    remote: RemoteConfig = RemoteConfig()
    bus: BusConfig = BusConfig()
    network: NetworkConfig = NetworkConfig()
    web: WebConfig = WebConfig()
    log: LogConfig = LogConfig()
    cameras: dict[str, CameraTable] = {}
    sources: dict[str, SourceConfig] = {}
    recorder: RecorderConfig | None = None
    file_ipc: FileIpcConfig | None = None
    time_sync: TimeSyncConfig | None = None
    instruments: dict[str, InstrumentConfig] = {}
    detectors: dict[str, DetectorConfig] = {}
    writers: dict[str, WriterConfig] = {}
    actors: dict[str, ActorConfig] = {}
    alerts: dict[str, AlertConfig] = {}


@cache
def named_parts() -> tuple[str, ...]:
    """Return the tables that hold parts by name: ``cameras``, ``instruments``, ..."""
    return tuple(field.encode_name for field in msgspec.structs.fields(RigConfig) if get_origin(field.type) is dict)


@cache
def single_parts() -> tuple[str, ...]:
    """Return the tables of parts of which a rig has one or none: ``recorder``, ``file_ipc``, ..."""
    return tuple(field.encode_name for field in msgspec.structs.fields(RigConfig) if field.default is None)


def dump(config: RigConfig) -> dict[str, Any]:
    """Return a rig as plain data in the form of the rig file, defaults included, secrets hidden.

    A key that is called password, secret, token or api_key, or ends so, is taken for a secret: actors of other people
    have options of their own, and what is dumped goes onto the bus.
    """
    tree = msgspec.to_builtins(config)
    tree["actors"] = {
        name: {_CLASS: actor.actor_class, **msgspec.to_builtins(actor.options)} for name, actor in config.actors.items()
    }
    tree["instruments"] = {name: _unfolded(table) for name, table in tree["instruments"].items()}
    return _without_secrets(tree)


def without_secrets(text: str) -> str:
    """Hide what looks like a secret in a text: logs, and the commands of alerts.

    >>> without_secrets('opened rtsp://me:pw@cam with token="abc", port=5')
    'opened rtsp://cam with token=(hidden), port=5'
    """
    return _SAID.sub(rf"\g<1>{HIDDEN}", _LOGIN.sub("://", text))


def fold_options(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Move the options of actors and drivers, which stand beside the other keys in a file, to where the structs are."""
    folded = dict(tree)
    for part, own in (("actors", {_CLASS}), ("instruments", INSTRUMENT_KEYS)):
        if isinstance(tables := tree.get(part), dict):
            folded[part] = {name: _fold(table, own) for name, table in cast("dict[str, Any]", tables).items()}
    return folded


def _fold(table: Any, own: Collection[str]) -> Any:
    if not isinstance(table, dict):
        return table
    keys = cast("dict[str, Any]", table)
    folded = {key: value for key, value in keys.items() if key in own}
    return {**folded, _OPTIONS: {key: value for key, value in keys.items() if key not in own}}


def _unfolded(table: dict[str, Any]) -> dict[str, Any]:
    return {**{key: value for key, value in table.items() if key != _OPTIONS}, **table[_OPTIONS]}


def resolve_paths(config: RigConfig, folder_of: Callable[[KeyPath], Path]) -> RigConfig:
    """Make the paths in a rig absolute; ``~`` is the home of the user.

    Args:
        config: The rig as it was written.
        folder_of: Where a relative path starts, by the key that holds it.
    """

    def resolved(path: str, *key: str) -> str:
        return str(folder_of(key).absolute() / Path(path).expanduser()) if path else path

    replace, ipc, recorder, web = msgspec.structs.replace, config.file_ipc, config.recorder, config.web
    return replace(
        config,
        log=replace(config.log, folder=resolved(config.log.folder, "log", "folder")),
        web=replace(
            web, **{key: resolved(getattr(web, key), "web", key) for key in ("token_file", "certificate", "key")}
        ),
        cameras={
            name: replace(
                camera,
                video=camera.video and resolved(camera.video, "cameras", name, "video"),
                video_times=camera.video_times and resolved(camera.video_times, "cameras", name, "video_times"),
            )
            for name, camera in config.cameras.items()
        },
        detectors={
            name: _detector_resolved(detector, partial(_under, resolved, ("detectors", name)))
            for name, detector in config.detectors.items()
        },
        writers={
            name: replace(writer, folder=resolved(writer.folder, "writers", name, "folder"))
            for name, writer in config.writers.items()
        },
        recorder=recorder and replace(recorder, root=resolved(recorder.root, "recorder", "root")),
        file_ipc=ipc and replace(ipc, base_directory=resolved(ipc.base_directory, "file_ipc", "base_directory")),
    )


def _under(resolved: Callable[..., str], table: tuple[str, ...], path: str, *key: str) -> str:
    return resolved(path, *table, *key)


def _detector_resolved(config: DetectorConfig, resolved: Callable[..., str]) -> DetectorConfig:
    replace, source, stream = msgspec.structs.replace, config.source, config.stream
    if isinstance(source, ReplayConfig):
        source = replace(source, file=resolved(source.file, "source", "file"))
    if isinstance(stream, Hdf5Config | CborDumpConfig):
        stream = replace(stream, folder=resolved(stream.folder, "stream", "folder"))
    broker = config.broker and resolved(config.broker, "broker")
    return replace(config, source=source, stream=stream, broker=broker)


def _without_secrets(value: Any) -> Any:
    match value:
        case dict():
            table = cast("dict[str, Any]", value)
            return {key: HIDDEN if _is_secret(key, inner) else _without_secrets(inner) for key, inner in table.items()}
        case str():
            return without_secrets(value)
        case list() | tuple():
            return _list_without_secrets(list(cast("list[Any]", value)))
        case _:
            return value


def _list_without_secrets(values: list[Any]) -> list[Any]:
    """Hide secrets in a list; in a command, what follows ``--password`` is one."""
    before = ["", *(value if isinstance(value, str) and value.startswith("-") else "" for value in values)]
    return [
        HIDDEN if _is_secret(name, value) else _without_secrets(value)
        for name, value in zip(before, values, strict=False)
    ]


def _is_secret(key: str, value: Any) -> bool:
    return isinstance(value, str) and bool(value) and key.casefold().endswith(_SECRETS)
