"""From what the instrument server knows to what the operations answer."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from labwire.instruments.calling.dispatch import Outcome
from labwire.instruments.recording import is_array
from labwire.instruments.status import InstrumentStatus as ServerStatus
from labwire.operations.instruments import CommandResult, InstrumentStatus, array_of


def status_of(status: ServerStatus, *, dropped: int, acquisitions: int) -> InstrumentStatus:
    """Return the state of an instrument as the operations tell it."""
    known = msgspec.structs.asdict(status)
    shared = {name: known[name] for name in InstrumentStatus.__struct_fields__ if name in known}
    own = {"state": status.state.value, "dropped": dropped, "acquisitions": acquisitions}
    return msgspec.convert(shared | own, InstrumentStatus)


def result_of(outcome: Outcome, rig_time_at: Callable[[float], float]) -> CommandResult:
    """Return what became of a command as the operations tell it, its error as a text."""
    array = array_of(outcome.value) if is_array(outcome.value) else None
    return CommandResult(
        command_id=outcome.command.id,
        instrument=outcome.command.instrument_name,
        verb=outcome.command.verb,
        value=None if array else outcome.value,
        array=array,
        text=outcome.response.text_response if outcome.response else "",
        error=outcome.error.message if outcome.error else "",
        error_type=type(outcome.error).__name__ if outcome.error else "",
        timestamp=rig_time_at(outcome.done_s),
        duration_s=outcome.duration_s,
    )
