"""Files that take rows: CSV and Parquet."""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from labwire.errors import needs_extra
from labwire.sessions.reading.columns import Column, Kind, to_json

_MAX_SPREAD = 16
"""Longest list that gets a CSV column for each of its numbers; a longer one is JSON in one."""


class TableFile(ABC):
    """A file that takes the rows of one table.

    Args:
        path: The file; it must not be there.
        columns: Its columns.
        metadata: What it should tell of itself, if the format has a place for it.
    """

    suffix: ClassVar[str]

    def __init__(self, path: Path, columns: list[Column], metadata: Mapping[str, str]) -> None:
        self.path, self.columns, self.metadata = path, columns, metadata

    @abstractmethod
    def write(self, rows: list[list[Any]]) -> None:
        """Append rows."""

    @abstractmethod
    def close(self) -> None:
        """Finish the file."""


class CsvFile(TableFile):
    """Comma-separated values in UTF-8, a heading first; a short list of numbers has a column for each of them."""

    suffix = ".csv"

    def __init__(self, path: Path, columns: list[Column], metadata: Mapping[str, str]) -> None:
        super().__init__(path, columns, metadata)
        self._file = path.open("x", encoding="utf-8", errors="replace", newline="")
        self._writer = csv.writer(self._file)
        spread = [column.length if column.length <= _MAX_SPREAD else 0 for column in columns]
        self._lists = [(place, spread[place]) for place, column in enumerate(columns) if column.kind is Kind.LIST][::-1]
        self._writer.writerow(
            [
                name
                for column, length in zip(columns, spread, strict=True)
                for name in ([f"{column.name}_{number}" for number in range(length)] if length else [column.name])
            ]
        )

    def write(self, rows: list[list[Any]]) -> None:
        """Append rows."""
        self._writer.writerows(map(self._line, rows) if self._lists else rows)

    def _line(self, row: list[Any]) -> list[Any]:
        line = list(row)
        for place, length in self._lists:  # from the last to the first, so that the places before stay where they are
            value = line[place]
            if length:
                line[place : place + 1] = [None] * length if value is None else value
            elif value is not None:
                line[place] = to_json(value)
        return line

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


class ParquetFile(TableFile):
    """Apache Parquet; the unit of each column is in the metadata of its field.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """

    suffix = ".parquet"

    def __init__(self, path: Path, columns: list[Column], metadata: Mapping[str, str]) -> None:
        from labwire.sessions.reading.arrow import arrow_schema

        super().__init__(path, columns, metadata)
        with needs_extra("export"):
            parquet: Any = import_module("pyarrow.parquet")
        self._schema = arrow_schema(columns, metadata)
        self._writer: Any = parquet.ParquetWriter(path, self._schema, compression="zstd")

    def write(self, rows: list[list[Any]]) -> None:
        """Append rows."""
        from labwire.sessions.reading.arrow import record_batch

        self._writer.write_batch(record_batch(self.columns, self._schema, rows))

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()
