"""Beside a file under way: what is needed to finish it if its writer is killed.

HDF5 keeps in memory where the images of a file are, until the file is flushed. So each image that was stored leaves a
record here before it is acknowledged: all of its message but the pixels, and where in the file these are. What a
process has written stays with the system when the process is killed, whatever HDF5 had still in mind.

A record is the size of its body and the CRC-32 of it, both 32 bits, little-endian; then the body in MessagePack. The
first body is the run's plan, each other one an image. A torn record ends the journal.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias, cast

import msgspec

from labwire.errors import ProtocolError
from labwire.file_lock import try_lock
from labwire.images.config import MasterFormat
from labwire.images.output_folder import FileFailedError, OutputFolder
from labwire.images.run_plan import RunPlan
from labwire.wire.cbor_values import Buffer, Date
from labwire.wire.image_array import ITEM_BYTES, Array, flat_view
from labwire.wire.image_message import ImageMessage
from labwire.wire.image_user_data import UserData

SUFFIX: Final = ".journal"
_VERSION: Final = 1
_HEAD = struct.Struct("<II")
_MAX_ARRAY_BYTES: Final = 1 << 20
"""Of arrays besides the pixels, such as an azimuthal profile."""
_MAX_BODY_BYTES: Final = 64 << 20
_CANNOT_ENCODE = (TypeError, ValueError, OverflowError, RecursionError)


class Stored(NamedTuple):
    """Pixels of one channel in the file."""

    array: Array
    """As they are there."""
    offset: int
    """Of their first byte, from the beginning of the file."""


class _First(msgspec.Struct, frozen=True, array_like=True):
    version: int
    plan: RunPlan
    format: MasterFormat


class _Image(msgspec.Struct, frozen=True, array_like=True):
    place: int
    message: ImageMessage


_Shape: TypeAlias = tuple[tuple[int, ...], str, str, int, bool]
"""Shape, type of element, compression, size of the elements whose bits were shuffled, columns first."""


class Journal:
    """The journal of one file under way; locked till it is closed, which the end of the process does as well.

    Args:
        folder: Where.
        temporary: Name of the file under way.
        plan: The run.
        master_format: What the run's master file is to be.

    Raises:
        FileFailedError: It cannot be written.
    """

    def __init__(
        self, folder: OutputFolder, temporary: str, plan: RunPlan, master_format: MasterFormat = "NXmxOnlyData"
    ) -> None:
        self._folder = folder
        self._name = temporary + SUFFIX
        self._fd = self._create()
        self._stored: Mapping[int, Stored] = {}
        self._encode = msgspec.msgpack.Encoder(enc_hook=self._described).encode
        try:
            self._write(self._encoded_plan(plan, master_format))
        except BaseException:
            self.remove()
            raise

    def _create(self) -> int:
        while True:
            fd = self._folder.create(self._name)
            try_lock(fd, wait=True)  # who only looks whether it is locked holds it for a moment
            if os.fstat(fd).st_nlink:
                return fd
            os.close(fd)  # a repair found it, before it was locked, and removed it as one that was only begun

    def _encoded_plan(self, plan: RunPlan, master_format: MasterFormat) -> bytes:
        # What a foreign START has in user_data can be of any type.
        bare = UserData(images_per_file=plan.user_data.images_per_file)
        return self._encoded(_First(_VERSION, plan, master_format)) or self._encode(
            _First(_VERSION, msgspec.structs.replace(plan, user_data=bare), master_format)
        )

    def _encoded(self, body: _First | _Image) -> bytes | None:
        try:
            encoded = self._encode(body)
        except _CANNOT_ENCODE:
            return None
        return encoded if len(encoded) <= _MAX_BODY_BYTES else None

    def note(self, place: int, message: ImageMessage, stored: Mapping[str, Stored]) -> None:
        """Note an image whose pixels are in the file.

        Args:
            place: In the file.
            message: The image.
            stored: Where each channel of it is.

        Raises:
            FileFailedError: The disk does not take it.
        """
        self._stored = {id(array): stored[channel] for channel, array in message.data.items()}
        try:
            body = self._encoded(_Image(place, message))
            if body is None:  # values that no file has a place for either
                body = self._encode(_Image(place, ImageMessage(image_id=message.image_id, data=message.data)))
        finally:
            self._stored = {}
        self._write(body)

    def _described(self, value: Any) -> Any:
        if isinstance(value, Date):
            return str(value)
        if not isinstance(value, Array):
            raise TypeError(f"no place in a journal for {type(value).__name__}")
        stored = self._stored.get(id(value))
        array = stored.array if stored else value
        size = len(array.data)
        about = (array.shape, array.dtype, array.compression, array.elem_size, array.column_major)
        if stored:
            return about, stored.offset, size
        if size > _MAX_ARRAY_BYTES:
            raise TypeError(f"no place in a journal for {size} bytes")
        return about, bytes(array.data)

    def _write(self, body: bytes) -> None:
        data = _HEAD.pack(len(body), zlib.crc32(body)) + body
        try:
            while data := data[os.write(self._fd, data) :]:  # as far as the disk has room: then it says so
                pass
        except OSError as error:
            raise FileFailedError(error.errno, str(self._folder.path / self._name), "write the journal") from error

    def remove(self) -> None:
        """Remove the file, which is of no further use; never raises."""
        self._folder.remove(self._name)
        self.close()

    def close(self) -> None:
        """Let the file and its lock go, and leave it there; safe to call twice."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


