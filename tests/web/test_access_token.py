"""The token: made once, for its owner's eyes only."""

from __future__ import annotations

from pathlib import Path

import pytest

from labwire.errors import ConfigError
from labwire.web.access_token import read_or_make_token


def test_it_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "token"
    token = read_or_make_token(path)
    assert len(token) >= 32
    assert read_or_make_token(path) == token
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["token"]


def test_one_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("x" * 40)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match=r"mode 0644.*chmod 600"):
        read_or_make_token(path)


def test_a_short_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("1234\n")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="fewer than 16"):
        read_or_make_token(path)


def test_a_place_where_it_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot"):
        read_or_make_token(tmp_path / "file" / "token")
