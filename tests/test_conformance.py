"""Every rule in the conformance pages names the test that shows it; each of those tests exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs" / "reference").glob("conformance-*.md"))
_REFERENCE = re.compile(r"(tests/[\w/.-]+\.py)(?:::([\w:]+))?")


@cache
def names_in(path: Path) -> frozenset[str]:
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names.add(node.name)
            names |= {f"{node.name}::{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return frozenset(names)


def missing_in(page: str) -> list[str]:
    missing: list[str] = []
    for file, name in _REFERENCE.findall(page):
        path = ROOT / file
        if not path.is_file() or (name and name not in names_in(path)):
            missing.append(f"{file}::{name}" if name else file)
    return missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_named_test_exists(page: Path) -> None:
    text = page.read_text()
    assert _REFERENCE.search(text), f"{page.name} names no test"
    assert missing_in(text) == []


def test_a_missing_test_is_found() -> None:
    here = "tests/test_conformance.py"
    good = f"| rule | `{here}::test_a_missing_test_is_found` |"
    assert missing_in(good) == []
    assert missing_in(f"{here}::test_nowhere, tests/nowhere.py") == [f"{here}::test_nowhere", "tests/nowhere.py"]
