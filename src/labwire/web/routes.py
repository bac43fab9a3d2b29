"""The HTTP API as rows, made from the table of operations: what only looks is a GET, what changes the rig is a POST."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin

import msgspec

from labwire.errors import LabwireError, NotFoundError, QueueFullError, RefusedError, TooLargeError, UsageError
from labwire.operations.service import Operation, Service
from labwire.operations.table import all_services

MAX_BODY_BYTES = 1 << 20
ALWAYS: tuple[type[LabwireError], ...] = (UsageError, RefusedError)
"""What any request may be answered with."""

S = TypeVar("S", bound=msgspec.Struct)
_SCALARS = {str, int, float, bool}
_ARGUMENT = re.compile(r"^    (\w+): ((?:.+\n?)(?:^        .+\n?)*)", re.MULTILINE)


class Route(msgspec.Struct, frozen=True):
    """An operation over HTTP."""

    service: type[Service]
    operation: Operation
    method: str
    """``GET`` with a query, or ``POST`` with a JSON body."""

    @property
    def path(self) -> str:
        """``/api/record/start``."""
        return f"/api/{self.operation.service}/{self.operation.name}"

    @property
    def errors(self) -> tuple[type[LabwireError], ...]:
        """All that it may be answered with."""
        more = (TooLargeError,) if self.method == "POST" else ()
        jobs = (QueueFullError,) if self.operation.progress is not None else ()
        return (*ALWAYS, *more, *jobs, *self.operation.errors)

    def read_query(self, query: Iterable[tuple[str, str]]) -> msgspec.Struct:
        """Make the request from the parts of a query.

        Raises:
            UsageError: It does not fit.
        """
        given: dict[str, str] = {}
        for key, value in query:
            if key in given:
                raise UsageError(f"{self.path}: {key[:80]!r} is given twice")
            given[key] = value
        try:
            return msgspec.convert(given, self.operation.request, strict=False)
        except (msgspec.ValidationError, OverflowError) as error:
            raise UsageError(f"{self.path}: {error}") from error

    def read_body(self, body: bytes) -> msgspec.Struct:
        """Make the request from a JSON body; an empty one is an empty object.

        Raises:
            UsageError: It does not fit.
        """
        return read_json(body, self.operation.request, self.path)


def read_json(body: bytes, kind: type[S], path: str) -> S:
    """Read a JSON body as a struct; an empty one is an empty object.

    Raises:
        UsageError: It does not fit.
    """
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.DecodeError, ValueError, OverflowError, RecursionError) as error:
        first = error
    try:  # JSON knows no whole numbers: 47.0 is 47, and some programs write it so
        return msgspec.convert(_whole(msgspec.json.decode(body)), kind)
    except (msgspec.DecodeError, ValueError, OverflowError, RecursionError):
        raise UsageError(f"{path}: {first}") from first


def _whole(value: Any) -> Any:
    match value:
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {key: _whole(inner) for key, inner in cast("dict[str, Any]", value).items()}
        case list():
            return [_whole(inner) for inner in cast("list[Any]", value)]
        case _:
            return value


@cache
def routes() -> Mapping[str, Route]:
    """Return all routes by path."""
    made = (
        Route(service, row, "GET" if _is_look(row) else "POST")
        for service in all_services()
        for row in service.operations().values()
    )
    return {route.path: route for route in made}


def find_route(service: str, name: str) -> Route:
    """Return the route of an operation.

    Raises:
        NotFoundError: There is none.
    """
    try:
        return routes()[f"/api/{service}/{name}"]
    except KeyError:
        raise NotFoundError(f"there is no operation {service[:80]}.{name[:80]}; /docs lists what there is") from None


def timeout_s(route: Route, request: msgspec.Struct) -> float:
    """Return how long an answer may take: what the request allows an instrument, and time for the way."""
    asked_s = getattr(request, "timeout_ms", 0) / 1000 + getattr(request, "timeout_s", 0.0)
    # A driver may take its time to get ready, and a recorder to make its files whole.
    return max(0.0, min(asked_s, 86_400.0)) + (60.0 if route.operation.changes else 10.0)


def arguments_of(operation: Operation) -> dict[str, str]:
    """Return what the docstring says of each parameter."""
    _, _, text = operation.doc.partition("Args:\n")
    return {match[1]: " ".join(match[2].split()) for match in _ARGUMENT.finditer(text)}


def _is_look(row: Operation) -> bool:
    # Work that takes long is begun by a POST, whether it changes the rig or not: a GET may be repeated at will.
    return not row.changes and row.progress is None and _is_plain(row.request)


def _is_plain(request: type[msgspec.Struct]) -> bool:
    return all(_is_scalar(field.type) for field in msgspec.structs.fields(request))


def _is_scalar(kind: Any) -> bool:
    if get_origin(kind) is Annotated:
        return _is_scalar(get_args(kind)[0])
    if get_origin(kind) in {Union, UnionType}:
        return all(_is_scalar(member) for member in get_args(kind) if member is not NoneType)
    return kind in _SCALARS


__all__ = ["ALWAYS", "MAX_BODY_BYTES", "Route", "arguments_of", "find_route", "read_json", "routes", "timeout_s"]
