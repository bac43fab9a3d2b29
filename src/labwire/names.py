"""The grammar of names: topics, subjects, actor and instrument names, session names.

Names that reach the file system or shared memory are checked here, once, and never just joined to a path.
"""

from __future__ import annotations

import re
from typing import NewType

from labwire.errors import InvalidNameError

Topic = NewType("Topic", str)
Subject = NewType("Subject", str)
ActorName = NewType("ActorName", str)
SessionName = NewType("SessionName", str)

MAX_NAME_CHARS = 64
MAX_TOPIC_BYTES = 255
MAX_SESSION_CHARS = 128
MAX_SESSION_PART_BYTES = 255  # NAME_MAX of every common file system

NOTIFY = "notify."
DELAYED = "delayed_notify."
LOGGING = "logging."
FRAME = "frame."
INSTRUMENT = "instrument."

_ACTOR = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Refused in session names on every system, so that a recording can be copied to any other.
_NOT_IN_FILE_NAMES = re.compile(r'[\\:*?"<>|]')
_WINDOWS_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


def check_actor_name(name: str) -> ActorName:
    """Check the name of an actor, instrument, camera or other part of a rig.

    Letters, digits, ``_`` and ``-``, starting with a letter or digit, at most 64 characters: safe in topics, file names
    and shared-memory names.

    Raises:
        InvalidNameError: The name breaks this grammar.
    """
    if len(name) > MAX_NAME_CHARS or not _ACTOR.fullmatch(name):
        raise InvalidNameError(
            f"{name[:80]!r} is not a name: use letters, digits, '_' and '-', starting with a letter or digit, "
            f"at most {MAX_NAME_CHARS} characters",
            name=name[:80],
        )
    return ActorName(name)


def check_topic(topic: str) -> Topic:
    """Check a topic that labwire is about to emit: not empty, no control characters, at most 255 UTF-8 bytes.

    Foreign topics are forwarded as they are and never pass here.

    Raises:
        InvalidNameError: The topic breaks this grammar.
    """
    if not topic or len(topic.encode("utf-8", "surrogatepass")) > MAX_TOPIC_BYTES or _CONTROL.search(topic):
        raise InvalidNameError(
            f"{topic[:80]!r} is not a topic: it must have 1 to {MAX_TOPIC_BYTES} bytes and no control characters",
            topic=topic[:80],
        )
    return Topic(topic)


def check_subject(subject: str) -> Subject:
    """Check the subject of a notification; the same grammar as a topic.

    Raises:
        InvalidNameError: The subject breaks this grammar.
    """
    return Subject(check_topic(subject))


def check_session_name(name: str) -> SessionName:
    """Check the name of a session: parts separated by ``/``, spaces allowed, never outside the recordings' root.

    The empty name is allowed; it stands for today's date.

    Raises:
        InvalidNameError: The name is absolute, has ``.``/``..`` or empty parts, control characters, or characters that
            no file system on every system takes.
    """
    if not name:
        return SessionName("")
    if len(name) > MAX_SESSION_CHARS or _CONTROL.search(name) or _NOT_IN_FILE_NAMES.search(name):
        raise InvalidNameError(
            f"{name[:80]!r} is not a session name: at most {MAX_SESSION_CHARS} characters, "
            'no control characters and none of \\ : * ? " < > |',
            name=name[:80],
        )
    for part in name.split("/"):
        if (
            not part.strip()
            or part != part.strip()
            or part.startswith(".")
            or part.endswith(".")
            or _WINDOWS_DEVICES.fullmatch(part)
            or len(part.encode("utf-8", "replace")) > MAX_SESSION_PART_BYTES
        ):
            raise InvalidNameError(
                f"{name[:80]!r} is not a session name: {part[:40]!r} cannot be a folder inside the recordings' root",
                name=name[:80],
            )
    return SessionName(name)
