"""One life of a worker: its process, its pair of queues, and what waits for its answers. Never used twice."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from labwire.errors import LabwireError, TooLargeError
from labwire.instruments.api import InstrumentApi
from labwire.instruments.config import InstrumentConfig
from labwire.instruments.exchange.calls import FutureCall, check_success, deadline_of
from labwire.instruments.exchange.commands import URGENT_PRIORITY, CommandMaker
from labwire.instruments.exchange.exchange import Exchange
from labwire.instruments.exchange.ledger import Hooks, OnResult, Report
from labwire.instruments.exchange.standby import Standby
from labwire.instruments.queues.contract import QueuePair, response_name
from labwire.instruments.queues.open import create_pair, join_pair
from labwire.instruments.queues.seqpacket import SeqpacketPair
from labwire.instruments.queues.users import mapped_by, opened_by
from labwire.instruments.status import Counts
from labwire.instruments.waveforms import FOLDER as SHARED_MEMORY
from labwire.instruments.waveforms import release_waveform, remove_left
from labwire.instruments.worker.spec import WorkerSpec
from labwire.wire.instrument_extras import DESCRIBE, Feature, WaveformHandle
from labwire.wire.instrument_message import PROFILES, CommandResponse, Message, MessageType, Profile, encode_message

WORKER_COMMAND = (sys.executable, "-m", "labwire.instruments.worker.process")
ALL_FEATURES = tuple(Feature)
_DESCRIBE_TIMEOUT_MS = 5000
_MAX_SPEC_BYTES = 60_000
"""Less than what a pipe holds, so that nobody waits while it is written."""


class Origin(NamedTuple):
    """What a worker is made from."""

    name: str
    config: InstrumentConfig
    number: int
    """How many workers this instrument has had before, plus one."""
    maker: CommandMaker
    counts: Counts
    python_path: Sequence[str]
    debug: bool

    @property
    def profile(self) -> Profile:
        """Layout of its messages."""
        return PROFILES[self.config.profile]

    @property
    def waveform_prefix(self) -> str:
        """What the names of its arrays in shared memory begin with."""
        return f"{waveform_prefix(self.name)}{self.number}"

    @property
    def features(self) -> tuple[Feature, ...]:
        """What it may use beyond the spec: nothing, if it is foreign."""
        return () if self.config.external else ALL_FEATURES


class Links(NamedTuple):
    """Whom an incarnation tells; from any thread."""

    report: Report
    on_ready: Callable[[Incarnation], None]
    on_lost: Callable[[Incarnation, str, bool], None]
    on_buried: Callable[[Incarnation, int], None]
    on_result: OnResult | None


class Incarnation:
    """A worker from its start to its burial.

    Raises:
        LabwireError: Its queues could not be made.
        OSError: Its process could not be started.
    """

    def __init__(self, origin: Origin, links: Links) -> None:
        self.origin, self._links = origin, links
        self.started_s = time.monotonic()
        self.ready_s: float | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.pidfd = -1
        self._foreign_pid: int | None = None
        self.lost = False
        self.lost_why = ""
        """What it said of its own end."""
        self.killed_why = ""
        config = origin.config
        make_pair = join_pair if config.external else create_pair
        pair = make_pair(config.queue, origin.name, origin.profile)
        try:
            if not config.external:
                self._spawn(pair)
            self.exchange = self._make_exchange(pair)
        except BaseException:
            pair.close()
            raise
        self._standby = Standby(
            self.exchange,
            on_ready=self._announce,
            on_buried=lambda failed: links.on_buried(self, failed),
        )
        self._standby.start()

    @property
    def pid(self) -> int | None:
        """Its process; None if it is a foreign one that could not be found."""
        return self.process.pid if self.process else self._foreign_pid

    @property
    def output_fd(self) -> int:
        """Where its standard output and error can be read."""
        assert self.process
        assert self.process.stdout
        return self.process.stdout.fileno()

    def why_died(self, seen: str, last_output: str) -> str:
        """Return how it ended, with the best of what it said itself.

        Args:
            seen: How its end looked from here.
            last_output: The last line that it wrote.
        """
        if self.killed_why:
            return seen
        if self.lost_why:
            return seen if self.lost_why in seen else f"{self.lost_why}; {seen}"
        code = self.process.returncode if self.process else None
        return f"{seen}: {last_output}" if code and code > 0 and last_output else seen

    def _make_exchange(self, pair: QueuePair) -> Exchange:
        origin = self.origin

        def on_lost(why: str, fatal: bool) -> None:  # noqa: FBT001 (a callback)
            self._links.on_lost(self, why, fatal)

        hooks = Hooks(
            report=self._links.report,
            on_lost=on_lost,
            release_waveform=self.release_waveform,
            on_result=self._links.on_result,
        )
        return Exchange(
            origin.name,
            pair,
            origin.profile,
            extras=not origin.config.external,
            counts=origin.counts,
            hooks=hooks,
            log_traffic=origin.debug,
        )

    def _spawn(self, pair: QueuePair) -> None:
        worker_fd = pair.worker_fd if isinstance(pair, SeqpacketPair) else None
        data = msgspec.json.encode(self._spec(worker_fd)) + b"\n"
        if len(data) > _MAX_SPEC_BYTES:
            raise TooLargeError(
                f"the options of {self.origin.name} take {len(data)} bytes of JSON, the limit is {_MAX_SPEC_BYTES}",
                size_bytes=len(data),
                limit_bytes=_MAX_SPEC_BYTES,
            )
        self.process = subprocess.Popen(
            WORKER_COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # a driver that prints is heard as well
            bufsize=0,
            pass_fds=() if worker_fd is None else (worker_fd,),
            process_group=0,  # Ctrl-C is for the server alone
        )
        self.pidfd = os.pidfd_open(self.process.pid)
        if isinstance(pair, SeqpacketPair):
            pair.release_worker_fd()
        os.set_blocking(self.output_fd, False)
        assert self.process.stdin
        with contextlib.suppress(OSError):  # it has died already: the pidfd tells
            self.process.stdin.write(data)

    def _spec(self, worker_fd: int | None) -> WorkerSpec:
        origin, config = self.origin, self.origin.config
        return WorkerSpec(
            name=origin.name,
            driver=config.driver,
            options=config.options,
            queue=config.queue,
            profile=config.profile,
            socket_fd=worker_fd,
            heartbeat_s=config.heartbeat_s,
            features=list(origin.features),
            waveform_prefix=origin.waveform_prefix,
            limits=config.limits,
            python_path=list(origin.python_path),
            debug=origin.debug,
        )

    # --- the beginning

    def _announce(self) -> None:
        """After the first heartbeat, on the standby: ask our own worker what it can do, then say that it is ready.

        If commands wait already, it is ready at once: the answer may come long after theirs.
        """
        maker, exchange = self.origin.maker, self.exchange
        if self.origin.config.external:
            self._find_foreign()
        describes = not self.origin.config.external and maker.api is None
        if not describes or exchange.ledger.pending:
            self._links.on_ready(self)
        if not describes:
            exchange.learned.set()
            return
        number, command = maker.make_control(DESCRIBE, {}, timeout_ms=_DESCRIBE_TIMEOUT_MS)
        call = FutureCall(command, number, deadline_of(_DESCRIBE_TIMEOUT_MS), self._learn)

        def on_done(_: object) -> None:
            exchange.learned.set()
            self._links.on_ready(self)

        call.future.add_done_callback(on_done)
        try:
            exchange.send(call, maker.encode(number, command), URGENT_PRIORITY)
        except LabwireError as error:  # its queue is full, or it is dead already
            if not call.future.done():
                call.future.set_exception(error)

    def _find_foreign(self) -> None:
        """Find the foreign worker's process, so that its death is noticed at once; without that, heartbeats tell."""
        name = response_name(self.origin.name)
        used_by = mapped_by(Path(SHARED_MEMORY, name)) if self.origin.config.queue == "boost" else opened_by(f"/{name}")
        others = used_by - {os.getpid()}
        if len(others) == 1:
            (pid,) = others
            with contextlib.suppress(OSError):  # ended meanwhile
                self.pidfd = os.pidfd_open(pid)
                self._foreign_pid = pid

    def _learn(self, response: CommandResponse) -> None:
        try:
            check_success(response, self.origin.name, DESCRIBE)
            self.origin.maker.learn(msgspec.convert(response.return_value, InstrumentApi))
        except (LabwireError, msgspec.ValidationError) as error:
            self._links.report("protocol_error", {"error": f"it does not tell what it can do: {error}"})

    def is_replaced(self) -> bool:
        """Whether other queues stand under its names by now: a foreign program has made its own."""
        pair = self.exchange.pair
        return pair.requests.state().waiting is None or pair.responses.state().waiting is None

    # --- the end

    def release_waveform(self, response: CommandResponse) -> None:
        """Free the array of a response that nobody will look at."""
        if isinstance(response.waveform, msgspec.UnsetType):
            return
        with contextlib.suppress(LabwireError, msgspec.ValidationError):  # garbage names no file of ours
            release_waveform(msgspec.convert(response.waveform, WaveformHandle), prefix=self.origin.waveform_prefix)

    def ask_to_end(self, on_failed: Callable[[str], None]) -> None:
        """Send SHUTDOWN: the worker finishes its command, shuts its driver down and exits."""
        message = encode_message(Message(MessageType.SHUTDOWN), self.origin.profile)

        def put() -> None:
            try:
                self.exchange.put(message, URGENT_PRIORITY)
            except LabwireError as error:
                on_failed(str(error))

        # A thread of its own: a full queue is waited for, and that may not hold up the supervisor.
        threading.Thread(target=put, name=f"labwire-shutdown-{self.origin.name}", daemon=True).start()

    def signal(self, number: signal.Signals, why: str = "") -> None:
        """Signal its process, if there is one."""
        self.killed_why = self.killed_why or why
        if self.process and self.process.returncode is None:
            self.process.send_signal(number)

    def clear(self) -> None:
        """Remove everything it left; its process has ended and its exchange is buried."""
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        if self.process:
            for pipe in (self.process.stdin, self.process.stdout):
                assert pipe
                pipe.close()
        remove_left(self.origin.waveform_prefix)

    def join(self, timeout_s: float) -> bool:
        """Wait for its standby's end."""
        return self._standby.join(timeout_s)


def waveform_prefix(instrument: str) -> str:
    """Return what the names of the arrays of all workers of an instrument begin with."""
    return f"labwire_{os.getpid()}_{instrument}_"


def why_ended(code: int) -> str:
    """Return how a process ended, in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"ended by signal {-code}"
