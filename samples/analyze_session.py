"""Sum up a session that physiology_server has written.

    python samples/analyze_session.py ./session_20250103_143022/
    python samples/analyze_session.py ./session_20250103_143022/ --csv values.csv

It reads what is there; the session may still be running.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import statistics
import sys
from collections import Counter
from pathlib import Path

from labwire.errors import LabwireError
from labwire.file_backend import Record, read

NAMES = ("pulse", "breathing")


def values_of(record: Record, name: str) -> tuple[float, float] | None:
    """Return value and confidence of one name, None if it was not measured."""
    strict = record.payload.get(name, {}).get("strict")
    return (strict["value"], strict["confidence"]) if strict else None


def summary(records: list[Record]) -> list[str]:
    """Return what there is to say."""
    if not records:
        return ["nothing in there"]
    first_us, last_us = records[0].timestamp, records[-1].timestamp
    lines = [f"{(last_us - first_us) / 1e6:.1f} s, {len(records)} lines"]
    core = [record for record in records if record.type == "core_metrics"]
    for name in NAMES:
        found = [pair for record in core if (pair := values_of(record, name))]
        if found:
            values, confidences = [value for value, _ in found], [confidence for _, confidence in found]
            lines.append(
                f"{name}: mean {statistics.fmean(values):.1f}, {min(values):.1f} to {max(values):.1f} per minute, "
                f"mean confidence {statistics.fmean(confidences):.2f}, {len(found)} values"
            )
        else:
            lines.append(f"{name}: never measured")
    statuses = [record for record in records if record.type == "status"]
    spent_us: Counter[str] = Counter()
    for record, following in itertools.pairwise([*statuses, records[-1]]):
        text = f"{record.payload['code']} {record.payload['message'].partition(':')[0]}"
        spent_us[text] += max(0, following.timestamp - record.timestamp)
    lines += [f"status {text}: {spent / 1e6:.1f} s" for text, spent in spent_us.most_common()]
    return lines


def write_csv(records: list[Record], path: Path) -> None:
    """Write the core metrics as a table."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["timestamp_us", *(f"{name}{more}" for name in NAMES for more in ("", "_confidence"))])
        for record in records:
            if record.type == "core_metrics":
                pairs = [values_of(record, name) or ("", "") for name in NAMES]
                writer.writerow([record.timestamp, *(value for pair in pairs for value in pair)])


def main() -> int:
    """Read a folder, print its summary, write a table if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--csv", type=Path, help="write the core metrics as a table")
    asked = parser.parse_args()
    try:
        records = list(read(asked.folder, on_bad=lambda *bad: print(f"left out: {bad}", file=sys.stderr)))
    except LabwireError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(summary(records)))
    if asked.csv:
        write_csv(records, asked.csv)
    return 0


if __name__ == "__main__":
    sys.exit(main())
