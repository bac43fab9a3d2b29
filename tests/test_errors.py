"""One table: error to codes."""

from pathlib import Path

import pytest

from labwire import errors
from labwire.errors import ERROR_CODES, Codes, DeadlineError, LabwireError, NotFoundError, codes_of, error_from_name

REFERENCE = Path(__file__).parents[1] / "docs" / "reference" / "errors.md"


def all_errors() -> list[type[LabwireError]]:
    return [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, LabwireError)]


def test_every_error_has_a_row() -> None:
    assert set(all_errors()) == set(ERROR_CODES)


def test_the_reference_page_shows_the_table() -> None:
    lines = REFERENCE.read_text().splitlines()
    for error, codes in ERROR_CODES.items():
        cells = " | ".join(str(code) for code in codes)
        assert f"| `{error.__name__}` | {(error.__doc__ or '').splitlines()[0]} | {cells} |" in lines


def test_a_subclass_has_the_codes_of_its_nearest_ancestor() -> None:
    class NoSuchLampError(NotFoundError):
        pass

    assert codes_of(NoSuchLampError) == ERROR_CODES[NotFoundError]
    assert NoSuchLampError("x").codes == ERROR_CODES[NotFoundError]


def test_exit_codes_leave_success_and_signals_alone() -> None:
    assert all(0 < codes.exit_code < 126 for codes in ERROR_CODES.values())
    assert all(400 <= codes.http_status < 600 for codes in ERROR_CODES.values())


@pytest.mark.parametrize("error_type", ERROR_CODES)
def test_an_error_survives_the_wire_by_name(error_type: type[LabwireError]) -> None:
    rebuilt = error_from_name(error_type.__name__, "what failed", {"port": 1, "self": 2})
    assert type(rebuilt) is error_type
    assert str(rebuilt) == "what failed"
    assert rebuilt.data == {"port": 1}


def test_an_unknown_name_gives_the_base_class() -> None:
    assert type(error_from_name("Nonsense", "x")) is LabwireError
    assert type(error_from_name("DeadlineError", "x")) is DeadlineError


def test_codes_are_named() -> None:
    assert Codes._fields == ("exit_code", "http_status", "ack_code", "worker_code")
