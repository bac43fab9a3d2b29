"""The dashboard as a person uses it, on the demo rig, in a browser."""

from __future__ import annotations

import json
import os
import re
import signal
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labwire.client import Rig
from labwire.rig.demo import DEMO_TOML
from labwire.testing import wait_until
from labwire.testing.rig import RunningRig, running_rig
from tests.web.http_kit import get

PAGES = ("overview", "images", "plots", "instruments", "sessions", "bus")


def open_page(page: Any, title: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=title).click()
    page.get_by_role("main", name=title).wait_for()


def number_of(page: Any, selector: str, attribute: str) -> Callable[[], int]:
    return lambda: int(page.locator(selector).get_attribute(attribute) or 0)


def test_the_overview_tells_how_the_rig_is(page: Any) -> None:
    table = page.get_by_role("region", name="Parts of the rig").get_by_role("table")
    for name in ("world", "eyes", "recorder", "page_DMM1", "page_SCOPE1"):
        table.get_by_role("button", name=name, exact=True).wait_for()
    table.get_by_role("button", name="world", exact=True).click()
    dialog = page.get_by_role("dialog", name="world")
    dialog.get_by_text("labwire.actors.camera:Camera").wait_for()
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")


def test_frames_change(page: Any) -> None:
    open_page(page, "Images")
    frames = number_of(page, ".picture canvas", "data-frames")
    wait_until(lambda: frames() > 20)
    page.get_by_text("640 \u00d7 480").wait_for()
    page.locator(".picture canvas").hover()
    page.get_by_text("x 3").first.wait_for()
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Step").wait_for()
    page.get_by_label("Contrast").select_option("percentile")
    page.get_by_label("Colours").select_option("viridis")
    page.get_by_role("button", name="1:1").click()
    page.get_by_role("button", name="Go on").click()
    before = frames()
    wait_until(lambda: frames() > before + 5)


def test_a_plot_moves(page: Any) -> None:
    open_page(page, "Plots")
    points = number_of(page, ".uplot", "data-points")
    wait_until(lambda: points() > 100)
    page.get_by_label("Filter").fill("confidence")
    page.locator("details", has_text="pupil.1.2d").get_by_label("confidence").check()
    page.get_by_text("pupil.1.2d confidence").first.wait_for()
    wait_until(lambda: points() > 100)
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Clear").click()
    page.get_by_text("Nothing chosen").wait_for()


def test_a_plot_is_zoomed_by_keyboard(page: Any) -> None:
    page.evaluate("localStorage.removeItem('labwire.plots')")  # another test may have chosen others, or none
    page.reload()
    open_page(page, "Plots")
    points = number_of(page, ".uplot", "data-points")
    wait_until(lambda: points() > 300)
    plot = page.get_by_role("application", name="Plot of")
    plot.focus()
    told = page.locator(".chart + [aria-live]")

    def press(key: str) -> tuple[float, float]:
        before = told.inner_text()
        page.keyboard.press(key)
        wait_until(lambda: told.inner_text() != before)
        low, high = re.findall(r"(-?[\d.]+) s", told.inner_text())[-2:]
        return float(low), float(high)

    press("End")
    page.get_by_role("button", name="Go on").wait_for()  # it stands still to be looked at
    assert "diameter" in told.inner_text()
    views = [press("+") for _ in range(4)]
    assert views[3][1] - views[3][0] < views[0][1] - views[0][0]
    assert press("Shift+ArrowLeft")[0] < views[3][0]
    assert press("Home")[1] < views[3][1]
    page.keyboard.press("Control+0")  # the browser's own
    page.get_by_role("button", name="Go on").wait_for()
    page.keyboard.press("0")
    page.get_by_role("button", name="Pause").wait_for()
    seen = points()
    wait_until(lambda: points() > seen)


