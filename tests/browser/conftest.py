"""A Chromium of the system, driven by Playwright, looking at a demo rig. Skips where there is none."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labwire.rig.demo import DEMO_TOML
from labwire.testing import wait_until
from labwire.testing.rig import RunningRig, running_rig

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--js-flags=--expose-gc",
    "--enable-precise-memory-info",
]
LIMIT_MS = 20_000


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the system's Chromium."""
    pytest.importorskip("playwright", reason="Playwright is not installed: the dashboard is not looked at")
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    pytest.skip("no Chromium here: the dashboard is not looked at (on Debian: apt install chromium)")


@pytest.fixture(scope="module")
def demo_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRig]:
    """The demo rig with its dashboard; its instruments have names of their own, which no other rig here holds."""
    toml = DEMO_TOML.replace("[instruments.", "[instruments.page_")
    with running_rig(tmp_path_factory.mktemp("demo"), toml, web=True) as rig:
        with rig.connect() as client:
            wait_until(lambda: {status.state for status in client.instruments.list()} == {"ready"}, limit_s=40.0)
        yield rig


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    """A browser with a folder of its own."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            folder, executable_path=chromium, headless=True, args=FLAGS, viewport={"width": 1280, "height": 720}
        )
        context.set_default_timeout(LIMIT_MS)
        yield context
        context.close()


@pytest.fixture
def page(browser: Any, demo_rig: RunningRig) -> Iterator[Any]:
    """A tab on the dashboard; whatever the page complains about in the console fails the test."""
    tab = browser.new_page()
    complaints: list[str] = []
    tab.on("pageerror", lambda error: complaints.append(f"exception: {error}"))
    tab.on("console", lambda message: complaints.append(message.text) if message.type in {"error", "warning"} else None)
    tab.goto(demo_rig.ready.web)
    tab.get_by_text("all well").wait_for()
    tab.complaints = complaints
    yield tab
    tab.close()
    assert complaints == []


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe, which looks for what keeps people out."""
    path = Path(__file__).parents[2] / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
    if not path.exists():
        pytest.skip("axe-core is not there: npm ci in dashboard/")
    return path.read_text()
