"""The file backend: JSON Lines envelopes and JPEG frames (file-ipc).

>>> from labwire.file_backend import follow, read
>>> for record in read("file_ipc_output"):  # doctest: +SKIP
...     print(record.timestamp, record.type, record.payload)
"""

from labwire.file_backend.reader import FolderReader, Record, follow, latest_frame, read

__all__ = ["FolderReader", "Record", "follow", "latest_frame", "read"]
