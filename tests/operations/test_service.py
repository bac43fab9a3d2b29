"""The table of operations: what is declared is what every surface gets."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, TypeAlias

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.errors import CancelledError, LabwireError, NotFoundError, ProtocolError
from labwire.operations.actors import Actors
from labwire.operations.bus import BusOperations
from labwire.operations.job import Job, LocalJob
from labwire.operations.recordable import Recordable
from labwire.operations.recording import Recording
from labwire.operations.rig import RigOperations
from labwire.operations.service import Operation, Service, client_of, invoke, operation, services_of

ALL = (Actors, BusOperations, Recordable, Recording, RigOperations)


class Cup(msgspec.Struct, frozen=True):
    kind: str
    sugar: int


Cups: TypeAlias = list[Cup]


class Kitchen(Service):
    """Brew things."""

    service = "kitchen"

    @operation(errors=(NotFoundError,))
    @abstractmethod
    def brew(self, kind: str = "tea", sugar: int = 0, *, hot: bool = True) -> Cup:
        """Brew a cup.

        Args:
            kind: What to brew.
            sugar: Lumps.
            hot: Whether to heat it.
        """

    @operation(changes=False)
    @abstractmethod
    def cups(self) -> Cups:
        """List the cups."""

    @operation()
    @abstractmethod
    def clean(self, rooms: int) -> Job[int, str]:
        """Clean the kitchen."""

    def not_an_operation(self) -> str:
        """Stay out of the table."""
        return "no"


class Cook(Kitchen):
    def __init__(self) -> None:
        self.brewed: list[Cup] = []

    def brew(self, kind: str = "tea", sugar: int = 0, *, hot: bool = True) -> Cup:
        if kind == "wine":
            raise NotFoundError("no wine here", kind=kind)
        self.brewed.append(Cup(kind if hot else f"iced {kind}", sugar))
        return self.brewed[-1]

    def cups(self) -> Cups:
        return self.brewed

    def clean(self, rooms: int) -> Job[int, str]:
        def work(report: Any, cancelled: Any) -> str:
            for room in range(rooms):
                if cancelled():
                    raise CancelledError("stopped cleaning")
                report(room)
            return "clean"

        return LocalJob(work)


def local_call(implementation: object) -> Any:
    """Carry requests and replies as bytes, as the RPC port does."""

    def call(row: Operation, request: msgspec.Struct) -> Any:
        reply = invoke(implementation, row, msgspec.msgpack.encode(request))
        if isinstance(reply, Job):
            return reply
        return msgspec.msgpack.decode(msgspec.msgpack.encode(reply), type=row.reply)

    return call


def test_a_declaration_becomes_a_row() -> None:
    rows = Kitchen.operations()
    assert list(rows) == ["brew", "cups", "clean"]
    brew = rows["brew"]
    assert (brew.full_name, brew.summary, brew.changes) == ("kitchen.brew", "Brew a cup.", True)
    assert (brew.errors, brew.positional, brew.reply, brew.progress) == ((NotFoundError,), ("kind", "sugar"), Cup, None)
    assert msgspec.structs.asdict(brew.request()) == {"kind": "tea", "sugar": 0, "hot": True}
    assert not rows["cups"].changes
    assert rows["cups"].reply == list[Cup]
    assert (rows["clean"].progress, rows["clean"].reply) == (int, str)


def test_the_rows_of_an_implementation_are_those_of_its_service() -> None:
    assert list(Cook.operations()) == list(Kitchen.operations())
    assert services_of(Cook()) == {"kitchen": Kitchen}


def test_a_proxy_calls_as_the_implementation_would() -> None:
    cook = Cook()
    kitchen = client_of(Kitchen, local_call(cook))
    assert kitchen.brew() == Cup("tea", 0)
    assert kitchen.brew("coffee", 2) == Cup("coffee", 2)
    assert kitchen.brew(sugar=1, kind="mate", hot=False) == Cup("iced mate", 1)
    assert kitchen.cups() == cook.brewed
    assert kitchen.clean(3).result() == "clean"


def test_a_proxy_has_the_signature_and_the_words_of_the_declaration() -> None:
    kitchen = client_of(Kitchen, local_call(Cook()))
    assert inspect.signature(type(kitchen).brew) == inspect.signature(Kitchen.brew)
    assert inspect.getdoc(kitchen.brew) == inspect.getdoc(Kitchen.brew)
    assert isinstance(kitchen, Kitchen)
    assert type(kitchen).__doc__ == "Brew things."


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        (("tea", 1, True), {}, "takes 2 positional"),
        (("tea",), {"kind": "tea"}, "twice"),
        ((), {"colour": "red"}, "colour"),
    ],
)
def test_arguments_that_do_not_fit_are_a_type_error_at_the_caller(
    args: tuple[Any, ...], kwargs: dict[str, Any], words: str
) -> None:
    kitchen: Any = client_of(Kitchen, local_call(Cook()))
    with pytest.raises(TypeError, match=words):
        kitchen.brew(*args, **kwargs)
    with pytest.raises(TypeError):
        kitchen.clean()  # a parameter without a default


NO_REQUESTS = [
    b"",
    b"\xff",
    b"\x90",
    b"\x80\x80",
    b"\x81\xa4kind\x05",
    b"\x81\xa6colour\xa3red",
    b"\x81\xa5sugar\xc3",
    b"\x91" * 2000,
]


@pytest.mark.parametrize("body", NO_REQUESTS)
def test_a_request_that_does_not_fit_is_refused_with_the_name_of_the_operation(body: bytes) -> None:
    with pytest.raises(ProtocolError, match=r"kitchen\.brew"):
        invoke(Cook(), Kitchen.operations()["brew"], body)


@given(st.binary(max_size=200))
def test_no_request_can_do_more_than_be_refused(body: bytes) -> None:
    try:
        invoke(Cook(), Kitchen.operations()["brew"], body)
    except LabwireError:
        pass


def test_an_error_of_the_implementation_is_the_callers() -> None:
    kitchen = client_of(Kitchen, local_call(Cook()))
    with pytest.raises(NotFoundError, match="no wine") as caught:
        kitchen.brew("wine")
    assert caught.value.data == {"kind": "wine"}


def test_a_job_reports_and_can_be_cancelled() -> None:
    job = Cook().clean(3)
    assert job.result() == "clean"
    assert list(job.progress()) == [0, 1, 2]
    cancelled = Cook().clean(3)
    cancelled.cancel()
    with pytest.raises(CancelledError):
        cancelled.result()


def test_a_service_that_is_not_implemented_whole_cannot_be_made() -> None:
    class Half(Kitchen):
        def cups(self) -> Cups:
            return []

    with pytest.raises(TypeError, match="abstract"):
        Half()  # type: ignore[abstract]


def rows() -> Iterator[Operation]:
    for service in ALL:
        yield from service.operations().values()


@pytest.mark.parametrize("row", list(rows()), ids=lambda row: row.full_name)
def test_every_operation_of_labwire_can_be_shown_on_every_surface(row: Operation) -> None:
    assert row.summary.endswith("."), "one line of doc is what the command line shows"
    for parameter in row.request.__struct_fields__:
        assert f"{parameter}:" in row.doc, f"{parameter} is not documented"
    msgspec.json.schema(row.request)
    msgspec.json.schema(row.reply)
    if row.progress is not None:
        msgspec.json.schema(row.progress)
    assert all(issubclass(error, LabwireError) for error in row.errors)


def test_names_of_operations_are_unique() -> None:
    names = [row.full_name for row in rows()]
    assert len(names) == len(set(names))
