"""What the operations on instruments carry: arrays as bytes."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.errors import ProtocolError
from labwire.operations.instruments import Array, CommandResult, Instruments, array_of

DTYPES = st.sampled_from(["<f4", "<f8", ">f4", "<i2", ">u8", "|u1", "<c16", "|b1"])
SHAPES = st.lists(st.integers(0, 4), max_size=3).map(tuple)


@given(DTYPES, SHAPES)
def test_an_array_travels_as_its_bytes(dtype: str, shape: tuple[int, ...]) -> None:
    array = (np.arange(int(np.prod(shape))) % 2).astype(dtype).reshape(shape)
    sent = msgspec.msgpack.decode(msgspec.msgpack.encode(array_of(array)), type=Array)
    back = sent.numpy()
    assert back.shape == array.shape
    assert back.dtype == array.dtype.newbyteorder("<")
    assert (back == array).all()
    assert len(sent.data) == array.nbytes


def test_the_array_is_the_callers_own() -> None:
    back = array_of(np.zeros(3)).numpy()
    back[0] = 1.0
    assert back.tolist() == [1.0, 0.0, 0.0]


def test_a_slice_travels_whole() -> None:
    assert array_of(np.arange(10)[::3]).numpy().tolist() == [0, 3, 6, 9]


@pytest.mark.parametrize(
    "array",
    [
        Array("<f4", (3,), b"12345678"),
        Array("<f4", (-1,), b""),
        Array("O", (1,), bytes(8)),
        Array("what", (1,), b"1"),
        Array("f4,(", (1,), b"1"),
        Array("<f4", (2, 2), b"1234"),
    ],
)
def test_what_is_no_array_is_refused(array: Array) -> None:
    with pytest.raises(ProtocolError, match="are no array"):
        array.numpy()


def test_the_result_is_the_value_or_the_array() -> None:
    plain = CommandResult(command_id="A-1", instrument="A", verb="V", value=3.5)
    assert plain.result == 3.5
    wave = CommandResult(command_id="A-1", instrument="A", verb="V", array=array_of(np.ones(2)))
    assert wave.result.tolist() == [1.0, 1.0]


def test_a_call_needs_no_parameters() -> None:
    row = Instruments.operations()["call"]
    first, second = row.bind(("DMM1", "IDENTIFY"), {}), row.bind(("DMM1", "IDENTIFY"), {})
    assert first.params == {}  # type: ignore[attr-defined]
    assert first.params is not second.params  # type: ignore[attr-defined]
