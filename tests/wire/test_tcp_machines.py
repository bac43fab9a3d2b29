"""Both machines against each other over pipes that delay, stall and are cut: nothing is lost without being counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from labwire.wire.tcp_run import RunPhase
from labwire.wire.tcp_states import State
from tests.wire.tcp_world import MAX_UNSENT_BYTES, Answer, Link, World

answers: st.SearchStrategy[Answer] = st.sampled_from(["good", "good", "good", "bad image", "bad run"])
limits = st.sampled_from([1, 63, 64, 65, 200, 10_000])
seconds = st.sampled_from([0.0, 0.01, 0.3, 1.0, 2.5, 4.9, 11.0, 70.0])


class Machines(RuleBasedStateMachine):
    """Each rule is one thing that a detector, a writer, the network or time may do at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        for _ in range(3):
            self.world.join()

    def link(self, data: st.DataObject) -> Link:
        return data.draw(st.sampled_from(self.world.links), "link")

    # --- the detector

    @rule(images_per_file=st.integers(1, 4), smooth=st.sampled_from([True, True, False]))
    @precondition(lambda self: self.world.phase is RunPhase.DONE and self.world.pool.idle)
    def a_run_starts(self, images_per_file: int, *, smooth: bool) -> None:
        self.world.start(images_per_file)
        if smooth:
            self.world.drain()

    @rule()
    @precondition(lambda self: self.world.phase is RunPhase.RUNNING)
    def calibration_is_sent(self) -> None:
        assert self.world.run is not None
        first = self.world.run.connections[0]
        if (
            first.state is State.STARTED and first.unsent_bytes < MAX_UNSENT_BYTES
        ):  # a detector has a few, not any number
            self.world.run.send_calibration(b"calibration", self.world.now_s)

    @rule(count=st.integers(1, 12), limit=limits)
    @precondition(lambda self: self.world.phase is RunPhase.RUNNING)
    def images_are_sent(self, count: int, limit: int) -> None:
        for _ in range(count):
            self.world.send_image()
            for link in self.world.links:
                self.world.move(link, limit)

    @rule()
    @precondition(lambda self: self.world.phase is RunPhase.RUNNING)
    def the_run_ends(self) -> None:
        assert self.world.run is not None
        self.world.run.end(lambda _: b"end", self.world.now_s)

    @rule()
    @precondition(lambda self: self.world.phase is not RunPhase.DONE)
    def the_run_is_cancelled(self) -> None:
        assert self.world.run is not None
        self.world.run.cancel(self.world.now_s)

    # --- writers

    @rule()
    @precondition(lambda self: len(self.world.links) < 8)
    def a_writer_connects(self) -> None:
        self.world.join()

    @rule(data=st.data(), how=answers, count=st.integers(1, 3))
    @precondition(lambda self: any(link.asked for link in self.world.links))
    def a_writer_answers(self, data: st.DataObject, how: Answer, count: int) -> None:
        link = data.draw(st.sampled_from([link for link in self.world.links if link.asked]), "link")
        for _ in range(count):
            if link.asked:
                link.answer(how, self.world.now_s)

    @rule(data=st.data())
    def a_writer_gives_up(self, data: st.DataObject) -> None:
        self.link(data).give_up(self.world.now_s)

    @rule(data=st.data())
    def an_unknown_frame_is_sent(self, data: st.DataObject) -> None:
        self.world.speak_unknown(self.link(data))

    # --- network and time

    @rule(limit=limits)
    def bytes_move(self, limit: int) -> None:
        for link in self.world.links:
            self.world.move(link, limit)

    @rule(step=seconds, flow=st.booleans())
    def time_passes(self, step: float, *, flow: bool) -> None:
        for _ in range(10):
            self.world.pass_time(step / 10)
            for link in self.world.links:
                if flow:
                    self.world.move(link, 10_000)

    @rule(data=st.data())
    @precondition(lambda self: self.world.phase is not RunPhase.DONE)
    def a_link_freezes_or_thaws(self, data: st.DataObject) -> None:
        link = self.link(data)
        link.frozen = not link.frozen

    @rule(data=st.data(), arrives=st.booleans())
    @precondition(lambda self: self.world.phase is not RunPhase.DONE)
    def a_link_is_cut(self, data: st.DataObject, *, arrives: bool) -> None:
        self.world.cut(self.link(data), arrives=arrives)

    @rule(data=st.data(), there=st.booleans(), noise=st.binary(min_size=64, max_size=80))
    @precondition(lambda self: self.world.phase is not RunPhase.DONE)
    def garbage_comes(self, data: st.DataObject, noise: bytes, *, there: bool) -> None:
        link = self.link(data)
        connection = link.writer if there else link.sender
        pipe = link.there if there else link.back
        # Between frames, as a peer that is no peer would; within one, TCP's checksum is in the way.
        if not connection._reader.in_frame and not pipe.flying:
            self.world.garble(link, noise, there=there)

    @invariant()
    def all_is_accounted_for(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        """However a run was mistreated, it ends; and the next one over what is left is a good one."""
        world = self.world
        world.finish(lambda: world.phase is not RunPhase.STARTING)
        if world.phase is RunPhase.RUNNING:
            self.the_run_ends()
        world.finish(lambda: world.phase is RunPhase.DONE)
        for link in world.links:
            link.frozen = False
        world.drain()
        for link in world.links:
            if link.writer.state is State.CLOSED:  # what it had to say was lost with the connection
                world.cut(link, arrives=False)
        if not world.pool.idle:
            world.join()
        run_again(world)


def run_again(world: World) -> None:
    """Send a good run over all writers that there are."""
    world.start(2)
    run = world.run
    assert run is not None
    world.finish(lambda: run.phase is not RunPhase.STARTING)
    assert run.start_error is None, run.start_error
    send_the_rest(world, 9)
    result = run.result()
    assert result.ok, result.error()
    assert result.acknowledged == 9


def send_the_rest(world: World, count: int) -> None:
    """Send images up to `count`, and END, and wait for the end."""
    run = world.run
    assert run is not None
    while world.next_image < count:
        if not world.send_image():
            world.finish(lambda: run.ready_for(world.next_image))
    run.end(lambda _: b"end", world.now_s)
    world.finish(lambda: run.phase is RunPhase.DONE)


TestMachines = Machines.TestCase


@given(
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(0, 40),
    st.lists(st.tuples(st.sampled_from(["send", "move", "answer", "wait"]), limits), max_size=80),
)
def test_nothing_is_lost_over_pipes_that_only_delay(
    writers: int, images_per_file: int, count: int, script: list[tuple[str, int]]
) -> None:
    world = World()
    for _ in range(writers):
        world.join()
    world.start(images_per_file)
    run = world.run
    assert run is not None
    world.finish(lambda: run.phase is RunPhase.RUNNING)
    for what, limit in script:
        if what == "send" and world.next_image < count:
            world.send_image()
        world.all_links(what, limit)
        world.check()
    send_the_rest(world, count)
    result = run.result()
    assert result.ok, result.error()
    assert result.acknowledged == count
    for link in world.links:
        assert link.writer.counters.stray == link.sender.counters.stray == 0
