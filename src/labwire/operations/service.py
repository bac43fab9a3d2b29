"""The one table: each thing a person can ask of a rig, declared once as a typed abstract method.

A service is an abstract class; each of its operations is an abstract method under `operation`. The actor that offers it
implements the class, so the type checker holds it to the declaration. `client_of` gives a typed proxy of the same
class. The RPC port, the HTTP API, the Python client, the CLI and the reference page all read `Service.operations`.
"""

from __future__ import annotations

import inspect
from abc import ABC
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import cache
from typing import Any, ClassVar, Protocol, TypeVar, cast, get_args, get_origin, get_type_hints

import msgspec

from labwire.errors import LabwireError, ProtocolError
from labwire.operations.job import Job

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")
S = TypeVar("S", bound="Service")

_MARK = "__labwire_operation__"


class _Mark(msgspec.Struct, frozen=True):
    errors: tuple[type[LabwireError], ...]
    changes: bool


class Operation(msgspec.Struct, frozen=True):
    """One row of the table."""

    service: str
    name: str
    request: type[msgspec.Struct]
    """Struct made from the method's parameters; unknown keys are refused."""
    reply: Any
    """Type of the reply; for a job, of its result."""
    progress: Any
    """Type of a job's progress reports, None for an operation that answers at once."""
    errors: tuple[type[LabwireError], ...]
    changes: bool
    """False: only looks. True: changes the rig."""
    doc: str
    positional: tuple[str, ...]
    """Parameters that may be given by position, in order."""

    @property
    def full_name(self) -> str:
        """Service and name, as on the wire: ``record.start``."""
        return f"{self.service}.{self.name}"

    @property
    def summary(self) -> str:
        """The first line of the doc."""
        return self.doc.partition("\n")[0]

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> msgspec.Struct:
        """Make the request from a Python call.

        Raises:
            TypeError: The arguments do not fit the signature.
        """
        if len(args) > len(self.positional):
            raise TypeError(f"{self.full_name}() takes {len(self.positional)} positional arguments, {len(args)} given")
        given = dict(zip(self.positional, args, strict=False))
        if doubled := given.keys() & kwargs.keys():
            raise TypeError(f"{self.full_name}() got {sorted(doubled)} twice")
        return self.request(**given, **kwargs)


class CallOperation(Protocol):
    """Whatever carries a request to a service: returns the decoded reply, or a `Job`."""

    def __call__(self, operation: Operation, request: msgspec.Struct) -> Any:
        """Carry the request and return what the operation returns."""
        ...


def operation(*, errors: tuple[type[LabwireError], ...] = (), changes: bool = True) -> Callable[[F], F]:
    """Declare an abstract method as an operation; its type stays as it is.

    Args:
        errors: What it raises besides what every operation may (`DeadlineError`, `PeerGoneError`).
        changes: False if it only looks, so that spectators may call it.
    """

    def mark(method: F) -> F:
        setattr(method, _MARK, _Mark(errors, changes))
        return method

    return mark


class Service(ABC):
    """Base of every service.

    >>> class Lamp(Service):
    ...     "Switch a lamp."
    ...     service = "lamp"
    ...     @operation()
    ...     @abstractmethod
    ...     def switch(self, on: bool = True) -> str:
    ...         "Switch the lamp."
    """

    service: ClassVar[str]
    """Name of the service, first half of an operation's name."""

    @classmethod
    def operations(cls) -> dict[str, Operation]:
        """Return the operations that this service declares, by name, in order of declaration."""
        return _read_operations(cls)


@cache
def _read_operations(service: type[Service]) -> dict[str, Operation]:
    return {
        name: _read_operation(service.service, name, method, mark)
        for base in reversed(service.__mro__)
        if "service" in vars(base)
        for name, method in vars(base).items()
        if (mark := cast("_Mark | None", getattr(method, _MARK, None)))
    }


def _read_operation(service: str, name: str, method: Callable[..., Any], mark: _Mark) -> Operation:
    hints = get_type_hints(method, include_extras=True)
    reply, progress = hints.pop("return"), None
    if get_origin(reply) is Job:
        progress, reply = get_args(reply)
    parameters = list(inspect.signature(method).parameters.values())[1:]
    fields = [
        (p.name, hints[p.name]) if p.default is p.empty else (p.name, hints[p.name], p.default) for p in parameters
    ]
    request = msgspec.defstruct(
        f"{service}_{name}_request", fields, kw_only=True, frozen=True, forbid_unknown_fields=True
    )
    positional = tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)
    doc = inspect.getdoc(method) or ""
    return Operation(service, name, request, reply, progress, mark.errors, mark.changes, doc, positional)


def services_of(implementation: object) -> dict[str, type[Service]]:
    """Return the services that an object implements, by name."""
    return {
        base.service: base
        for base in type(implementation).__mro__
        if issubclass(base, Service) and "service" in vars(base)
    }


def offered_by(implementation: object) -> Iterator[tuple[object, type[Service]]]:
    """Yield each service that an object offers, with the object that implements it.

    That is itself, or one of those in its attribute ``offers``: two services may have methods of the same name.
    """
    for one in (implementation, *getattr(implementation, "offers", ())):
        for service in services_of(one).values():
            yield one, service


def answer_later(future: Future[R]) -> R:
    """Return what a method that implements an operation returns in place of a reply that is not there yet.

    The caller gets the future's result or error when it is there; meanwhile the actor's loop goes on.
    """
    return cast("R", future)


def invoke(implementation: object, operation: Operation, body: bytes) -> Any:
    """Decode a request, check it, and call the method that implements the operation.

    Raises:
        ProtocolError: The request does not fit the declaration.
    """
    try:
        request = msgspec.msgpack.decode(body, type=operation.request)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"{operation.full_name}: the request does not fit: {error}") from error
    return getattr(implementation, operation.name)(**msgspec.structs.asdict(request))


def client_of(service: type[S], call: CallOperation) -> S:
    """Return a proxy of the service whose methods send the request through `call`."""
    client: Any = _client_class(service)()
    client.labwire_call = call
    return cast("S", client)


@cache
def _client_class(service: type[Service]) -> type[Service]:
    """Make the class of the proxies of a service, once: making it costs much more than making a proxy."""

    def forward(row: Operation) -> Callable[..., Any]:
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            return self.labwire_call(row, row.bind(args, kwargs))

        method.__name__, method.__doc__ = row.name, row.doc
        declared = getattr(service, row.name)
        method.__signature__ = inspect.signature(declared)
        method.__annotations__ = declared.__annotations__
        method.__module__ = declared.__module__
        return method

    rows = {name: forward(row) for name, row in service.operations().items()}
    return type(f"{service.__name__}Client", (service,), {**rows, "__doc__": service.__doc__})
