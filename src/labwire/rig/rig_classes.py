"""What a rig file says of classes: whether they are there, and whether the options beside them fit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from labwire.bus.actor_runner import load_class
from labwire.errors import ConfigError, LabwireError
from labwire.instruments.driver import load_driver
from labwire.rig.rig_config import RigConfig
from labwire.strict import KeyPath, Mistake, find_mistakes

IMPORT_LIMIT_S = 120.0
"""How long the module of a class may take to be imported."""
_OURS = "labwire."
_COMMAND = (sys.executable, "-m", "labwire.rig.rig_classes")


class _Row(msgspec.Struct, frozen=True):
    """A part of a rig that names a class."""

    kind: str
    """``instruments`` or ``actors``."""
    name: str
    dotted: str
    """``module:Class``, or the name of an installed driver."""
    options: dict[str, Any]

    @property
    def is_ours(self) -> bool:
        """Whether it comes with labwire, or is a driver that is installed under a name."""
        return ":" not in self.dotted or self.dotted.startswith(_OURS)


class _Order(msgspec.Struct, frozen=True):
    """What the process that imports a class is told."""

    folder: str
    row: _Row


def check_classes(config: RigConfig, folder: Path | None = None) -> Iterator[Mistake]:
    """Yield what is wrong with the drivers and actors of a rig, and with their options.

    Classes of the user are imported in a process of their own: nothing of the rig is started, but what stands at the
    top of their modules runs there.

    Args:
        config: The rig.
        folder: Of the rig file, where a class of the user is looked for first; None looks at no such class.
    """
    for row in _rows(config):
        if row.is_ours:
            yield from _check(row)
        elif folder is not None:
            yield from _check_apart(_Order(str(folder.absolute()), row))


def check_new_classes(before: RigConfig, after: RigConfig, folder: Path) -> Iterator[Mistake]:
    """Yield what is wrong with the drivers and actors that one rig has and another has not, or not so.

    Every class is imported in a process of its own, ours as well: the caller may be a rig that runs.

    Args:
        before: The rig that is known to be right.
        after: The rig to look at.
        folder: Of the rig file.
    """
    known = list(_rows(before))
    for row in _rows(after):
        if row not in known:
            yield from _check_apart(_Order(str(folder.absolute()), row))


def _rows(config: RigConfig) -> Iterator[_Row]:
    for name, instrument in config.instruments.items():
        if instrument.driver and not instrument.external:  # otherwise it runs elsewhere
            yield _Row("instruments", name, instrument.driver, instrument.options)
    for name, actor in config.actors.items():
        yield _Row("actors", name, actor.actor_class, actor.options)


def _check(row: _Row) -> Iterator[Mistake]:
    table: KeyPath = (row.kind, row.name)
    try:
        loaded = load_driver(row.dotted) if row.kind == "instruments" else load_class(row.dotted)
    except ConfigError as error:
        yield _mistake(row, error.message)
    except LabwireError:  # an extra that is not installed here: `labwire doctor` tells
        return
    else:
        yield from find_mistakes(dict(row.options), loaded.Config, table)


def _check_apart(order: _Order) -> Iterator[Mistake]:
    row, data = order.row, msgspec.json.encode(order)
    try:
        done = subprocess.run(_COMMAND, input=data, capture_output=True, timeout=IMPORT_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        yield _mistake(row, f"{row.dotted!r}: importing its module takes longer than {IMPORT_LIMIT_S:g} s")
        return
    try:
        yield from msgspec.json.decode(done.stdout, type=list[Mistake])
    except msgspec.DecodeError:
        said = done.stderr.decode("utf-8", "replace").split("\n")
        why = ": ".join([f"exit status {done.returncode}", *(line.strip() for line in said[-2:-1])])
        yield _mistake(row, f"{row.dotted!r}: importing its module ends the process that does it ({why})")


def _mistake(row: _Row, text: str) -> Mistake:
    return Mistake((row.kind, row.name, "driver" if row.kind == "instruments" else "class"), text)


def main() -> None:
    """Import the class that standard input names, and write what is wrong with it to standard output."""
    result = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a module prints is no answer
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=_Order)
    sys.path.insert(0, order.folder)
    try:
        mistakes = list(_check(order.row))
    except OSError as error:  # a device or file that a module opens: it may be there when the rig starts
        sys.stderr.write(f"{error}\n")
        mistakes = []
    result.write(msgspec.json.encode(mistakes))
    result.flush()
    os._exit(0)  # whatever threads the module has started


if __name__ == "__main__":
    main()
