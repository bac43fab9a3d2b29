"""Reads the JSON configuration of a Jungfraujoch broker, as far as it is about image streams.

Source: image-stream, "ZeroMQ configuration" and "TCP/IP configuration", for `zeromq_settings` and `tcp_settings`; the
broker's own OpenAPI model, which calls them `zeromq` and `tcp`, for the rest. Both names are understood, together with
the keys of labwire's own structs. What else stands in such a file, and there is much, is not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import msgspec

from labwire.errors import ConfigError
from labwire.images.stream_config import (
    CborDumpConfig,
    Hdf5Config,
    MetadataConfig,
    NoStreamConfig,
    PreviewConfig,
    PusherConfig,
    TcpStreamConfig,
    ZeroMqStreamConfig,
)
from labwire.strict import Strict, find_mistakes

_S = TypeVar("_S", bound=Strict)

TCP_SECTIONS: Final = ("tcp_settings", "tcp")
ZEROMQ_SECTIONS: Final = ("zeromq_settings", "zeromq")
_PUSHER: Final = "image_pusher"
_PUSHERS: Final = {"zeromq": "ZeroMQ", "tcp": "TCP", "hdf5": "HDF5", "cbor": "CBOR", "none": "None"}
_TCP_ADDRESSES: Final = ("addr", "image_socket", "address")
_ENABLED: Final = "enabled"


class BrokerConfig(Strict):
    """What a broker's file says of image streams."""

    pusher: PusherConfig
    preview: PreviewConfig | None = None
    metadata: MetadataConfig | None = None
    ignored: tuple[str, ...] = ()
    """Keys inside the sections above that are not understood: those of a newer broker, or misspelt ones."""


def read_broker_json(path: Path) -> BrokerConfig:
    """Read a broker's file.

    Raises:
        ConfigError: It cannot be read, is no JSON, or a value in one of the sections makes no sense.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", path=str(path)) from error
    return parse_broker_json(text, str(path))


def parse_broker_json(text: bytes | str, name: str = "the configuration") -> BrokerConfig:
    """Take the text of a broker's file apart; see `read_broker_json`.

    A file that holds nothing but the inside of one section, as the specification prints them, will do as well.

    Args:
        text: JSON.
        name: Of the file, for messages.

    Raises:
        ConfigError: It is no JSON, or a value makes no sense.
    """
    try:
        tree = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{name} is not a JSON object: {error}") from error
    return _Reader(name, _with_section(tree)).read()


def _with_section(tree: dict[str, Any]) -> dict[str, Any]:
    if "addr" in tree:
        return {"tcp_settings": tree}
    if isinstance(tree.get("image_socket"), list):
        return {"zeromq_settings": tree}
    return tree


class _Reader:
    def __init__(self, name: str, tree: Mapping[str, Any]) -> None:
        self._name = name
        self._tree = tree
        self._ignored: list[str] = []

    def read(self) -> BrokerConfig:
        pusher = self._pusher()
        preview = self._side("zeromq_preview", PreviewConfig)
        metadata = self._side("zeromq_metadata", MetadataConfig)
        return BrokerConfig(pusher=pusher, preview=preview, metadata=metadata, ignored=tuple(self._ignored))

    def _pusher(self) -> PusherConfig:
        match self._kind():
            case "tcp":
                return self._tcp()
            case "zeromq":
                section, table = self._section(ZEROMQ_SECTIONS)
                return self._struct(section, table, ZeroMqStreamConfig)
            case "hdf5":
                _, table = self._section(("file_writer",))
                return Hdf5Config(overwrite=table.get("overwrite") is True)
            case "cbor":
                return CborDumpConfig()
            case _:
                return NoStreamConfig()

    def _kind(self) -> str:
        wanted = self._tree.get(_PUSHER)
        if wanted is not None:
            if not isinstance(wanted, str) or wanted.lower() not in _PUSHERS:
                known = ", ".join(_PUSHERS.values())
                raise ConfigError(f"{self._name}: {_PUSHER} must be one of {known}, not {wanted!r}")
            return wanted.lower()
        has_tcp, has_zeromq = (any(name in self._tree for name in names) for names in (TCP_SECTIONS, ZEROMQ_SECTIONS))
        if has_tcp and has_zeromq:
            raise ConfigError(
                f'{self._name} has settings for TCP and for ZeroMQ: "{_PUSHER}": "TCP" says which is meant'
            )
        if not has_tcp and not has_zeromq:
            raise ConfigError(f"{self._name} has neither tcp_settings nor zeromq_settings, and no {_PUSHER}")
        return "tcp" if has_tcp else "zeromq"

    def _tcp(self) -> TcpStreamConfig:
        section, table = self._section(TCP_SECTIONS)
        given = [key for key in _TCP_ADDRESSES if key in table]
        if len(given) > 1:
            raise ConfigError(f"{self._name}: {section} has {' and '.join(given)}, which mean the same: give one")
        renamed = {"address" if key in _TCP_ADDRESSES else key: value for key, value in table.items()}
        return self._struct(section, renamed, TcpStreamConfig)

    def _side(self, section: str, kind: type[_S]) -> _S | None:
        _, table = self._section((section,))
        if not table or table.get(_ENABLED) is False:
            return None
        renamed = {
            "address" if key == "socket_address" else key: value for key, value in table.items() if key != _ENABLED
        }
        return self._struct(section, renamed, kind)

    def _section(self, names: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
        there = [name for name in names if self._tree.get(name) is not None]
        if len(there) > 1:
            raise ConfigError(f"{self._name} has {' and '.join(there)}, which mean the same: give one")
        name = there[0] if there else names[0]
        table: Any = self._tree.get(name) or {}
        if not isinstance(table, dict):
            raise ConfigError(f"{self._name}: {name} must be an object")
        return name, cast("dict[str, Any]", table)

    def _struct(self, section: str, table: Mapping[str, Any], kind: type[_S]) -> _S:
        known = set(kind.__struct_fields__)
        config = kind.__struct_config__
        self._ignored += [f"{section}.{key}" for key in table if key not in known]
        # A null is what a broker writes for "not set".
        given = {key: value for key, value in table.items() if key in known and value is not None}
        if config.tag_field:
            given[config.tag_field] = config.tag
        if mistakes := list(find_mistakes(given, kind)):
            told = "; ".join(
                f"{'.'.join(map(str, (section, *mistake.path)))} {mistake.text}"
                + (f" ({mistake.hint})" if mistake.hint else "")
                for mistake in mistakes
            )
            raise ConfigError(f"{self._name}: {told}")
        return msgspec.convert(given, kind)
