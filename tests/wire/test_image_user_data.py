"""What START tells a writer beside the image's own fields: at top level and in user_data, read from both."""

from __future__ import annotations

import json
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.errors import UsageError
from labwire.wire.image_codec import decode_message, encode_message
from labwire.wire.image_message import StartMessage
from labwire.wire.image_user_data import UserData, encode_user_data, read_user_data, start_for_socket

ADDRESS = "tcp://192.168.0.1:5000"


def start(**fields: Any) -> StartMessage:
    return StartMessage(
        series_id=135,
        series_unique_id="lysozyme_1",
        number_of_images=1,
        image_size_x=1,
        image_size_y=1,
        **fields,
    )


def test_start_says_it_in_both_places() -> None:
    user_data = encode_user_data(UserData(file_prefix="lyso/1", images_per_file=10, user={"a": 1}, extra={"own": [1]}))
    sent = start_for_socket(start(user_data=user_data), socket_number=0, writer_notification_zmq_addr=ADDRESS)
    received = cast("StartMessage", decode_message(b"".join(encode_message(sent))))
    assert (received.socket_number, received.write_master_file) == (0, True)
    assert received.writer_notification_zmq_addr == ADDRESS
    assert json.loads(cast("str", received.user_data)) == {
        "own": [1],
        "user": {"a": 1},
        "file_prefix": "lyso/1",
        "images_per_file": 10,
        "socket_number": 0,
        "write_master_file": True,
        "writer_notification_zmq_addr": ADDRESS,
    }
    read = read_user_data(received)
    assert (read.file_prefix, read.images_per_file, read.user, read.extra) == ("lyso/1", 10, {"a": 1}, {"own": [1]})


def test_only_the_first_socket_writes_the_master_file() -> None:
    second = start_for_socket(start(), socket_number=1)
    assert (second.socket_number, second.write_master_file) == (1, False)
    assert second.writer_notification_zmq_addr is None
    assert read_user_data(second).write_master_file is False
    assert start_for_socket(start(), socket_number=0, write_master_file=False).write_master_file is False


def test_it_is_read_from_either_place() -> None:
    inside = json.dumps({"socket_number": 3, "write_master_file": True, "writer_notification_zmq_addr": ADDRESS})
    for message in (
        start(user_data=inside),
        start(user_data=json.loads(inside)),
        start(socket_number=3, write_master_file=True, writer_notification_zmq_addr=ADDRESS),
        start(user_data=inside.replace(": 3", ": 9"), socket_number=3),
    ):
        read = read_user_data(message)
        assert (read.socket_number, read.write_master_file, read.writer_notification_zmq_addr) == (3, True, ADDRESS)


@pytest.mark.parametrize("user_data", ["no JSON", "[1]", "5", "\ud800", "{" * 10_000, 7, [1, 2], b"x"])
def test_what_is_no_object_belongs_to_the_user(user_data: object) -> None:
    assert read_user_data(start(user_data=user_data)) == UserData(user=user_data)


def test_no_user_data_is_empty() -> None:
    assert read_user_data(start()) == UserData()


def test_a_value_of_another_type_does_not_cost_the_others() -> None:
    read = read_user_data(start(user_data='{"images_per_file": "ten", "file_prefix": "a", "socket_number": -1}'))
    assert read == UserData(file_prefix="a", extra={"images_per_file": "ten", "socket_number": -1})


def test_a_key_that_is_called_extra_is_kept() -> None:
    read = read_user_data(start(user_data='{"extra": 5}'))
    assert read == UserData(extra={"extra": 5})
    assert json.loads(encode_user_data(read)) == {"extra": 5}


def test_what_is_no_json_is_refused() -> None:
    for bad in (object(), "\ud800", 1j):
        with pytest.raises(UsageError, match="JSON"):
            encode_user_data(UserData(user=bad))


json_values = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


NAMES = [*(field.name for field in msgspec.structs.fields(UserData)), "other"]


@given(st.dictionaries(st.sampled_from(NAMES), json_values))
def test_every_object_survives(found: dict[str, Any]) -> None:
    assert json.loads(encode_user_data(read_user_data(start(user_data=json.dumps(found))))) == found
