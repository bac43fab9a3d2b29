"""The table of commands: where each is, and its help. Nothing that a command needs is imported for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from cyclopts import Group

from labwire.operations.table import all_services

RIG = Group("A rig", sort_key=1)
TALK = Group("Talk to it", sort_key=2)
OPERATIONS = Group("Operations", sort_key=3)
SESSIONS = Group("Sessions", sort_key=4)
IMAGES = Group("Image streams", sort_key=5)
FILES = Group("The file backend", sort_key=6)
SETUP = Group("This program", sort_key=7)


class Command(NamedTuple):
    """One row of the table."""

    name: str
    target: str
    """``module:function`` or ``module:app``, imported when the command is used."""
    group: Group
    help: str
    """The first line stands in the list of commands, all of it in the command's own help."""


_COMMANDS = (
    Command(
        "run",
        "labwire.cli.run:run",
        RIG,
        "Start a rig; without a rig file, the demo rig.\n\n"
        "When it is ready it says where it is. Ctrl-C or SIGTERM ends it cleanly, a second Ctrl-C by force.",
    ),
    Command("status", "labwire.cli.status:status", RIG, "Tell how the rig is: addresses, actors, counters."),
    Command(
        "discover",
        "labwire.cli.discover:discover",
        RIG,
        "List the rigs of the local network that listen beyond their own computer.\n\n"
        "The exit status is 1 if none answers. Needs the extra `discover`.",
    ),
    Command(
        "actor",
        "labwire.cli.actor:actor",
        RIG,
        "Run an actor here, as a part of a rig that runs elsewhere.\n\n"
        "The class is looked for in this folder too. Ctrl-C ends it. Example: "
        "`labwire actor my_lab:Alarm --rig 192.168.1.7:50020 volume=3`.",
    ),
    Command(
        "worker",
        "labwire.cli.worker:worker",
        RIG,
        "Run the driver of an instrument here, for a server that does not start it itself.\n\n"
        "The rig says `external = true` for such an instrument; a foreign server needs nothing. Example: "
        "`labwire worker DMM1 --driver my_lab:Dmm resource=ASRL1::INSTR`.",
    ),
    Command(
        "queues",
        "labwire.cli.queues:queues",
        RIG,
        "Show the instruments' queues on this computer, without taking a message out of them.\n\n"
        "With --clean, those that a dead server left are removed, after a question.",
    ),
    Command(
        "init",
        "labwire.cli.init:init",
        RIG,
        "Ask a few questions and write a rig file.\n\n"
        "What an option says is not asked; without a terminal nothing is. Example: "
        "`labwire init --eyes simulated --camera demo --instrument DMM1=simulated_multimeter`.",
    ),
    Command("service", "labwire.cli.service:app", RIG, "Have systemd run a rig."),
    Command("config", "labwire.cli.config:app", RIG, "Make, check and show rig files; change the rig that runs."),
    Command(
        "doctor",
        "labwire.cli.doctor:doctor",
        RIG,
        "Look for what would keep a rig from running well on this computer.\n\n"
        "Looks at ports, permissions, limits, clock, disk, versions and extras. "
        "The exit status is 1 if something fails, 0 if there are only warnings.",
    ),
    Command(
        "support-bundle",
        "labwire.cli.support_bundle:support_bundle",
        RIG,
        "Collect what helps to find out what went wrong, in one zip file.\n\n"
        "Rig file without secrets, versions, doctor, logs, the last minutes of the bus, a manifest.",
    ),
    Command(
        "write",
        "labwire.cli.write:write",
        IMAGES,
        "Store the images of detectors' streams as NeXus files, and acknowledge them.\n\n"
        "It connects, and connects again, until Ctrl-C; then it finishes the files under way and says what is missing. "
        "Example: `labwire write tcp://10.0.0.1:9100 -o data`.",
    ),
    Command("files", "labwire.cli.files:app", FILES, "Look at the files of a file backend."),
    Command(
        "sub",
        "labwire.cli.sub:sub",
        TALK,
        "Show what is on the bus.\n\n"
        "A topic matches all that begin with it: `labwire sub pupil. notify.`. Without one, everything is shown.",
    ),
    Command(
        "pub",
        "labwire.cli.send:pub",
        TALK,
        "Put a message on the bus.\n\n"
        "It is confirmed before this returns. Examples: `labwire pub weather wind_m_s=3.5`, "
        """`labwire pub weather '{"wind_m_s": 3.5}'`.""",
    ),
    Command(
        "notify",
        "labwire.cli.send:notify",
        TALK,
        "Send a notification to all actors.\n\n"
        'Example: `labwire notify recording.should_start "session_name=my session"`.',
    ),
    Command(
        "remote",
        "labwire.cli.send:remote",
        TALK,
        "Send a command to the Remote, and print its reply.\n\n"
        "R, R NAME, r: start and stop a recording. C, c: start and stop a calibration. T SECONDS, t: set and tell rig "
        "time. v: version. PUB_PORT, SUB_PORT, PUSH_PORT, RPC_PORT: ports. Works with Pupil Core as well.",
    ),
    Command(
        "call",
        "labwire.cli.call:call",
        TALK,
        "Send a command to an instrument, and print what it returns.\n\n"
        "Examples: `labwire call DMM1 MEASURE_VOLTAGE range=10 samples=100`, "
        "`labwire call SCOPE1 READ_WAVEFORM points=1000 --save wave.npy`. `labwire instruments` lists the instruments, "
        "`labwire instruments DMM1` the commands of one.",
    ),
    Command(
        "script",
        "labwire.cli.script:script",
        TALK,
        "Run a Python file of commands to instruments.\n\n"
        "The file can use `rig`, `instrument(NAME)`, `progress(ITERABLE)` and `args` at once. Example: "
        "`for volts in progress(range(10)): instrument('DMM1').measure_voltage(range=volts)`.",
    ),
    Command(
        "send",
        "labwire.cli.send_images:send",
        IMAGES,
        "Stream one run of a simulated or replayed detector to writers.\n\n"
        "Needs no rig. It prints what became of the images; the exit status tells whether all were stored. Example: "
        "`labwire send --listen tcp://127.0.0.1:9100 --images 100 --file-prefix test --wait-writers 2`.",
    ),
    Command(
        "preview",
        "labwire.cli.preview:preview",
        IMAGES,
        "Write the newest image of a preview stream as a PNG picture.\n\n"
        "Example: `labwire preview tcp://127.0.0.1:5400 -o image.png --follow`.",
    ),
    Command(
        "images",
        "labwire.cli.images:app",
        IMAGES,
        "Look at image files and streams; finish the files of killed writers: `labwire images repair FOLDER`.",
    ),
    Command(
        "sessions",
        "labwire.cli.sessions:app",
        SESSIONS,
        "Look at what was recorded: list, show, verify, repair, prune. A rig need not run.",
    ),
    Command(
        "mark",
        "labwire.cli.mark:mark",
        TALK,
        "Put a mark on the time axis: on the bus, and in the session that is running.\n\n"
        'Example: `labwire mark "stimulus on"`. Without a text, each line that is typed, or piped in, becomes one; '
        "Enter alone makes a numbered one.",
    ),
    Command(
        "export",
        "labwire.cli.export:export",
        SESSIONS,
        "Write a session as Parquet, CSV, or MCAP with JSON.\n\n"
        "Example: `labwire export pilot/003 --to parquet --topics pupil gaze`.",
    ),
    Command("docs", "labwire.cli.docs:docs", TALK, "Ask every actor what it reacts to and what it emits."),
)
_OWN_MODULES = {
    "record": "labwire.cli.record:app",
    "detectors": "labwire.cli.detectors:app",
    "instruments": "labwire.cli.instruments:app",
    "replay": "labwire.cli.replay:app",
}
"""Services that have more commands than operations."""
_GROUPS = {"replay": SESSIONS}
"""Services whose commands stand with others of their kind."""
_ELSEWHERE = {"rig"}
"""Services whose operations are commands above: ``status`` and ``config show``."""


def commands() -> Iterator[Command]:
    """Yield all commands: those above, and one group for each service in the table of operations."""
    yield from _COMMANDS
    for service in all_services():
        name = service.service
        if name not in _ELSEWHERE:
            target = _OWN_MODULES.get(name, f"labwire.cli.operation_commands:{name}")
            yield Command(name, target, _GROUPS.get(name, OPERATIONS), (service.__doc__ or "").partition("\n")[0])
