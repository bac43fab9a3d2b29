"""What a rig file may say of alerts."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from labwire.strict import Strict

_WORKER, _INSTRUMENT = "worker.", "instrument."


class AlertConfig(Strict, kw_only=True):
    """What is done when something happens: one table ``[alerts.NAME]``.

    A command is run, a notification is sent, or both. The command gets the notification as JSON on its standard input,
    and LABWIRE_ALERT, LABWIRE_SUBJECT and LABWIRE_RIG in its environment. No shell reads it.
    """

    on: tuple[str, ...] | str
    """First letters of the subjects that it is for, as "instrument.died" or ["actor.died", "recording.failed"]. What
    happens to the worker of an instrument is told of the instrument, and "worker.died" hears it as well."""
    command: tuple[str, ...] = ()
    """Program and arguments, as ["notify-send", "The rig needs you"]."""
    notify: str = ""
    """Subject of a notification to send; `alert`, `about` and `cause` say what happened."""
    at_most_every_s: Annotated[float, Meta(ge=0, le=86400)] = 10.0
    """What happens again sooner is counted and left out; the next alert says how often it was."""
    timeout_s: Annotated[float, Meta(gt=0, le=3600)] = 30.0
    """A command that takes longer is ended."""

    @property
    def subjects(self) -> tuple[str, ...]:
        """What it is for, as prefixes."""
        said = (self.on,) if isinstance(self.on, str) else self.on
        of_workers = [one.removeprefix(_WORKER) for one in said if one.startswith(_WORKER)]
        return *said, *(f"{_INSTRUMENT}{one}" for one in of_workers)

    def __post_init__(self) -> None:
        if not self.subjects or not all(self.subjects):
            raise ValueError('`on` names at least one subject, as "instrument.died"')
        if not self.command and not self.notify:
            raise ValueError("an alert does something: `command`, `notify` or both must be given")
        if self.notify.startswith(self.subjects):
            raise ValueError(f"it would answer itself: `notify` begins as `on` does, {self.notify!r}")
