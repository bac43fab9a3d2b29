"""What a notebook shows of a session."""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from labwire.errors import LabwireError
from labwire.picture import decode_jpeg, encode_jpeg

if TYPE_CHECKING:
    from labwire.sessions.reading.session_reader import Session

_SHOWN = 50
_THUMBNAILS = 6


def session_html(session: Session) -> str:
    """Return a session as HTML: facts, a line of marks, a picture of each camera, a table of topics."""
    known, overview = session.manifest, session.overview
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(known.start_epoch_us / 1e6))
    checked = f", checked: {overview.checked}" if overview.checked else ", not checked"
    facts = f"{began}, {overview.duration_s:.1f} s, {overview.state}{checked}"
    return "".join(
        [
            f"<div><b>{escape(known.name)}</b> <code>{escape(str(session.path))}</code><br>{escape(facts)}",
            _marks(session),
            _thumbnails(session),
            _table(
                ("topic", "messages", "per second"),
                ([one.topic, str(one.messages), f"{one.messages_hz:.1f}"] for one in overview.topics[:_SHOWN]),
            ),
            f"<i>and {len(overview.topics) - _SHOWN} topics more</i>" if len(overview.topics) > _SHOWN else "",
            "</div>",
        ]
    )


def _marks(session: Session) -> str:
    """Draw the marks on the time axis; the words appear under the mouse."""
    length_s = session.duration_s
    if not session.marks or not length_s:
        return ""
    lines = "".join(
        f'<rect x="{100 * mark.time_s / length_s:.3f}%" width="2" height="16" fill="#c33">'
        f"<title>{mark.time_s:.3f} s: {escape(mark.label)}</title></rect>"
        for mark in session.marks[:1000]
    )
    return (
        f'<svg width="100%" height="16" role="img" aria-label="{len(session.marks)} marks">'
        f'<rect width="100%" height="16" fill="#eee"/>{lines}</svg>'
    )


def _thumbnails(session: Session) -> str:
    shown: list[str] = []
    with contextlib.suppress(LabwireError, OSError):  # no OpenCV, or a picture that is none: the rest is shown
        for topic, pictures in list(session.pictures.items())[:_THUMBNAILS]:
            if not pictures:
                continue
            small = encode_jpeg(decode_jpeg(pictures[len(pictures) // 2].jpeg, reduce=4), 70)
            data = base64.b64encode(small).decode()
            words = f"{escape(topic)}: {len(pictures)} pictures"
            shown.append(
                f'<figure style="display:inline-block;margin:4px"><img alt="{words}" '
                f'src="data:image/jpeg;base64,{data}"><figcaption>{words}</figcaption></figure>'
            )
    return f"<div>{''.join(shown)}</div>" if shown else ""


def _table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
