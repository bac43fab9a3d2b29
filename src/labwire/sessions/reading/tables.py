"""A topic of a session as a table: rows, Arrow, pandas, xarray."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from importlib import import_module
from typing import Any

import msgspec

from labwire.errors import needs_extra
from labwire.sessions.log.log_reader import LoggedMessage, LogReader
from labwire.sessions.reading.columns import TIME, Column, Kind, RowMaker, SchemaBuilder, flatten
from labwire.sessions.reading.time_axis import TimeAxis

BATCH_ROWS = 10_000
_map_decoder = msgspec.msgpack.Decoder(dict[Any, Any])


def payload_of(message: LoggedMessage) -> dict[Any, Any] | None:
    """Return the payload of a message; None if it is no map that can be read."""
    if not message.is_map:
        return None
    try:
        return _map_decoder.decode(message.parts[1])
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


class Table:
    """The messages of one topic, a row each.

    The first columns are ``time_s``, when it was measured by its ``timestamp``, and ``arrival_s``, when the recorder
    got it: both in seconds since the start of the session. The others are the keys of the payload; deeper ones have
    dots in their names.

    >>> table = session["pupil.0.3d"]  # doctest: +SKIP
    >>> table.to_pandas()["diameter_3d"].mean(), table.units["diameter_3d"]  # doctest: +SKIP

    Args:
        log: The log of the session.
        axis: Its time axis.
        topic: The topic itself, not a prefix.
    """

    def __init__(self, log: LogReader, axis: TimeAxis, topic: str) -> None:
        self.topic = topic
        self._log, self._axis = log, axis

    def __len__(self) -> int:
        return self._schema.rows

    @property
    def columns(self) -> list[Column]:
        """The columns, with their kinds and units."""
        return self._schema.columns()

    @property
    def units(self) -> dict[str, str]:
        """Units by column, as far as the names tell."""
        return {column.name: column.unit for column in self.columns if column.unit}

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield each message as a mapping: the times, and the flattened payload as it is."""
        for time_s, arrival_s, flat in self._payloads():
            yield {"time_s": time_s, "arrival_s": arrival_s, **flat}

    def to_arrow(self) -> Any:
        """Return a `pyarrow.Table`; units stand in the metadata of its fields.

        Raises:
            MissingExtraError: pyarrow is not installed.
        """
        from labwire.sessions.reading.arrow import arrow_schema, record_batches

        with needs_extra("export"):
            pa: Any = import_module("pyarrow")
        columns = self.columns
        schema = arrow_schema(columns, {"topic": self.topic})
        return pa.Table.from_batches(record_batches(columns, schema, self._rows(columns), BATCH_ROWS), schema)

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame` whose index is ``time_s``; units stand in its ``attrs``.

        Raises:
            MissingExtraError: pandas or pyarrow is not installed.
        """
        with needs_extra("export"):
            import_module("pandas")
        frame: Any = self.to_arrow().to_pandas().set_index(TIME)
        frame.attrs = {"topic": self.topic, "units": self.units}
        return frame

    def to_xarray(self) -> Any:
        """Return an `xarray.Dataset` along ``time_s``; units stand in the ``attrs`` of its variables.

        Lists that are all of one length get a second dimension.

        Raises:
            MissingExtraError: xarray or pyarrow is not installed.
        """
        with needs_extra("export"):
            xarray: Any = import_module("xarray")
            np: Any = import_module("numpy")
        frame: Any = self.to_arrow().to_pandas()
        variables: dict[str, Any] = {}
        for column in self.columns:
            values: Any = frame[column.name]
            dimensions: list[str] = [TIME]
            attributes = {"units": column.unit} if column.unit else {}
            if column.kind is Kind.LIST and column.length and not values.isna().any():
                values = np.array(list(values)) if len(values) else np.empty((0, column.length))
                dimensions.append(f"{column.name}_axis")
            elif column.kind is not Kind.LIST:
                values = values.to_numpy()
            variables[column.name] = (dimensions, np.asarray(values), attributes)
        time = variables.pop(TIME)
        return xarray.Dataset(variables, coords={TIME: time}, attrs={"topic": self.topic})

    @cached_property
    def _schema(self) -> SchemaBuilder:
        schema = SchemaBuilder()
        for _, _, flat in self._payloads():
            schema.learn(flat)
        return schema

    def _rows(self, columns: list[Column]) -> Iterator[list[Any]]:
        make = RowMaker(columns).row
        return (make(*one) for one in self._payloads())

    def _payloads(self) -> Iterator[tuple[float, float, dict[str, Any]]]:
        topic = self.topic.encode()
        for message in self._log.messages(prefixes=[self.topic]):
            payload = payload_of(message) if message.parts[0] == topic else None
            if payload is not None:
                yield *times_of(message, payload, self._axis), flatten(payload, self.topic)

    def __repr__(self) -> str:
        return f"<table of {self.topic}: {len(self)} rows, {len(self.columns)} columns>"


def times_of(message: LoggedMessage, payload: dict[Any, Any], axis: TimeAxis) -> tuple[float, float]:
    """Return when something was measured and when it came, in seconds since the start of the session."""
    arrival_s = axis.of_arrival(message.log_time_ns)
    stamp = payload.get("timestamp")
    known = float(stamp) if isinstance(stamp, (int, float)) and not isinstance(stamp, bool) else None
    return axis.of_timestamp(known, arrival_s), arrival_s
