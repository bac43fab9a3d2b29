"""Reads the verbs of a driver from the signatures and docstrings of its methods."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, Union, cast, get_args, get_origin

from labwire.errors import ConfigError
from labwire.operations.instrument_api import InstrumentApi, Parameter, Verb


class Quantity(NamedTuple):
    """Unit and range of a number; see `quantity`."""

    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None


def quantity(unit: str = "", *, ge: float | None = None, le: float | None = None) -> Quantity:
    """Tell unit and range of a parameter or a result.

    >>> Voltage = Annotated[float, quantity("V", ge=0, le=1000)]

    Args:
        unit: As it is shown: ``V``, ``Hz``, ``°C``.
        ge: Smallest value allowed.
        le: Largest value allowed.
    """
    return Quantity(unit, ge, le)


_PLAIN: Mapping[Any, str] = {float: "float", int: "int", str: "str", bool: "bool", None: "none", type(None): "none"}
_ARRAYS = ("Waveform", "ndarray", "NDArray")
_UNSENDABLE = (complex, bytes, bytearray, set, frozenset)
_NO_VERBS = frozenset({"open", "close", "verbs"})
_SECTION = re.compile(r"(Args|Arguments|Parameters|Returns|Yields|Raises|Example|Examples|Note|Notes|Source):\s*")
_ENTRY = re.compile(r"\*{0,2}(\w+)(?:\s*\([^)]*\))?:\s*(.*)")


def read_api(driver: type, verbs: Sequence[Verb]) -> InstrumentApi:
    """Put together what an instrument can do."""
    doc = inspect.cleandoc(driver.__doc__ or "")  # its own: that of `Driver` tells nothing about an instrument
    return InstrumentApi(driver=f"{driver.__module__}:{driver.__qualname__}", doc=doc, verbs=list(verbs))


def bound_verbs(driver: type, base: type) -> list[Verb]:
    """Return the verbs of a driver's class: its public methods, in order of definition, those of its bases first.

    Args:
        driver: The class.
        base: Only methods of subclasses of this class are verbs.

    Raises:
        ConfigError: A method cannot be a verb.
    """
    methods: dict[str, Callable[..., Any]] = {}
    for owner in reversed(driver.__mro__):
        if owner is base or not issubclass(owner, base):
            continue
        methods |= {
            name: value
            for name, value in vars(owner).items()
            if inspect.isfunction(value) and not name.startswith("_") and name not in _NO_VERBS
        }
    return [_read_verb(driver, name, method) for name, method in methods.items()]


def _read_verb(driver: type, name: str, method: Callable[..., Any]) -> Verb:
    where = f"{driver.__module__}:{driver.__qualname__}.{name}"
    if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method):
        raise ConfigError(f"{where} is async: a verb is a plain method, which may take as long as it needs")
    doc, docs = parse_docstring(inspect.getdoc(method) or "")
    continuous = inspect.isgeneratorfunction(method)
    returns = _resolve(method, method.__annotations__.get("return", Any))
    if continuous and get_origin(returns) is not None and get_origin(returns) is not Annotated:
        returns = (*get_args(returns), Any)[0]
    kind, amount, _ = _read_type(returns, where)
    parameters = list(_read_parameters(method, docs, where))
    return Verb(
        name=name.upper(),
        method=name,
        doc=doc,
        parameters=parameters,
        returns=kind,
        unit=amount.unit,
        continuous=continuous,
    )


def _read_parameters(method: Callable[..., Any], docs: Mapping[str, str], where: str) -> Iterator[Parameter]:
    for parameter in list(inspect.signature(method).parameters.values())[1:]:
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY}:
            raise ConfigError(f"{where}: {parameter} cannot be sent: each parameter of a verb has a name")
        annotation = Any if parameter.annotation is parameter.empty else parameter.annotation
        annotation = _resolve(method, annotation)
        if annotation in _UNSENDABLE:
            raise ConfigError(f"{where}: {parameter} cannot be sent: use float, int, str, bool, list[float], Waveform")
        kind, amount, choices = _read_type(annotation, where)
        required = parameter.default is parameter.empty
        yield Parameter(
            name=parameter.name,
            type=kind,
            doc=docs.get(parameter.name, ""),
            unit=amount.unit,
            minimum=amount.minimum,
            maximum=amount.maximum,
            choices=choices,
            required=required,
            default=None if required else parameter.default,
        )


def _resolve(method: Callable[..., Any], annotation: Any) -> Any:
    """Return an annotation as a type; one that names what is only imported for type checkers stays text."""
    if not isinstance(annotation, str):
        return annotation
    scope = getattr(inspect.unwrap(method), "__globals__", {})
    try:
        return eval(annotation, scope)  # noqa: S307 (the driver's own source, as typing.get_type_hints does)
    except (NameError, AttributeError, SyntaxError, TypeError):
        return annotation


def _read_type(annotation: Any, where: str) -> tuple[str, Quantity, list[Any]]:
    amount = Quantity()
    if get_origin(annotation) is Annotated:
        annotation, *notes = get_args(annotation)
        amount = next((note for note in notes if isinstance(note, Quantity)), amount)
    if isinstance(annotation, typing.ForwardRef):
        annotation = annotation.__forward_arg__
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in {Union, types.UnionType}:
        return _read_union(args, amount, where)
    if origin is Literal:
        kinds = {_PLAIN.get(type(choice), "any") for choice in args}
        return (kinds.pop() if len(kinds) == 1 else "any"), amount, list(args)
    if isinstance(annotation, str):
        return ("waveform" if any(word in annotation for word in _ARRAYS) else "any"), amount, []
    if origin in {list, tuple} or (isinstance(origin, type) and issubclass(origin, Sequence)):
        inner = {_read_type(arg, where)[0] for arg in args if arg is not Ellipsis}
        return ("list[float]" if inner and inner <= {"float", "int"} else "any"), amount, []
    if getattr(cast("Any", origin or annotation), "__name__", "") in _ARRAYS:
        return "waveform", amount, []
    return (_PLAIN.get(annotation, "any") if _is_hashable(annotation) else "any"), amount, []


def _read_union(args: tuple[Any, ...], amount: Quantity, where: str) -> tuple[str, Quantity, list[Any]]:
    inner = [_read_type(arg, where) for arg in args if arg is not type(None)]
    if len(inner) == 1:
        kind, inner_amount, choices = inner[0]
        return kind, (inner_amount if inner_amount != Quantity() else amount), choices
    kinds = {kind for kind, _, _ in inner}
    return ("float" if kinds == {"float", "int"} else "any"), amount, []


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def parse_docstring(text: str) -> tuple[str, dict[str, str]]:
    r"""Split a Google docstring into what it says before its first section, and its parameters' texts.

    >>> parse_docstring("Measure.\n\nArgs:\n    range: Largest\n        voltage.")
    ('Measure.', {'range': 'Largest voltage.'})
    """
    lines = text.splitlines()
    section, intro, entries = "", list[str](), dict[str, list[str]]()
    name, indent = "", 0
    for line in lines:
        stripped = line.strip()
        if line == line.lstrip() and (match := _SECTION.fullmatch(stripped)):
            section, name, indent = match[1], "", 0
        elif not section:
            intro.append(line)
        elif section in {"Args", "Arguments", "Parameters"} and stripped:
            depth = len(line) - len(line.lstrip())
            indent = indent or depth
            if depth <= indent and (match := _ENTRY.fullmatch(stripped)):
                name = match[1]
                entries[name] = [match[2]]
            elif name:
                entries[name].append(stripped)
    return "\n".join(intro).strip(), {key: " ".join(filter(None, parts)) for key, parts in entries.items()}
