"""A broker's JSON file: the sections as the specification prints them, and under the real broker's names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from labwire.errors import ConfigError
from labwire.images.broker_json import parse_broker_json, read_broker_json
from labwire.images.stream_config import (
    CborDumpConfig,
    Hdf5Config,
    MetadataConfig,
    NoStreamConfig,
    PreviewConfig,
    TcpStreamConfig,
    ZeroMqStreamConfig,
)

# image-stream, "ZeroMQ configuration" and "TCP/IP configuration"
ZEROMQ = """{
"image_socket": ["tcp://192.168.0.1:9000", "tcp://192.168.0.1:9001"],
"send_watermark": 100,
"send_buffer_size": 67108864,
"writer_notification_socket": "tcp://192.168.0.1:*"
}"""
TCP = """{
"addr": "tcp://192.168.0.1:9100",
"nwriters": 2,
"send_buffer_size": 67108864
}"""
AS_ZEROMQ = ZeroMqStreamConfig(
    image_socket=("tcp://192.168.0.1:9000", "tcp://192.168.0.1:9001"),
    send_watermark=100,
    send_buffer_size=67108864,
    writer_notification_socket="tcp://192.168.0.1:*",
)
AS_TCP = TcpStreamConfig(address="tcp://192.168.0.1:9100", nwriters=2, send_buffer_size=67108864)


def test_the_sections_of_the_specification_are_read_as_they_are_printed() -> None:
    assert parse_broker_json(ZEROMQ).pusher == AS_ZEROMQ
    assert parse_broker_json(TCP).pusher == AS_TCP
    assert parse_broker_json(f'{{"zeromq_settings": {ZEROMQ}}}').pusher == AS_ZEROMQ
    assert parse_broker_json(f'{{"tcp_settings": {TCP}}}').pusher == AS_TCP


def test_the_names_of_the_real_broker_are_understood() -> None:
    file: dict[str, Any] = {
        "detector": [{"description": "not looked at"}],
        "image_pusher": "TCP",
        "zeromq": json.loads(ZEROMQ),
        "tcp": {
            "image_socket": "tcp://10.0.0.1:*",
            "nwriters": 3,
            "peer_liveness_timeout_ms": 2000,
            "max_backpressure_timeout_ms": 30000,
            "send_buffer_size": None,
        },
        "zeromq_preview": {"enabled": True, "period_ms": 0, "socket_address": "tcp://10.0.0.1:5400"},
        "zeromq_metadata": {"enabled": True, "period_ms": 50, "socket_address": "tcp://10.0.0.1:5401"},
    }
    config = parse_broker_json(json.dumps(file))
    assert config.pusher == TcpStreamConfig(
        address="tcp://10.0.0.1:*", nwriters=3, peer_liveness_timeout_ms=2000, max_backpressure_timeout_ms=30000
    )
    assert config.preview == PreviewConfig(address="tcp://10.0.0.1:5400", period_ms=0)
    assert config.metadata == MetadataConfig(address="tcp://10.0.0.1:5401", period_ms=50)
    assert config.ignored == ()
    assert parse_broker_json(json.dumps({**file, "image_pusher": "ZeroMQ"})).pusher == AS_ZEROMQ
    assert parse_broker_json(json.dumps({**file, "zeromq_preview": {"enabled": False}})).preview is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [("HDF5", Hdf5Config(overwrite=True)), ("CBOR", CborDumpConfig()), ("None", NoStreamConfig())],
)
def test_the_replacements_are_chosen_by_name(name: str, kind: object) -> None:
    text = json.dumps({"image_pusher": name, "file_writer": {"overwrite": True, "format": "NXmxVDS"}})
    assert parse_broker_json(text).pusher == kind


def test_keys_of_a_newer_broker_are_told_of() -> None:
    assert parse_broker_json('{"tcp_settings": {"addr": "tcp://1.2.3.4:5", "turbo": true}}').ignored == (
        "tcp_settings.turbo",
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nothing", "not a JSON object"),
        ("[1]", "not a JSON object"),
        ("[" * 100_000, "not a JSON object"),
        ("{}", "neither tcp_settings nor zeromq_settings"),
        ('{"tcp": {"addr": "a", "image_socket": "b"}}', "mean the same"),
        ('{"tcp": {}, "tcp_settings": {}}', "mean the same"),
        ('{"tcp": {}, "zeromq": {}}', "image_pusher"),
        ('{"image_pusher": "pigeon"}', "must be one of ZeroMQ"),
        ('{"tcp_settings": {"addr": "tcp://1.2.3.4:5", "nwriters": 0}}', "tcp_settings.nwriters"),
        ('{"zeromq_settings": {"image_socket": "tcp://1.2.3.4:5"}}', "zeromq_settings.image_socket"),
        ('{"zeromq_settings": {"send_watermark": 1}}', "zeromq_settings.send_watermark"),
        ('{"tcp_settings": 5}', "must be an object"),
    ],
)
def test_what_makes_no_sense_is_said_with_its_place(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        parse_broker_json(text, "broker.json")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*none\.json"):
        read_broker_json(tmp_path / "none.json")