def test_a_session_has_an_address(page: Any, demo_rig: RunningRig) -> None:
    with demo_rig.connect() as client:
        client.record.start("to be linked #1 & 50%/a")
        wait_until(lambda: client.bus.last("recorder.state")[0].payload["duration_s"] > 2)
        client.record.stop()
    name = "to be linked #1 & 50%/a/000"
    open_page(page, "Sessions")
    page.get_by_role("link", name=name).click()
    page.get_by_role("img", name="Timeline of").wait_for()
    page.get_by_role("slider").press("End")
    wait_until(lambda: "?at=" in page.evaluate("location.hash"))
    link = page.evaluate("location.href")
    at = page.get_by_role("region", name="Timeline").get_by_text("at ").inner_text()
    page.go_back()
    page.get_by_role("row", name=name).wait_for()
    page.go_forward()
    page.get_by_role("img", name="Timeline of").wait_for()
    page.goto("about:blank")
    page.goto(link)  # as a colleague does
    page.get_by_role("region", name=name).wait_for()
    page.get_by_role("region", name="Timeline").get_by_text(at).wait_for()
    page.get_by_role("navigation").get_by_role("link", name="Sessions").click()
    page.get_by_role("row", name=name).wait_for()


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("#/bus/log", "Log"),
        ("#/bus/messages/bus.stats", "Newest: bus.stats"),
        ("#/instruments/page_SCOPE1", "page_SCOPE1"),
        ("#/images/frame.world", "frame.world"),
    ],
)
def test_what_is_open_has_an_address(page: Any, address: str, shown: str) -> None:
    page.evaluate(f"location.hash = '{address}'")
    page.get_by_role("region", name=shown, exact=True).wait_for()
    page.reload()
    page.get_by_role("region", name=shown, exact=True).wait_for()


def test_an_address_that_somebody_made_up_does_nothing(page: Any) -> None:
    hostile = "<img src=x onerror=document.title=1>"
    for address in (
        "#/nothing",
        "#/bus/__proto__/x",
        "#/images/%",
        "#/overview/actors/nobody",
        "#//?at=NaN",
        "#/plots/%00",
    ):
        page.evaluate(f"location.hash = '{address}'")
        page.locator(".card").first.wait_for()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.method))
    page.evaluate("name => { location.hash = '#/sessions/' + name + '/%E0%A4%A/../..?at=-1e999'; }", hostile)
    page.get_by_text("there is no session").wait_for()
    assert page.get_by_text(hostile).first.is_visible()
    assert page.locator("main img").count() == 0
    assert set(asked) <= {"GET"}
    page.complaints[:] = [text for text in page.complaints if "404" not in text]  # it was asked for


def test_an_instrument_is_called(page: Any) -> None:
    open_page(page, "Instruments")
    form = page.get_by_role("form", name="MEASURE_VOLTAGE")
    form.get_by_label("range").fill("10")
    form.get_by_role("button", name="Send").click()
    page.locator(".latest output").wait_for()
    assert abs(float(page.locator(".latest output").inner_text()) - 3.14) < 0.2
    history = page.get_by_role("region", name="History")
    history.get_by_text("MEASURE_VOLTAGE").wait_for()
    form.get_by_label("range").fill("99999")
    form.get_by_role("button", name="Send").click()
    assert form.get_by_label("range").evaluate("input => input.validity.rangeOverflow"), "checked before it is sent"


def test_an_instrument_acquires_until_it_is_stopped(page: Any, demo_rig: RunningRig) -> None:
    open_page(page, "Instruments")
    page.get_by_role("list", name="Instruments").get_by_role("button", name="page_SCOPE1").click()
    form = page.get_by_role("form", name="ACQUIRE")
    form.get_by_role("button", name="Acquire").click()
    page.get_by_role("application", name="Waveform").wait_for()
    open_page(page, "Overview")  # it goes on while something else is looked at
    open_page(page, "Instruments")
    page.get_by_role("application", name="Waveform").wait_for()
    with demo_rig.connect() as client:
        [scope] = [status for status in client.instruments.list() if status.name == "page_SCOPE1"]
        assert scope.acquisitions == 1
        page.get_by_role("button", name="Stop acquiring").click()
        page.get_by_role("region", name="History").get_by_text("blocks").wait_for()
        wait_until(lambda: not any(status.acquisitions for status in client.instruments.list()))


