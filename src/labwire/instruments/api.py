"""Finding a verb in what an instrument can do, and checking a command's parameters against it, on either side."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from labwire.errors import NotFoundError, UsageError
from labwire.operations.instrument_api import InstrumentApi, Parameter, Verb
from labwire.strict import nearest, show_value

__all__ = ["InstrumentApi", "Parameter", "Verb", "check_params", "find_verb", "unknown_verb"]

_SHOWN_ITEMS = 3
_SHOWN_CHARS = 200


def find_verb(api: InstrumentApi, name: str, instrument: str = "") -> Verb:
    """Return a verb by its name on the wire or in Python.

    Raises:
        NotFoundError: There is none.
    """
    found = next((verb for verb in api.verbs if name in {verb.name, verb.method}), None)
    if found is None:
        raise unknown_verb(name, [verb.name for verb in api.verbs], instrument)
    return found


def unknown_verb(name: str, known: Sequence[str], instrument: str = "") -> NotFoundError:
    """Make the error for a verb that an instrument does not have."""
    near = nearest(name, known)
    hint = f"did you mean {near}?" if near else f"it has: {', '.join(known) or 'none'}"
    return NotFoundError(f"{instrument or 'the instrument'} has no verb {name!r}; {hint}", verb=name)


def check_params(verb: Verb, params: Mapping[str, Any], instrument: str = "") -> dict[str, Any]:
    """Check the parameters of a command and fill in the defaults.

    Args:
        verb: What is to be called.
        params: Its parameters by name, as they came: numbers may be of any numeric type.
        instrument: Its name, for the error's text.

    Returns:
        All parameters, each of its declared type; of type ``waveform`` as a list of floats or the array itself.

    Raises:
        UsageError: One is unknown, missing, of a wrong type, out of its range or not one of its choices.
    """
    checked: dict[str, Any] = {}
    used = 0
    for parameter in verb.parameters:
        name = parameter.name
        if name in params:
            used += 1
            try:
                checked[name] = _check(parameter, params[name])
            except (ValueError, OverflowError) as error:
                raise _wrong(verb, instrument, name, str(error), params[name]) from None
        elif parameter.required:
            raise _wrong(verb, instrument, name, f"is missing{_note(parameter.doc)}", None)
        else:
            checked[name] = parameter.default
    if used != len(params):
        known = [parameter.name for parameter in verb.parameters]
        name = next(name for name in params if name not in known)
        near = nearest(name, known)
        hint = f"did you mean {near}?" if near else f"known are: {', '.join(known) or 'none'}"
        raise _wrong(verb, instrument, name, f"is not known; {hint}", params[name])
    return checked


def _wrong(verb: Verb, instrument: str, parameter: str, text: str, value: object) -> UsageError:
    where = f"{instrument} {verb.name}" if instrument else verb.name
    return UsageError(
        f"{where}: parameter {parameter!r} {text}", verb=verb.name, parameter=parameter, value=repr(value)
    )


def _note(doc: str) -> str:
    return f" ({doc})" if doc else ""


def _check(parameter: Parameter, value: Any) -> Any:
    if value is None and not parameter.required and parameter.default is None:
        return None
    check = _CHECKS.get(parameter.type)
    if check is not None:
        value = check(value)
    if parameter.choices and value not in parameter.choices:
        shown = ", ".join(show_value(choice) for choice in parameter.choices)
        near = nearest(str(value), [str(choice) for choice in parameter.choices])
        raise ValueError(f"must be one of {shown}, not {show_value(value)}{f'; did you mean {near}?' if near else ''}")
    if parameter.minimum is not None or parameter.maximum is not None:
        _check_range(parameter, value)
    return value


def _check_range(parameter: Parameter, value: Any) -> None:
    low, high, unit = parameter.minimum, parameter.maximum, parameter.unit
    for one in cast("Sequence[float]", value) if parameter.type in {"list[float]", "waveform"} else (value,):
        if (low is not None and one < low) or (high is not None and one > high):
            tail = f" {unit}" if unit else ""
            if low is None:
                limits = f"at most {high:g}{tail}"
            elif high is None:
                limits = f"at least {low:g}{tail}"
            else:
                limits = f"from {low:g} to {high:g}{tail}"
            raise ValueError(f"must be {limits}, not {one:g}{tail}")


def _float(value: Any) -> float:
    if type(value) is not float:
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise ValueError(f"must be a number, not {_show(value)}")
        try:
            value = float(value)
        except OverflowError:
            raise ValueError("is too large for a number with a point") from None
    if not math.isfinite(value):
        raise ValueError(f"must be a finite number, not {value}: JSON has no form for it")
    return value


def _int(value: Any) -> int:
    if type(value) is int:
        return value
    if not isinstance(value, bool) and isinstance(value, numbers.Real) and math.isfinite(number := float(value)):
        whole = int(value) if isinstance(value, numbers.Integral) else int(number)
        if value == whole:
            return whole
    raise ValueError(f"must be a whole number, not {_show(value)}")


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if type(value).__name__ in {"bool", "bool_"}:  # numpy's
        return bool(value)
    raise ValueError(f"must be true or false, not {_show(value)}")


def _str(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"must be text, not {_show(value)}")


def _floats(value: Any) -> list[float]:
    items: Any = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(items, (list, tuple)):
        raise ValueError(f"must be a list of numbers, not {_show(value)}")  # noqa: TRY004 (_check's one error)
    checked: list[float] = []
    for item in cast("Sequence[Any]", items):
        try:
            checked.append(_float(item))
        except ValueError as error:
            raise ValueError(f"must be a list of numbers; item {len(checked)} {error}") from None
    return checked


def _show(value: Any) -> str:
    if isinstance(value, list) and (length := len(cast("list[object]", value))) > _SHOWN_ITEMS:
        return f"a list of {length}"
    return show_value(cast("object", value))


_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "float": _float,
    "int": _int,
    "bool": _bool,
    "str": _str,
    "list[float]": _floats,
    "waveform": _floats,
}
