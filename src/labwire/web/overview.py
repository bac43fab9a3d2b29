"""How the rig is, for machines: ``/health``, ``/ready``, ``/metrics``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labwire.client.rig import Rig
from labwire.errors import LabwireError
from labwire.operations.actors import Actors, ActorStatus
from labwire.operations.instruments import Instruments
from labwire.web.answer import Answer, answer
from labwire.web.feed import Feed
from labwire.web.live import Live
from labwire.web.metrics import Figures, metrics_text

_ASK_S = 2.0
_FINE = frozenset({"running", "remote", "stopped"})


class Overview:
    """Asks the rig how it is.

    Args:
        rig: The rig.
        feed: The bus.
        live: Counts what browsers were sent.
        parts: Names of the cameras, detectors and writers in the rig file, by kind.
        instruments: Whether the rig has instruments.
    """

    def __init__(
        self, rig: Rig, feed: Feed, live: Live, *, parts: Mapping[str, Sequence[str]], instruments: bool
    ) -> None:
        self._rig, self._feed, self._live = rig, feed, live
        self._parts, self._has_instruments = parts, instruments

    def health(self) -> Answer:
        """Say that the web server works."""
        return answer({"status": "ok"}, Cache_Control="no-store")

    def ready(self) -> Answer:
        """Say whether the rig works: it answers, the bus is there, and no actor is down that nobody has stopped."""
        actors = self._actors()
        down = {actor.name: actor.last_error or actor.state for actor in actors or () if actor.state not in _FINE}
        problems = [*([] if self._feed.connected else ["the bus is not there"])]
        if actors is None:
            problems.append("the rig does not answer")
        problems += [f"{name}: {why}" for name, why in down.items()]
        status = {"ready": not problems, "problems": problems}
        return answer(status, 503 if problems else 200, Cache_Control="no-store")

    def metrics(self) -> Answer:
        """Return the rig in the text format of Prometheus."""
        actors = self._actors()
        figures = Figures(
            kept={topic: item.payload for topic, item in self._feed.kept.copy().items()},
            actors=actors or (),
            instruments=self._instruments(),
            parts=self._parts,
            up=actors is not None,
            browsers=self._feed.browsers,
            live_frames=self._live.sent_frames,
            live_bytes=self._live.sent_bytes,
            live_dropped=self._live.dropped + self._feed.dropped,
        )
        text, kind = metrics_text(figures)
        return Answer(200, text, kind, {"Cache-Control": "no-store"})

    def _actors(self) -> list[ActorStatus] | None:
        try:
            return self._rig.service(Actors, timeout_s=_ASK_S).list()
        except LabwireError:
            return None

    def _instruments(self) -> Sequence[Any]:
        if not self._has_instruments:
            return ()
        try:
            return self._rig.service(Instruments, timeout_s=_ASK_S).list()
        except LabwireError:
            return ()
