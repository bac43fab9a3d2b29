"""From a verb and its parameters to the message that is sent: numbers it, checks it, encodes it once."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

from labwire.errors import NotFoundError, UsageError
from labwire.instruments.api import InstrumentApi, Verb, check_params, find_verb
from labwire.instruments.exchange.calls import check_finite
from labwire.wire.instrument_extras import encode_batch, pack_payload
from labwire.wire.instrument_message import (
    DEFAULT_TIMEOUT_MS,
    Command,
    Message,
    MessageType,
    Profile,
    encode_message,
    encode_payload,
)

MAX_PRIORITY = 1000
URGENT_PRIORITY = MAX_PRIORITY + 1
"""For control verbs that never wait behind other commands, and for SHUTDOWN."""


class BatchMessage(NamedTuple):
    """An encoded message and the commands in it."""

    commands: Sequence[tuple[int, Command]]
    message: bytes


class CommandMaker:
    """Makes the commands of one instrument.

    Args:
        instrument: Its name.
        profile: Layout of its messages.
        compress: Whether its worker understands compressed payloads.
    """

    def __init__(self, instrument: str, profile: Profile, *, compress: bool) -> None:
        self._instrument, self._profile, self._compress = instrument, profile, compress
        self._numbers = count(1)
        self._verbs: dict[str, Verb] = {}
        self._plain: dict[str, list[_Plain]] = {}
        self.api: InstrumentApi | None = None
        self._header = None if profile.has_sync_token else profile.header.pack
        self._command_type = profile.numbers[MessageType.COMMAND]

    def learn(self, api: InstrumentApi) -> None:
        """From now on, check parameters against the instrument's API and fill in its defaults."""
        self._verbs = {verb.name: verb for verb in api.verbs}
        self._plain = {verb.name: plain for verb in api.verbs if (plain := _plain_parameters(verb)) is not None}
        self.api = api

    def _verb(self, name: str, *, continuous: bool) -> Verb | None:
        if name.startswith("@"):
            raise NotFoundError(f"{name!r} is no verb: what begins with @ is between server and worker", verb=name)
        if self.api is None:
            return None
        verb = self._verbs.get(name) or find_verb(self.api, name, self._instrument)
        if verb.continuous is not continuous:
            text = "is continuous: acquire it" if verb.continuous else "is not continuous: call it"
            raise UsageError(f"{self._instrument} {verb.name} {text}", verb=verb.name)
        return verb

    def make(
        self,
        verb: str,
        params: Mapping[str, Any] | None,
        *,
        timeout_ms: float = DEFAULT_TIMEOUT_MS,
        priority: int = 0,
        expects_response: bool = True,
        continuous: bool = False,
    ) -> tuple[int, Command]:
        """Return the number of a command and the command.

        Raises:
            NotFoundError: The instrument has no such verb.
            UsageError: A parameter or the priority is wrong, or the verb is continuous and that is not wanted.
        """
        if priority and not 0 <= priority <= MAX_PRIORITY:
            raise UsageError(f"a priority is a whole number from 0 to {MAX_PRIORITY}, not {priority!r}")
        returns = ""
        known = self._verb(verb, continuous=continuous)
        if known is not None:
            verb, returns = known.name, known.returns
            plain = self._plain.get(verb)
            if plain is None or params is None or not _is_plain(plain, params):
                params = check_params(known, params or {}, self._instrument)
        number = next(self._numbers)
        return number, Command(
            id=f"{self._instrument}-{number}",
            instrument_name=self._instrument,
            verb=verb,
            timeout_ms=int(timeout_ms),
            priority=priority,
            expects_response=expects_response,
            return_type=returns,
            params=params if isinstance(params, dict) else dict(params or {}),
        )

    def make_control(self, verb: str, params: dict[str, Any], *, timeout_ms: float) -> tuple[int, Command]:
        """Return the number of a control command and the command."""
        number, name = next(self._numbers), self._instrument
        return number, Command(
            id=f"{name}-{number}", instrument_name=name, verb=verb, timeout_ms=int(timeout_ms), params=params
        )

    def encode(self, number: int, command: Command) -> bytes:
        """Return the message of a command.

        Raises:
            TooLargeError: Its payload does not fit.
            UsageError: A parameter has no form in JSON.
        """
        return self.message(number, self._payload(command))

    def message(self, number: int, payload: bytes) -> bytes:
        """Return the message of an encoded command.

        Raises:
            TooLargeError: It does not fit.
        """
        if len(payload) > self._profile.payload_bytes:
            payload = pack_payload(payload, self._profile.payload_bytes, compress=self._compress)
        if self._header is None:
            return encode_message(Message(MessageType.COMMAND, number, payload), self._profile)
        return self._header(self._command_type, number, len(payload)) + payload

    def encode_batch(self, numbered: Sequence[tuple[int, Command]]) -> Iterator[BatchMessage]:
        """Yield the messages of several commands: one if they fit into one, else more.

        Raises:
            TooLargeError: A single one does not fit.
            UsageError: A parameter has no form in JSON.
        """
        payloads = [self._payload(command) for _, command in numbered]
        first = room = 0
        limit = self._profile.payload_bytes
        for place, payload in enumerate(payloads):
            room += len(payload) + 1
            if place > first and room >= limit:
                yield self._batch(numbered[first:place], payloads[first:place])
                first, room = place, len(payload) + 1
        yield self._batch(numbered[first:], payloads[first:])

    def _batch(self, numbered: Sequence[tuple[int, Command]], payloads: Sequence[bytes]) -> BatchMessage:
        payload = payloads[0] if len(payloads) == 1 else encode_batch(payloads)
        return BatchMessage(numbered, self.message(numbered[0][0], payload))

    def _payload(self, command: Command) -> bytes:
        payload = encode_payload(command)
        if b"null" in payload:  # what JSON writes for NaN and infinities, too
            check_finite(command.params)
        return payload


class _Plain(NamedTuple):
    """A parameter that can be checked in a moment, if it comes as exactly its own type."""

    name: str
    type: type
    low: float
    high: float


def _plain_parameters(verb: Verb) -> list[_Plain] | None:
    """Return how to check all parameters of a verb in a moment; None if they need more than that."""
    types: dict[str, type] = {"float": float, "int": int}
    if any(parameter.type not in types or parameter.choices for parameter in verb.parameters):
        return None
    most = sys.float_info.max  # so that infinities and NaN are never in the range
    return [
        _Plain(
            parameter.name,
            types[parameter.type],
            -most if parameter.minimum is None else parameter.minimum,
            most if parameter.maximum is None else parameter.maximum,
        )
        for parameter in verb.parameters
    ]


def _is_plain(plain: Sequence[_Plain], params: Mapping[str, Any]) -> bool:
    """Whether all parameters are there, right, and of exactly their types: then they are sent as they are."""
    if len(params) != len(plain):
        return False
    for name, kind, low, high in plain:
        value: Any = params.get(name)
        if value.__class__ is not kind or not low <= value <= high:
            return False
    return True
