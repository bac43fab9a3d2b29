"""What was found in sessions, as text for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from labwire.cli.output import console, remark, write_line
from labwire.cli.show import make_table, show, table_of
from labwire.cli.units import size
from labwire.operations.recording import Repaired
from labwire.operations.session_check import FileCheck, Gap, NumberedTopic, Pruned, Verified
from labwire.sessions.reading.export import Exported
from labwire.sessions.reading.overview import Overview

_SHOWN_GAPS = 20


def show_overview(overview: Overview) -> None:
    """Print what is in a session."""
    show(overview)


def show_verified(verified: Verified) -> None:
    """Print what a check found."""
    out = console()
    style = "red" if not verified.whole else "yellow" if verified.remarks or not verified.lossless else "green"
    out.print(Text(verified.path, style="bold"), Text(verified.verdict, style=style))
    images = f", {verified.images} images" if verified.images or verified.images_missing else ""
    found = f"{verified.messages} messages, {verified.pictures} pictures{images}"
    write_line(f"{found}, {len(verified.files)} files looked at")
    for problem in verified.problems:
        out.print(Text(f"- {problem}"))
    if verified.remarks:
        out.print(Text("while it recorded", style="bold"))
        for happened in verified.remarks:
            out.print(Text(f"- {happened}"))
    _section(out, "files", verified.files)
    _section(out, "numbered", [*verified.numbered, *verified.indexed])
    _section(out, "gaps", verified.gaps[:_SHOWN_GAPS])
    if len(verified.gaps) > _SHOWN_GAPS:
        write_line(f"... and {len(verified.gaps) - _SHOWN_GAPS} more: --json has them all")
    if verified.not_observable:
        topics = ", ".join(f"{topic} ({count})" for topic, count in verified.not_observable.items())
        write_line(f"\nnot numbered, so a loss on their way to the recorder would not be seen: {topics}")


def _section(out: Console, title: str, rows: Sequence[FileCheck | NumberedTopic | Gap]) -> None:
    if rows:
        out.print()
        out.print(Text(title, style="bold underline"))
        out.print(table_of(rows))


def show_repaired(repaired: Repaired) -> None:
    """Print what a repair did."""
    console().print(Text(repaired.path, style="bold"))
    for change in repaired.changes:
        write_line(f"- {change}")
    write_line(f"{repaired.messages} messages" + ("" if repaired.changes else "; it was whole"))


def show_pruned(rows: Sequence[Pruned], *, dry_run: bool, where: str) -> None:
    """Print what a rule removed, or would."""
    if rows:
        show(list(rows))
    gone = [row for row in rows if row.removed]
    verb = "would be removed" if dry_run else "removed"
    remark(f"labwire: {len(gone)} {verb}, {size(sum(row.size_bytes for row in gone))}, in {where}")


def show_exported(exported: Exported) -> None:
    """Print what an export wrote."""
    table = make_table(["topic", "file", "rows", "columns"])
    for one in exported.tables:
        table.add_row(*map(Text, (one.topic, one.file, str(one.rows), str(len(one.columns)))))
    console().print(table)
