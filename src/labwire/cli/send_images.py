"""``labwire send``: stream one run of a simulated or replayed detector, and tell what became of its images."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Group, Parameter
from cyclopts.validators import Number

from labwire.cli.connection import JsonFlag
from labwire.cli.failures import without_rig
from labwire.cli.output import remark, write_json, write_line
from labwire.cli.units import duration, size
from labwire.errors import UsageError
from labwire.images.acquisition import Acquisition, RunRequest, Source
from labwire.images.broker_json import BrokerConfig, read_broker_json
from labwire.images.build import make_pusher, make_sides
from labwire.images.compression import Compression
from labwire.images.stream import ImageStream, StreamResult
from labwire.images.stream_config import MessageConfig, PreviewConfig, TcpStreamConfig, ZeroMqStreamConfig
from labwire.images.stream_text import stream_event_text
from labwire.sources.detector_config import (
    MAX_SIDE_PX,
    ImageSourceConfig,
    PixelType,
    ReplayConfig,
    SimulatedDetectorConfig,
)
from labwire.sources.image_sources import image_source_of

_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})", re.IGNORECASE)
_ZEROMQ = "zmq+"
_SHOW_S = 0.25
_PREVIEW_MS = 100
_COUNT = Number(gte=0)
_ABOVE_0 = Number(gt=0)
_DETECTOR = Group("Detector", sort_key=10)
_RUN = Group("Run", sort_key=20)


@Parameter(name="*", group=_DETECTOR)
@dataclass(frozen=True, kw_only=True)
class DetectorOptions:
    """Where the images come from."""

    size: str = "1030x514"
    """Size of simulated images, WIDTHxHEIGHT in pixels."""
    dtype: PixelType = "uint16"
    """Type of a pixel."""
    seed: Annotated[int | None, Parameter(validator=_COUNT)] = None
    """Seed of the simulated detector. Default: another one each time."""
    vary: bool = True
    """Give every simulated image some photons of its own; --no-vary is faster."""
    replay: Path | None = None
    """Send the images of this HDF5 file instead of simulated ones; at its end it begins again."""
    dataset: str | None = None
    """Path of the dataset in that file. Default: the one with the images."""
    compression: Compression = "bslz4"
    """How images are compressed that are not compressed yet."""
    channel: str = "default"
    """Name of the channel: `default` for readers of Jungfraujoch, `threshold_1` for those of DECTRIS."""

    def open(self, stack: ExitStack) -> Source:
        """Open the source; the stack closes it."""
        source = image_source_of(self._wanted(), self.channel)
        stack.callback(source.close)
        return source

    def _wanted(self) -> ImageSourceConfig:
        if self.replay is not None:
            return ReplayConfig(file=str(self.replay), dataset=self.dataset)
        if self.dataset is not None:
            raise UsageError("--dataset is a path in the file that --replay names")
        match = _SIZE.fullmatch(self.size)
        if match is None or not (int(match[1]) and int(match[2])):
            raise UsageError(f"--size is WIDTHxHEIGHT in pixels, such as 1030x514, not {self.size!r}")
        width_px, height_px = int(match[1]), int(match[2])
        if max(width_px, height_px) > MAX_SIDE_PX:
            raise UsageError(f"--size has at most {MAX_SIDE_PX} pixels a side, not {self.size}")
        return SimulatedDetectorConfig(
            width_px=width_px, height_px=height_px, dtype=self.dtype, seed=self.seed, vary=self.vary
        )


@Parameter(name="*", group=_RUN)
@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The run."""

    images: Annotated[int, Parameter(validator=_COUNT)] = 100
    """How many images."""
    rate: Annotated[float | None, Parameter(validator=_ABOVE_0)] = None
    """Images per second. Default: as fast as they are taken."""
    file_prefix: str | None = None
    """Folder and beginning of the names of the files. Without it nothing is stored, only shown."""
    images_per_file: Annotated[int | None, Parameter(validator=_ABOVE_0)] = None
    """Images of each file, and so how they are split between writers. Default: all in one."""
    run_number: Annotated[int | None, Parameter(validator=_COUNT)] = None
    """Number of the run. Default: taken from the clock."""
    run_name: str | None = None
    """Name of the run. Default: its number and prefix."""

    @property
    def request(self) -> RunRequest:
        """The same for the acquisition."""
        return RunRequest(
            run_number=int(time.time()) if self.run_number is None else self.run_number,
            run_name=self.run_name,
            images=self.images,
            file_prefix=self.file_prefix,
            images_per_file=self.images_per_file,
            rate_hz=self.rate,
        )


_ANY_DETECTOR = DetectorOptions()
_ANY_RUN = RunOptions()


