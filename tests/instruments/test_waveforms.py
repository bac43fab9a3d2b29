"""Arrays in shared memory: written, fetched once, freed, refused; nothing is left."""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from labwire.errors import LabwireError, LimitError, ProtocolError, ResourceError, TooLargeError, UsageError
from labwire.instruments import waveforms
from labwire.instruments.waveforms import WaveformWriter, open_waveform, release_waveform, remove_left
from labwire.wire.instrument_extras import WaveformHandle

SHM = Path("/dev/shm")
PREFIX = f"labwire_test_{os.getpid()}_DMM1_1"


def left() -> list[str]:
    return sorted(path.name for path in SHM.glob(f"{PREFIX}*"))


def shared_memory_kb() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssShmem:")[2].split()[0])


def test_a_million_floats_go_through_and_their_memory_is_freed_with_the_array() -> None:
    array = np.random.default_rng(1).standard_normal(1_000_000).astype(np.float32)
    handle = WaveformWriter(PREFIX).write(array)
    assert handle == WaveformHandle(f"{PREFIX}_0", "<f4", (1_000_000,))
    assert (SHM / handle.file).stat().st_mode & 0o777 == 0o600
    before_kb = shared_memory_kb()
    read = open_waveform(handle, prefix=PREFIX)
    assert left() == []
    assert (read == array).all()
    assert shared_memory_kb() - before_kb >= 3900
    part = read[10:20]
    del read
    gc.collect()
    assert (part == array[10:20]).all()  # a view keeps the memory
    del part
    gc.collect()
    assert shared_memory_kb() - before_kb < 1000


def test_what_was_fetched_can_be_written_into() -> None:
    read = open_waveform(WaveformWriter(PREFIX).write(np.zeros(3)))
    read[1] = 5.0
    assert read.tolist() == [0.0, 5.0, 0.0]


numbers = st.sampled_from(["?", "<i1", "<u2", ">i4", "<u8", "<f2", ">f4", "<f8", "<c8", ">c16"])


@given(hnp.arrays(dtype=numbers.map(np.dtype), shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)))
def test_any_array_of_numbers_comes_back(array: Any) -> None:
    for one in (array, array.T, array[::-1] if array.ndim else array):
        handle = WaveformWriter(PREFIX).write(one)
        read = open_waveform(handle, prefix=PREFIX)
        assert read.shape == one.shape
        assert read.dtype == one.dtype.newbyteorder("<")
        np.testing.assert_array_equal(read, one)
    assert left() == []


@pytest.mark.parametrize(
    "array",
    [
        np.array([object()]),
        np.array(["text"]),
        np.array([b"bytes"]),
        np.zeros(2, dtype=[("a", "f4")]),
        np.zeros(2, dtype="M8[s]"),
    ],
    ids=["objects", "text", "bytes", "records", "dates"],
)
def test_what_is_no_array_of_numbers_is_refused(array: Any) -> None:
    with pytest.raises(UsageError, match="only of numbers"):
        WaveformWriter(PREFIX).write(array)
    assert left() == []


def test_what_nobody_fetches_is_bounded() -> None:
    writer = WaveformWriter(PREFIX, most_bytes=1000)
    handles = [writer.write(np.zeros(50)) for _ in range(2)]
    with pytest.raises(LimitError, match=r"2 arrays of 800 bytes in all wait to be fetched; another 400 bytes .* 1000"):
        writer.write(np.zeros(50))
    release_waveform(handles[0], prefix=PREFIX)
    handles.append(writer.write(np.zeros(50)))
    writer.remove_all()
    assert left() == []


def test_one_that_is_too_large_is_refused_on_either_side(monkeypatch: pytest.MonkeyPatch) -> None:
    handle = WaveformWriter(PREFIX).write(np.zeros(100))
    with pytest.raises(TooLargeError, match="800 bytes is above the limit of 799 bytes"):
        open_waveform(handle, limit_bytes=799)
    assert left() == []  # it is removed all the same
    monkeypatch.setattr(waveforms, "MAX_WAVEFORM_BYTES", 799)
    with pytest.raises(TooLargeError, match="800 bytes is above the limit of 799 bytes"):
        WaveformWriter(PREFIX).write(np.zeros(100))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "labwire_test",
        "../etc/passwd_0",
        "/etc/passwd_0",
        f"{PREFIX}_0/../x_0",
        f"{PREFIX}_x",
        f"other_{PREFIX}_0",
        f"{PREFIX}_0\n",
        ".hidden_0",
        f"{PREFIX}_1²",
    ],
)
def test_a_handle_that_names_no_file_of_the_worker_is_refused(name: str) -> None:
    handle = WaveformHandle(name, "<f4", (1,))
    with pytest.raises(ProtocolError, match="is no waveform of"):
        open_waveform(handle, prefix=PREFIX)
    with pytest.raises(ProtocolError, match="is no waveform of"):
        release_waveform(handle, prefix=PREFIX)


