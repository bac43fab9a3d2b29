"""What a driver returned or raised, in the form that a RESPONSE carries."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import msgspec

from labwire.errors import DeadlineError, DeviceError, InternalError, LabwireError, ResourceError, UsageError, codes_of
from labwire.instruments.driver import Answer

MAX_ERROR_CHARS = 2000
"""Longer error texts are shortened, and say so: an error must always fit into its message."""
_SMALLEST, _LARGEST = -(1 << 63), 1 << 64  # what JSON readers of other languages hold as whole numbers


class Result(NamedTuple):
    """A value as JSON has it, and as text."""

    value: Any
    text: str
    array: Any = None
    """If not None, the value is this numpy array."""


def read_result(value: Any) -> Result:
    """Take apart what a driver's method returned.

    JSON has no form for NaN, infinities and whole numbers above 64 bits: these become None, and stand in the text.

    Raises:
        UsageError: JSON has no form for it.
    """
    reader = _READERS.get(type(value))
    if reader:
        return reader(value)
    if isinstance(value, Answer):
        return read_result(value.value)._replace(text=value.text)
    for kind in (str, int, float):
        if isinstance(value, kind):  # of an enumeration, or numpy's own kind of float
            return read_result(kind(value))
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        return read_result(value.item())
    if numpy is not None and isinstance(value, numpy.ndarray):
        return read_result(value.item()) if value.ndim == 0 else Result(None, f"{value.dtype} {value.shape}", value)
    return _read_other(value)


def _read_int(value: int) -> Result:
    return Result(value if _SMALLEST <= value < _LARGEST else None, str(value))


_READERS: dict[Any, Callable[[Any], Result]] = {
    float: lambda value: Result(value if math.isfinite(value) else None, repr(value)),
    type(None): lambda _: Result(None, ""),
    bool: lambda value: Result(value, "true" if value else "false"),
    int: _read_int,
    str: lambda value: Result(value, value),
}


def _read_other(value: Any) -> Result:
    try:
        plain = msgspec.to_builtins(value, enc_hook=_plain)
    except (TypeError, ValueError, RecursionError, NotImplementedError) as error:
        kind = type(value).__name__
        raise UsageError(f"JSON has no form for what the driver returned, of type {kind}: {error}") from error
    if isinstance(plain, (list, tuple)):
        items = cast("Sequence[Any]", plain)
        if not any(isinstance(item, (list, dict, tuple)) for item in items):
            return Result(plain, ",".join(read_result(item).text for item in items))
    return Result(plain, msgspec.json.encode(plain).decode("utf-8", "replace"))


def _plain(value: Any) -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.generic, numpy.ndarray)):
        return value.tolist()
    raise NotImplementedError(f"nothing is known of {type(value).__name__}")


def code_and_text(error: BaseException) -> tuple[int, str]:
    """Return ``error_code`` and ``error_message`` for what a driver raised."""
    kind = _kind_of(error)
    text = str(error) or type(error).__name__
    if kind is InternalError:
        text = f"{type(error).__name__}: {error}"
    if len(text) > MAX_ERROR_CHARS:
        text = f"{text[:MAX_ERROR_CHARS]}… ({len(text)} characters in all)"
    return codes_of(kind).worker_code, text.encode("utf-8", "backslashreplace").decode()


def is_bug(error: BaseException) -> bool:
    """Tell whether an error is one of the driver's code, so that its traceback is worth logging."""
    return _kind_of(error) is InternalError


def _kind_of(error: BaseException) -> type[LabwireError]:
    if isinstance(error, LabwireError):
        return type(error)
    if isinstance(error, MemoryError):
        return ResourceError
    if isinstance(error, TimeoutError):
        return DeadlineError
    if isinstance(error, OSError):
        return DeviceError
    visa = sys.modules.get("pyvisa.errors")  # there only if the driver speaks VISA
    if visa is not None and isinstance(error, visa.VisaIOError):
        timed_out = cast("Any", error).error_code == sys.modules["pyvisa.constants"].StatusCode.error_timeout
        return DeadlineError if timed_out else DeviceError
    return InternalError
