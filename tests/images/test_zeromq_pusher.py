"""Whole runs over PUSH sockets, with readers that are good, slow, absent, or say what is not so."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
import zmq

from labwire.errors import ConfigError, DeadlineError, PeerError, PeerGoneError, PortTakenError, StateError
from labwire.images.pushers.push_lane import PushLane
from labwire.images.pushers.zeromq import ZeroMqPusher
from labwire.images.stream import ImageStream, StreamResult
from labwire.images.stream_config import ZeroMqStreamConfig
from labwire.testing.waiting import wait_until
from labwire.wire.image_message import CalibrationMessage, EndMessage, ImageMessage, StartMessage
from labwire.wire.image_user_data import read_user_data
from labwire.wire.writer_note import NoteVerdict
from tests.images.puller import Puller
from tests.images.stream_runs import image, is_image, start_message

ANY = "tcp://127.0.0.1:*"
LARGE = 1 << 18  # pixels of an image that no small buffer holds


class Bench:
    """A stream over PUSH sockets, its readers, and what it reported."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.threads = stack.enter_context(ThreadPoolExecutor())
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.pusher: ZeroMqPusher
        self.stream: ImageStream

    def open(
        self,
        sockets: int = 1,
        *,
        readers: int | None = None,
        notes: bool = True,
        notes_s: float = 20.0,
        control_s: float = 20.0,
        **config: Any,
    ) -> list[Puller]:
        settings = ZeroMqStreamConfig(
            image_socket=(ANY,) * sockets, writer_notification_socket=ANY if notes else None, **config
        )
        self.pusher = ZeroMqPusher(
            settings, control_s=control_s, notes_s=notes_s, on_event=lambda kind, data: self.events.append((kind, data))
        )
        self.stream = ImageStream(self.pusher)
        self._stack.callback(self.stream.close)
        return [self.reader(number) for number in range(sockets if readers is None else readers)]

    def reader(self, number: int = 0, watermark: int = 1000) -> Puller:
        before = self.pusher.waiting_writers
        puller = self._stack.enter_context(Puller(self.pusher.addresses[number], watermark))
        if before < len(self.pusher.addresses):
            self.pusher.wait_for_writers(before + 1, 20)
        return puller

    def slow_reader(self) -> Puller:
        """Open a stream whose one reader takes hardly anything; START and END have little time."""
        self.open(notes=False, control_s=0.5, send_watermark=2, send_buffer_size=4096)[0].__exit__()
        wait_until(lambda: self.pusher.waiting_writers == 0, "the reader is gone")
        return self.reader(watermark=1)

    def put(self, images: int, pixels: int = 128) -> None:
        for number in range(images):
            self.stream.put(image(number, pixels))

    def wait_for_note(self, verdict: NoteVerdict) -> None:
        """Wait until a note of the run is here that was judged so."""
        wait_until(lambda: self.pusher._book.counts[verdict] == 1, f"a note that is {verdict.value}")

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.events]

    def end_with(self, *readers: Puller, start: StartMessage, **changed: Any) -> StreamResult:
        """End the run; readers, which have taken all, tell how many images they stored."""
        ending = self.threads.submit(self.stream.end)
        for number, reader in enumerate(readers):
            told = {"processed_images": len(reader.images()), "socket_number": number, **changed}
            reader.note(start, **told)
        return ending.result()


@pytest.fixture
def bench() -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(stack)


