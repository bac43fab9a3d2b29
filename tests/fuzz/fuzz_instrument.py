"""Fuzz the parsers of the instrument protocol: whatever the bytes, understood or refused with `ProtocolError`.

    python tests/fuzz/fuzz_instrument.py -max_total_time=600 CORPUS_FOLDER

takes libFuzzer's options; `test_fuzz_instrument.py` makes a corpus of the recorded bytes and runs it for a moment.
The first byte of an input chooses the profile, the rest is the message.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(  # pyright: ignore[reportAttributeAccessIssue]
    include=["labwire.wire"]
):
    from labwire.wire import instrument_extras, instrument_message

from labwire.errors import ProtocolError

PROFILES = tuple(instrument_message.PROFILES.values())


def test_one_input(data: bytes) -> None:
    """Give one input to all parsers."""
    profile = PROFILES[data[0] % len(PROFILES)] if data else PROFILES[0]
    try:
        message = instrument_message.decode_message(data[1:], profile)
    except ProtocolError:
        return
    again = instrument_message.encode_message(message, profile)
    assert instrument_message.decode_message(again, profile) == message
    assert isinstance(instrument_message.decode_error(message.payload), instrument_message.WorkerError)
    try:
        payload = instrument_extras.unpack_payload(message.payload)
    except ProtocolError:
        return
    assert len(payload) <= instrument_extras.MAX_EXPANDED_BYTES
    for decode in (instrument_extras.decode_commands, instrument_extras.decode_responses):
        try:
            read = decode(payload)
        except ProtocolError:
            continue
        joined = instrument_extras.encode_batch([instrument_message.encode_payload(one) for one in read])
        assert decode(joined) == read


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
