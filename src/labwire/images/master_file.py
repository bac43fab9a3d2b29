"""The master file of a run: what is known of it, and links to the data files of all sockets."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from labwire.images.config import MasterFormat
from labwire.images.data_file import DATA, ChannelShape, ColumnShape, FinishedFile, repaired_name
from labwire.images.disk_file import Ballast, DiskFile
from labwire.images.hdf5_tree import Node, group, is_link_name, load_h5py
from labwire.images.journal import Journal
from labwire.images.nexus import write_axes, write_calibration, write_end, write_start
from labwire.images.output_folder import FileFailedError, OutputFolder
from labwire.images.run_plan import RunPlan
from labwire.wire.image_message import CalibrationMessage, EndMessage, StartMessage

_DTYPES: Final = frozenset({"uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32"})


class MasterFile:
    """A master file under its temporary name, until `finish` gives it its own.

    It is written at START, so that large arrays need no memory during the run and a folder that cannot be written is
    found before the first image; and again at the end.

    Args:
        folder: Where.
        plan: The run.
        start: The message, with its arrays; None: the file is there already, and only to be finished.
        master_format: What it holds.
        ballast: Disk space to close it with.
        sync: Wait for the disk when it is finished.
        journal: Keep a journal beside it, from which a killed writer's file can be finished.

    Raises:
        FileFailedError: It cannot be written.
    """

    def __init__(
        self,
        folder: OutputFolder,
        plan: RunPlan,
        start: StartMessage | None,
        *,
        master_format: MasterFormat = "NXmxVDS",
        ballast: Ballast | None = None,
        sync: bool = False,
        journal: bool = True,
    ) -> None:
        self._folder = folder
        self._plan = plan
        self._format = master_format
        self._ballast = ballast
        self._sync = sync
        name = plan.master_name
        self._temporary = f"{name}.{time.time_ns():x}.tmp" if journal else repaired_name(name)
        self._journal = Journal(folder, self._temporary, plan, master_format) if journal else None
        if start is None:
            return
        try:
            with self._opened("begin", folder.create(self._temporary), "w") as file:
                write_start(file, plan, start, datetime.now(UTC))
        except BaseException:
            self.discard()
            raise

    @property
    def path(self) -> str:
        """Where the file will be."""
        return str(self._folder.path / self._plan.master_name)

    def add_calibration(self, message: CalibrationMessage) -> None:
        """Store calibration arrays.

        Raises:
            FileFailedError: They cannot be written.
        """
        with self._opened("write calibration", self._folder.open(self._temporary)) as file:
            write_calibration(file, message)

    def finish(self, files: Sequence[FinishedFile], end: EndMessage | None, *, images: int) -> str:
        """Link the data files, write what END says, give the file its name; return its path.

        Args:
            files: Those of this socket.
            end: None if there was none.
            images: Images of the whole run, of all sockets, missing ones included.

        Raises:
            FileFailedError: It cannot be written.
        """
        plan = self._plan
        with self._opened("finish", self._folder.open(self._temporary)) as file:
            entry = file["entry"]
            write_axes(entry, plan.start, images)
            write_end(file, plan.start, end, images=images, ended=datetime.now(UTC))
            self._link(file, files, images)
        self._folder.publish(self._temporary, plan.master_name, overwrite=plan.overwrite, sync=self._sync)
        self._drop_journal()
        return self.path

    def discard(self) -> None:
        """Remove the file; never raises."""
        self._folder.remove(self._temporary)
        self._drop_journal()

    def _drop_journal(self) -> None:
        if self._journal is not None:
            self._journal.remove()

    @contextmanager
    def _opened(self, what: str, fd: int, mode: str = "r+") -> Generator[Node]:
        h5py = load_h5py()
        disk = DiskFile(fd, self._ballast)
        try:
            with h5py.File(disk, mode) as file:
                yield file
        except (OSError, RuntimeError) as error:
            if disk.error is None:
                raise FileFailedError(getattr(error, "errno", None), self.path, f"{what}: {error}") from error
        finally:
            if self._sync and disk.error is None:
                disk.sync()
            disk.close()
        if disk.error is not None:
            raise FileFailedError(disk.error.errno, self.path, what) from disk.error

    # --- links

    def _link(self, file: Node, files: Sequence[FinishedFile], images: int) -> None:
        entry = file["entry"]
        data = group(entry, "data", "NXdata")
        plan = self._plan
        channels = next((finished.channels for finished in files), None) or self._expected()
        if plan.write_master:
            specific = entry["instrument/detector/detectorSpecific"]
            specific["nimages_written"] = sum(finished.images for finished in files)
        if self._format == "NXmxLegacy":
            self._link_files(data, images)
            data.attrs["signal"] = "data_000001"
            return
        for name, channel in channels.items():
            dataset = self._map(file, channel.path, channel.dtype, channel.shape, channel.fill, images)
            if is_link_name(name):
                dataset.attrs["channel"] = name
        columns = {column.path: column for finished in files for column in finished.columns}
        for column in columns.values():
            self._map_column(entry, column, images)
        data.attrs["signal"] = "data"
        if channels:
            entry["instrument/detector/data"] = _soft_link(f"/{DATA}")  # where DIALS looks for it
            depth = 8 * int(next(iter(channels.values())).dtype[2:])
            entry["instrument/detector/bit_depth_image"] = depth

    def _link_files(self, data: Node, images: int) -> None:
        h5py = load_h5py()

        for index in range(-(-images // self._plan.images_per_file)):
            data[f"data_{index + 1:06d}"] = h5py.ExternalLink(self._plan.data_name(index), f"/{DATA}")

    def _expected(self) -> dict[str, ChannelShape]:
        # No image came to this socket; others may have got some.
        import numpy as np

        from labwire.images.data_file import fill_value

        start = self._plan.start
        if start.image_dtype not in _DTYPES:
            return {}
        dtype = np.dtype(start.image_dtype).str
        shape = (start.image_size_y, start.image_size_x)
        return {"": ChannelShape(f"/{DATA}", dtype, shape, fill_value(dtype, start.error_value))}

    def _map_column(self, entry: Node, column: ColumnShape, images: int) -> None:
        inner = column.inner
        if inner and column.path.startswith("MX/peak"):
            inner = (self._plan.spots,)  # a file may have room for more
        group(entry, column.path.partition("/")[0])
        group(entry, column.path.rpartition("/")[0])
        dataset = self._map(entry.file, f"/entry/{column.path}", column.dtype, inner, column.fill, images)
        if column.units:
            dataset.attrs["units"] = column.units

    def _map(self, file: Node, path: str, dtype: str, inner: tuple[int, ...], fill: float, images: int) -> Node:
        """Make a virtual data set of the data sets of that path in all data files."""
        import numpy as np

        h5py = load_h5py()

        plan = self._plan
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_fill_value(np.array(fill, dtype))
        whole = h5py.h5s.create_simple((images, *inner))
        source_of = _sources(inner)
        origin = (0,) * len(inner)
        for index in range(-(-images // plan.images_per_file)):
            first = index * plan.images_per_file
            count = min(plan.images_per_file, images - first)
            whole.select_hyperslab((first, *origin), (count, *inner))
            properties.set_virtual(whole, plan.data_name(index).encode(), path.encode(), source_of(count))
        whole.select_all()
        type_id = h5py.h5t.py_create(np.dtype(dtype), logical=True)
        parents = h5py.h5p.create(h5py.h5p.LINK_CREATE)
        parents.set_create_intermediate_group(True)
        return h5py.Dataset(h5py.h5d.create(file.id, path.encode(), type_id, whole, properties, parents))


def _sources(inner: tuple[int, ...]) -> Callable[[int], Any]:
    """Return what makes the space of a data file's data set; almost all files have the same length."""
    h5py = load_h5py()

    made: dict[int, Any] = {}

    def space(count: int) -> Any:
        if count not in made:
            made[count] = h5py.h5s.create_simple((count, *inner))
        return made[count]

    return space


def _soft_link(path: str) -> Any:
    h5py = load_h5py()

    return h5py.SoftLink(path)
