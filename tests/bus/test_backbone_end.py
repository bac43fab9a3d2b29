"""A bus that ends while its readers leave."""

from __future__ import annotations

from typing import Any

import zmq

from labwire.bus.backbone import MONITOR_INPROC, Backbone
from tests.bus.fake_hub import LIMIT_S


def test_reports_that_nobody_reads_hold_up_nothing() -> None:
    context: zmq.Context[Any] = zmq.Context()
    backbone = Backbone(
        context, host="127.0.0.1", pub_port=0, sub_port=0, slow_subscriber_s=2.0, max_message_bytes=1 << 20
    )
    reports = context.socket(zmq.PAIR)
    reports.connect(MONITOR_INPROC)
    backbone.start()
    readers = [connected_reader(backbone.sub_port, reports) for _ in range(5)]
    backbone.forget_readers()
    reports.close(linger=0)
    for reader in readers:  # had they not been forgotten, ZeroMQ's own thread would wait for somebody to read of it
        reader.context.destroy(linger=0)
    backbone.stop()
    context.term()


def connected_reader(port: int, reports: zmq.Socket[Any]) -> zmq.Socket[Any]:
    reader = zmq.Context().socket(zmq.SUB)
    reader.connect(f"tcp://127.0.0.1:{port}")
    assert reports.poll(int(LIMIT_S * 1000))
    reports.recv_multipart()
    return reader
