"""A session as MCAP that viewers show: payloads as JSON with a schema and units, pictures as images."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from labwire.errors import needs_extra
from labwire.sessions.log.log_reader import LoggedMessage
from labwire.sessions.manifest import Manifest
from labwire.sessions.reading.columns import Column, Kind, SchemaBuilder, to_json
from labwire.sessions.reading.mcap_images import ImageKind, image_of
from labwire.version import __version__

_CHUNK_BYTES = 1 << 20

_TYPES = {
    Kind.BOOL: {"type": "boolean"},
    Kind.INT: {"type": "integer"},
    Kind.FLOAT: {"type": "number"},
    Kind.TEXT: {"type": "string"},
    Kind.LIST: {"type": "array", "items": {"type": "number"}},
}


class McapExport:
    """An MCAP file that takes messages; a context manager.

    `log_time` is when a message came, `publish_time` when it was measured: both nanoseconds since 1970, on the axis of
    the session.

    Args:
        path: The file to make.
        manifest: Of the session.
        schemas: Of the topics.

    Raises:
        MissingExtraError: mcap is not installed.
    """

    def __init__(self, path: Path, manifest: Manifest, schemas: Mapping[str, SchemaBuilder]) -> None:
        with needs_extra("export"):
            writer: Any = import_module("mcap.writer")
        self._file = path.open("xb")
        self._writer: Any = writer.Writer(self._file, chunk_size=_CHUNK_BYTES)
        self._writer.start(profile="", library=f"labwire {__version__}")
        self._writer.add_metadata(
            "labwire.session",
            {"name": manifest.name, "uuid": manifest.uuid, "start_epoch_us": str(manifest.start_epoch_us)},
        )
        self._schemas = schemas
        self._channels: dict[str, int] = {}
        self._image_schemas: dict[str, int] = {}

    def add(
        self, message: LoggedMessage, payload: dict[Any, Any], publish_time_ns: int, jpeg: bytes | None = None
    ) -> None:
        """Write a message; a picture goes to a channel of its own, other raw parts stand in the payload as base64.

        Args:
            message: As it stands in the log.
            payload: Its payload.
            publish_time_ns: When it was measured.
            jpeg: Its picture, if that stands in a video.
        """
        topic = message.parts[0].decode("utf-8", "backslashreplace")
        raw = message.parts[2:]
        image = image_of(message.parts, jpeg, publish_time_ns)
        if image is not None:
            self._write(self._image_channel(topic, image.kind), image.text, message, publish_time_ns)
        elif raw:
            payload = {**payload, "raw": list(raw)}
        self._write(self._channel(topic), to_json(payload), message, publish_time_ns)

    def _write(self, channel: int, text: str, message: LoggedMessage, publish_time_ns: int) -> None:
        self._writer.add_message(
            channel,
            log_time=message.log_time_ns,
            publish_time=publish_time_ns,
            sequence=message.sequence,
            data=text.encode(),
        )

    def _channel(self, topic: str) -> int:
        channel = self._channels.get(topic)
        if channel is None:
            schema = self._schemas[topic]
            schema_id = self._writer.register_schema(
                topic, "jsonschema", json.dumps(_json_schema(topic, schema)).encode()
            )
            channel = self._channels[topic] = self._writer.register_channel(topic, "json", schema_id)
        return channel

    def _image_channel(self, topic: str, kind: ImageKind) -> int:
        name = topic + kind.suffix
        channel = self._channels.get(name)
        if channel is None:
            schema = self._image_schemas.get(kind.name)
            if schema is None:
                data = json.dumps(kind.schema).encode()
                schema = self._image_schemas[kind.name] = self._writer.register_schema(kind.name, "jsonschema", data)
            channel = self._channels[name] = self._writer.register_channel(name, "json", schema)
        return channel

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self._writer.finish()
        finally:
            self._file.close()


def _json_schema(topic: str, schema: SchemaBuilder) -> dict[str, Any]:
    """Return the JSON Schema of a topic; deeper keys become objects in objects again."""
    root: dict[str, Any] = {"title": topic, "type": "object", "properties": {}}
    for column in schema.columns()[2:]:
        at = root
        *before, last = column.name.split(".")
        for word in before:
            at = at["properties"].setdefault(word, {"type": "object"})
            at.setdefault("properties", {})
        at["properties"][last] = _json_type(column)
    return root


def _json_type(column: Column) -> dict[str, Any]:
    described: dict[str, Any] = dict(_TYPES.get(column.kind, {}))
    if column.unit:
        described["description"] = column.unit
        described["x-unit"] = column.unit
    return described
