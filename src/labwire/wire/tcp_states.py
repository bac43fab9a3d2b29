"""The states of a connection of the TCP image stream, and the one table of its transitions.

Source: image-stream, "TCP/IP image stream". A connection lives through many runs; a run goes START, CALIBRATION (only
on connection 0), DATA, END. Both sides see the same steps, one by sending and the other by receiving, so both obey the
same table; nothing about the order of frames stands anywhere else.
"""

from __future__ import annotations

from enum import Enum, IntEnum


class Role(Enum):
    """Which side of a connection this is."""

    SENDER = "sender"
    """The detector's; it listens."""
    WRITER = "writer"
    """It connects."""


class State(IntEnum):
    """Where a connection is in the life of a run."""

    IDLE = 0
    """No run; the sender sends a KEEPALIVE from time to time."""
    STARTING = 1
    """START is sent, its ACK is not."""
    STARTED = 2
    """The run is accepted and has no image yet."""
    RUNNING = 3
    """Images flow."""
    FAILED = 4
    """Images flow, and the writer has said that it stores no more of this run."""
    ENDING = 5
    """END is sent, its ACK is not."""
    CANCELLING = 6
    """CANCEL is sent, its ACK is not."""
    CLOSED = 7
    """For good; a peer that comes back gets a new connection."""


class Step(IntEnum):
    """What moves a connection from state to state."""

    START = 0
    START_OK = 1
    """ACK for START, with OK."""
    START_REFUSED = 2
    """ACK for START, without OK."""
    CALIBRATION = 3
    DATA = 4
    DATA_ACK = 5
    """ACK for DATA, good or bad, but not fatal."""
    FATAL = 6
    """ACK for DATA with FATAL; at the writer, the decision to answer so from now on."""
    END = 7
    END_ACK = 8
    """ACK for END, good or bad."""
    END_LATE = 9
    """The sender waits for it no longer."""
    CANCEL = 10
    CANCEL_ACK = 11
    CANCEL_LATE = 12
    """The sender waits for it no longer."""
    KEEPALIVE = 13
    LOST = 14
    """The connection broke, or this side gives it up."""
    UNSAID = 15
    """START is taken back before a byte of it is out: the writer never hears of the run."""


_IN_RUN = (State.STARTING, State.STARTED, State.RUNNING, State.FAILED, State.ENDING)
_OPEN = (State.IDLE, *_IN_RUN, State.CANCELLING)
_BOTH = (Role.SENDER, Role.WRITER)

# Python looks up a member of an enumeration anew each time, which takes longer than most of what is done for an image.
CLOSED, FAILED, RUNNING = State.CLOSED, State.FAILED, State.RUNNING
DATA_STEP, DATA_ACK_STEP = Step.DATA, Step.DATA_ACK

ROWS: tuple[tuple[tuple[Role, ...], tuple[State, ...], Step, State | None], ...] = (
    # who, from any of these states, by this step, to this state; None: the state stays
    (_BOTH, (State.IDLE,), Step.START, State.STARTING),
    (_BOTH, (State.STARTING,), Step.START_OK, State.STARTED),
    (_BOTH, (State.STARTING,), Step.START_REFUSED, State.IDLE),
    (_BOTH, (State.STARTED,), Step.CALIBRATION, State.STARTED),
    (_BOTH, (State.STARTED, State.RUNNING), Step.DATA, State.RUNNING),
    (_BOTH, (State.RUNNING, State.FAILED, State.ENDING), Step.DATA_ACK, None),
    (_BOTH, (State.RUNNING, State.FAILED), Step.FATAL, State.FAILED),
    (_BOTH, (State.FAILED,), Step.DATA, State.FAILED),  # a failed image does not break the flow
    (_BOTH, (State.ENDING,), Step.FATAL, State.ENDING),
    (_BOTH, (State.STARTED, State.RUNNING, State.FAILED), Step.END, State.ENDING),
    (_BOTH, (State.ENDING,), Step.END_ACK, State.IDLE),
    (_BOTH, _IN_RUN, Step.CANCEL, State.CANCELLING),
    (_BOTH, (State.CANCELLING,), Step.CANCEL_ACK, State.IDLE),
    (_BOTH, _OPEN, Step.KEEPALIVE, None),
    (_BOTH, _OPEN, Step.LOST, State.CLOSED),
    ((Role.SENDER,), (State.STARTING,), Step.UNSAID, State.IDLE),
    # The sender does not wait for ever.
    ((Role.SENDER,), (State.ENDING,), Step.END_LATE, State.IDLE),
    ((Role.SENDER,), (State.CANCELLING,), Step.CANCEL_LATE, State.IDLE),
    # The writer may know that it will fail before an image comes.
    ((Role.WRITER,), (State.STARTED,), Step.FATAL, State.FAILED),
    # Foreign senders: calibration between images; CANCEL of a run that this writer refused or never heard of; START of
    # the next run although the one before was given up without a word.
    ((Role.WRITER,), (State.RUNNING, State.FAILED), Step.CALIBRATION, None),
    ((Role.WRITER,), (State.IDLE,), Step.CANCEL, State.CANCELLING),
    ((Role.WRITER,), _IN_RUN, Step.START, State.STARTING),
)
"""The transitions. What stands in no row is illegal."""

TRANSITIONS: dict[Role, dict[tuple[State, Step], State]] = {
    role: {
        (state, step): state if after is None else after
        for roles, states, step, after in ROWS
        if role in roles
        for state in states
    }
    for role in Role
}
"""The same for looking up."""
