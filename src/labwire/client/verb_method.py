"""A verb as a Python method: its signature, its docstring, and arguments by their names."""

from __future__ import annotations

import inspect
import keyword
from collections.abc import Mapping
from typing import Any

from labwire.operations.instrument_api import Parameter, Verb

_ALL_DIGITS_BELOW = 1e9


def by_name(verb: Verb, values: tuple[Any, ...], params: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of a call by their names.

    Raises:
        TypeError: There are too many, or one is given twice.
    """
    names = [parameter.name for parameter in _in_order(verb)]
    if len(values) > len(names):
        raise TypeError(f"{verb.method}() takes {len(names)} parameters, {len(values)} were given")
    given = dict(zip(names, values, strict=False))
    if doubled := given.keys() & params.keys():
        raise TypeError(f"{verb.method}() got {', '.join(sorted(doubled))} twice")
    return {**given, **params}


_TYPES: Mapping[str, Any] = {
    "float": float,
    "int": int,
    "str": str,
    "bool": bool,
    "list[float]": list[float],
    "none": None,
}


def _in_order(verb: Verb) -> list[Parameter]:
    """Return the parameters as Python wants them: those that must be given come first."""
    return sorted(verb.parameters, key=lambda parameter: not parameter.required)


def signature_of(verb: Verb) -> inspect.Signature:
    """Return the signature that completion and `help` show."""
    made = [
        inspect.Parameter(
            parameter.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=inspect.Parameter.empty if parameter.required else parameter.default,
            annotation=_TYPES.get(parameter.type, Any),
        )
        for parameter in _in_order(verb)
        if parameter.name.isidentifier() and not keyword.iskeyword(parameter.name)  # others are for `call`
    ]
    return inspect.Signature(made, return_annotation=_TYPES.get(verb.returns, Any))


def doc_of(verb: Verb) -> str:
    """Return the docstring of a verb's method."""
    lines = [verb.doc, *(["", "Args:"] if verb.parameters else [])]
    lines += [f"    {parameter.name}: {describe_parameter(parameter)}".rstrip() for parameter in verb.parameters]
    return "\n".join(lines)


def describe_parameter(parameter: Parameter) -> str:
    """Return what is to be known of a parameter: its text, unit, range, choices and default."""
    low, high = parameter.minimum, parameter.maximum
    notes = [
        f"in {parameter.unit}" if parameter.unit else "",
        f"{_number(low)} to {_number(high)}" if low is not None and high is not None else "",
        f"at least {_number(low)}" if low is not None and high is None else "",
        f"at most {_number(high)}" if high is not None and low is None else "",
        f"one of {', '.join(map(str, parameter.choices))}" if parameter.choices else "",
        "" if parameter.required else f"default {parameter.default}",
    ]
    told = ", ".join(filter(None, notes))
    return f"{parameter.doc} ({told})".strip() if told else parameter.doc


def _number(value: float) -> str:
    whole = abs(value) < _ALL_DIGITS_BELOW and value == int(value)
    return str(int(value)) if whole else f"{value:g}"
