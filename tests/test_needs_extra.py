"""A missing optional dependency tells what to install."""

from __future__ import annotations

import sys

import pytest

from labwire.errors import MissingExtraError, install_command, needs_extra


def test_missing_dependency_names_the_extra() -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'labwire\[camera\]'"), needs_extra("camera"):
        import no_such_module_anywhere  # noqa: F401  # pyright: ignore[reportMissingImports]


def test_the_command_installs_for_the_interpreter_that_lacks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/home/anna/my lab/.venv/bin/python")
    assert install_command("export") == "'/home/anna/my lab/.venv/bin/python' -m pip install 'labwire[export]'"


def test_our_own_broken_import_is_not_taken_for_a_missing_extra() -> None:
    with pytest.raises(ModuleNotFoundError), needs_extra("camera"):
        import labwire.no_such_module  # noqa: F401  # pyright: ignore[reportMissingImports]
