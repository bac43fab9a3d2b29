"""One actor and its connections: what it is given, in which order it is called, how it fails."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from labwire.bus import actor_runner
from labwire.bus.actor import Actor, ActorContext, Notification
from labwire.bus.actor_runner import ActorRunner, ActorSpec, Wiring, load_class, read_config
from labwire.errors import ConfigError, PeerGoneError, StateError
from labwire.strict import Strict
from tests.bus.fake_hub import wait_until
from tests.bus.hub_parts import Hub, running_hub
from tests.packing import pack, unpack

NOWHERE = Wiring(*["tcp://127.0.0.1:9"] * 5)


class Bell(Actor):
    """A bell."""

    class Config(Strict):
        tone: str = "c"
        volume: int = 5

    def __init__(self, context: ActorContext) -> None:
        super().__init__(context)
        self.story: list[str] = ["made"]
        self.fail_in: set[str] = set()

    def tell(self, chapter: str) -> None:
        self.story.append(chapter)
        if chapter in self.fail_in:
            raise ZeroDivisionError(chapter)

    def on_start(self) -> None:
        self.tell("start")

    def on_stop(self) -> None:
        self.tell("stop")

    def on_notify(self, notification: Notification) -> None:
        """Ring."""
        self.tell(f"notify {notification['subject']}")
        if notification["subject"] == "leave":
            self.leave()


class PickyBell(Bell):
    hears = ("door.", "leave")


class Broken(Actor):
    def __init__(self, context: ActorContext) -> None:
        super().__init__(context)
        raise RuntimeError("broken")


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as running:
        yield running


class Run:
    """An actor that runs on a thread."""

    def __init__(self, hub: Hub, name: str = "bell", actor_class: str = "m:Bell", kind: type[Bell] = Bell) -> None:
        assert hub.clock.fd is not None
        spec = ActorSpec(name, actor_class, hub.wiring, clock_fd=os.dup(hub.clock.fd))
        self.runner = ActorRunner(kind, spec)
        assert isinstance(self.runner.actor, Bell)
        self.bell = self.runner.actor
        self.error: BaseException | None = None
        self._hub, self._name = hub, name
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.runner.run()
        except BaseException as error:
            self.error = error

    def start(self) -> Run:
        self._thread.start()
        wait_until(
            lambda: self.error or self._name in [hello.actor for hello in self._hub.rpc.broker.hellos()], "HELLO"
        )
        return self

    def stop(self) -> list[str]:
        self.runner.loop.post(self.runner.loop.stop)
        self._thread.join()
        return self.bell.story

    def join(self) -> None:
        self._thread.join()


def test_the_order_of_its_life(hub: Hub) -> None:
    run = Run(hub).start()
    hub.ask(b"notify.a", pack({"subject": "a"}))
    wait_until(lambda: "notify a" in run.bell.story, "the notification")
    assert run.stop() == ["made", "start", "notify a", "stop"]
    assert run.error is None
    wait_until(lambda: not hub.rpc.broker.hellos(), "goodbye")


def test_it_hears_the_subjects_that_it_names_and_documents_itself(hub: Hub) -> None:
    documents = hub.subscriber(b"notify.meta.doc")
    run = Run(hub, kind=PickyBell).start()
    for subject in ("window.opened", "door.opened", "meta.should_doc", "leave"):
        hub.ask(f"notify.{subject}".encode(), pack({"subject": subject}))
    run.join()
    assert run.bell.story == ["made", "start", "notify door.opened", "notify meta.should_doc", "notify leave", "stop"]
    assert unpack(documents.recv_multipart()[1])["class"] == "PickyBell"


def test_it_ends_with_the_rig_and_knows_so(hub: Hub) -> None:
    run = Run(hub).start()
    run.runner.loop.post(run.runner.rig_died)
    run.join()
    assert run.bell.story == ["made", "start", "stop"]
    assert run.bell.context.rig_died_s is not None


def test_what_comes_after_its_end_is_not_its_business(hub: Hub) -> None:
    run = Run(hub).start()

    def ask_and_end() -> None:
        hub.ask(b"notify.late", pack({"subject": "late"}))
        run.runner.loop.stop()

    run.runner.loop.post(ask_and_end)
    run.join()
    assert run.bell.story[-1] == "stop"


def test_mistakes_in_callbacks_do_not_end_it(hub: Hub) -> None:
    log = hub.subscriber(b"logging.error")
    run = Run(hub)
    run.bell.fail_in = {"notify a", "stop"}
    run.start()
    for subject in ("a", "b"):
        hub.ask(f"notify.{subject}".encode(), pack({"subject": subject}))
    wait_until(lambda: "notify b" in run.bell.story, "the next notification")
    assert run.stop() == ["made", "start", "notify a", "notify b", "stop"]
    assert run.error is None
    first, second = (unpack(log.recv_multipart()[1]) for _ in range(2))
    assert "notify a" in first["exc_text"]
    assert "'a'" in first["msg"] % tuple(first["args"])
    assert "ZeroDivisionError: stop" in second["exc_text"]


def test_a_mistake_in_on_start_ends_it_and_everything_is_closed(hub: Hub) -> None:
    run = Run(hub)
    run.bell.fail_in = {"start"}
    run.start()
    run.join()
    assert isinstance(run.error, ZeroDivisionError)
    assert run.bell.story == ["made", "start", "stop"]


def test_an_actor_may_leave(hub: Hub) -> None:
    run = Run(hub).start()
    hub.ask(b"notify.leave", pack({"subject": "leave"}))
    run.join()
    assert run.error is None
    assert run.bell.story[-1] == "stop"


def test_a_name_that_is_taken_ends_it(hub: Hub) -> None:
    hub.rpc.broker.is_supervised = lambda hello: hello.actor_class == "of:TheRig"
    first = Run(hub, actor_class="of:TheRig").start()
    second = Run(hub)
    second.start()
    second.join()
    assert isinstance(second.error, StateError)
    assert second.bell.story == ["made", "start", "stop"]
    first.stop()
    assert first.error is None


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actor_runner, "READY_LIMIT_S", 0.05)
    runner = ActorRunner(Bell, ActorSpec("bell", "m:Bell", NOWHERE))
    with pytest.raises(PeerGoneError, match=r"bell: no bus answers at tcp://127\.0\.0\.1:9"):
        runner.run()


def test_a_constructor_that_fails_leaves_nothing_open() -> None:
    with pytest.raises(RuntimeError, match="broken"):
        ActorRunner(Broken, ActorSpec("broken", "m:Broken", NOWHERE))


def test_options_are_checked_all_at_once() -> None:
    assert read_config(Bell, {"tone": "d"}, "bell") == Bell.Config(tone="d")
    with pytest.raises(ConfigError) as caught:
        ActorRunner(Bell, ActorSpec("bell", "m:Bell", NOWHERE, config={"tune": "d", "volume": "loud"}))
    for words in ("actor 'bell'", "tune", "volume", "tone, volume"):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("dotted", "words"),
    [
        ("Bell", "module:Class"),
        ("no_such_module:Bell", "no module 'no_such_module'"),
        ("labwire.bus.actor:Nope", "no class 'Nope'"),
        ("labwire.bus.loop:Loop", "not a labwire Actor"),
        ("labwire.names:NOTIFY", "not a labwire Actor"),
        ("os.path.:x", "module"),
    ],
)
def test_a_class_that_cannot_be_loaded_is_a_mistake_in_the_rig_file(dotted: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_class(dotted)


def test_options_that_are_no_struct_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plain_options.py").write_text("import labwire\nclass Bell(labwire.Actor):\n    class Config: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"Config of its options must be a subclass of labwire\.strict\.Strict"):
        load_class("plain_options:Bell")
    sys.modules.pop("plain_options", None)


def test_a_module_whose_own_import_fails_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needs_more.py").write_text("import not_installed_anywhere")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="its module needs 'not_installed_anywhere', which is not installed"):
        load_class("needs_more:X")
    sys.modules.pop("needs_more", None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\ny = x.missing", r"broken_lab\.py, line 2: AttributeError: 'int' object has no attribute 'missing'"),
        ("def f(:", r"SyntaxError: .*broken_lab\.py, line 1"),
    ],
)
def test_a_module_with_a_mistake_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    (tmp_path / "broken_lab.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken_lab", raising=False)
    with pytest.raises(ConfigError, match=words):
        load_class("broken_lab:X")


def test_rig_time_is_shared(hub: Hub) -> None:
    run = Run(hub).start()
    hub.ask(b"T 777")
    assert 777 <= run.bell.clock.now() < 777 + 60
    assert abs(run.bell.clock.now() - hub.clock.now()) < 1
    run.stop()


def test_documentation() -> None:
    class Silent(Actor):
        """Says nothing of notifications."""

    class Nothing(Silent):
        pass

    assert Bell.documentation() == "Ring."
    assert Silent.documentation() == Nothing.documentation() == "Says nothing of notifications."
    assert "part of a rig" in Actor.documentation()


def test_the_log_of_the_process_goes_out_while_it_runs(hub: Hub) -> None:
    log = hub.subscriber(b"logging.")
    run = Run(hub).start()
    logging.getLogger("elsewhere").warning("in the same process")
    assert unpack(log.recv_multipart()[1])["name"] == "elsewhere"
    run.stop()
    logging.getLogger("elsewhere").warning("after it")
    assert not log.poll(20)
