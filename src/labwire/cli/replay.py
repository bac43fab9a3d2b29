"""``labwire replay``: a recording back on a bus, and the operations on a replay that runs."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from labwire.cli.actor import actor
from labwire.cli.connection import JsonFlag
from labwire.cli.moments import Moment
from labwire.cli.operation_commands import service_app
from labwire.cli.output import remark, to_json, write_json, write_line
from labwire.cli.program import program_name
from labwire.cli.session_place import Place, find_in
from labwire.errors import UsageError
from labwire.operations.replay import Replay

ACTOR = "labwire.actors.replay:ReplayActor"
NAME = "replay"
_COMMANDS = "notify."
"""In a rig with actors of its own, recorded notifications would be obeyed a second time."""


def replay(
    session: str,
    /,
    *,
    speed: float = 1.0,
    from_s: Annotated[Moment, Parameter(name="--from")] = 0.0,
    loop: Annotated[bool, Parameter(negative="")] = False,
    topics: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=True)] = (),
    into: str | None = None,
    remote_port: int | None = None,
    web: bool | None = None,
    json: JsonFlag = False,
) -> int:
    """Play a session back onto a bus of its own, Remote included: with its topics, raw parts, order and timing.

    Also a recording of Pupil Core. Programs connect as to a rig; rig time is that of the recording. `labwire replay
    pause`, `resume`, `seek 12` and `speed 2` act on it while it runs. At the end it waits for such a command; Ctrl-C
    ends it.

    Args:
        session: Folder of the recording; or name and number of a session in `recordings` here.
        speed: 2 is twice as fast.
        from_s: Where to begin, and where a loop begins anew: 10s, 2m30s.
        loop: Begin anew at the end.
        topics: Only topics that begin so. Without it, all but what a rig says of itself: the new one says its own.
        into: Play into a rig that runs, HOST:PORT, beside what it says itself, and end with the recording; the
            rig's clock stays as it is, and notifications are left out unless `--topics` names them.
        remote_port: Port of the Remote; 0 takes any free one. By default 50020.
        web: Serve the dashboard and the HTTP API, or not.
        json: When ready, print one line of JSON with the addresses; log nothing here.
    """
    folder = _folder_of(session)
    check_replay(folder, speed=speed, from_s=from_s)
    options: dict[str, Any] = {"session": str(folder), "speed": speed, "from_s": from_s, "loop": loop, "topics": topics}
    if into is not None:
        if remote_port is not None or web is not None:
            raise UsageError("--remote-port and --web are for a bus of its own: leave them out with --into")
        guest = {**options, "exclude": [_COMMANDS], "set_clock": False, "leave": True}
        actor(ACTOR, *(f"{key}={to_json(value)}" for key, value in guest.items()), rig=into, name=NAME)
        remark("labwire: the replay has ended")
        return 0
    said = {"name": NAME, "remote.port": remote_port, "web.enabled": web, f"actors.{NAME}.class": ACTOR}
    said |= {f"actors.{NAME}.{key}": list(topics) if key == "topics" else value for key, value in options.items()}
    return _run({key: value for key, value in said.items() if value is not None}, json=json)


def check_replay(folder: Path, *, speed: float, from_s: float) -> None:
    """See that a folder can be replayed so, before anything is started.

    Raises:
        NotFoundError: It is no recording.
        UsageError: It is not as long, or there is no such speed.
    """
    from labwire.sessions.replay.replay_source import open_source
    from labwire.sessions.replay.replayer import Replayer

    source = open_source(folder)
    try:
        Replayer(source, str(folder), send=lambda parts: True, speed=speed, from_s=from_s)
    finally:
        source.close()


def _folder_of(session: str) -> Path:
    folder = Path(session)
    if folder.is_dir():
        return folder.absolute()
    from labwire.sessions.config import RecorderConfig

    return find_in(Place(Path(RecorderConfig().root).absolute(), "the usual place"), session)


def _run(said: dict[str, Any], *, json: bool) -> int:
    from labwire.cli.banner import banner
    from labwire.rig.hub import Hub, Ready
    from labwire.rig.rig_file import parse_rig

    config = parse_rig("", overrides=said)

    def tell(ready: Ready) -> None:
        with suppress(OSError):  # whoever was to read it has gone: the rig runs all the same
            if json:
                write_json(ready)
            else:
                write_line(banner(ready, config, program_name()))

    hub = Hub(
        config,
        folder=str(Path.cwd()),
        on_ready=tell,
        say=lambda text: remark(f"labwire: {text}"),
        console_fd=None if json else sys.stderr.fileno(),
    )
    return hub.run()


app = service_app(Replay)
app.default(replay)
