"""What START says of a run, checked: which images belong into which file, and what the files are called."""

from __future__ import annotations

from typing import Final

import msgspec

from labwire.errors import TooLargeError
from labwire.images.config import MAX_IMAGES
from labwire.images.output_folder import check_prefix
from labwire.wire.image_message import StartMessage
from labwire.wire.image_user_data import UserData, read_user_data

MAX_FILES: Final = 100_000
"""Most data files of a run: the master file names each of them."""
MAX_PIXELS: Final = 1 << 30
"""Most pixels of an image."""
MAX_SPOTS: Final = 65_536
USUAL_SPOTS: Final = 256
"""Room for the spots of an image where START does not say how many there can be."""


class RunPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A run, as a writer sees it."""

    run_number: int
    run_name: str
    socket_number: int
    write_master: bool
    start: StartMessage
    """Without its arrays' bytes in use after the master file is begun."""
    user_data: UserData
    folders: tuple[str, ...]
    prefix: str
    """What the files' names begin with."""
    announced: int
    """Images of the whole run; 0: not known."""
    images_per_file: int
    overwrite: bool
    spots: int
    """Room for the spots of an image."""

    @property
    def file_count(self) -> int:
        """Data files of the whole run, of all sockets."""
        return max(1, -(-self.announced // self.images_per_file))

    @property
    def master_name(self) -> str:
        """Name of the master file."""
        return f"{self.prefix}_master.h5"

    def data_name(self, file_index: int) -> str:
        """Return the name of a data file; `file_index` counts from 0, the name from 1."""
        return f"{self.prefix}_data_{file_index + 1:06d}.h5"

    def images_in(self, file_index: int) -> int:
        """Return how many images belong into a file."""
        if not self.announced:
            return self.images_per_file
        return max(0, min(self.images_per_file, self.announced - file_index * self.images_per_file))


def plan_run(
    start: StartMessage,
    *,
    socket_number: int | None = None,
    overwrite: bool | None = None,
    max_images: int = MAX_IMAGES,
) -> RunPlan:
    """Read what START says.

    A sender that names no ``file_prefix`` gets ``run_<number>``.

    Args:
        start: The message.
        socket_number: What the TCP frame's header says; the message wins.
        overwrite: What the writer says; None: as the message says.
        max_images: Most images of a run.

    Raises:
        InvalidNameError: ``file_prefix`` leads out of the output folder, or cannot be a file's name.
        TooLargeError: More images or more files than a run may have, or images without pixels or with too many.
    """
    user = read_user_data(start)
    socket = user.socket_number if user.socket_number is not None else socket_number or 0
    *folders, prefix = check_prefix(user.file_prefix or f"run_{start.series_id:06d}")
    if not 0 < start.image_size_x * start.image_size_y <= MAX_PIXELS:
        raise TooLargeError(
            f"run {start.series_id} has images of {start.image_size_x} x {start.image_size_y} pixels: "
            f"at least one, at most {MAX_PIXELS}"
        )
    if start.number_of_images > max_images:
        raise TooLargeError(f"run {start.series_id} announces {start.number_of_images} images: at most {max_images}")
    images_per_file = min(user.images_per_file or max_images, start.number_of_images or max_images)
    plan = RunPlan(
        run_number=start.series_id,
        run_name=str(start.series_unique_id),  # a date is a text of another class
        socket_number=socket,
        write_master=socket == 0 if user.write_master_file is None else user.write_master_file,
        start=start,
        user_data=user,
        folders=tuple(folders),
        prefix=prefix,
        announced=start.number_of_images,
        images_per_file=images_per_file,
        overwrite=bool(user.overwrite) if overwrite is None else overwrite,
        spots=min(start.max_spot_count or USUAL_SPOTS, MAX_SPOTS),
    )
    if plan.file_count > MAX_FILES:
        raise TooLargeError(
            f"run {plan.run_number} would have {plan.file_count} data files ({plan.announced} images, "
            f"{images_per_file} in each): at most {MAX_FILES}; raise images_per_file"
        )
    return plan