def test_images_are_split_by_file_and_the_notes_are_summed_up(bench: Bench) -> None:
    readers = bench.open(3)
    bench.stream.start(start_message(1, 13, per_file=2))
    starts = [reader.start() for reader in readers]
    bench.put(13)
    ending = bench.threads.submit(bench.stream.end)
    for number, (reader, start) in enumerate(zip(readers, starts, strict=True)):
        assert (start.socket_number, start.write_master_file) == (number, number == 0)
        user_data = read_user_data(start)
        assert user_data.writer_notification_zmq_addr == bench.pusher.notification_address
        assert user_data.socket_number == number
        got = reader.images()
        assert [one.image_id for one in got] == [index for index in range(13) if index // 2 % 3 == number]
        assert all(is_image(one, one.image_id) for one in got)
        reader.note(start, processed_images=len(got))
    result = ending.result()
    assert result.ok
    assert (result.sent, result.acknowledged, result.dropped, result.missing) == (13, 13, 0, 0)


def test_addresses_have_the_ports_that_were_taken(bench: Bench) -> None:
    bench.open(2)
    addresses = [*bench.pusher.addresses, bench.pusher.notification_address]
    assert len({str(address).rpartition(":")[2] for address in addresses}) == 3
    assert not any("*" in str(address) for address in addresses)


def test_calibration_goes_over_the_first_socket_only(bench: Bench) -> None:
    first, second = bench.open(2, notes=False)
    bench.stream.start(start_message(1, 0))
    first.start()
    second.start()
    bench.stream.send_calibration(CalibrationMessage(data={"pedestal_g0": image(3).data["default"]}))
    assert bench.stream.end().ok
    assert isinstance(first.receive(), CalibrationMessage)
    assert first.images() == second.images() == []


def test_a_run_with_a_socket_that_nobody_reads_does_not_start(bench: Bench) -> None:
    (first,) = bench.open(2, readers=1, notes=False, control_s=0.2)
    with pytest.raises(PeerGoneError, match=r"labwire write zmq\+tcp://127"):
        bench.stream.start(start_message())
    assert first.start().series_id == 1
    assert first.images() == []  # and it is told that the run is over
    second = bench.reader(1)
    bench.stream.start(start_message(2))
    assert first.start().series_id == second.start().series_id == 2
    assert bench.stream.end().ok


def test_a_reader_that_takes_nothing_drops_images_and_each_is_counted(bench: Bench) -> None:
    slow = bench.slow_reader()
    bench.stream.start(start_message(1, 60))
    bench.put(60, pixels=LARGE)
    ending = bench.threads.submit(bench.stream.end)
    wait_until(lambda: "images_dropped" in bench.kinds(), "the drop is told")
    result = ending.result()
    assert result.dropped > 30
    assert result.sent + result.dropped == 60
    assert not result.ok
    slow.start()
    for _ in range(result.sent):
        assert isinstance(slow.receive(), ImageMessage)
    if "END found no room" not in str(result.faults):
        assert isinstance(slow.receive(), EndMessage)
    assert f"{result.dropped} of 60 images dropped" in str(result.error())
    assert bench.kinds().count("images_dropped") == 1
    bench.stream.start(start_message(2, 5))  # the next run waits for its reader again
    slow.start()
    bench.put(5)
    assert bench.stream.end().ok


def test_an_end_without_room_is_a_transmission_error(bench: Bench) -> None:
    bench.slow_reader()
    bench.stream.start(start_message(1, 60))
    bench.put(60, pixels=LARGE)
    result = bench.stream.end()
    assert "END found no room" in str(result.error())
    assert isinstance(result.error(), DeadlineError)
    with pytest.raises(PeerError, match="queue is full"):
        bench.stream.start(start_message(2))


# --- notes


def test_a_note_that_never_comes_is_an_error_that_names_the_socket(bench: Bench) -> None:
    first, second = bench.open(2, notes_s=0.3)
    bench.stream.start(start_message(1, 4))
    start = first.start()
    second.start()
    bench.put(4)
    first.note(start, processed_images=2)  # so early that it is here in time
    bench.wait_for_note(NoteVerdict.TAKEN)
    result = bench.stream.end()
    assert isinstance(result.error(), DeadlineError)
    assert f"socket 1 ({bench.pusher.addresses[1].removeprefix('zmq+')}) sent no note within 0.3 s" in str(
        result.error()
    )
    assert (result.acknowledged, result.missing) == (2, 2)
    assert len(first.images()) == len(second.images()) == 2
    bench.stream.start(start_message(2, 0))
    assert first.start().series_id == 2
    bench.stream.cancel()


def test_a_note_that_says_what_went_wrong_is_passed_on(bench: Bench) -> None:
    (reader,) = bench.open()
    bench.stream.start(start_message(1, 4))
    start = reader.start()
    bench.put(4)
    result = bench.end_with(reader, start=start, ok=False, error="Permission error", processed_images=1)
    assert "Permission error" in str(result.error())
    assert (result.acknowledged, result.missing) == (1, 3)


@pytest.mark.parametrize(("processed", "ok"), [(3, False), (4, True), (5, False)])
def test_processed_images_are_held_against_those_that_were_sent(bench: Bench, processed: int, *, ok: bool) -> None:
    (reader,) = bench.open()
    bench.stream.start(start_message(1, 4))
    start = reader.start()
    bench.put(4)
    assert bench.end_with(reader, start=start, processed_images=processed).ok is ok


@pytest.mark.parametrize(
    "wrong", [{"run_number": 2}, {"run_name": "another"}, {"socket_number": 1}], ids=lambda wrong: next(iter(wrong))
)
def test_a_note_of_something_else_does_not_count(bench: Bench, wrong: dict[str, Any]) -> None:
    (reader,) = bench.open(notes_s=0.3)
    bench.stream.start(start_message(1, 4))
    start = reader.start()
    bench.put(4)
    reader.note(start, **{"processed_images": 4, **wrong})
    wait_until(lambda: "note_refused" in bench.kinds(), "the note is refused")
    assert "sent no note" in str(bench.stream.end().error())


def test_garbage_on_the_notification_socket_harms_nobody(bench: Bench, soak: Any) -> None:
    (reader,) = bench.open()
    bench.stream.start(start_message(1, 4))
    start = reader.start()
    address = str(bench.pusher.notification_address)
    for number in range(soak(30, 1000)):
        reader.send(address, b"", b"{}") if number % 3 else reader.send(address, b"[" * 1000)
    wait_until(lambda: "note_refused" in bench.kinds(), "garbage is refused")
    bench.put(4)
    assert bench.end_with(reader, start=start).ok
    assert bench.kinds().count("note_refused") <= 16 + 1  # one more for those that come late


# --- cancel, close, addresses


def test_after_a_cancel_no_stray_frame_reaches_the_next_run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labwire.images.pushers.push_lane.IMAGE_S", 60.0)  # none is dropped before the cancel
    bench.open(notes=False, send_watermark=2)[0].__exit__()
    wait_until(lambda: bench.pusher.waiting_writers == 0, "the reader is gone")
    reader = bench.reader(watermark=1)
    bench.stream.start(start_message(1, 100))
    reader.start()
    failed: list[StateError] = []

    def produce() -> None:
        try:
            bench.put(100, pixels=LARGE)
        except StateError as error:
            failed.append(error)

    producer = threading.Thread(target=produce)
    producer.start()
    wait_until(lambda: bench.pusher.result().sent > 0, "images flow")  # pyright: ignore[reportOptionalMemberAccess]
    cancelling = bench.threads.submit(bench.stream.cancel)
    of_first = reader.images()
    result = cancelling.result()
    producer.join()
    assert result is not None
    assert result.cancelled
    assert not result.ok
    assert len(failed) == 1
    assert len(of_first) == result.sent < 100
    bench.stream.start(start_message(2, 3))
    assert reader.start().series_id == 2
    bench.put(3)
    assert bench.stream.end().ok
    assert [one.image_id for one in reader.images()] == [0, 1, 2]


def test_an_image_that_is_put_after_its_run_was_cancelled_is_not_of_the_next(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (reader,) = bench.open(notes=False)
    put, reached, may_go_on = PushLane.put_image, threading.Event(), threading.Event()

    def put_late(lane: PushLane, *image: Any) -> None:
        reached.set()
        assert may_go_on.wait(20)
        put(lane, *image)

    def produce() -> None:
        with pytest.raises(StateError, match="run 1 was cancelled"):
            bench.put(1)

    bench.stream.start(start_message(1, 3))
    with monkeypatch.context() as patch:
        patch.setattr(PushLane, "put_image", put_late)
        producing = bench.threads.submit(produce)
        assert reached.wait(20)
        bench.stream.cancel()
        bench.stream.start(start_message(2, 3))
        may_go_on.set()
        producing.result()
    bench.put(3)
    assert bench.stream.end().sent == 3
    assert (reader.start().series_id, reader.images()) == (1, [])
    assert reader.start().series_id == 2
    assert [one.image_id for one in reader.images()] == [0, 1, 2]


def test_a_cancel_ends_the_wait_for_notes(bench: Bench) -> None:
    (reader,) = bench.open(notes_s=60)
    bench.stream.start(start_message(1, 4))
    reader.start()
    bench.put(4)
    ending = bench.threads.submit(bench.stream.end)
    reader.images()
    bench.stream.cancel()
    assert ending.result(20).cancelled


def test_two_readers_of_one_socket_are_told_of(bench: Bench) -> None:
    bench.open()
    bench.reader()
    wait_until(lambda: "second_reader" in bench.kinds(), "the second reader is told of")


def test_close_takes_a_run_back_and_what_was_sent_leaves(bench: Bench) -> None:
    (reader,) = bench.open(notes=False)
    bench.stream.start(start_message(1, 3))
    bench.put(3)
    bench.stream.end()
    bench.stream.close()
    reader.start()
    assert len(reader.images()) == 3
    with pytest.raises(StateError):
        bench.stream.start(start_message(2))


def test_a_port_that_is_taken_is_said_so(bench: Bench) -> None:
    bench.open()
    taken = bench.pusher.addresses[0].removeprefix("zmq+")
    with pytest.raises(PortTakenError, match="taken"):
        ZeroMqPusher(ZeroMqStreamConfig(image_socket=(ANY, taken)))


def test_garbage_collection_does_not_meet_a_socket_that_is_still_open(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.open()
    taken = bench.pusher.addresses[0].removeprefix("zmq+")
    destroy = zmq.Context.destroy

    def collect_and_destroy(context: zmq.Context[Any], linger: int | None = None) -> None:
        gc.collect()
        destroy(context, linger)

    monkeypatch.setattr(zmq.Context, "destroy", collect_and_destroy)
    with pytest.raises(PortTakenError, match="taken"):
        ZeroMqPusher(ZeroMqStreamConfig(image_socket=(ANY, taken)))


@pytest.mark.parametrize("address", ["tcp://0.0.0.0:*", "tcp://*:9000", "tcp://[::]:*", "udp://127.0.0.1:1", "no"])
def test_notes_need_an_address_that_writers_can_use(address: str) -> None:
    with pytest.raises(ConfigError, match=r"writer_notification_socket|all interfaces"):
        ZeroMqPusher(ZeroMqStreamConfig(image_socket=(ANY,), writer_notification_socket=address))


@pytest.mark.parametrize("address", ["tcp://203.0.113.9:1", "9000", "inproc://x", "tcp://nowhere"])
def test_an_address_that_cannot_be_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot listen|is not an address"):
        ZeroMqPusher(ZeroMqStreamConfig(image_socket=(address,)))


def test_a_clamped_send_buffer_is_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.open(send_buffer_size=1 << 30)
    assert "was clamped" in caplog.text
