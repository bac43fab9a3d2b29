"""Addresses as a writer names them."""

from __future__ import annotations

import pytest

from labwire.errors import ConfigError
from labwire.images.writer_address import WriterAddress, parse_writer_address


@pytest.mark.parametrize(
    ("address", "parsed"),
    [
        ("tcp://10.0.0.1:9100", WriterAddress("tcp://10.0.0.1:9100", False, "10.0.0.1", 9100)),
        ("tcp://[::1]:9100", WriterAddress("tcp://[::1]:9100", False, "::1", 9100)),
        ("zmq+tcp://det.example:9000", WriterAddress("tcp://det.example:9000", True, "det.example", 9000)),
        ("zmq+ipc:///run/det", WriterAddress("ipc:///run/det", True)),
    ],
)
def test_addresses(address: str, parsed: WriterAddress) -> None:
    assert parse_writer_address(address) == parsed


@pytest.mark.parametrize(
    "address",
    [
        *("", "10.0.0.1:9100", "tcp://", "tcp://a", "tcp://a:", "tcp://a:0", "tcp://a:*", "tcp://a:65536", "udp://a:1"),
        *("zmq+udp://a:1", "zmq+ipc://", f"zmq+ipc:///{'x' * 107}", "ipc:///x", "tcp://::1:9100"),
    ],
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ConfigError, match=r"address|port|path"):
        parse_writer_address(address)
