"""A detector, writers and byte pipes between them that delay, stall and are cut, under a clock that the test turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal

from labwire.wire.tcp_events import (
    ConnectionLost,
    EndReceived,
    FailedRunEnded,
    ImageFailed,
    ImageReceived,
    RunCancelled,
    RunLost,
    StartReceived,
    WriterEvent,
)
from labwire.wire.tcp_frame import AckCode, FrameHeader
from labwire.wire.tcp_pool import SenderPool
from labwire.wire.tcp_run import RunPhase, SenderRun
from labwire.wire.tcp_sender import SenderConnection
from labwire.wire.tcp_states import State
from labwire.wire.tcp_writer import WriterConnection
from tests.wire.tcp_peers import SENDER

Answer = Literal["good", "bad image", "bad run"]
PIPE_BYTES = 700
MAX_UNACKNOWLEDGED = 12
MAX_UNSENT_BYTES = 600
MAX_UNANSWERED = 6


def pixels(run_number: int, image_number: int) -> bytes:
    """Make the payload of an image, by which it is known at the other end; some are larger than the pipe."""
    size = 5 + (image_number * 37 + run_number) % (1000 if image_number % 7 == 3 else 90)
    return (b"%d/%d;" % (run_number, image_number)).ljust(size, b".")


class Pipe:
    """One direction of a TCP connection: takes what fits, gives what arrived, loses nothing but by `cut`."""

    def __init__(self) -> None:
        self.flying = bytearray()
        self.ended = False

    def write(self, data: bytes) -> int:
        taken = 0 if self.ended else min(len(data), PIPE_BYTES - len(self.flying))
        self.flying += data[:taken]
        return taken

    def read(self, limit: int) -> bytes:
        data = bytes(self.flying[:limit])
        del self.flying[:limit]
        return data


class Link:
    """One writer: both ends, both pipes, and the application that stores images."""

    def __init__(self, sender: SenderConnection, now_s: float) -> None:
        self.sender = sender
        self.writer = WriterConnection(SENDER, now_s=now_s, max_unanswered=MAX_UNANSWERED)
        self.there, self.back = Pipe(), Pipe()
        self.frozen = False
        self.asked: deque[WriterEvent] = deque()
        self.open_run: int | None = None
        self.received: dict[int, list[int]] = {}
        self.stored: dict[int, set[int]] = {}
        self.sent: dict[int, list[int]] = {}
        self.failed: dict[int, set[int]] = {}

    def hear(self, events: list[WriterEvent]) -> None:
        """Check that what the application is told makes sense, and keep it until it is answered."""
        for event in events:
            match event:
                case StartReceived():
                    assert self.open_run is None
                    self.open_run = event.run_number
                    self.received[event.run_number] = []
                    self.stored[event.run_number] = set()
                case ImageReceived():
                    assert event.run_number == self.open_run
                    images = self.received[event.run_number]
                    assert bytes(event.payload) == pixels(event.run_number, event.image_number)
                    assert event.image_number not in images
                    images.append(event.image_number)
                case EndReceived():
                    assert event.run_number == self.open_run
                case FailedRunEnded() | RunCancelled() | RunLost():
                    assert event.run_number == self.open_run
                    self.open_run = None
                    self.asked.clear()
                    continue
                case ConnectionLost():
                    assert self.open_run is None
                    continue
                case _:
                    continue
            self.asked.append(event)

    def answer(self, how: Answer, now_s: float) -> None:
        """Let the application answer the oldest question."""
        event = self.asked.popleft()
        match event:
            case StartReceived() if how == "good":
                assert self.writer.accept_start(event.run_number, now_s)
            case StartReceived():
                assert self.writer.refuse_start(event.run_number, AckCode.START_FAILED, "no", now_s)
                self.open_run = None
            case ImageReceived() if how == "good":
                assert self.writer.acknowledge_image(event.run_number, event.image_number, now_s)
                self.stored[event.run_number].add(event.image_number)
            case ImageReceived() if how == "bad image":
                code = AckCode.DATA_WRITE_FAILED
                assert self.writer.fail_image(event.run_number, event.image_number, code, "odd", now_s)
            case ImageReceived():
                self.asked.clear()
                self.hear(self.writer.fail_run(event.run_number, AckCode.NO_SPACE_LEFT, "full", now_s))
            case EndReceived() if how == "good":
                assert self.writer.accept_end(event.run_number, now_s)
                self.open_run = None
            case EndReceived():
                assert self.writer.refuse_end(event.run_number, AckCode.END_FAILED, "no", now_s)
                self.open_run = None
            case _:
                raise AssertionError(event)

    def give_up(self, now_s: float) -> None:
        """Let the application give its run up, if it has accepted one."""
        if self.open_run is not None and self.writer.state is not State.STARTING:
            self.asked.clear()
            self.hear(self.writer.fail_run(self.open_run, AckCode.IO_ERROR, "broken", now_s))


class World:
    """All of it. What happens to the pool is checked by `check` against what the writers' applications know."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.pool = SenderPool(
            SENDER, nwriters=4, max_unacknowledged=MAX_UNACKNOWLEDGED, max_unsent_bytes=MAX_UNSENT_BYTES
        )
        self.links: list[Link] = []
        self.run_number = 0
        self.next_image = 0
        self.gone: set[int] = set()
        """Images of the current run that came when their writer was gone."""

    # --- what the test does

    def join(self) -> Link:
        link = Link(self.pool.connect(f"10.0.0.{len(self.links)}:4", self.now_s), self.now_s)
        self.links.append(link)
        return link

    @property
    def run(self) -> SenderRun | None:
        return self.pool.run

    @property
    def phase(self) -> RunPhase:
        return RunPhase.DONE if self.run is None else self.run.phase

    def start(self, images_per_file: int) -> None:
        self.run_number += 1
        self.next_image = 0
        self.gone = set()
        self.pool.start_run(
            self.run_number, f"run {self.run_number}", lambda _: b"start", self.now_s, images_per_file=images_per_file
        )

    def send_image(self) -> bool:
        assert self.run is not None
        number = self.next_image
        if not self.run.ready_for(number):
            return False
        self.next_image += 1
        if self.run.send_image(number, [pixels(self.run_number, number)], self.now_s):
            connection = self.run.connection_of(number)
            link = next(link for link in self.links if link.sender is connection)
            link.sent.setdefault(self.run_number, []).append(number)
        else:
            self.gone.add(number)
        return True

    def move(self, link: Link, limit: int) -> bool:
        """Carry up to `limit` bytes in each direction; False if there was nothing that could be carried."""
        if link.frozen:
            return False
        taken = link.there.write(b"".join(link.sender.data_to_send())[:limit])
        self.pool.bytes_sent(link.sender, taken, self.now_s)
        came = b"" if link.writer.paused else link.there.read(limit)
        link.hear(link.writer.receive_data(came, self.now_s))
        given = link.back.write(b"".join(link.writer.data_to_send())[:limit])
        link.writer.bytes_sent(given, self.now_s)
        heard = link.back.read(limit)
        self._note(link, self.pool.receive_data(link.sender, heard, self.now_s))
        self._ends(link)
        return bool(taken or came or given or heard)

    def _ends(self, link: Link) -> None:
        # A connection that is closed says what it has to say, then its socket is closed.
        if link.sender.state is State.CLOSED and not link.sender.unsent_bytes:
            link.there.ended = True
        if link.writer.state is State.CLOSED and not link.writer.unsent_bytes:
            link.back.ended = True
        if link.there.ended and not link.there.flying:
            link.hear(link.writer.receive_eof(self.now_s))
        if link.back.ended and not link.back.flying:
            self._note(link, self.pool.receive_eof(link.sender, self.now_s))

    def cut(self, link: Link, *, arrives: bool) -> None:
        """Break a connection; what is on its way arrives, or does not."""
        for pipe in (link.there, link.back):
            pipe.ended = True
            if not arrives:
                pipe.flying.clear()
        link.frozen = False
        self._ends(link)

    def garble(self, link: Link, data: bytes, *, there: bool) -> None:
        """Put bytes into a pipe that nobody sent."""
        (link.there if there else link.back).flying += data

    def speak_unknown(self, link: Link) -> None:
        """Let the writer send a frame of a type that the spec does not have."""
        if link.writer.state is not State.CLOSED:
            link.writer._outbox.put(FrameHeader(8, run_number=link.writer.run_number or 0))

    def pass_time(self, seconds: float) -> None:
        until = self.now_s + seconds
        while (due_s := self.next_deadline()) is not None and due_s <= until:
            self.now_s = max(self.now_s, due_s)
            self.tick()
        self.now_s = until

    def next_deadline(self) -> float | None:
        dues = [self.pool.next_deadline(), *(link.writer.next_deadline() for link in self.links)]
        return min((due_s for due_s in dues if due_s is not None), default=None)

    def tick(self) -> None:
        for connection, event in self.pool.tick(self.now_s):
            link = next(link for link in self.links if link.sender is connection)
            self._note(link, [event])
        for link in self.links:
            link.hear(link.writer.tick(self.now_s))

    def _note(self, link: Link, events: object) -> None:
        assert isinstance(events, list)
        for event in events:
            if isinstance(event, ImageFailed):
                link.failed.setdefault(self.run_number, set()).add(event.image_number)

    def finish(self, finished: Callable[[], bool]) -> None:
        """Let everything flow and everybody answer, till `finished`; time passes only when nothing else does."""
        limit_s = self.now_s + 200.0
        while not finished():
            if not self.drain():
                due_s = self.next_deadline()
                assert due_s is not None, "nothing is waited for, and nothing happens"
                assert due_s < limit_s, "a run does not end"
                self.now_s = max(self.now_s, due_s)
                self.tick()
            self.check()

    def drain(self) -> bool:
        """Let everything flow and everybody answer, till nothing moves; no time passes. False if nothing did."""
        rounds = 0
        moved = True
        while moved:
            moves = [self.move(link, 1 << 20) for link in self.links]
            moved = any(moves)
            for link in self.links:
                while link.asked:
                    link.answer("good", self.now_s)
                    moved = True
            rounds += 1
        return rounds > 1

    def all_links(self, what: str, limit: int) -> None:
        """Do one thing on all links: move bytes, answer, or wait two seconds with heartbeats arriving."""
        for link in self.links:
            if what == "answer" and link.asked:
                link.answer("good", self.now_s)
            elif what == "move":
                self.move(link, limit)
            elif what == "wait":
                self.pass_time(2.0 / len(self.links))
                self.move(link, 64)

    # --- what must hold, always

    def check(self) -> None:
        for link in self.links:
            self._check_bounds(link)
        if self.run is None:
            return
        assert self.run.run_number == self.run_number
        for connection, socket in zip(self.run.connections, self.run.result().sockets, strict=True):
            link = next(link for link in self.links if link.sender is connection)
            sent = link.sent.get(self.run_number, [])
            failed = link.failed.get(self.run_number, set())
            open_ = set(connection.account.unacknowledged)
            acknowledged = set(sent) - failed - open_
            # Every DATA is acknowledged, failed or missing; and acknowledged means that the application said so.
            assert socket.offered == socket.acknowledged + socket.failed + socket.missing
            assert (socket.sent, socket.failed, socket.acknowledged) == (len(sent), len(failed), len(acknowledged))
            assert acknowledged <= link.stored.get(self.run_number, set())
            received = link.received.get(self.run_number, [])
            assert received == sent[: len(received)]
        assert self.run.result().offered == self.next_image

    def _check_bounds(self, link: Link) -> None:
        largest = 64 + 1100
        assert len(link.sender.account.unacknowledged) <= MAX_UNACKNOWLEDGED
        assert link.sender.unsent_bytes <= MAX_UNSENT_BYTES + largest + 5 * (64 + 200)
        assert link.writer.unanswered_images <= MAX_UNANSWERED + PIPE_BYTES // 64 + 1
        assert link.writer.unsent_bytes <= 64 * 200
        assert (link.sender in self.pool.connections) == (link.sender.state is not State.CLOSED)
