"""The lock files hold what pyproject.toml asks for, pinned by hash and by nothing else."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WANTED = {"run": ({"demo"}, {"build"}), "dev": ({"all"}, {"dev"})}
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def wanted_by(lock: str) -> Iterator[Requirement]:
    extras, groups = WANTED[lock]
    yield from map(Requirement, PROJECT["project"]["dependencies"])
    for extra in extras:
        yield from _of_extra(extra)
    for group in groups:
        yield from _of_group(PROJECT["dependency-groups"], group)


def _of_extra(extra: str) -> Iterator[Requirement]:
    for requirement in map(Requirement, PROJECT["project"]["optional-dependencies"][extra]):
        if requirement.name == "labwire":
            for inner in requirement.extras:
                yield from _of_extra(inner)
        else:
            yield requirement


def _of_group(groups: dict[str, Any], name: str) -> Iterator[Requirement]:
    for entry in groups[name]:
        if isinstance(entry, dict):
            yield from _of_group(groups, entry["include-group"])
        else:
            yield Requirement(entry)


def pins_of(lock: str) -> dict[str, Requirement]:
    text = (ROOT / "requirements" / f"{lock}.lock").read_text().replace("\\\n", "")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert all(_HASH.search(line) for line in lines)
    pins = [Requirement(line.partition(" --hash")[0]) for line in lines]
    names = [canonicalize_name(pin.name) for pin in pins]
    assert len(set(names)) == len(names), "one version per package, whatever the Python"
    return dict(zip(names, pins, strict=True))


@pytest.mark.parametrize("lock", WANTED)
def test_lock_fits_pyproject(lock: str) -> None:
    pins = pins_of(lock)
    for requirement in wanted_by(lock):
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin, f"{requirement.name} is not in {lock}.lock: run scripts/lock"
        [version] = pin.specifier
        assert version.operator == "=="
        assert requirement.specifier.contains(version.version), f"{requirement} and {pin}: run scripts/lock"


def test_dev_lock_contains_run_lock() -> None:
    run, dev = pins_of("run"), pins_of("dev")
    assert {name: str(pin) for name, pin in dev.items() if name in run} == {n: str(pin) for n, pin in run.items()}


@pytest.mark.parametrize("lock", WANTED)
def test_lock_names_no_address(lock: str) -> None:
    text = (ROOT / "requirements" / f"{lock}.lock").read_text()
    assert not re.search(r"://|--(extra-)?index|--find-links| @ ", text)
