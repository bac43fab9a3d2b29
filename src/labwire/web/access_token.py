"""The token that lets people in from other computers: made once, in a file that only its owner can read."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from labwire.errors import ConfigError

TOKEN_BYTES = 24
_SHORTEST = 16


def read_or_make_token(path: Path) -> str:
    """Return the token of a file; without a file, make one with mode 0600.

    Raises:
        ConfigError: Others can read it, it is too short, or it cannot be read or made.
    """
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise ConfigError(f"cannot read the token in {path}: {error.strerror}", file=str(path)) from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Never there without its content, never readable by others: two rigs may start together.
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(TOKEN_BYTES) + "\n")
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # the other one was first
        finally:
            draft.unlink()
        return _read(path)
    except OSError as error:
        raise ConfigError(f"cannot make the token in {path}: {error.strerror}", file=str(path)) from error


def _read(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        token = file.read(4096).strip()
    if mode & 0o077:
        raise ConfigError(
            f"others can read the token in {path} (mode {mode:04o}): chmod 600 {path}, or delete it to get a new one",
            file=str(path),
        )
    if len(token) < _SHORTEST:
        raise ConfigError(
            f"the token in {path} has fewer than {_SHORTEST} characters: delete it to get a new one", file=str(path)
        )
    return token
