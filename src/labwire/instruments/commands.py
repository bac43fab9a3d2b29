"""From a verb and its parameters to the message that is sent: numbers it, checks it, encodes it once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from labwire.errors import TooLargeError, UsageError
from labwire.instruments.api import InstrumentApi, Verb, check_params, find_verb
from labwire.instruments.calls import check_finite
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
        self.api: InstrumentApi | None = None
        self._header = None if profile.has_sync_token else profile.header.pack
        self._command_type = profile.numbers[MessageType.COMMAND]

    def learn(self, api: InstrumentApi) -> None:
        """From now on, check parameters against the instrument's API and fill in its defaults."""
        self._verbs = {verb.name: verb for verb in api.verbs}
        self.api = api

    def verb(self, name: str) -> Verb | None:
        """Return what is known of a verb, by its name on the wire or in Python; None if no API is known.

        Raises:
            NotFoundError: The instrument has no such verb.
        """
        if self.api is None or name.startswith("@"):
            return None
        return self._verbs.get(name) or find_verb(self.api, name, self._instrument)

    def make(
        self,
        verb: str,
        params: Mapping[str, Any] | None,
        *,
        timeout_ms: float = DEFAULT_TIMEOUT_MS,
        priority: int = 0,
        expects_response: bool = True,
    ) -> tuple[int, Command]:
        """Return the number of a command and the command.

        Raises:
            NotFoundError: The instrument has no such verb.
            UsageError: A parameter or the priority is wrong.
        """
        if priority and not 0 <= priority <= MAX_PRIORITY:
            raise UsageError(f"a priority is a whole number from 0 to {MAX_PRIORITY}, not {priority!r}")
        returns = ""
        known = self.verb(verb)
        if known is not None:
            params = check_params(known, params or {}, self._instrument)
            verb, returns = known.name, known.returns
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

    def encode_batch(self, numbered: Sequence[tuple[int, Command]]) -> list[bytes]:
        """Return the messages of several commands: one if they fit into one, else more."""
        payloads = [self._payload(command) for _, command in numbered]
        batch = payloads[0] if len(payloads) == 1 else encode_batch(payloads)
        try:
            return [self.message(numbered[0][0], batch)]
        except TooLargeError:
            if len(payloads) == 1:
                raise
        half = len(numbered) // 2
        return self.encode_batch(numbered[:half]) + self.encode_batch(numbered[half:])

    def _payload(self, command: Command) -> bytes:
        payload = encode_payload(command)
        if b"null" in payload:  # what JSON writes for NaN and infinities, too
            check_finite(command.params)
        return payload
