"""What a person sees when a command fails: one message, what to do, and an exit status that a script can tell apart.

With ``--json`` an error is one line of JSON on standard error:
``{"error": "PortTakenError", "message": "...", "hint": "...", "exit_code": 14, "data": {"port": 50020}}``.
The exit status is that of `labwire.errors.ERROR_CODES`; 130 after Ctrl-C, 143 after SIGTERM, 129 when the terminal was
closed, 141 when whoever read the output went away.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from cyclopts import CycloptsError
from cyclopts.exceptions import UnknownCommandError, UnusedCliTokensError

from labwire.errors import DeadlineError, InternalError, LabwireError, PeerGoneError, ResourceError, UsageError
from labwire.signals import ASKED_TO_END, HANGUP, told_to_end

_INTERRUPTED = 128 + signal.SIGINT
_BROKEN_PIPE = 141  # 128 + SIGPIPE; Windows has no such signal

_HINTS: dict[type[LabwireError], str] = {
    PeerGoneError: "`labwire doctor` tells who holds the port; --host and --port name another rig",
    DeadlineError: "`labwire status` tells how the rig is; --timeout SECONDS waits longer",
    InternalError: "the log of the rig has more: `labwire status` tells where it is",
}


def run_guarded(call: Callable[[], Any], *, as_json: bool = False, program: str = "labwire") -> int:
    """Run a command; report what goes wrong; return the exit status.

    Args:
        call: The command. What it returns is the exit status if it is an int, else the status is 0.
        as_json: Report errors as JSON.
        program: What to type for its help.
    """
    _have_somewhere_to_write()
    terminals = [stream for stream in (sys.stdout, sys.stderr) if stream.isatty()]
    try:
        with told_to_end(_Told().tell, ASKED_TO_END):
            return _status_of(call, terminals, as_json=as_json, program=program)
    finally:
        let_go_of_the_dead()


def _have_somewhere_to_write() -> None:
    """Let what is written go nowhere where output or errors were closed, as with ``>&-``: Python has None for them."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123


class _ToldToEndError(KeyboardInterrupt):
    """A signal asked this process to end: it goes the way of Ctrl-C, so that everything is closed on it."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number)
        self.number = number


class _Told:
    _hung_up = False

    def tell(self, number: signal.Signals) -> None:
        if number == HANGUP:
            if self._hung_up:
                return  # the shell's, after the system's: what is being closed goes on closing
            self._hung_up = True
        raise _ToldToEndError(number)


def _status_of(call: Callable[[], Any], terminals: Sequence[TextIO], *, as_json: bool, program: str) -> int:
    try:
        result = call()
        sys.stdout.flush()
    except LabwireError as error:
        return _report(error, as_json=as_json)
    except CycloptsError as error:
        return _report(_usage_error(error, program), as_json=as_json)
    except _ToldToEndError as error:
        return 128 + error.number
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        return _BROKEN_PIPE
    except Exception as error:
        if _is_of_the_terminal(error, terminals):
            return _BROKEN_PIPE
        return _report(_of_the_machine(error) or _bug(error), as_json=as_json)
    return result if isinstance(result, int) else 0


@contextlib.contextmanager
def without_rig(hint: str = "") -> Generator[None]:
    """Give errors of a command that talks to no rig its own hint: what is to be done about a rig is of no use there."""
    try:
        yield
    except LabwireError as error:
        error.data.setdefault("hint", hint)
        raise


def hint_for(error: LabwireError) -> str:
    """Return what to do about an error, if its message does not say so itself."""
    if isinstance(hint := error.data.get("hint"), str):
        return hint
    return next((hint for kind, hint in _HINTS.items() if isinstance(error, kind)), "")


def _report(error: LabwireError, *, as_json: bool) -> int:
    code, hint = error.codes.exit_code, hint_for(error)
    if as_json:
        from labwire.cli.output import to_json

        data = {key: value for key, value in error.data.items() if key != "hint"}
        name = type(error).__name__
        body = {"error": name, "message": str(error), "hint": hint, "exit_code": code, "data": data}
        _complain(to_json(body))
    else:
        _complain(f"{_red('error:')} {error}")
        if hint:
            _complain(f"hint: {hint}")
    return code


def _complain(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # standard error is closed: the exit status still tells
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def _red(text: str) -> str:
    coloured = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    return f"\x1b[1;31m{text}\x1b[0m" if coloured else text


def _usage_error(error: CycloptsError, program: str) -> UsageError:
    command = " ".join([program, *(error.command_chain or [])])
    if isinstance(error, UnknownCommandError):
        text = _unknown_command(error)
    elif isinstance(error, UnusedCliTokensError):
        tokens = [f'"{token}"' for token in error.unused_tokens or []]
        text = f"{command} takes no argument{'s' * (len(tokens) > 1)} {', '.join(tokens)}"
    else:
        text = " ".join(str(error).split())
    return UsageError(text, hint=f"`{command} --help` shows what there is")


def _unknown_command(error: UnknownCommandError) -> str:
    # cyclopts would import every group to word this, and fail if one of them cannot be imported.
    from labwire.strict import nearest

    given, names = (error.unused_tokens or ["?"])[0], list(error.app or ())
    words = [name for name in names if not name.startswith("-")]
    if given.startswith("-"):
        return f'there must be a command before "{given}": {", ".join(words)}'
    near = f"--{given}" if f"--{given}" in names else nearest(given, words)
    return f'there is no command "{given}"' + (f'; did you mean "{near}"?' if near else "")


def _of_the_machine(error: Exception) -> LabwireError | None:
    """Return what to tell about an error that is neither a bug nor named yet: a file or disk that does not do."""
    from cyclopts.completion.detect import ShellDetectionError

    if isinstance(error, ShellDetectionError):
        return UsageError("which shell is this? Say --shell bash, zsh, fish or powershell")
    if isinstance(error, OSError) and (error.filename or error.errno == errno.ENOSPC):
        where = f"{error.filename}: " if error.filename else ""
        return ResourceError(f"{where}{error.strerror}", errno=error.errno)
    return None


def _bug(error: Exception) -> InternalError:
    where = _write_report(error)
    return InternalError(
        f"this is a bug in labwire: {type(error).__name__}: {error}",
        hint=f"please report it with this file: {where}" if where else "its traceback could not be written anywhere",
    )


def _write_report(error: Exception) -> Path | None:
    """Write the traceback where the user can find it; return the path, or None if no folder takes it."""
    from labwire.version import __version__

    text = "".join(
        [
            f"labwire {__version__}, Python {platform.python_version()}, {platform.platform()}\n",
            f"{sys.argv}\n\n",
            *traceback.format_exception(error),
        ]
    )
    name = f"bug-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    for folder in _report_folders():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        except OSError:
            continue
        return folder / name
    return None


def _report_folders() -> Iterator[Path]:
    from labwire.bus.config import state_folder

    yield state_folder() / "labwire"
    yield Path(tempfile.gettempdir())


def _is_of_the_terminal(error: Exception, terminals: Sequence[TextIO]) -> bool:
    """Tell whether an error means that the terminal was closed: it is none any more."""
    if not isinstance(error, OSError) or error.errno != errno.EIO or error.filename:
        return False
    return any(not stream.isatty() for stream in terminals)


def let_go_of_the_dead() -> None:
    """Have what waits for a reader that went away go nowhere, or the interpreter complains of it at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                if nowhere != stream.fileno():  # it is, where that number was closed and the lowest that is free
                    os.dup2(nowhere, stream.fileno())
                    os.close(nowhere)
