"""Whole runs over loopback that go well: splitting, calibration, large images, zero-copy, addresses."""

from __future__ import annotations

import msgspec
import pytest

from labwire.errors import (
    ConfigError,
    PortTakenError,
)
from labwire.images.pushers.tcp import TcpPusher
from labwire.images.stream_address import parse_tcp_address
from labwire.wire.image_message import CalibrationMessage
from tests.images.loopback_writer import WAIT_S, LoopbackWriter, wait_until
from tests.images.stream_runs import LOCAL, PATIENT, image, is_image, start_message
from tests.images.tcp_bench import TcpBench

# --- good runs


@pytest.mark.parametrize("writers", [1, 2, 3])
def test_every_image_goes_to_the_writer_of_its_file_and_is_acknowledged(bench: TcpBench, writers: int) -> None:
    there = [bench.writer() for _ in range(writers)]
    result = bench.run(images=13, per_file=2)
    assert (result.sent, result.acknowledged, result.dropped, result.missing) == (13, 13, 0, 0)
    assert result.ok
    assert result.error() is None
    for number, writer in enumerate(there):
        got = writer.runs[1]
        assert got.socket_number == number
        assert got.start.socket_number == number
        assert got.start.write_master_file is (number == 0)
        assert got.order == [index for index in range(13) if index // 2 % writers == number]
        assert all(is_image(message, index) for index, message in got.images.items())
        assert got.end is not None


def test_writers_stay_for_many_runs(bench: TcpBench) -> None:
    writer = bench.writer()
    for run_number in range(1, 6):
        assert bench.run(run_number).ok
    assert list(writer.runs) == [1, 2, 3, 4, 5]
    assert bench.pusher.status().counters.accepted == 1


def test_a_star_as_port_is_replaced_by_the_port_that_was_taken(bench: TcpBench) -> None:
    host, port = parse_tcp_address(bench.pusher.address)
    assert (host, port > 0) == ("127.0.0.1", True)
    assert bench.stream.pusher.addresses == (bench.pusher.address,)


def test_calibration_goes_to_connection_0_before_the_images(bench: TcpBench) -> None:
    first, second = bench.writer(), bench.writer()
    bench.stream.start(start_message(images=0))
    pixels = image(3).data["default"]
    bench.stream.send_calibration(CalibrationMessage(data={"pedestal_g0": pixels}))
    assert bench.stream.end().ok
    [calibration] = first.runs[1].calibrations
    assert isinstance(calibration, CalibrationMessage)
    assert calibration.data["pedestal_g0"] == pixels
    assert calibration.series_id == 1
    assert not second.runs[1].calibrations


def test_images_larger_than_every_buffer_arrive_whole(bench: TcpBench) -> None:
    bench.open(queue_mib=1)
    writer = bench.writer()
    bench.stream.start(start_message(images=4))
    for number in range(4):
        bench.stream.put(image(number, pixels=3 << 20))
    result = bench.stream.end()
    assert result.ok
    assert result.image_bytes == 4 * 2 * 3 << 20
    assert all(is_image(writer.runs[1].images[number], number) for number in range(4))


def test_zero_copy_sends_the_same_bytes(bench: TcpBench) -> None:
    bench.open(zero_copy=True)
    writer = bench.writer()
    [link] = bench.pusher._group.links.values()
    assert link.zero_copy is not None
    for run_number in (1, 2):
        bench.stream.start(start_message(run_number, images=12))
        for number in range(12):
            bench.stream.put(image(number, pixels=[128, 100_000, 1 << 20][number % 3]))
        assert bench.stream.end().ok
        assert all(is_image(writer.runs[run_number].images[number], number) for number in range(12))
    if link.zero_copy.enabled:  # not everywhere
        assert link.zero_copy.writes
        wait_until(lambda: link.zero_copy is not None and not link.zero_copy.kept_writes, "memory is kept for ever")


def test_without_zero_copy_in_the_system_images_go_out_the_usual_way(
    bench: TcpBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labwire.images.pushers.zero_copy._SO_ZEROCOPY", 0x7FFF)  # an option that no system has
    bench.open(zero_copy=True)
    writer = bench.writer()
    [link] = bench.pusher._group.links.values()
    assert link.zero_copy is not None
    assert not link.zero_copy.enabled
    bench.stream.start(start_message(1, images=3))
    for number in range(3):
        bench.stream.put(image(number, pixels=1 << 20))
    assert bench.stream.end().ok
    assert all(is_image(writer.runs[1].images[number], number) for number in range(3))


def test_without_file_prefix_nothing_goes_to_the_writers(bench: TcpBench) -> None:
    writer = bench.writer()
    result = bench.run(prefix=None)
    assert result.ok
    assert not result.streamed
    assert (result.images, result.sent) == (10, 0)
    assert not writer.runs


def test_an_idle_writer_is_asked_whether_it_lives(bench: TcpBench) -> None:
    bench.open(msgspec.structs.replace(PATIENT, keepalive_s=0.05, missed_keepalives=1000))
    writer = bench.writer()
    wait_until(lambda: writer.machine.counters.keepalives >= 3)
    assert bench.run().ok


# --- addresses


def test_a_port_that_is_taken_is_said_so(bench: TcpBench) -> None:
    with pytest.raises(PortTakenError, match="taken"):
        TcpPusher(msgspec.structs.replace(LOCAL, address=bench.pusher.address))


@pytest.mark.parametrize("address", ["tcp://203.0.113.9:0", "127.0.0.1:80", "tcp://", "tcp://a:b", "tcp://::1:80"])
def test_an_address_that_cannot_be_is_refused(address: str) -> None:
    with pytest.raises(ConfigError):
        TcpPusher(msgspec.structs.replace(LOCAL, address=address))


def test_ipv6_works() -> None:
    try:
        pusher = TcpPusher(msgspec.structs.replace(LOCAL, address="tcp://[::1]:*"))
    except ConfigError:
        pytest.skip("this computer has no IPv6")
    with LoopbackWriter(pusher.address):
        pusher.wait_for_writers(1, WAIT_S)
    pusher.close()


def test_a_clamped_send_buffer_is_logged(bench: TcpBench, caplog: pytest.LogCaptureFixture) -> None:
    bench.open(send_buffer_size=1 << 30)
    bench.writer()
    assert "was clamped" in caplog.text
    assert bench.run().ok