@pytest.mark.parametrize(
    ("dtype", "shape", "text"),
    [
        ("<f4", (3,), "has 16 bytes, its handle says 12"),
        ("<f4", (5,), "has 16 bytes, its handle says 20"),
        ("<f4", (-4,), "is no shape"),
        ("<f4", (2**62, 4), "its handle says"),
        ("<f4", (1,) * 17 + (4,), "is no shape"),
        ("O", (2,), "is no type of numbers"),
        ("V8", (2,), "is no type of numbers"),
        ("U4", (1,), "is no type of numbers"),
        ("nonsense", (4,), "is no type of numbers"),
        ("f4,f4", (2,), "is no type of numbers"),
        ("(2,)f4", (2,), "is no type of numbers"),
    ],
)
def test_a_handle_that_does_not_fit_its_file_is_refused_and_the_file_removed(
    dtype: str, shape: tuple[int, ...], text: str
) -> None:
    handle = WaveformWriter(PREFIX).write(np.zeros(4, np.float32))
    with pytest.raises(ProtocolError, match=text):
        open_waveform(WaveformHandle(handle.file, dtype, shape), prefix=PREFIX)
    assert left() == []


@given(st.text(max_size=12), st.lists(st.integers(-(2**70), 2**70), max_size=4))
def test_no_handle_raises_anything_but_our_errors(dtype: str, shape: list[int]) -> None:
    handle = WaveformWriter(PREFIX).write(np.zeros(4, np.float32))
    try:
        open_waveform(WaveformHandle(handle.file, dtype, tuple(shape)), prefix=PREFIX)
    except LabwireError:
        pass
    assert left() == []


def test_a_waveform_is_fetched_once() -> None:
    handle = WaveformWriter(PREFIX).write(np.zeros(4))
    open_waveform(handle)
    with pytest.raises(ResourceError, match="fetched once only"):
        open_waveform(handle)
    release_waveform(handle)  # nothing left to do is no error


def test_what_is_no_plain_file_of_ours_is_refused(tmp_path: Path) -> None:
    for number, make in enumerate((_make_link(tmp_path), os.mkfifo, Path.mkdir)):
        path = SHM / f"{PREFIX}_{number}"
        make(path)
        try:
            with pytest.raises((ProtocolError, ResourceError)):
                open_waveform(WaveformHandle(path.name, "<f4", (0,)), prefix=PREFIX)
        finally:
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink(missing_ok=True)
    assert (tmp_path / "secret").read_text() == "secret"


def _make_link(folder: Path) -> Callable[[Path], None]:
    (folder / "secret").write_text("secret")
    return lambda path: path.symlink_to(folder / "secret")


def test_full_shared_memory_is_an_error_and_leaves_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(waveforms.os, "write", full)
    with pytest.raises(ResourceError, match=r"cannot be written: No space left on device; is /dev/shm full\?"):
        WaveformWriter(PREFIX).write(np.zeros(4))
    monkeypatch.undo()
    assert left() == []


def test_what_a_dead_worker_left_is_removed_and_nothing_else() -> None:
    mine = WaveformWriter(PREFIX)
    handles = [mine.write(np.zeros(2)) for _ in range(3)]
    other = WaveformWriter(f"{PREFIX}_5")
    kept = other.write(np.zeros(2))
    (SHM / f"{PREFIX}_x").touch()
    assert remove_left(PREFIX) == len(handles)
    assert left() == sorted([kept.file, f"{PREFIX}_x"])
    (SHM / f"{PREFIX}_x").unlink()
    release_waveform(kept)
    assert remove_left("") == remove_left(PREFIX) == 0


def test_a_bad_prefix_is_refused() -> None:
    for prefix in ("", "../x", ".x", "a/b", "a b"):
        with pytest.raises(UsageError):
            WaveformWriter(prefix)


def test_a_writer_killed_at_any_moment_leaves_nothing_that_is_not_found(
    seed: int, soak: Callable[[int, int], int]
) -> None:
    generator = random.Random(seed)
    code = (
        "import sys, numpy as np\n"
        "from labwire.instruments.waveforms import WaveformWriter\n"
        f"writer = WaveformWriter({PREFIX!r})\n"
        "array = np.zeros(500_000)\n"
        "while True: print(writer.write(array).file, flush=True)\n"
    )
    for _ in range(soak(3, 200)):
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
            assert process.stdout
            process.stdout.readline()
            for _ in range(generator.randrange(5)):
                process.stdout.readline()
            process.kill()
        assert remove_left(PREFIX) >= 1
        assert left() == []