def test_a_session_is_recorded_and_found(page: Any, demo_rig: RunningRig) -> None:
    open_page(page, "Sessions")
    page.get_by_label("Name").fill("from the page")
    page.get_by_label("Name").press("R")  # a letter here, not a command
    page.get_by_label("Name").fill("from the page")
    choice = page.get_by_role("group", name="Record")
    assert choice.get_by_label("bus").is_disabled(), "the log is always recorded"
    choice.get_by_label("instruments").uncheck()
    page.get_by_role("button", name="Start recording").click()
    page.get_by_text("recording without instruments").wait_for()
    page.get_by_role("banner").get_by_text("REC 0:").wait_for()
    page.keyboard.press("M")
    page.get_by_role("dialog", name="Put a mark").get_by_label("What happened").fill("here")
    page.keyboard.press("Enter")
    page.get_by_text("marked: here").wait_for()
    page.locator("main").focus()
    page.keyboard.press("r")
    page.get_by_role("dialog", name="Stop recording?").get_by_role("button", name="Go on").click()
    page.get_by_role("banner").get_by_text("REC 0:").wait_for()
    page.keyboard.press("r")
    page.get_by_role("dialog", name="Stop recording?").get_by_role("button", name="Stop recording").click()
    page.get_by_role("banner").get_by_text("not recording").wait_for()
    row = page.get_by_role("row", name="from the page/000")
    row.get_by_text("complete").wait_for()
    assert (demo_rig.folder / "recordings" / "from the page" / "000" / "session.json").exists()
    row.get_by_role("link").click()
    look_into_a_session(page)


def look_into_a_session(page: Any) -> None:
    page.get_by_role("img", name="Timeline of").wait_for()
    page.get_by_role("button", name="here").click()  # the mark: the cursor goes there
    page.get_by_role("application", name="Plot of pupil").wait_for()
    plot = page.get_by_role("region", name="Plot")
    plot.get_by_label("Field").select_option("confidence")
    page.get_by_role("application", name="Plot of pupil.0.2d confidence").wait_for()
    plot.get_by_label("Topic").select_option("camera.world")
    page.get_by_role("application", name="Plot of camera.world").wait_for()
    picture = page.get_by_role("img", name="frame.world at")
    wait_until(lambda: picture.evaluate("image => image.naturalWidth") == 640)
    page.get_by_role("slider").press("End")
    page.get_by_role("button", name="Verify").click()
    page.get_by_text("lossless").first.wait_for()
    with page.expect_download() as download:
        page.get_by_role("link", name="session.json", exact=True).click()
    manifest = json.loads(Path(download.value.path()).read_text())
    assert (manifest["name"], manifest["left_out"]) == ("from the page", ["instruments"])
    export = page.get_by_role("region", name="Export")
    export.get_by_label("Format").select_option("csv")
    with page.expect_download() as download:
        export.get_by_role("button", name="Export").click()
    assert download.value.suggested_filename == "from_the_page_000_csv.zip"
    with zipfile.ZipFile(download.value.path()) as archive:
        assert json.loads(archive.read("export.json"))["session"] == "from the page"
    page.get_by_role("button", name="Back to the list").click()
    page.get_by_role("row", name="from the page/000").wait_for()


def test_what_has_joined_the_rig_is_recorded_though_something_is_left_out(page: Any) -> None:
    open_page(page, "Sessions")
    choice = page.get_by_role("group", name="Record")
    choice.get_by_label("player").uncheck()
    names = ["bus", "player", "late"]
    offers = [{"name": name, "about": "", "always": name == "bus"} for name in names]
    page.route("**/api/record/streams*", lambda route: route.fulfill(json=offers))
    begun = {"rec_path": "", "session_name": "", "started": [], "failed": []}
    page.route("**/api/record/start", lambda route: route.fulfill(json=begun))
    try:
        with page.expect_request("**/api/record/start") as asked:
            page.get_by_role("button", name="Start recording").click()
        assert asked.value.post_data_json["streams"] == ["bus", "late"]
        choice.get_by_label("player").check()
    finally:
        page.unroute_all()


def test_the_legend_of_a_plot_has_the_colours_of_the_page(page: Any) -> None:
    open_page(page, "Plots")
    page.get_by_label("Filter").fill("diameter")
    page.locator("details", has_text="pupil.0.2d").get_by_label("diameter").check()
    marker = page.locator(".u-legend .u-marker").last
    for scheme, colour in (("light", "rgb(31, 91, 216)"), ("dark", "rgb(127, 168, 255)"), ("auto", "rgb(31, 91, 216)")):
        page.locator("main").focus()
        page.keyboard.press("?")
        page.get_by_role("dialog", name="Help").get_by_label("Colours").select_option(scheme)
        page.keyboard.press("Escape")
        page.get_by_role("dialog", name="Help").wait_for(state="detached")
        wait_until(lambda colour=colour: marker.evaluate("it => getComputedStyle(it).borderTopColor") == colour)


