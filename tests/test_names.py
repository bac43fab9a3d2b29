"""The grammar of names, and what is refused in them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.errors import InvalidNameError
from labwire.names import check_actor_name, check_session_name, check_subject, check_topic


@pytest.mark.parametrize("name", ["world", "eye0", "DMM-1", "a" * 64, "0"])
def test_actor_names(name: str) -> None:
    assert check_actor_name(name) == name


@pytest.mark.parametrize("name", ["", "a" * 65, "-x", "_x", "a b", "a.b", "a/b", "..", "ä", "x\n", "x\0"])
def test_refused_actor_names(name: str) -> None:
    with pytest.raises(InvalidNameError):
        check_actor_name(name)


@pytest.mark.parametrize("topic", ["pupil.0", "gaze.3d.01.", "annotation", "é" * 127])
def test_topics(topic: str) -> None:
    assert check_topic(topic) == topic
    assert check_subject(topic) == topic


@pytest.mark.parametrize("topic", ["", "a\nb", "a\0", "é" * 128])
def test_refused_topics(topic: str) -> None:
    with pytest.raises(InvalidNameError):
        check_topic(topic)


@pytest.mark.parametrize("name", ["", "my session", "pilot/monday", "über", "2026_11_21", "a.b"])
def test_session_names(name: str) -> None:
    assert check_session_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "../x",
        "a/../b",
        "/etc",
        "a//b",
        "a/",
        ".",
        ".hidden",
        "a\\b",
        "C:x",
        "a\0b",
        "con",
        "a/NUL.txt",
        " a",
        "a.",
    ],
)
def test_refused_session_names(name: str) -> None:
    with pytest.raises(InvalidNameError):
        check_session_name(name)


@given(st.text(max_size=200))
def test_no_accepted_session_name_leaves_the_root(name: str) -> None:
    try:
        accepted = check_session_name(name)
    except InvalidNameError:
        return
    root = Path("/recordings")
    inside = Path(*[part for part in (root / accepted).parts if part != ".."])
    assert root / accepted == inside
    assert (root / accepted).is_relative_to(root)
