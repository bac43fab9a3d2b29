"""What a rig file says of classes: whether they are there, and whether the options beside them fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from labwire.bus.actor_runner import load_class
from labwire.errors import ConfigError, LabwireError
from labwire.instruments.driver import load_driver
from labwire.rig.rig_config import RigConfig
from labwire.strict import KeyPath, Mistake, find_mistakes

_OURS = "labwire."


def check_classes(config: RigConfig) -> Iterator[Mistake]:
    """Yield what is wrong with the drivers and actors of a rig, and with their options.

    Only labwire's own, and drivers that are installed under a name, are looked at: modules of others may open a device
    when they are imported, or be on another computer. The rig tells of them when it starts.
    """
    for name, instrument in config.instruments.items():
        driver = instrument.driver
        if not instrument.external and driver and (":" not in driver or driver.startswith(_OURS)):
            yield from _check(("instruments", name), "driver", lambda driver=driver: load_driver(driver), instrument)
    for name, actor in config.actors.items():
        dotted = actor.actor_class
        if dotted.startswith(_OURS):
            yield from _check(("actors", name), "class", lambda dotted=dotted: load_class(dotted), actor)


def _check(table: KeyPath, key: str, load: Callable[[], Any], part: Any) -> Iterator[Mistake]:
    try:
        loaded = load()
    except ConfigError as error:
        yield Mistake((*table, key), error.message)
    except LabwireError:  # an extra that is not installed here: `labwire doctor` tells
        return
    else:
        options: Mapping[str, Any] = part.options
        yield from find_mistakes(dict(options), loaded.Config, table)
