"""The pictures of a video that Pupil Player opens, from one on, as JPEG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from labwire.errors import needs_extra
from labwire.picture import encode_jpeg

_TRIES = 4


class VideoPicture(NamedTuple):
    """One picture of a video."""

    number: int
    """From 0, in the order in which they are shown: that of the timestamps beside the video."""
    jpeg: bytes
    width: int
    height: int


def pictures_from(path: Path, first: int) -> Iterator[VideoPicture]:
    """Yield the pictures of a video from one on: a motion JPEG's as they are, others decoded and encoded.

    What lies before the key frame that `first` needs is neither decoded nor read.

    Args:
        path: The video.
        first: Number of the first picture to yield.

    Raises:
        MissingExtraError: PyAV is not installed.
    """
    with needs_extra("record"):
        import av
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets, number = _seek(container, stream, first)
        pictures = _as_they_are if stream.codec_context.name == "mjpeg" else _decoded
        yield from (picture for picture in pictures(packets, number, stream) if picture.number >= first)


def _seek(container: Any, stream: Any, first: int) -> tuple[Iterator[Any], int]:
    """Go to the last key frame from which `first` can be decoded; return the packets from there, and its place.

    The place is that in the file. Pictures that are shown before a key frame may lie behind it there, so one key frame
    further back is taken.
    """
    entries: Sequence[Any] = getattr(stream, "index_entries", ())  # an older PyAV does not tell: all is decoded
    keys = [place for place, entry in enumerate(entries) if entry.is_keyframe and place < first]
    places = {entries[place].timestamp: place for place in keys}
    for key in keys[-2 : -2 - _TRIES : -1]:
        container.seek(entries[key].timestamp, stream=stream, backward=True)
        packets = container.demux(stream)
        packet = next(packets, None)
        # Where that was, the packet tells: containers seek by the time of display, or by that of decoding.
        if packet is not None and packet.is_keyframe and (place := places.get(packet.dts)) is not None:
            return _with_first(packet, packets), place
    if len(keys) > 1:
        container.seek(0, stream=stream)
    return container.demux(stream), 0


def _with_first(packet: Any, packets: Iterator[Any]) -> Iterator[Any]:
    yield packet
    yield from packets


def _as_they_are(packets: Iterator[Any], number: int, stream: Any) -> Iterator[VideoPicture]:
    for packet in packets:
        if packet.size:
            yield VideoPicture(number, bytes(packet), stream.codec_context.width, stream.codec_context.height)
            number += 1


def _decoded(packets: Iterator[Any], number: int, _stream: Any) -> Iterator[VideoPicture]:
    """Decode from a key frame on.

    Pictures that lie behind it in the file and are shown before it need one that was not read. They are left out, and
    counted: the key frame's number is its place in the file and as many more.
    """
    begin_pts: int | None = None
    for packet in packets:
        if begin_pts is None:
            begin_pts = packet.pts
        number += packet.pts is not None and begin_pts is not None and packet.pts < begin_pts
        for frame in packet.decode():
            if frame.pts is None or begin_pts is None or frame.pts >= begin_pts:
                yield VideoPicture(number, encode_jpeg(frame.to_ndarray(format="bgr24")), frame.width, frame.height)
                number += 1