def send(
    *,
    config: Path | None = None,
    listen: str | None = None,
    preview: str | None = None,
    wait_writers: Annotated[int | None, Parameter(validator=_COUNT)] = None,
    timeout: Annotated[float, Parameter(validator=_COUNT)] = 60.0,
    self_described: bool = True,
    json: JsonFlag = False,
    run: RunOptions = _ANY_RUN,
    detector: DetectorOptions = _ANY_DETECTOR,
) -> int:
    """Stream one run of a simulated or replayed detector.

    Args:
        config: A broker's JSON file: where to listen, for whom.
        listen: Instead of a file: where to listen for writers, `tcp://127.0.0.1:9100`, or `zmq+tcp://127.0.0.1:9000`
            for ZeroMQ, where nobody confirms what arrived; `*` as port takes a free one.
        preview: Show images at this address as well, ten each second: `tcp://127.0.0.1:5400`.
        wait_writers: Wait for so many writers before the run starts. Default: 1; with ZeroMQ one for each socket.
        timeout: How many seconds to wait for them.
        self_described: Begin each message with CBOR's tag 55799.
        json: Print the result as JSON.
        run: The run.
        detector: Where the images come from.
    """
    broker = _broker(config, listen)
    if preview is not None:
        broker = msgspec.structs.replace(broker, preview=PreviewConfig(address=preview, period_ms=_PREVIEW_MS))
    for key in broker.ignored:
        remark(f"not understood, and ignored: {key}")
    messages = MessageConfig(self_described=self_described, channel=detector.channel, compression=detector.compression)
    with ExitStack() as stack:
        stack.enter_context(without_rig())
        source = detector.open(stack)
        stream = _stream(stack, broker, self_described=self_described)
        acquisition = Acquisition(source, stream, run.request, messages)
        if run.file_prefix:
            stream.pusher.wait_for_writers(wait_writers, timeout)
        try:
            with _progress(stream, quiet=json) as show:
                result = acquisition.run(show)
        except KeyboardInterrupt:
            if stream.last_result is not None:
                _tell(stream.last_result, as_json=json)
            raise
    _tell(result, as_json=json)
    error = result.error()
    return error.codes.exit_code if error else 0


def _broker(config: Path | None, listen: str | None) -> BrokerConfig:
    if (config is None) == (listen is None):
        raise UsageError(
            "where to listen for writers? One of --config broker.json, with tcp_settings or zeromq_settings, and "
            "--listen tcp://127.0.0.1:9100"
        )
    if config is not None:
        return read_broker_json(config)
    address = listen or ""
    if address.startswith(_ZEROMQ):
        return BrokerConfig(pusher=ZeroMqStreamConfig(image_socket=(address.removeprefix(_ZEROMQ),)))
    return BrokerConfig(pusher=TcpStreamConfig(address=address))


def _stream(stack: ExitStack, broker: BrokerConfig, *, self_described: bool) -> ImageStream:
    def on_event(kind: str, data: dict[str, Any]) -> None:
        remark(stream_event_text(kind, data))

    pusher = make_pusher(broker.pusher, on_event)
    stack.callback(pusher.close)
    preview, metadata = make_sides(broker.preview, broker.metadata)
    stream = ImageStream(pusher, preview=preview, metadata=metadata, self_described=self_described)
    stack.callback(stream.close)
    if pusher.addresses:
        remark(f"images at {', '.join(pusher.addresses)}")
    if preview is not None:
        remark(f"preview at {preview.address}")
    if metadata is not None:
        remark(f"metadata at {metadata.address}")
    return stream


@contextmanager
def _progress(stream: ImageStream, *, quiet: bool) -> Generator[Callable[[int], None]]:
    """Show a line on a terminal; gives what is to be called after each image."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    due_s = 0.0

    def show(_: int) -> None:
        nonlocal due_s
        now_s = time.monotonic()
        if now_s >= due_s:
            due_s = now_s + _SHOW_S
            sys.stderr.write(f"\r\x1b[K{_line_of(stream)}")
            sys.stderr.flush()

    try:
        yield show
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def _line_of(stream: ImageStream) -> str:
    now = stream.progress()
    if now is None:
        return ""
    elapsed_s = max(now.elapsed_s, 1e-6)
    text = f"{now.done_images}/{now.total_images} images, {now.done_images / elapsed_s:.0f}/s, "
    text += f"{size(now.image_bytes / elapsed_s)}/s, {now.acknowledged} acknowledged"
    return text + "".join(f", {count} {word}" for word, count in _troubles(now.failed, now.dropped) if count)


def _troubles(failed: int, dropped: int) -> list[tuple[str, int]]:
    return [("failed", failed), ("dropped", dropped)]


def _tell(result: StreamResult, *, as_json: bool) -> None:
    if as_json:
        write_json(result.summary())
        return
    seconds = max(result.duration_s, 1e-9)
    of = f"{result.images - result.dropped} of " if result.dropped else ""
    parts = [f"run {result.run_number}: {of}{result.images} images in {duration(result.duration_s)}"]
    if not result.dropped:
        parts.append(f"{result.images / seconds:.0f}/s, {size(result.image_bytes / seconds)}/s")
    if not result.streamed:
        parts.append("no file_prefix: nothing was streamed or stored")
    elif result.confirmed:
        parts.append(f"{result.acknowledged} acknowledged")
    else:
        parts.append(f"{result.sent} sent, nobody confirms them")
    if result.cancelled:
        parts.append("cancelled")
    dropped = 0 if result.missing else result.dropped  # what was never sent is missing as well, where writers tell
    parts += [f"{count} {word}" for word, count in _troubles(result.failed, dropped) if count]
    if result.missing:
        parts.append(f"{result.missing} missing" + (f", {result.dropped} of them never sent" if result.dropped else ""))
    write_line("; ".join(parts))
    if error := result.error():
        remark(f"error: {error.message}")
