"""The table of transitions, held against the spec's life cycle and against itself."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from labwire.wire.tcp_states import ROWS, TRANSITIONS, Role, State, Step

S, T = State, Step
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "image-tcp.md"

# The life cycle as the spec tells it, step by step; each line is one run on one connection.
RUNS = {
    "START, CALIBRATION, DATA, END": [
        T.START, T.START_OK, T.CALIBRATION, T.CALIBRATION, T.DATA, T.DATA_ACK, T.END, T.END_ACK,
    ],
    "a run without images": [T.START, T.START_OK, T.END, T.END_ACK],
    "the answers come behind END": [T.START, T.START_OK, T.DATA, T.DATA, T.END, T.DATA_ACK, T.FATAL, T.END_ACK],
    "START is refused": [T.START, T.START_REFUSED],
    "rolled back before the answer": [T.START, T.CANCEL, T.CANCEL_ACK],
    "rolled back after the answer": [T.START, T.START_OK, T.CANCEL, T.CANCEL_ACK],
    "cancelled between images": [T.START, T.START_OK, T.DATA, T.CANCEL, T.CANCEL_ACK],
    "cancelled at the end": [T.START, T.START_OK, T.DATA, T.END, T.CANCEL, T.CANCEL_ACK],
    "a fatal error does not break the flow": [
        T.START, T.START_OK, T.DATA, T.FATAL, T.DATA, T.DATA_ACK, T.FATAL, T.END, T.END_ACK,
    ],
    "keepalives": [
        T.KEEPALIVE, T.START, T.KEEPALIVE, T.START_OK, T.KEEPALIVE, T.END, T.KEEPALIVE, T.END_ACK, T.KEEPALIVE,
    ],
}  # fmt: skip


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("steps", RUNS.values(), ids=RUNS)
def test_each_run_of_the_spec_ends_where_the_next_begins(role: Role, steps: list[Step]) -> None:
    state = State.IDLE
    for step in steps:
        state = TRANSITIONS[role][state, step]
    assert state is State.IDLE


# What the spec forbids, by its order of frames.
FORBIDDEN = [
    (S.IDLE, T.DATA), (S.IDLE, T.END), (S.IDLE, T.CALIBRATION), (S.IDLE, T.START_OK), (S.IDLE, T.DATA_ACK),
    (S.STARTING, T.DATA), (S.STARTING, T.CALIBRATION), (S.STARTING, T.END), (S.STARTING, T.DATA_ACK),
    (S.STARTED, T.START_OK), (S.STARTED, T.DATA_ACK), (S.RUNNING, T.START_OK), (S.RUNNING, T.END_ACK),
    (S.ENDING, T.DATA), (S.ENDING, T.CALIBRATION), (S.ENDING, T.END), (S.ENDING, T.START_OK),
    (S.CANCELLING, T.DATA), (S.CANCELLING, T.DATA_ACK), (S.CANCELLING, T.START_OK), (S.CANCELLING, T.END_ACK),
    (S.CANCELLING, T.START), (S.CANCELLING, T.CANCEL),
]  # fmt: skip


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(("state", "step"), FORBIDDEN)
def test_what_the_spec_forbids_stands_in_no_row(role: Role, state: State, step: Step) -> None:
    assert (state, step) not in TRANSITIONS[role]


def test_the_sides_differ_only_where_a_row_says_so() -> None:
    own = {role: set(TRANSITIONS[role]) for role in Role}
    sender, writer = own[Role.SENDER], own[Role.WRITER]
    assert sender - writer == {(S.ENDING, T.END_LATE), (S.CANCELLING, T.CANCEL_LATE), (S.STARTING, T.UNSAID)}
    assert writer - sender == {
        (S.STARTED, T.FATAL),
        (S.RUNNING, T.CALIBRATION),
        (S.FAILED, T.CALIBRATION),
        (S.IDLE, T.CANCEL),
        *((state, T.START) for state in (S.STARTING, S.STARTED, S.RUNNING, S.FAILED, S.ENDING)),
    }
    both = sender & writer
    assert all(TRANSITIONS[Role.SENDER][move] is TRANSITIONS[Role.WRITER][move] for move in both)


@pytest.mark.parametrize("role", Role)
def test_every_state_is_reached_and_only_closed_is_for_good(role: Role) -> None:
    table = TRANSITIONS[role]
    reached, edge = {S.IDLE}, {S.IDLE}
    while edge:
        edge = {after for (state, _), after in table.items() if state in edge} - reached
        reached |= edge
    assert reached == set(State)
    for state in set(State) - {S.CLOSED}:
        assert table[state, T.LOST] is S.CLOSED
        assert table[state, T.KEEPALIVE] is state
    assert not [move for move in table if move[0] is S.CLOSED]


def test_no_row_contradicts_another() -> None:
    seen: set[tuple[Role, State, Step]] = set()
    for roles, states, step, _ in ROWS:
        for role, state in itertools.product(roles, states):
            assert (role, state, step) not in seen
            seen.add((role, state, step))


def test_the_reference_page_shows_the_table() -> None:
    shown = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and line.count("|") == 5]
    for roles, states, step, after in ROWS:
        who = "both" if len(roles) == 2 else roles[0].value
        names = ", ".join(state.name for state in states)
        assert f"| {who} | {names} | {step.name} | {'the same' if after is None else after.name} |" in shown
