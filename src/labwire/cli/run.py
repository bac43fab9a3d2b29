"""``labwire run``: start a rig and keep it until told to stop."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

from cyclopts import Parameter

from labwire.cli.banner import banner
from labwire.cli.connection import JsonFlag
from labwire.cli.failures import let_go_of_the_dead
from labwire.cli.output import remark, write_json, write_line
from labwire.cli.program import program_name
from labwire.errors import ConfigError, UsageError
from labwire.rig.demo import demo_config
from labwire.rig.rig_file import load_rig
from labwire.rig.systemd_unit import tell_systemd

if TYPE_CHECKING:
    from labwire.rig.hub import Ready
    from labwire.rig.rig_config import RigConfig
    from labwire.strict import Mistake

_STDERR = 2


def run(
    rig: Annotated[Path | None, Parameter(name="RIG.toml")] = None,
    /,
    *,
    remote_port: int | None = None,
    video: Path | None = None,
    camera: int | None = None,
    name: str | None = None,
    web: bool | None = None,
    web_port: int | None = None,
    open_page: Annotated[bool, Parameter(name="--open", negative="")] = False,
    json: JsonFlag = False,
) -> int:
    """Start a rig; without a rig file, the demo rig. Ctrl-C ends it cleanly, a second Ctrl-C by force.

    Args:
        rig: The rig file. `labwire config default` prints one with every option.
        remote_port: Port of the Remote, whatever the rig file says; 0 takes any free one.
        video: Play this file in place of the demo's clip.
        camera: Show this camera in place of the demo's clip: 0 is /dev/video0.
        name: Name of the rig, whatever the rig file says.
        web: Serve the dashboard and the HTTP API, or not, whatever the rig file says.
        web_port: Port of the dashboard; 0 takes any free one.
        open_page: Open the dashboard in the browser.
        json: When ready, print one line of JSON with the addresses; log nothing here.
    """
    said: dict[str, Any] = {"remote.port": remote_port, "name": name, "web.enabled": web, "web.port": web_port}
    config = read_rig(rig, video=video, camera=camera, said=said)

    from labwire.rig.hub import Hub

    folder = rig.absolute().parent if rig else Path.cwd()
    hub = Hub(
        config,
        folder=str(folder),
        on_ready=_tell(write_json if json else _show_banner(config), config if open_page else None),
        say=lambda text: remark(f"{_fresh_line(sys.stderr)}labwire: {text}"),
        console_fd=None if json else _STDERR,
        read=(lambda also: read_rig(rig, video=video, camera=camera, said=said, also=also)) if rig else None,
    )
    status = hub.run()
    if sys.stderr.isatty():
        remark("labwire: stopped")
    return status


def read_rig(
    rig: Path | None,
    *,
    video: Path | None = None,
    camera: int | None = None,
    said: Mapping[str, Any],
    also: Callable[[RigConfig], Iterable[Mistake]] = lambda _: (),
) -> RigConfig:
    """Return the rig that the command line asks for.

    Args:
        rig: The rig file; None means the demo rig.
        video: As for `run`.
        camera: As for `run`.
        said: What else the command line says, by dotted key; None means nothing.
        also: Yields what else is wrong in the rig file, as for `load_rig`.

    Raises:
        UsageError: Options contradict each other.
        ConfigError: The rig file or an option is wrong.
    """
    overrides = {key: value for key, value in said.items() if value is not None}
    if video is not None and camera is not None:
        raise UsageError("--video and --camera cannot be combined: the demo rig has one camera")
    if video is not None and not video.exists():
        raise ConfigError(f"--video {video}: there is no file {video.absolute()}")
    if rig is None:
        return demo_config(video, camera, overrides)
    if video is not None or camera is not None:
        option, line = ("--video", f'video = "{video}"') if video else ("--camera", f"camera = {camera}")
        raise UsageError(f"{option} is for the demo rig; in {rig} write {line} under [cameras.NAME]")
    return load_rig(rig, overrides, also=also)


def _tell(write: Callable[[Ready], None], page_of: RigConfig | None) -> Callable[[Ready], None]:
    def tell(ready: Ready) -> None:
        tell_systemd()
        if page_of and ready.web:
            _open_page(ready.web, page_of)
        try:
            write(ready)
        except OSError:  # whoever was to read it has gone: the rig runs all the same
            let_go_of_the_dead()

    return tell


def _open_page(url: str, config: RigConfig) -> None:
    import threading
    import webbrowser

    if config.web.exposed:
        token = Path(config.web.token_path(config.name))
        # Behind the "#": the page reads it, and it is in no log and no Referer.
        url = f"{url}/#token={token.read_text().strip()}"
    # A browser in the terminal would hold up the rig.
    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


def _show_banner(config: RigConfig) -> Callable[[Ready], None]:
    return lambda ready: write_line(_fresh_line(sys.stdout) + banner(ready, config, program_name()))


def _fresh_line(stream: TextIO) -> str:
    """Return what takes away the line that shows the rig at work, if a person may be looking at it there."""
    return "\r\x1b[K" if stream.isatty() else ""
