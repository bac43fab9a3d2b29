"""The bundle that is committed is what the sources make, and small enough; it needs nothing from outside."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DASHBOARD, STATIC = ROOT / "dashboard", ROOT / "src" / "labwire" / "web" / "static"
BUILT = ("app-style.css", "app.js", "docs.css", "licences.txt")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources with what they are built with; skips where that cannot be had."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("no node and npm here: the bundle is not rebuilt")
    copy = tmp_path_factory.mktemp("dashboard") / "dashboard"
    shutil.copytree(DASHBOARD, copy, ignore=shutil.ignore_patterns("node_modules"))
    if (DASHBOARD / "node_modules" / ".package-lock.json").exists():  # written last: all of it is there
        (copy / "node_modules").symlink_to(DASHBOARD / "node_modules")
        return copy
    command = ["npm", "ci", "--no-audit", "--no-fund"]
    try:
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=45, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("npm takes too long to fetch what the dashboard is built with")
    if done.returncode:
        pytest.skip(f"npm cannot fetch what the dashboard is built with: {done.stderr.strip()[-300:]}")
    return copy


def test_a_rebuild_gives_the_same_bytes(sources: Path, tmp_path: Path) -> None:
    env = {**os.environ, "LABWIRE_STATIC": str(tmp_path)}
    done = subprocess.run(["node", "build.mjs"], cwd=sources, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(BUILT)
    for name in BUILT:
        assert (tmp_path / name).read_bytes() == (STATIC / name).read_bytes(), f"{name}: npm run build in dashboard/"


def test_the_types_fit(sources: Path) -> None:
    command = ["node", "node_modules/typescript/bin/tsc", "--noEmit"]
    done = subprocess.run(command, cwd=sources, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_it_is_small() -> None:
    packed = sum(len(gzip.compress(path.read_bytes())) for path in STATIC.iterdir())
    assert packed < 150_000


def test_nothing_comes_from_outside() -> None:
    for path in (path for path in STATIC.iterdir() if path.suffix != ".txt"):
        text = path.read_text()
        for address in re.findall(r"https?://[\w./-]+", text):
            assert address.startswith("http://www.w3.org/"), f"{path.name}: {address}"
        assert "eval(" not in text
        assert "new Function" not in text


def test_each_source_has_one_subject() -> None:
    sizes = {path.name: len(path.read_text().splitlines()) for path in (DASHBOARD / "src").rglob("*.ts*")}
    assert {name: size for name, size in sizes.items() if size > 500} == {}
