"""Fuzz the reader of image messages: whatever the bytes, they are understood or refused in our words.

    python tests/fuzz/fuzz_image.py -max_total_time=600 CORPUS_FOLDER

takes libFuzzer's options; `test_fuzz_image.py` makes a corpus of the golden bytes and runs it for a moment.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(  # pyright: ignore[reportAttributeAccessIssue]
    include=["labwire.wire"]
):
    from labwire.wire import cbor_reader, image_array, image_codec, image_user_data
    from labwire.wire.cbor_values import Limits
    from labwire.wire.image_message import ImageMessage, StartMessage

from labwire.errors import ProtocolError, TooLargeError, UsageError

LIMITS = Limits(max_items=2000, max_array_bytes=1 << 16)


def test_one_input(data: bytes) -> None:
    """Give one input to all that reads image messages."""
    try:
        item = cbor_reader.decode_item(data, LIMITS)
        if isinstance(item, image_array.Array):
            assert not image_array.fault_of(item)
        message = image_codec.decode_message(data, LIMITS)
    except (ProtocolError, TooLargeError):
        return
    again = b"".join(image_codec.encode_message(message))
    # By its encoding, because NaN does not equal itself.
    assert b"".join(image_codec.encode_message(image_codec.decode_message(again))) == again
    if isinstance(message, StartMessage):
        image_user_data.read_user_data(message)
    if isinstance(message, ImageMessage):
        for array in message.data.values():
            if not array.compression:
                show(array)


def show(array: image_array.Array) -> None:
    """Look at an array through numpy."""
    try:
        assert image_array.as_numpy(array).shape == array.shape
    except UsageError:  # 128-bit floats, and text
        assert array.item_bytes > 8


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
