"""A rig that changes while it runs: parts come, go and change, and all others go on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from labwire.bus.actor_runner import ActorSpec
from labwire.errors import StateError
from labwire.instruments.config import InstrumentConfig
from labwire.operations.instrument_set import InstrumentSet
from labwire.operations.rig import RigChanges
from labwire.operations.service import answer_later
from labwire.rig.assembly import INSTRUMENTS
from labwire.rig.rig_changes import WITH_CODE, keep_fixed, parts_of, raise_of, with_part, without
from labwire.rig.rig_classes import check_new_classes
from labwire.rig.rig_config import RigConfig
from labwire.rig.supervisor import State, Supervisor
from labwire.strict import Mistake

ReadRig: TypeAlias = Callable[[Callable[[RigConfig], Iterable[Mistake]]], RigConfig]
"""Reads a rig file; the argument yields what else is wrong in it, as that of `load_rig`."""
_Wanted: TypeAlias = tuple[RigConfig, list[str]]
"""A rig as it is to be, and the tables of it that have to wait."""


class LiveRig:
    """The rig as it is now. All happens on the hub's loop, except what instruments are asked and what is checked.

    Args:
        config: The rig at the start.
        folder: Of the rig file.
        supervisor: Has the actors' processes.
        specs_of: Makes the specs of all actors of a rig.
        instruments: Returns a proxy of the instruments' actor.
        read: Reads the rig file again; None if the rig has none.
        on_change: Hears of each change.
        post: Has the hub's loop call back, from another thread; False if too much is waiting there.
    """

    def __init__(
        self,
        config: RigConfig,
        *,
        folder: Path,
        supervisor: Supervisor,
        specs_of: Callable[[RigConfig], list[ActorSpec]],
        instruments: Callable[[], InstrumentSet],
        read: ReadRig | None,
        on_change: Callable[[RigChanges], None],
        post: Callable[[Callable[[], None]], bool],
    ) -> None:
        self.config = config
        self._folder, self._supervisor, self._specs_of = folder, supervisor, specs_of
        self._instruments, self._read, self._on_change, self._post = instruments, read, on_change, post
        self._aside = ThreadPoolExecutor(1, "changes of instruments")
        self._is_checking = False

    def add(self, part: str, options: Mapping[str, Any]) -> RigChanges:
        """See `RigOperations.add`."""
        if part.partition(".")[0] in WITH_CODE and self.config.network.exposed:
            raise StateError(
                f"[{part}] names code to run, and other computers can reach this rig: "
                "write it into the rig file, then `labwire config reload`"
            )
        before, after = self.config, with_part(self.config, part, options, self._folder)

        def check() -> _Wanted:
            raise_of(part, list(check_new_classes(before, after, self._folder)))
            return after, []

        return self._change_later(before, check)

    def remove(self, name: str) -> RigChanges:
        """See `RigOperations.remove`."""
        answer: Future[RigChanges] = Future()
        self._change_to((without(self.config, name), []), answer)
        return answer_later(answer)

    def reload(self) -> RigChanges:
        """See `RigOperations.reload`."""
        if self._read is None:
            raise StateError("this rig has no rig file: it runs the demo, or was started by a program")
        before, read = self.config, self._read

        def check() -> _Wanted:
            return keep_fixed(before, read(lambda after: check_new_classes(before, after, self._folder)))

        return self._change_later(before, check)

    def close(self) -> None:
        """End the thread that asks the instruments; what waits there is left undone."""
        self._aside.shutdown(wait=False, cancel_futures=True)

    def _change_later(self, before: RigConfig, check: Callable[[], _Wanted]) -> RigChanges:
        """Check what is wanted on a thread of its own, since it may import classes, and then change to it.

        Raises:
            StateError: Another change is being checked: one at a time, however many are asked for.
        """
        if self._is_checking:
            raise StateError("another change of the rig is being checked; try again in a moment")
        self._is_checking = True
        answer: Future[RigChanges] = Future()

        def change(wanted: _Wanted) -> None:
            try:
                if self.config is not before:
                    raise StateError("the rig was changed by another request meanwhile: try again")
                self._change_to(wanted, answer)
            except Exception as error:
                answer.set_exception(error)

        def look() -> None:
            try:
                try:
                    wanted = check()
                finally:
                    self._is_checking = False  # before there is an answer: who has it may ask again
                if not self._post(lambda: change(wanted)):
                    raise StateError("the rig has too much to do; try again in a moment")
            except Exception as error:
                answer.set_exception(error)

        threading.Thread(target=look, name="check of a rig", daemon=True).start()
        return answer_later(answer)

    def _change_to(self, wanted: _Wanted, answer: Future[RigChanges]) -> None:
        """Change the rig; the answer is there when the instruments have changed as well."""
        config, waiting = wanted
        specs, children = {spec.name: spec for spec in self._specs_of(config)}, self._supervisor.children
        if leaving := [name for name, child in children.items() if child.leaving and name in specs]:
            raise StateError(f"{', '.join(leaving)}: still being removed; try again in a moment")
        before, self.config = self.config, config
        for name in [name for name in children if name not in specs]:
            self._supervisor.remove(children[name])
        asked: Future[None] | None = None
        for name, spec in specs.items():
            if name not in children:
                self._supervisor.start(self._supervisor.add(spec))
                continue
            child, old = children[name], children[name].spec
            child.spec = spec
            if (old.actor_class, old.config) == (spec.actor_class, spec.config):
                continue
            if name == INSTRUMENTS:
                asked = self._change_instruments(before, config) if child.state is State.RUNNING else None
            elif child.failed or child.state is not State.STOPPED:
                self._supervisor.restart(child)
        changes = _changes(before, config, waiting)
        if changes.added or changes.removed or changes.changed:
            self._on_change(changes)
        _answer(answer, changes, asked)

    def _change_instruments(self, before: RigConfig, after: RigConfig) -> Future[None]:
        gone = [name for name, config in before.instruments.items() if after.instruments.get(name) != config]
        new = {name: config for name, config in after.instruments.items() if before.instruments.get(name) != config}
        return self._aside.submit(self._ask_instruments, gone, new)

    def _ask_instruments(self, gone: list[str], new: Mapping[str, InstrumentConfig]) -> None:
        """On a thread of its own: an instrument finishes its command before it goes."""
        proxy = self._instruments()
        for name in gone:
            proxy.take_out(name)
        for name, config in new.items():
            proxy.take_in(name, msgspec.to_builtins(config))


def _answer(answer: Future[RigChanges], changes: RigChanges, asked: Future[None] | None) -> None:
    def done(asked: Future[None]) -> None:
        error = asked.exception()
        if error is None:
            answer.set_result(changes)
        else:
            answer.set_exception(error)

    if asked is None:
        answer.set_result(changes)
    else:
        asked.add_done_callback(done)


def _changes(before: RigConfig, after: RigConfig, waiting: list[str]) -> RigChanges:
    old, new = parts_of(before), parts_of(after)
    return RigChanges(
        added=[part for part in new if part not in old],
        removed=[part for part in old if part not in new],
        changed=[part for part in new if part in old and new[part] != old[part]],
        waiting=waiting,
    )