# --- reading


class JournalReader:
    """What a journal says.

    Args:
        journal: Its bytes.
        pixels: Bytes of the file under way.

    Raises:
        ProtocolError: It is none, or of another version.
    """

    def __init__(self, journal: Buffer, pixels: Buffer) -> None:
        self._journal = flat_view(journal)
        self._pixels = flat_view(pixels)
        self._at = 0
        body = self._next()
        try:
            if body is None:
                raise msgspec.DecodeError("it is empty")
            first = msgspec.msgpack.Decoder(_First, dec_hook=self._restored).decode(body)
        except (msgspec.DecodeError, *_CANNOT_ENCODE) as error:
            raise ProtocolError(f"not a journal of images: {error}") from error
        if first.version != _VERSION:
            raise ProtocolError(f"a journal of version {first.version}, and this one reads {_VERSION}")
        self.plan = first.plan
        self.master_format: MasterFormat = first.format

    def images(self) -> Iterator[tuple[int, ImageMessage] | None]:
        """Yield each image and its place in the file; None: its pixels are not there."""
        decode = msgspec.msgpack.Decoder(_Image, dec_hook=self._restored).decode
        while (body := self._next()) is not None:
            try:
                image = decode(body)
            except (msgspec.DecodeError, *_CANNOT_ENCODE):
                yield None
            else:
                yield image.place, image.message

    def _next(self) -> Buffer | None:
        begin = self._at + _HEAD.size
        if begin > len(self._journal):
            return None
        size, checksum = _HEAD.unpack_from(self._journal, self._at)
        body = self._journal[begin : begin + size]
        if size > _MAX_BODY_BYTES or len(body) != size or zlib.crc32(body) != checksum:
            return None
        self._at = begin + size
        return body

    def _restored(self, kind: type[Any], value: Any) -> Any:
        if kind is Date:
            return Date(value)
        if kind is not Array:
            raise TypeError(f"a journal has no {kind.__name__}")
        about, *where = cast("list[Any]", value)
        shape, dtype, compression, elem_size, column_major = msgspec.convert(about, _Shape)
        if dtype not in ITEM_BYTES:
            raise TypeError(f"{dtype!r} is no type of element")
        data = where[0]
        if len(where) != 2:
            data = msgspec.convert(data, bytes)
        else:
            offset, size = msgspec.convert(where, tuple[int, int])
            data = self._pixels[offset : offset + size]
            if offset < 0 or len(data) != size:
                raise ValueError("its pixels are not in the file")
        return Array(shape, dtype, data, compression, elem_size, column_major=column_major)