def test_keys_and_help(page: Any) -> None:
    page.locator("main").focus()
    page.keyboard.press("?")
    help_ = page.get_by_role("dialog", name="Help")
    help_.get_by_text("Start recording").wait_for()
    help_.get_by_label("Your name").fill("Ada")
    help_.get_by_label("Colours").select_option("dark")
    wait_until(lambda: page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark")
    help_.get_by_label("Colours").select_option("auto")
    page.keyboard.press("Escape")
    help_.wait_for(state="detached")


def test_a_line_of_the_log_that_asks_for_too_much_is_shown(page: Any, demo_rig: RunningRig) -> None:
    open_page(page, "Bus")
    page.get_by_role("tab", name="Log").click()
    with demo_rig.connect() as client:
        client.publish(
            "logging.info", {"name": "strange", "levelname": "INFO", "msg": "%.200f or %.300g", "args": [1.5, 2.5]}
        )
        client.publish("logging.info", {"name": "strange", "levelname": "INFO", "msg": "and on it goes", "args": []})
    page.get_by_text("and on it goes").wait_for()
    page.get_by_text("1.5000").wait_for()


def test_the_bus(page: Any, demo_rig: RunningRig) -> None:
    open_page(page, "Bus")
    page.get_by_role("region", name="Topics").get_by_role("button", name="recorder.state").click()
    page.get_by_role("region", name="Messages").get_by_text("recorder.state").first.wait_for()
    page.get_by_role("group", name="Payload").get_by_text("free_bytes").wait_for()
    page.get_by_role("tab", name="Documentation").click()
    page.get_by_role("button", name="Ask them").click()
    page.get_by_text("SimulatedEyes").wait_for()
    page.get_by_role("tab", name="Send").click()
    with demo_rig.connect() as rig, rig.subscribe("notify.by_hand") as bus:
        form = page.get_by_role("region", name="Notify")
        form.get_by_label("Subject").fill("by_hand")
        form.get_by_label("Fields").fill('{"n": 7}')
        form.get_by_role("button", name="Send").click()
        assert bus.recv(20).payload["n"] == 7
    page.get_by_role("tab", name="Log").click()
    page.get_by_text("notify {").first.wait_for()


def test_what_dies_is_red_and_comes_back(browser: Any, tmp_path: Path) -> None:
    """In a rig of its own: what it starts anew would count as left behind by others."""
    toml = DEMO_TOML.replace("[instruments.", "[instruments.kill_")
    with running_rig(tmp_path, toml, web=True) as rig, rig.connect() as client:
        wait_until(lambda: {status.state for status in client.instruments.list()} == {"ready"})
        page = browser.new_page()
        page.goto(rig.ready.web)
        page.get_by_text("all well").wait_for()
        kill_a_worker(page, client)
        stop_the_server(page, client)
        page.get_by_text("all well").wait_for()
        page.close()


def test_beyond_loopback_the_page_asks_for_the_token(browser: Any, tmp_path: Path) -> None:
    toml = 'name = "wall"\n[web]\nlisten = "0.0.0.0"\nread_only = true\n[recorder]\n'
    with running_rig(tmp_path, toml, web=True) as rig:
        page = browser.new_page()
        page.goto(rig.ready.web)
        page.get_by_label("Token").fill("certainly-not-the-token")
        page.get_by_role("button", name="Enter").click()
        page.get_by_role("alert").get_by_text("not the token").wait_for()
        page.get_by_label("Token").fill((tmp_path / "state" / "labwire" / "token" / "wall").read_text().strip())
        page.get_by_role("button", name="Enter").click()
        page.get_by_role("banner").get_by_text("read-only").wait_for()
        page.get_by_role("button", name="recorder").wait_for()
        assert page.get_by_role("button", name="Record", exact=True).count() == 0
        page.close()
        browser.clear_cookies()


def kill_a_worker(page: Any, client: Rig) -> None:
    page.evaluate(
        """() => { window.red_ms = 0; new MutationObserver(() => { const row = [...document.querySelectorAll('tr.bad')]
        .find(row => row.innerText.startsWith('kill_SCOPE1')); if (row) window.red_ms ||= Date.now(); })
        .observe(document.body, {subtree: true, childList: true, attributes: true, characterData: true}); }"""
    )
    killed_ms = kill_until_red(page, client)
    print(json.dumps({"killed_to_red_ms": round(page.evaluate("window.red_ms") - killed_ms)}))
    page.get_by_role("list", name="Problems").get_by_text("kill_SCOPE1").wait_for()


def kill_until_red(page: Any, client: Rig) -> float:
    """Kill it; again if that came before the page listened: a worker is back before anybody could ask for its state."""
    for last in (False, False, True):
        [scope] = [status for status in client.instruments.list() if status.name == "kill_SCOPE1"]
        assert scope.pid
        killed_ms = 1000 * time.time()
        os.kill(scope.pid, signal.SIGKILL)
        try:
            wait_until(lambda: page.evaluate("window.red_ms") > 0, limit_s=5.0)
        except AssertionError:
            if last:
                raise
        else:
            return killed_ms
    raise AssertionError("unreachable")


def stop_the_server(page: Any, client: Rig) -> None:
    open_page(page, "Images")
    frames = number_of(page, ".picture canvas", "data-frames")
    wait_until(lambda: frames() > 5)
    client.actors.stop("web")
    page.get_by_role("alert").get_by_text("No connection to the rig").wait_for()
    client.actors.restart("web")
    page.get_by_role("alert").wait_for(state="detached")
    seen = frames()
    wait_until(lambda: frames() > seen + 5)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(page: Any, axe: str, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    only = "" if scheme == "light" else "runOnly: ['color-contrast']"  # nothing else is another thing in the dark
    page.evaluate(axe)  # the policy of the page does not bind its owner
    for name in (*PAGES, "overview/actors/world", "instruments/page_SCOPE1", "bus/log", "bus/docs", "bus/send"):
        page.evaluate(f"location.hash = '#/{name}'")
        page.get_by_role("main", name=name.partition("/")[0].capitalize()).wait_for()
        page.locator(".card").first.wait_for()
        found = page.evaluate(f"axe.run(document, {{resultTypes: ['violations'], {only}}})")
        serious = [
            (name, one["id"], one["nodes"][0]["html"][:200], one["nodes"][0]["failureSummary"])
            for one in found["violations"]
            if one["impact"] in {"serious", "critical"}
        ]
        assert serious == []


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_hangs_over_the_edge(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 720})
    for name in PAGES:
        open_page(page, name.capitalize())
        page.locator(".card").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name


def test_memory_stays_where_it_is(page: Any, soak: Callable[[int, int], int]) -> None:
    def walk(times: int) -> None:
        for turn in range(times):
            page.evaluate(f"location.hash = '#/{PAGES[turn % len(PAGES)]}'")
            page.wait_for_timeout(20)

    def heap_bytes() -> int:
        page.evaluate("location.hash = '#/overview'")
        page.wait_for_timeout(300)
        page.evaluate("for (let n = 0; n < 5; n++) gc()")
        return page.evaluate("performance.memory.usedJSHeapSize")

    walk(soak(24, 250))  # until the engine has compiled what it will
    before = heap_bytes()
    walk(soak(24, 500))
    heaps = [heap_bytes()]

    def is_back() -> bool:
        heaps.append(heap_bytes())  # what was live when it was looked at may have been more, or less
        return heaps[-1] < 1.1 * before + soak(1_000_000, 0)

    wait_until(is_back, "the memory is free again")
    print(json.dumps({"heap_before_bytes": before, "heap_after_bytes": heaps}))


def test_the_first_paint_is_quick_and_nothing_comes_from_outside(page: Any, demo_rig: RunningRig) -> None:
    asked = page.evaluate("performance.getEntriesByType('resource').map(entry => entry.name)")
    assert asked
    assert all(address.startswith(demo_rig.ready.web) for address in asked), asked
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint').map(entry => entry.startTime)")
    print(json.dumps({"first_paint_ms": paint}))


def test_a_second_browser_changes_nothing_for_the_first(page: Any, browser: Any, demo_rig: RunningRig) -> None:
    other = browser.new_page()
    other.goto(f"{demo_rig.ready.web}/#/images")
    other.locator(".picture canvas").wait_for()
    open_page(page, "Images")
    frames = number_of(page, ".picture canvas", "data-frames")
    wait_until(lambda: frames() > 10)
    other.close()
    assert get(demo_rig.ready.web, "/ready").status == 200
    assert Path(demo_rig.folder).exists()
