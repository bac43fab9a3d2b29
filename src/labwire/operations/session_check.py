"""What a check of a session finds, and what is removed by a rule."""

from __future__ import annotations

import msgspec


class FileCheck(msgspec.Struct, frozen=True):
    """One file of a session."""

    name: str
    """Path relative to the session's folder."""
    kind: str
    """``log``, ``data``, ``video``, ``images``, ``lines``, ``info``, or ``other``, which is not looked into."""
    size_bytes: int
    items: int | None = None
    """Messages, data, pictures, images or lines in it; None where there is nothing to count."""
    ok: bool = True
    note: str = ""
    """What is wrong with it, or why it was not looked into."""


class NumberedTopic(msgspec.Struct, frozen=True):
    """A topic whose emitter, or whose camera, numbers its messages, recounted."""

    emitter: str
    topic: str
    messages: int
    first: int
    last: int
    missing: int
    restarts: int
    """How often the emitter began to count anew."""


class Gap(msgspec.Struct, frozen=True):
    """Numbered messages that are not there."""

    emitter: str
    """Empty for pictures, which are numbered by their camera."""
    topic: str
    first: int
    """Number of the first that is missing."""
    last: int
    messages: int
    from_s: float
    """When the message before them came, in seconds since the start of the session."""
    to_s: float
    """When the message behind them came."""


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What a session was found to be. A reader must ignore keys that it does not know."""

    path: str
    state: str
    """As in ``session.json``; ``broken`` if it was cut off."""
    whole: bool
    """Every file opens, and holds as much as was counted while it was recorded."""
    lossless: bool
    """Nothing is known to be missing: no gap in the numbers, nothing dropped, a picture for each that was announced,
    every stream to the end, and no place where numbers break off or begin anew and nobody knows what came there."""
    verdict: str = ""
    """The same in a sentence, with what is not numbered and so not known."""
    messages: int
    """Messages in the log."""
    pictures: int
    """Pictures in the videos."""
    images: int = 0
    """Images of detectors in the files that the session's runs name."""
    images_missing: int = 0
    """Images that did not reach a writer, or could not be stored."""
    pictures_missing: int = 0
    """Pictures that are missing by the ``index`` of their camera."""
    missing: int
    """Numbered messages that are not there."""
    missing_before: int = 0
    """Numbered messages known to have come after the session before this one, if it goes on from one, and before its
    start."""
    dropped: int
    """Messages and pictures that the recorder came to know and could not store."""
    problems: list[str] = []
    """What is wrong, one sentence each."""
    remarks: list[str] = []
    """What happened while it recorded, one sentence each: parts that died or stood still may have sent less for it,
    and no number tells."""
    files: list[FileCheck] = []
    gaps: list[Gap] = []
    """The first 10,000 of them, in the order of the session; those of pictures behind those of messages."""
    numbered: list[NumberedTopic] = []
    indexed: list[NumberedTopic] = []
    """Topics of pictures, by the ``index`` of their camera; ``emitter`` is empty."""
    not_observable: dict[str, int] = {}
    """Topics whose messages carry no number, so that a loss before the recorder would not be seen; with their count."""
    checked_epoch_us: int = 0
    labwire: str = ""
    """Version that looked."""


class Pruned(msgspec.Struct, frozen=True):
    """What a rule says about one session."""

    name: str
    path: str
    size_bytes: int
    start_epoch_us: int
    removed: bool
    why: str
