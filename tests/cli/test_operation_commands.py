"""Commands made from services, against a rig that is not there."""

from __future__ import annotations

import contextlib
import json
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import msgspec
import pytest

from labwire.cli.connection import Connection
from labwire.cli.operation_commands import command_of, service_app
from labwire.errors import CancelledError, StateError
from labwire.operations.job import Job, LocalJob
from labwire.operations.service import Service, operation

Names: TypeAlias = list[str]


class Shine(msgspec.Struct, frozen=True):
    colour: str
    power_w: float


class Step(msgspec.Struct, frozen=True):
    step: str
    done_steps: int
    total_steps: int


class Lamp(Service):
    """Switch lamps."""

    service = "lamp"

    @operation(errors=(StateError,))
    @abstractmethod
    def switch_on(self, colour: str, power_w: float = 5.0, *, slowly: bool = False) -> Shine:
        """Let there be light.

        Args:
            colour: Of the light.
            power_w: Electric power, in watts.
            slowly: Spare the bulb.
        """

    @operation(changes=False)
    @abstractmethod
    def list(self) -> list[Shine]:
        """List what shines."""

    @operation()
    @abstractmethod
    def dim(self, lamps: Names) -> None:
        """Dim some.

        Args:
            lamps: Their names.
        """

    @operation()
    @abstractmethod
    def burn_in(self, hours: int) -> Job[Step, Shine]:
        """Let it burn.

        Args:
            hours: How long.
        """


class FakeLamp(Lamp):
    def __init__(self) -> None:
        self.slowly = False
        self.job: LocalJob[Step, Shine] | None = None

    def switch_on(self, colour: str, power_w: float = 5.0, *, slowly: bool = False) -> Shine:
        if colour == "black":
            raise StateError("black does not shine")
        self.slowly = slowly
        return Shine(colour, power_w)

    def list(self) -> list[Shine]:
        return [Shine("red", 1.0)]

    def dim(self, lamps: Names) -> None:
        pass

    def burn_in(self, hours: int) -> Job[Step, Shine]:
        def work(report: Callable[[Step], None], cancelled: Callable[[], bool]) -> Shine:
            for hour in range(hours):
                if cancelled():
                    raise CancelledError("burnt out")
                report(Step("burning", hour, hours))
            return Shine("white", 2.0)

        self.job = LocalJob(work)
        return self.job


class FakeRig:
    def __init__(self) -> None:
        self.lamp = FakeLamp()
        self.asked: list[Connection] = []
        self.timeouts_s: list[float | None] = []

    @contextlib.contextmanager
    def connect(self, connection: Connection) -> Iterator[Any]:
        self.asked.append(connection)
        yield self

    def service(self, service: type[Service], *, timeout_s: float | None) -> Service:
        assert service is Lamp
        self.timeouts_s.append(timeout_s)
        return self.lamp


@pytest.fixture
def rig() -> FakeRig:
    return FakeRig()


def run(rig: FakeRig, *words: str) -> None:
    app = service_app(Lamp, rig.connect)
    app(words, exit_on_error=False, print_error=False, result_action="return_value")


def test_the_reply_is_json_if_asked_for(rig: FakeRig, capsys: pytest.CaptureFixture[str]) -> None:
    run(rig, "switch-on", "red", "7.5", "--slowly", "--json")
    assert json.loads(capsys.readouterr().out) == {"colour": "red", "power_w": 7.5}
    assert rig.lamp.slowly


def test_the_reply_is_text_otherwise(rig: FakeRig, capsys: pytest.CaptureFixture[str]) -> None:
    run(rig, "list")
    assert capsys.readouterr().out.split() == ["colour", "power", "w", "red", "1"]


def test_arguments_may_be_named(rig: FakeRig, capsys: pytest.CaptureFixture[str]) -> None:
    run(rig, "switch-on", "--power-w", "3", "--colour", "blue", "--json")
    assert json.loads(capsys.readouterr().out) == {"colour": "blue", "power_w": 3.0}


def test_the_connection_is_what_the_options_say(rig: FakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABWIRE_PORT", "1")
    monkeypatch.setenv("LABWIRE_HOST", "far.away")
    run(rig, "list")
    run(rig, "list", "--host", "10.0.0.7", "--port", "2", "--timeout", "0.5")
    first, second = rig.asked
    assert (first.host, first.port) == ("far.away", 1)
    assert (second.host, second.port) == ("10.0.0.7", 2)
    assert rig.timeouts_s == [None, 0.5]


def test_errors_of_the_operation_come_through(rig: FakeRig) -> None:
    with pytest.raises(StateError, match="black"):
        run(rig, "switch-on", "black")


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_job_is_waited_for(rig: FakeRig, capsys: pytest.CaptureFixture[str], flags: list[str]) -> None:
    run(rig, "burn-in", "3", *flags)
    out = capsys.readouterr().out
    assert "white" in out


def test_ctrl_c_cancels_a_job(rig: FakeRig) -> None:
    class Interrupted(LocalJob[Step, Shine]):
        cancelled = False

        def progress(self) -> Iterator[Step]:
            raise KeyboardInterrupt

        def cancel(self) -> None:
            self.cancelled = True

    job = Interrupted(lambda report, cancelled: Shine("", 0.0))
    rig.lamp.burn_in = lambda hours: job
    with pytest.raises(SystemExit) as ended:
        run(rig, "burn-in", "1")
    assert ended.value.code == 130
    assert job.cancelled


def test_help_is_made_from_the_docstring(rig: FakeRig, capsys: pytest.CaptureFixture[str]) -> None:
    run(rig, "switch-on", "--help")
    out = capsys.readouterr().out
    for words in ("Let there be light.", "Electric power, in watts.", "Spare the bulb.", "[default: 5.0]", "--slowly"):
        assert words in out
    assert "--no-slowly" not in out


def test_a_list_has_one_flag(rig: FakeRig, capsys: pytest.CaptureFixture[str]) -> None:
    run(rig, "dim", "--help")
    out = capsys.readouterr().out
    assert "--lamps" in out
    assert "--empty" not in out


def test_a_command_can_do_more_than_its_operation(rig: FakeRig, capsys: pytest.CaptureFixture[str]) -> None:
    app = service_app(Lamp, rig.connect, instead={"list": lambda: print("mine")})
    app(["list"], result_action="return_value")
    assert capsys.readouterr().out == "mine\n"


def test_the_function_has_the_signature_of_the_method() -> None:
    command = command_of(Lamp, Lamp.operations()["switch_on"])
    assert list(command.__annotations__) == ["colour", "power_w", "slowly", "connection"]
    assert command.__doc__ == Lamp.operations()["switch_on"].doc
