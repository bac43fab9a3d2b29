"""Commands made from the table of operations: a new service or operation needs no code here.

A method's signature becomes the arguments of its command, its docstring the help; the reply is printed as JSON or for
people. An operation that starts a job shows its progress; Ctrl-C cancels it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Annotated, Any, cast, get_type_hints

from cyclopts import App, Group, Parameter

from labwire.cli.connection import HERE, Connection
from labwire.cli.output import write_json
from labwire.errors import NotFoundError
from labwire.operations.job import Job
from labwire.operations.service import Operation, Service
from labwire.operations.table import find_service

Connect = Callable[[Connection], AbstractContextManager[Any]]
"""Opens a connection; what it gives has ``service(class, timeout_s=...)``, which returns a typed client."""

_CONNECTION = "connection"


def connect(connection: Connection) -> AbstractContextManager[Any]:
    """Connect to the rig that the options name."""
    return connection.connect()


def service_app(
    service: type[Service], connect: Connect = connect, instead: Mapping[str, Callable[..., Any]] | None = None
) -> App:
    """Return a group of commands, one for each operation of a service.

    Args:
        service: The service.
        connect: Opens the connection.
        instead: Commands that do more than their operation, by its name.
    """
    app, own = App(name=service.service, help=service.__doc__, group_commands=Group("Commands")), instead or {}
    for place, operation in enumerate(service.operations().values()):
        name = operation.name.replace("_", "-")
        command = own.get(operation.name) or command_of(service, operation, connect)
        app.command(command, name=name, sort_key=place)
    return app


def command_of(
    service: type[Service],
    operation: Operation,
    connect: Connect = connect,
    show: Callable[[Any, Connection], None] | None = None,
) -> Callable[..., None]:
    """Return the function behind the command of one operation.

    Args:
        service: Its service.
        operation: The operation.
        connect: Opens the connection.
        show: Prints what it answered; by default `finish`.
    """
    end = show or finish

    def command(*args: Any, **kwargs: Any) -> None:
        connection: Connection = kwargs.pop(_CONNECTION, HERE)
        with connect(connection) as rig:
            client = rig.service(service, timeout_s=connection.timeout_s)
            end(getattr(client, operation.name)(*args, **kwargs), connection)

    signature = _signature(getattr(service, operation.name))
    command.__name__ = operation.name
    command.__doc__ = operation.doc
    command.__signature__ = signature
    command.__annotations__ = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    return command


def finish(reply: Any, connection: Connection) -> None:
    """Print what an operation answered, as the options ask for; wait for it if it is a job."""
    if isinstance(reply, Job):
        from labwire.cli.progress import follow

        reply = follow(cast("Job[Any, Any]", reply), quiet=connection.json)
    if connection.json:
        write_json(reply)
    else:
        from labwire.cli.show import show

        show(reply)


def _signature(method: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a command: the method's parameters, and the connection."""
    hints = get_type_hints(method, include_extras=True)
    parameters = [
        parameter.replace(annotation=_annotation(hints[parameter.name]))
        for parameter in list(inspect.signature(method).parameters.values())[1:]
    ]
    connection = inspect.Parameter(_CONNECTION, inspect.Parameter.KEYWORD_ONLY, default=HERE, annotation=Connection)
    return inspect.Signature([*parameters, connection])


def _annotation(hint: Any) -> Any:
    """Return a hint as the command line reads it: a flag has no ``--no-…``, a list no ``--empty-…``."""
    return Annotated[hint, Parameter(negative="")]


def __getattr__(name: str) -> App:
    # The table of commands names each group as an attribute of this module, so that it is made when it is used.
    try:
        return service_app(find_service(name))
    except NotFoundError as error:
        raise AttributeError(error.message) from error
