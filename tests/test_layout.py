"""The shape of the source: file sizes, what an import may cost, what must work without optional dependencies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
MAX_LINES = 500
# What each optional distribution is imported as, where that differs from its name.
IMPORT_NAMES = {"opencv-python-headless": "cv2", "prometheus-client": "prometheus_client"}
# Nothing but arithmetic on arrays: without the extra there is nothing of them to import, and they say so.
ALL_EXTRA = [
    "labwire.sources.diffraction",
    "labwire.vitals.arousal",
    "labwire.vitals.breathing",
    "labwire.vitals.chest",
    "labwire.vitals.face",
    "labwire.vitals.frame",
    "labwire.vitals.grid",
    "labwire.vitals.hrv",
    "labwire.vitals.measurement",
    "labwire.vitals.patch_shift",
    "labwire.vitals.projection",
    "labwire.vitals.pulse",
    "labwire.vitals.rate_fit",
    "labwire.vitals.skin",
    "labwire.vitals.spectrum",
    "labwire.vitals.sway",
]

MODULES = sorted(
    ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__")
    for path in SRC.rglob("*.py")
    if path.name != "__main__.py"
)


def optional_imports() -> list[str]:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    names = {Requirement(entry).name for entries in extras.values() for entry in entries} - {"labwire"}
    return sorted(IMPORT_NAMES.get(name, name) for name in names)


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("folder", ["src", "tests", "benchmarks", "examples", "samples", "scripts"])
def test_no_file_holds_two_subjects(folder: str) -> None:
    sizes = {path: len(path.read_bytes().splitlines()) for path in (ROOT / folder).rglob("*.py")}
    assert {str(path.relative_to(ROOT)): size for path, size in sizes.items() if size > MAX_LINES} == {}


def test_every_module_imports_without_optional_dependencies() -> None:
    blocked = optional_imports()
    assert "cv2" in blocked
    code = f"""
import importlib, sys
from labwire.errors import MissingExtraError
sys.modules.update(dict.fromkeys({blocked!r}))
failed = {{}}
for name in {MODULES!r}:
    try:
        importlib.import_module(name)
    except MissingExtraError as error:
        if name not in {ALL_EXTRA!r}:
            failed[name] = repr(error)
    except Exception as error:
        failed[name] = repr(error)
    else:
        if name in {ALL_EXTRA!r}:
            failed[name] = "was imported without its extra"
assert not failed, failed
"""
    run_python(code)


def imported_by(statement: str) -> set[str]:
    return set(json.loads(run_python(f"import sys\n{statement}\nimport json\nprint(json.dumps(sorted(sys.modules)))")))


def test_plain_import_is_light() -> None:
    loaded = imported_by("import labwire")
    assert not loaded & {"zmq", "msgspec", "numpy", "asyncio", "cyclopts", "rich"}


@pytest.mark.skipif(not (SRC / "labwire/cli/main.py").exists(), reason="no command line yet")
def test_help_does_not_load_the_bus() -> None:
    statement = (
        "import sys, contextlib, io\nsys.argv = ['labwire', '--help']\nfrom labwire.cli.main import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n    main()"
    )
    loaded = imported_by(statement)
    assert not loaded & {"zmq", "numpy", "asyncio", "cv2", "av", "mcap", "labwire.rig", "labwire.bus", "labwire.client"}


def test_what_is_imported_lazily_is_completed() -> None:
    import labwire

    assert set(labwire.__all__) <= set(dir(labwire))
    for name in labwire.__all__:
        assert getattr(labwire, name) is not None
