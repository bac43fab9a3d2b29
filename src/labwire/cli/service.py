"""``labwire service``: a rig that starts with the computer, by systemd."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Group, Parameter

from labwire.cli.connection import JsonFlag
from labwire.cli.output import remark, write_json, write_line
from labwire.errors import NotFoundError, ResourceError
from labwire.names import check_actor_name
from labwire.rig.rig_file import load_rig
from labwire.rig.systemd_unit import unit_name, unit_text, units_folder

app = App(name="service", help="Have systemd run a rig.", group_commands=Group("Commands"))

RigFile = Annotated[Path, Parameter(name="RIG.toml")]
Flag = Annotated[bool, Parameter(negative="")]


@app.command(sort_key=0)
def show(rig: RigFile, /, *, json: JsonFlag = False) -> None:
    """Print the unit file of a rig, and install nothing.

    Args:
        rig: The rig file.
        json: Print the unit's name, where its file would stand and its text as JSON.
    """
    unit, text = _unit(rig)
    if json:
        write_json({"unit": unit, "file": str(units_folder() / unit), "text": text})
    else:
        write_line(text.rstrip("\n"))


@app.command(sort_key=1)
def install(rig: RigFile, /, *, now: Flag = False, json: JsonFlag = False) -> None:
    """Write the unit file of a rig, for this user; say what starts it.

    Args:
        rig: The rig file.
        now: Start the rig now, and at every login from now on.
        json: Print JSON.
    """
    unit, text = _unit(rig)
    file = units_folder() / unit
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    if now:
        _systemctl("daemon-reload")
        _systemctl("enable", "--now", unit)
    if json:
        write_json({"file": str(file), "unit": unit, "started": now})
        return
    write_line(f"{file} is written")
    if now:
        write_line(f"the rig runs: systemctl --user status {unit}")
    else:
        write_line(f"start it: systemctl --user daemon-reload && systemctl --user enable --now {unit}")
    write_line("so that it starts with the computer, before anybody logs in: loginctl enable-linger")


@app.command(sort_key=2)
def remove(name: str, /, *, json: JsonFlag = False) -> None:
    """Stop a rig that systemd runs, and take its unit file away; its recordings and rig file stay.

    Args:
        name: Name of the rig.
        json: Print JSON.
    """
    unit = unit_name(check_actor_name(name))
    file = units_folder() / unit
    if not file.exists():
        known = sorted(one.name for one in units_folder().glob(unit_name("*")))
        raise NotFoundError(f"there is no {file}; there are: {', '.join(known) or 'none'}", unit=unit)
    if shutil.which("systemctl"):
        try:
            _systemctl("disable", "--now", unit)
        except ResourceError as error:
            remark(f"labwire: {error.message}")
    file.unlink()
    if json:
        write_json({"removed": str(file)})
    else:
        write_line(f"{file} is removed")


def _unit(rig: Path) -> tuple[str, str]:
    config = load_rig(rig)
    command = [sys.executable, "-m", "labwire"]
    return unit_name(config.name), unit_text(config.name, rig.absolute(), command)


def _systemctl(*arguments: str) -> None:
    try:
        done = subprocess.run(["systemctl", "--user", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ResourceError("there is no systemctl here: this computer is not run by systemd") from error
    if done.returncode:
        told = done.stderr.strip() or f"exit status {done.returncode}"
        raise ResourceError(f"systemctl --user {' '.join(arguments)}: {told}")
