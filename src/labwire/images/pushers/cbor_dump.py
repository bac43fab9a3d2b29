"""Each message of a run as a file of its own, byte for byte as it would have been sent; and how to read them back.

Source: image-stream, "Image stream replacement".
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from labwire.errors import ConfigError, DeviceError
from labwire.images.output_folder import check_prefix
from labwire.images.pusher import OnEvent, OutgoingImage, StreamRun
from labwire.images.pushers.local_pusher import LocalPusher
from labwire.images.stream_config import CborDumpConfig
from labwire.wire.cbor_values import Buffer
from labwire.wire.image_codec import decode_message
from labwire.wire.image_message import CalibrationMessage, EndMessage, Message
from labwire.wire.image_user_data import read_user_data

SUFFIX: Final = ".cbor"
_START, _CALIBRATION, _IMAGE, _END = "start", "calibration", "image", "end"
_ORDER: Final = (_START, _CALIBRATION, _IMAGE, _END)


class CborDumpPusher(LocalPusher):
    """Writes ``<prefix>_start.cbor``, ``<prefix>_image_000000000.cbor``, ..., ``<prefix>_end.cbor``.

    Args:
        config: Where to.
        on_event: Told ``image_failed``.
    """

    def __init__(self, config: CborDumpConfig, on_event: OnEvent | None = None) -> None:
        super().__init__(Path(config.folder), on_event)
        self._stem = self._folder

    def _begin(self, run: StreamRun) -> None:
        parts = check_prefix(read_user_data(run.start).file_prefix or f"run_{run.run_number:06d}")
        self._stem = self._folder.joinpath(*parts)
        self._stem.parent.mkdir(parents=True, exist_ok=True)
        self._write(_START, run.encode_start(0))

    def _store_calibration(self, run: StreamRun, message: CalibrationMessage) -> None:
        self._write(_CALIBRATION, run.encode(message))

    def _store(self, run: StreamRun, image: OutgoingImage) -> None:
        self._write(f"{_IMAGE}_{image.message.image_id:09d}", image.pieces)

    def _finish(self, run: StreamRun, message: EndMessage) -> None:
        self._write(_END, run.encode(message))

    def _discard(self, run: StreamRun) -> None:
        pass  # a dump without END is one of a run that was cut off

    def _write(self, name: str, pieces: Sequence[Buffer]) -> None:
        path = self._stem.with_name(f"{self._stem.name}_{name}{SUFFIX}")
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            with os.fdopen(fd, "wb", buffering=0) as file:
                left: list[memoryview] = [memoryview(piece) for piece in pieces]
                while left:
                    written = os.writev(file.fileno(), left[:_MAX_PIECES])
                    left = _rest(left, written)
        except OSError:
            with contextlib.suppress(OSError):
                path.unlink()
            raise


_MAX_PIECES: Final = 512


def _rest(pieces: list[memoryview], written: int) -> list[memoryview]:
    for index, piece in enumerate(pieces):
        if written < len(piece):
            return [piece[written:], *pieces[index + 1 :]]
        written -= len(piece)
    return []


def read_dump(folder: Path, file_prefix: str) -> Iterator[Message]:
    """Read the messages of a run that was dumped, in the order in which they were sent.

    Args:
        folder: Output folder of the dump.
        file_prefix: Of the run.

    Raises:
        DeviceError: A file cannot be read.
        ConfigError: There is no such run.
        ProtocolError: A file is no image message.
    """
    stem = folder.joinpath(*check_prefix(file_prefix))
    found: list[tuple[int, str, Path]] = []
    for path in stem.parent.glob("*" + SUFFIX):
        name = path.name.removesuffix(SUFFIX)
        if not name.startswith(stem.name + "_"):
            continue
        kind, _, number = name[len(stem.name) + 1 :].partition("_")
        if kind in _ORDER:
            found.append((_ORDER.index(kind), number, path))
    if not found:
        raise ConfigError(f"there is no dump of a run {file_prefix!r} in {folder}")
    for _, _, path in sorted(found):
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DeviceError(f"cannot read {path}: {error.strerror}") from error
        yield decode_message(data)
