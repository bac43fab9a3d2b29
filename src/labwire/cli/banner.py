"""What a person reads when a rig is ready."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import TYPE_CHECKING

from labwire.cli.connection import DEFAULT_PORT

if TYPE_CHECKING:
    from labwire.rig.hub import Ready
    from labwire.rig.rig_config import RigConfig


def banner(ready: Ready, config: RigConfig, program: str) -> str:
    """Return the lines that tell what runs, where it is, and what to do next.

    Args:
        ready: What the hub says of itself.
        config: The rig.
        program: What to type to call labwire.
    """
    rows = [*_where(ready, config), *_what(ready, config), *_files(ready, config)]
    width = max(len(label) for label, _ in rows)
    port = int(ready.remote.rpartition(":")[2])
    steps = list(_next_steps(config, f"{program} ", "" if port == DEFAULT_PORT else f" --port {port}"))
    step_width = max(len(command) for command, _ in steps)
    return "\n".join(
        [
            f'rig "{ready.name}" runs',
            *(f"  {label:<{width}}  {text}" for label, text in rows),
            "next, in another terminal:",
            *(f"  {command:<{step_width}}  {text}" for command, text in steps),
            "Ctrl-C ends it",
        ]
    )


def _where(ready: Ready, config: RigConfig) -> Iterator[tuple[str, str]]:
    yield "Remote", ready.remote
    if ready.exposed:
        who = ", ".join(config.network.allow)
        yield "EXPOSED", f"all ports listen on {config.network.listen}; {who} may connect, others are refused"
    else:
        yield "reachable", "from this computer only"
    if ready.web:
        yield "dashboard", f"{ready.web} ({ready.web_note})" if ready.web_note else ready.web
    elif ready.web_note:
        yield "dashboard", ready.web_note
    if ready.web and config.web.exposed:
        yield "", f"other computers reach it too, with the token in {config.web.token_path(config.name)}"
        if not config.web.certificate:
            yield "", "not encrypted: [web] certificate and key make it https"


def _what(ready: Ready, config: RigConfig) -> Iterator[tuple[str, str]]:
    yield "actors", ", ".join(ready.actors)
    if config.instruments:
        yield "instruments", ", ".join(config.instruments)
    if ready.failed:
        yield "NOT RUNNING", f"{', '.join(ready.failed)} (the log says why)"


def _files(ready: Ready, config: RigConfig) -> Iterator[tuple[str, str]]:
    if config.recorder:
        yield "recordings", config.recorder.root
    if config.file_ipc:
        files = config.file_ipc
        yield "pictures", str(PurePath(files.base_directory) / f"latest.{files.frame_extension}")
    yield "log", ready.log_file


def _next_steps(config: RigConfig, program: str, flags: str) -> Iterator[tuple[str, str]]:
    if config.sources:
        yield f"{program}sub pupil. --count 5{flags}", "listen to the eyes"
    else:
        yield f"{program}sub --stats{flags}", "see what is on the bus"
    if config.instruments:
        yield f"{program}instruments{flags}", "how the instruments are; with a name, what it can do"
    if config.recorder:
        yield f'{program}record start "my first session"{flags}', "begin to record"
        yield f"{program}record stop{flags}", "end it; says where the files are"
    else:
        yield f"{program}status{flags}", "see how the rig is"
        yield f"{program}docs{flags}", "what its actors react to and emit"
