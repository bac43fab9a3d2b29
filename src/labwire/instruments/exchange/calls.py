"""One command on its way: what was sent, until when an answer is of use, and who waits for it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeAlias, cast

from msgspec import UNSET

from labwire.errors import CommandFailedError, LabwireError, UsageError
from labwire.wire.instrument_message import Command, CommandResponse

Answer: TypeAlias = CommandResponse | LabwireError
ValueOf: TypeAlias = Callable[[CommandResponse], Any]

_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class Call:
    """A command that somebody waits for.

    Args:
        command: What was sent; its id ends with `number`.
        number: The id in the header.
        deadline_s: When it times out, on the monotonic clock.
    """

    __slots__ = ("answer", "command", "deadline_s", "leads", "number", "sent_s", "wake")

    unattended = False
    """True: nobody's thread waits for it, so a standby must receive its answer."""

    def __init__(self, command: Command, number: int, deadline_s: float) -> None:
        self.command, self.number, self.deadline_s = command, number, deadline_s
        self.sent_s = 0.0
        self.answer: Answer | None = None
        self.wake: threading.Lock | None = None
        """Set by a thread that sleeps until somebody else has received the answer."""
        self.leads = False
        """Set together with `wake`: the sleeper is to receive from now on."""

    def deliver(self, answer: Answer) -> None:
        """Give it its answer; called once, by whoever received it."""
        self.answer = answer
        if self.wake is not None:
            ring(self.wake)

    def deliver_block(self, response: CommandResponse) -> bool:
        """Give it a block of a continuous acquisition; False if it takes none."""
        return False

    def expired(self, now_s: float) -> bool:
        """Whether it is past its deadline."""
        return now_s >= self.deadline_s


class CallFuture(Future[Any]):
    """A future whose result may also be waited for on the thread that receives, in a callback of another one."""

    help_out: Callable[[], None] | None = None
    """Receives on this thread, if that is its role."""

    def result(self, timeout: float | None = None) -> Any:
        """Return the value, or raise the error; see `concurrent.futures.Future`."""
        self._help_out_if_due()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the error, None if there is none; see `concurrent.futures.Future`."""
        self._help_out_if_due()
        return super().exception(timeout)

    def _help_out_if_due(self) -> None:
        help_out = self.help_out  # read once: it is taken away when the answer comes, at any moment
        if help_out is not None and not self.done():
            help_out()


class FutureCall(Call):
    """A command whose answer becomes the result of a future."""

    __slots__ = ("future", "value_of")

    unattended = True

    def __init__(self, command: Command, number: int, deadline_s: float, value_of: ValueOf) -> None:
        super().__init__(command, number, deadline_s)
        self.future = CallFuture()
        self.future.set_running_or_notify_cancel()  # what was sent cannot be taken back
        self.value_of = value_of

    def deliver(self, answer: Answer) -> None:
        """Set the future's result or error."""
        self.answer = answer
        self.future.help_out = None  # it refers to this call: no rubbish for the garbage collector
        try:
            if isinstance(answer, LabwireError):
                raise answer
            value = self.value_of(answer)
        except Exception as error:
            self.future.set_exception(error)
        else:
            self.future.set_result(value)


def ring(bell: threading.Lock) -> None:
    """Let whoever waits for the lock go on; a bell that has rung already stays so."""
    try:
        bell.release()
    except RuntimeError:
        pass  # it was open


def closed_bell() -> threading.Lock:
    """Return a lock for `ring`: the next acquire waits."""
    bell = threading.Lock()
    bell.acquire()
    return bell


def deadline_of(timeout_ms: float) -> float:
    """Return the moment on the monotonic clock.

    Raises:
        UsageError: The timeout is no number above 0.
    """
    if not 0 < timeout_ms < math.inf:
        raise UsageError(f"timeout_ms is a number above 0, not {timeout_ms!r}", timeout_ms=timeout_ms)
    return time.monotonic() + timeout_ms / 1000


def plain_value(response: CommandResponse) -> Any:
    """Return the value of a response that says success and carries no waveform.

    JSON has no NaN and no infinity; they travel as null with the number in the text.
    """
    value = response.return_value
    if value is None and response.text_response:
        return _NOT_FINITE.get(response.text_response)
    return value


def check_success(response: CommandResponse, instrument: str, verb: str) -> None:
    """Check that a command succeeded.

    Raises:
        CommandFailedError: It did not.
    """
    if response.success:
        return
    what = response.error_message or response.text_response or "no reason given"
    raise CommandFailedError(
        f"{instrument} {verb} failed: {what} (error code {response.error_code})",
        instrument=instrument,
        verb=verb,
        error_code=response.error_code,
        error_message=response.error_message,
        text_response=response.text_response,
    )


def has_waveform(response: CommandResponse) -> bool:
    """Whether its value is an array in shared memory."""
    return response.waveform is not UNSET


def check_finite(params: Mapping[str, Any]) -> None:
    """Refuse numbers that JSON has no form for.

    Raises:
        UsageError: A parameter is, or holds, NaN or an infinity.
    """
    for name, value in params.items():
        if _has_not_finite(value):
            raise UsageError(f"parameter {name} is {value!r}: NaN and infinities cannot be sent", parameter=name)


def _has_not_finite(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        return any(map(_has_not_finite, cast("dict[Any, Any]", value).values()))
    if isinstance(value, list | tuple):
        return any(map(_has_not_finite, cast("Sequence[Any]", value)))
    return False
