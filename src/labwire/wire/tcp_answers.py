"""What a writer owes its detector in a run: the images that wait for an answer."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat

from labwire.errors import UsageError
from labwire.wire.tcp_frame import AckCode


class AnswerBook:
    """The books of one run at the writer."""

    def __init__(self) -> None:
        self.processed_images = 0
        """Images that were acknowledged as good."""
        self.failure: tuple[AckCode, str] | None = None
        """Why the run was given up, if it was."""
        self.refused_images = 0
        """Images that were answered with this failure."""
        self.waiting_count = 0
        self._waiting: dict[int, int] = {}  # how often: a foreign sender may use a number twice

    def note_received(self, image_number: int) -> None:
        """Note that an image was handed over."""
        self._waiting[image_number] = self._waiting.get(image_number, 0) + 1
        self.waiting_count += 1

    def note_answered(self, image_number: int) -> None:
        """Note that an image is answered.

        Raises:
            UsageError: No such image waits.
        """
        count = self._waiting.pop(image_number, 0)
        if not count:
            raise UsageError(f"image {image_number} does not wait for an answer")
        if count > 1:
            self._waiting[image_number] = count - 1
        self.waiting_count -= 1

    def give_up(self, code: AckCode, text: str) -> Iterator[int]:
        """Give the run up, and return the numbers of the images that wait; they do so no longer."""
        self.failure = (code, text)
        self.refused_images = self.waiting_count
        waiting = self._waiting
        self.forget()
        return (number for number, count in waiting.items() for number in repeat(number, count))

    def forget(self) -> None:
        """Note that nobody waits for answers any more."""
        self._waiting = {}
        self.waiting_count = 0


def check_bad(code: AckCode) -> None:
    """Refuse an answer that says no and not why.

    Raises:
        UsageError: The code says that all is well.
    """
    if code == AckCode.NONE:
        raise UsageError("an answer that says no needs a code that says why")
