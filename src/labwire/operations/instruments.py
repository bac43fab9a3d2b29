"""Operations on the instruments of a rig."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import msgspec

from labwire.errors import (
    CommandFailedError,
    DeadlineError,
    NotFoundError,
    PeerGoneError,
    ProtocolError,
    QueueFullError,
    StateError,
    TooLargeError,
    UsageError,
    needs_extra,
)
from labwire.operations.instrument_api import InstrumentApi
from labwire.operations.job import Job
from labwire.operations.service import Service, operation

if TYPE_CHECKING:
    import numpy as np

DEFAULT_TIMEOUT_MS = 5000
"""Source: instrument-ipc, "COMMAND": the spec's example."""
WINDOW = 16
"""Blocks of an acquisition that are sent before the caller has said that it took some."""
MAX_COMMANDS = 100_000
"""Most commands of one `Instruments.run`."""

TimeoutMs: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=86_400_000)]
Priority: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=1000)]


class Array(msgspec.Struct, frozen=True):
    """A waveform as its bytes: never as text, never as JSON numbers."""

    dtype: str
    """As numpy writes it, little-endian: ``<f4``."""
    shape: tuple[int, ...]
    data: bytes
    """Its elements in C order."""

    def numpy(self) -> np.ndarray[Any, Any]:
        """Return it as an array of its own.

        Raises:
            ProtocolError: Type, shape and bytes do not fit each other.
        """
        with needs_extra("waveforms"):
            import numpy as np
        try:
            dtype = np.dtype(self.dtype)
            if dtype.hasobject or any(length < 0 for length in self.shape):
                raise ValueError("objects cannot travel, and no length is negative")
            return np.frombuffer(self.data, dtype).reshape(self.shape).copy()
        except (TypeError, ValueError, SyntaxError) as error:
            shown = f"{self.dtype!r} of shape {list(self.shape)}"
            raise ProtocolError(f"{len(self.data)} bytes are no array {shown}: {error}") from error


def array_of(value: Any) -> Array:
    """Return a numpy array as what travels."""
    with needs_extra("waveforms"):
        import numpy as np
    plain = np.asarray(value, order="C")
    little = plain.astype(plain.dtype.newbyteorder("<"), copy=False)
    return Array(little.dtype.str, tuple(plain.shape), little.tobytes())


class InstrumentStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One instrument of the rig; published as ``instrument.<name>.state`` as well."""

    name: str
    state: str
    """``starting``, ``ready``, ``busy``, ``stuck``, ``waiting`` (for a worker that somebody else starts), ``stopping``,
    ``stopped``, ``backing_off`` (died, starts again) or ``given_up``."""
    driver: str = ""
    queue: str = ""
    profile: str = ""
    external: bool = False
    pid: int | None = None
    incarnation: int = 0
    """How often its worker was started."""
    restarts: int = 0
    """How often it was started again after a death."""
    uptime_s: float | None = None
    """Since its worker was ready."""
    waiting: int = 0
    """Commands sent and not answered yet."""
    ok: int = 0
    failed: int = 0
    """Commands that were answered with a failure, or lost with a worker."""
    timed_out: int = 0
    late: int = 0
    """Responses that came after their timeout, and were dropped."""
    protocol_errors: int = 0
    """Messages that could not be understood."""
    stuck_s: float | None = None
    """How long a command has been past its timeout."""
    heartbeat_age_s: float | None = None
    """Since the last sign of life."""
    starts_again_in_s: float | None = None
    dropped: int = 0
    """Results that did not get onto the bus, because there were more than it takes."""
    acquisitions: int = 0
    """Continuous acquisitions that run."""
    last_error: str = ""


InstrumentList: TypeAlias = list[InstrumentStatus]


class CommandRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One command of a list."""

    name: str
    """Of the instrument."""
    verb: str
    params: dict[str, Any] = {}
    timeout_ms: TimeoutMs = DEFAULT_TIMEOUT_MS
    priority: Priority = 0


class CommandResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a command."""

    command_id: str
    """``<instrument>-<counter>``: the same on the bus and in recordings."""
    instrument: str
    verb: str
    value: Any = None
    """What the command returned; None if it returned nothing, or an array."""
    array: Array | None = None
    """What the command returned, if that is a waveform."""
    text: str = ""
    """What the instrument said, as text."""
    error: str = ""
    """Why it failed: only in a list of results, otherwise a failure is an error."""
    error_type: str = ""
    """Name of the error in `labwire.errors`."""
    timestamp: float = 0.0
    """When the answer came, in rig time."""
    duration_s: float = 0.0
    """From sending the command to its answer."""

    @property
    def result(self) -> Any:
        """The value, or the array as a numpy array."""
        return self.value if self.array is None else self.array.numpy()


CommandList: TypeAlias = list[CommandRequest]
ResultList: TypeAlias = list[CommandResult]
NameList: TypeAlias = list[str]


class RunProgress(msgspec.Struct, frozen=True):
    """How far a list of commands is."""

    step: str
    done_commands: int
    total_commands: int
    failed: int = 0


class Ping(msgspec.Struct, frozen=True):
    """A round trip to a worker and back, driver not involved."""

    name: str
    round_trip_us: float


class BarrierDone(msgspec.Struct, frozen=True):
    """Instruments that have waited for each other."""

    names: list[str]
    waited_s: float
    """Until the last of them was there."""
    timestamp: float
    """When all went on, in rig time."""


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """One block of a continuous acquisition."""

    acquisition: int
    """Number of the acquisition, for `Instruments.grant`."""
    command_id: str
    instrument: str
    verb: str
    number: int
    """From 0."""
    value: Any = None
    array: Array | None = None
    timestamp: float = 0.0
    """When it came, in rig time."""

    @property
    def result(self) -> Any:
        """The value, or the array as a numpy array."""
        return self.value if self.array is None else self.array.numpy()


class AcquisitionDone(msgspec.Struct, frozen=True):
    """A continuous acquisition that has ended."""

    blocks: int
    duration_s: float


_OF_A_COMMAND = (
    NotFoundError,
    UsageError,
    CommandFailedError,
    DeadlineError,
    PeerGoneError,
    QueueFullError,
    TooLargeError,
    StateError,
)


class Instruments(Service):
    """Command instruments."""

    service = "instruments"

    @operation(changes=False)
    @abstractmethod
    def list(self) -> InstrumentList:
        """List the instruments with their state, in the order of the rig file."""

    @operation(errors=(NotFoundError, PeerGoneError, DeadlineError), changes=False)
    @abstractmethod
    def describe(self, name: str) -> InstrumentApi:
        """Tell what an instrument can do: its verbs with parameters, units and ranges.

        Args:
            name: Name of the instrument.
        """

    @operation(errors=_OF_A_COMMAND)
    @abstractmethod
    def call(
        self,
        name: str,
        verb: str,
        params: dict[str, Any] = {},  # noqa: B006  a default of the request struct, which copies it
        *,
        timeout_ms: TimeoutMs = DEFAULT_TIMEOUT_MS,
        priority: Priority = 0,
        expects_response: bool = True,
    ) -> CommandResult:
        """Send a command to an instrument and wait for its answer.

        Args:
            name: Name of the instrument.
            verb: Name of the command: ``MEASURE_VOLTAGE``.
            params: Its parameters.
            timeout_ms: How long the answer may take. The instrument goes on all the same: it cannot be interrupted.
            priority: Higher goes first among the commands that wait; equal ones keep their order.
            expects_response: False if nothing is to be returned.
        """

    @operation(errors=(UsageError,))
    @abstractmethod
    def run(self, commands: CommandList, *, stop_on_error: bool = True) -> Job[RunProgress, ResultList]:
        """Run a list of commands: one instrument's in their order, several instruments' at the same time.

        Args:
            commands: The commands.
            stop_on_error: Send no more after one has failed; what was not sent is missing from the results. False
                sends up to 50 to an instrument without waiting, which is faster.
        """

    @operation(errors=(NotFoundError, StateError))
    @abstractmethod
    def start(self, name: str) -> InstrumentStatus:
        """Start an instrument that is stopped or given up.

        Args:
            name: Name of the instrument.
        """

    @operation(errors=(NotFoundError, StateError))
    @abstractmethod
    def stop(self, name: str) -> InstrumentStatus:
        """Stop an instrument: the running command is finished, the driver shut down.

        Args:
            name: Name of the instrument.
        """

    @operation(errors=(NotFoundError, StateError))
    @abstractmethod
    def restart(self, name: str) -> InstrumentStatus:
        """Stop an instrument, by force if need be, and start it again.

        Args:
            name: Name of the instrument.
        """

    @operation(errors=(NotFoundError, PeerGoneError, DeadlineError), changes=False)
    @abstractmethod
    def ping(self, name: str) -> Ping:
        """Measure the round trip to an instrument's worker, which waits behind the commands before it.

        Args:
            name: Name of the instrument.
        """

    @operation(errors=(NotFoundError, UsageError, PeerGoneError, DeadlineError))
    @abstractmethod
    def barrier(self, names: NameList, *, timeout_s: float = 5.0) -> BarrierDone:
        """Let instruments wait for each other: none goes on before all have finished what was sent before.

        Args:
            names: Names of the instruments.
            timeout_s: How long to wait for the last one.
        """

    @operation(errors=_OF_A_COMMAND)
    @abstractmethod
    def acquire(
        self,
        name: str,
        verb: str,
        params: dict[str, Any] = {},  # noqa: B006  a default of the request struct, which copies it
        *,
        timeout_ms: TimeoutMs = DEFAULT_TIMEOUT_MS,
        window: Annotated[int, msgspec.Meta(ge=0, le=1000)] = WINDOW,
        publish: bool = True,
    ) -> Job[Block, AcquisitionDone]:
        """Acquire continuously: block after block, until it is cancelled or the instrument is done.

        No block is made before there is room for it: the caller says by `grant` that it took some. It ends when the
        caller's connection does.

        Args:
            name: Name of the instrument.
            verb: Name of a continuous command.
            params: Its parameters.
            timeout_ms: How long a block may take.
            window: Blocks that are sent unasked; 0 sends none to the caller, only to the bus: each second one comes
                without its value, which tells how far it is.
            publish: Put each block on the bus, as ``instrument.<name>.block``.
        """

    @operation()
    @abstractmethod
    def grant(self, acquisition: int, blocks: Annotated[int, msgspec.Meta(ge=1, le=1000)]) -> None:
        """Say that the caller of an acquisition has room for more blocks; one that has ended takes no notice.

        Args:
            acquisition: Its number, as it stands in each block.
            blocks: How many.
        """

    @operation(errors=(NotFoundError,))
    @abstractmethod
    def cancel(self, name: str) -> InstrumentStatus:
        """End the continuous acquisitions of an instrument.

        Args:
            name: Name of the instrument.
        """
