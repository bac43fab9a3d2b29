"""How long the two sides of the TCP image stream wait for each other. All in seconds."""

from __future__ import annotations

import msgspec


class SenderTimeouts(msgspec.Struct, frozen=True, kw_only=True):
    """How long a sender waits for a writer, in seconds."""

    start_ack_s: float = 5.0
    """image-stream, "ACK handling"; counted from when the socket has taken START."""
    end_ack_s: float = 10.0
    """image-stream, "ACK handling"; counted from when the writer has got END and answered all images."""
    cancel_ack_s: float = 0.5
    """image-stream, "ACK handling"."""
    keepalive_s: float = 5.0
    """Between two KEEPALIVEs while there is no run: image-stream, "Keepalive"."""
    missed_keepalives: int = 3
    """So many without an answer, and the peer is dead."""
    peer_liveness_s: float = 10.0
    """In a run, while something waits for the peer: neither a byte from it nor one taken by it for so long, and it is
    dead (``peer_liveness_timeout_ms``)."""
    max_backpressure_s: float = 60.0
    """In a run, while something waits for the peer: no image acknowledged and no byte taken for so long, and it is
    given up although it lives (``max_backpressure_timeout_ms``)."""


class WriterTimeouts(msgspec.Struct, frozen=True, kw_only=True):
    """The times of a writer, in seconds."""

    busy_keepalive_s: float | None = 2.0
    """While a run waits for this writer, it sends a KEEPALIVE after so long a silence, so that a slow disk is not taken
    for a dead writer. None: never."""
    silence_s: float | None = 30.0
    """Without a run: nothing from the sender for so long, and it is dead; it sends a KEEPALIVE about every 5 s. None:
    wait for ever."""


SENDER_TIMEOUTS = SenderTimeouts()
WRITER_TIMEOUTS = WriterTimeouts()
