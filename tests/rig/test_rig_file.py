"""A rig file is read, or everything that is wrong in it is said at once."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any, cast

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.errors import ConfigError, codes_of
from labwire.rig.rig_classes import check_classes
from labwire.rig.rig_config import HIDDEN, fold_options
from labwire.rig.rig_file import RigConfig, default_toml, dump, load_rig, parse_rig, schema
from labwire.strict import help_of


def mistakes_of(text: str, **overrides: Any) -> list[dict[str, Any]]:
    with pytest.raises(ConfigError) as caught:
        parse_rig(text, file="rig.toml", overrides={key.replace("__", "."): value for key, value in overrides.items()})
    mistakes = caught.value.data["mistakes"]
    assert isinstance(mistakes, list)
    return mistakes


def rows_of(text: str, **overrides: Any) -> list[tuple[int | None, str, str, str]]:
    return [(one["line"], one["key"], one["text"], one["hint"]) for one in mistakes_of(text, **overrides)]


# --- what is right


def test_no_file_gives_the_defaults() -> None:
    assert load_rig(None) == RigConfig()


def test_a_whole_rig(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").touch()
    file = tmp_path / "rig.toml"
    file.write_text(
        """
name = "lab-1"
remote.port = 0
[bus]
slow_subscriber_s = 3
[network]
listen = "0.0.0.0"
allow = ["192.168.1.0/24", "10.0.0.7"]
[log]
folder = "log"
[cameras.world]
video = "clip.mp4"
[sources.eyes]
kind = "simulated_eyes"
[recorder]
root = "kept"
[file_ipc]
camera = "world"
base_directory = "out"
[actors.alarm]
class = "my_lab.alarms:Alarm"
threshold = 3
options = "not ours"
"""
    )
    rig = load_rig(file)
    assert (rig.name, rig.remote.port, rig.bus.slow_subscriber_s) == ("lab-1", 0, 3.0)
    assert rig.network.exposed
    assert not RigConfig().network.exposed
    assert rig.cameras["world"].video == str(tmp_path / "clip.mp4")
    assert rig.recorder
    assert rig.recorder.root == str(tmp_path / "kept")
    assert rig.file_ipc
    assert rig.file_ipc.base_directory == str(tmp_path / "out")
    assert rig.log.file_path(rig.name) == str(tmp_path / "log" / "lab-1.log")
    assert rig.actors["alarm"].actor_class == "my_lab.alarms:Alarm"
    assert rig.actors["alarm"].options == {"threshold": 3, "options": "not ours"}


def test_overrides_win_and_their_paths_start_at_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    (here / "mine.mp4").touch()
    file = there / "rig.toml"
    file.write_text('[remote]\nport = 1\n[cameras.world]\ndemo = true\nfps = "wrong"\n[recorder]\nroot = "kept"\n')
    monkeypatch.chdir(here)
    rig = load_rig(file, {"remote.port": 0, "cameras.world": {"video": "mine.mp4"}, "bus.pub_port": None})
    assert rig.remote.port == 0
    assert rig.cameras["world"].video == str(here / "mine.mp4")
    assert rig.recorder
    assert rig.recorder.root == str(there / "kept")
    assert load_rig(None, {"recorder.root": None}).recorder is None, "taking away what is not there makes no table"


def test_log_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert RigConfig().log.file_path("demo") == str(tmp_path / "labwire" / "log" / "demo.log")
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert RigConfig().log.file_path("demo") == str(Path.home() / ".local/state/labwire/log/demo.log")


def test_byte_order_mark_and_windows_lines(tmp_path: Path) -> None:
    file = tmp_path / "rig.toml"
    file.write_bytes(b'\xef\xbb\xbfname = "a"\r\n[bus]\r\npub_port = 5\r\n')
    assert load_rig(file).bus.pub_port == 5


# --- what is wrong


def test_all_mistakes_at_once_in_the_order_of_the_file() -> None:
    text = """\
name = "my rig"
[bus]
pub_prot = 1
port = 3
sub_port = 50020
[remote]
replies = "pupil"
[cameras.hub]
demo = true
[cameras.b]
video = "nowhere.mp4"
[file_ipc]
camera = "c"
[actors.x]
threshold = 3
[actors.y]
class = "my_lab.Alarm"
[recoder]
"""
    found = [(line, key, hint) for line, key, _, hint in rows_of(text)]
    assert [(line, key) for line, key, _ in found] == [
        (1, "name"),
        (3, "[bus] pub_prot"),
        (4, "[bus] port"),
        (5, "[bus] sub_port"),
        (7, "[remote] replies"),
        (8, "[cameras.hub]"),
        (11, "[cameras.b] video"),
        (13, "[file_ipc] camera"),
        (14, "[actors.x] class"),
        (17, "[actors.y] class"),
        (18, "[recoder]"),
    ]
    hints = {key: hint for _, key, hint in found}
    assert hints["[bus] pub_prot"] == "did you mean pub_port?"
    assert hints["[bus] port"] == "it belongs into [remote]"
    assert hints["[remote] replies"] == 'did you mean "pupil3"?'
    assert hints["[recoder]"] == "did you mean recorder?"


def test_a_part_that_cannot_do_without_what_is_wrong_hides_no_other_mistake() -> None:
    text = """\
name = "my rig"
[cameras.a]
camara = 0
[alerts.x]
on = "instrument.died"
comand = ["true"]
[cameras.b]
video = "nowhere.mp4"
"""
    assert [row[:2] for row in rows_of(text)] == [
        (1, "name"),
        (3, "[cameras.a] camara"),
        (6, "[alerts.x] comand"),
        (8, "[cameras.b] video"),
    ]


def test_classes_and_their_options_are_looked_at_where_that_runs_nobodys_code() -> None:
    text = """\
[instruments.A]
queue = "boots"
driver = "simulated_multimetre"
[instruments.B]
driver = "labwire.instruments.drivers.simulated:Multimetre"
[instruments.C]
driver = "simulated_multimeter"
sead = 1
[instruments.D]
driver = "somebodys.module:Driver"
anything = 1
[actors.e]
class = "labwire.actors.nothing:There"
[actors.f]
class = "somebodys.module:Actor"
"""
    with pytest.raises(ConfigError) as caught:
        parse_rig(text, also=check_classes)
    mistakes = cast("list[dict[str, str]]", caught.value.data["mistakes"])
    found = {entry["key"]: f"{entry['text']} {entry['hint']}" for entry in mistakes}
    assert list(found) == [
        "[instruments.A] queue",
        "[instruments.A] driver",
        "[instruments.B] driver",
        "[instruments.C] sead",
        "[actors.e] class",
    ]
    assert "did you mean 'simulated_multimeter'" in found["[instruments.A] driver"]
    assert "did you mean 'Multimeter'" in found["[instruments.B] driver"]


def test_the_folder_that_a_camera_reads_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    text = '[cameras.face]\nvideo = "old"\n[file_ipc]\ncamera = "face"\nbase_directory = "{}"\n'
    parse_rig(text.format("new"), folder=tmp_path)
    (tmp_path / "link").symlink_to("old")
    for folder in ("./old/", "new/../old", "link"):
        with pytest.raises(ConfigError, match=r"\[file_ipc\] base_directory: .* is read from by a camera"):
            parse_rig(text.format(folder), folder=tmp_path)


def test_the_message_reads_well() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_rig('name = 3\n[bus]\npub_prot = 1\nsub_port = "50"', file="rig.toml")
    assert str(caught.value).splitlines() == [
        "rig.toml: 3 mistakes",
        "  line 1  name: must be text in quotes, not 3",
        "  line 3  [bus] pub_prot: unknown key; did you mean pub_port?",
        '  line 4  [bus] sub_port: must be a whole number, not "50"; without the quotes',
    ]
    with pytest.raises(
        ConfigError, match=r"^rig.toml, line 1: \[bus\] pub_port: must be a whole number <= 65535, not "
    ):
        parse_rig("bus.pub_port = 70000", file="rig.toml")
    assert codes_of(ConfigError).exit_code == 3


@pytest.mark.parametrize(
    ("text", "key", "what"),
    [
        ("bus = 3", "bus", "must be a table of keys, not 3"),
        ("cameras = []", "cameras", "must be a table of keys, not a list"),
        ("[cameras]\nworld = 3", "[cameras] world", "must be a table of keys, not 3"),
        ("[cameras.world]", "[cameras.world]", "a camera needs exactly one of"),
        ("[cameras.world]\ncamera = 0\nfps = 0", "[cameras.world] fps", "must be a number > 0"),
        ("[sources.eyes]", "[sources.eyes] kind", "is missing"),
        ('[sources.eyes]\nkind = "eyes"', "[sources.eyes] kind", 'must be one of "simulated_eyes", "pupil", "lsl"'),
        ('[sources.eyes]\nkind = "simulated_eyes"\neyes = [0, "a"]', "[sources.eyes] eyes, entry 2", "a whole number"),
        ('[sources.eyes]\nkind = "pupil"', "[sources.eyes] port", "this rig's own Remote"),
        ('[network]\nlisten = "0.0.0.0"', "[network] allow", "must name the networks that may connect"),
        ('[network]\nlisten = "::"', "[network] listen", "is not an IPv4 address"),
        ('[network]\nallow = ["192.168.1.0/33"]', "[network] allow, entry 1", "is not a network"),
        ("[network]\nallow = [3]", "[network] allow, entry 1", "must be text in quotes, not 3"),
        ('[network]\nlisten = "0.0.0.0"\nallow = [3]', "[network] allow, entry 1", "must be text in quotes, not 3"),
        ("[bus]\nslow_subscriber_s = nan", "[bus] slow_subscriber_s", "must be a number"),
        ("[bus]\npub_port = 5\nsub_port = 5", "[bus] sub_port", "5 is already [bus] pub_port"),
        ('[cameras."a b"]\ndemo = true', '[cameras."a b"]', "is not a name"),
        ("[cameras.a]\ncamera = 0\n[cameras.b]\ncamera = 0", "[cameras.b] camera", "camera 0 is already [cameras.a]"),
        ('[cameras.a]\ndemo = true\n[actors.a]\nclass = "m:C"', "[actors.a]", "[cameras.a] has this name already"),
        ('[actors.recorder]\nclass = "m:C"', "[actors.recorder]", "belongs to the recorder"),
        ("[actors]\na = 1", "[actors] a", "must be a table of keys, not 1"),
        ("[log]\nlevel = 'info'", "[log] level", "must be one of"),
    ],
)
def test_one_mistake(text: str, key: str, what: str) -> None:
    [(line, found, said, _)] = rows_of(text)
    assert found == key
    assert what in said
    assert line


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("[bus\npub_port = 1", 1, "a table's name stands in [ ]"),
        ("\n\nname = rig", 3, 'text stands in quotes: name = "rig"'),
        ("[cameras.a]\ndemo = True", 2, "true and false are written small: demo = true"),
        ("[bus]\npub_port = 1\npub_port = 2", 3, "it stands there twice"),
        ("[bus]\n[bus]", 2, "it stands there twice"),
        ("hello", 1, "a line is a table's name in [ ], or key = value"),
        ("a = '''\nb", 2, "Expected"),
    ],
)
def test_not_toml(text: str, line: int, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_rig(text, file="rig.toml")
    assert str(caught.value).startswith(f"rig.toml, line {line}: this is not TOML: ")
    assert said in str(caught.value)


def test_a_mistake_of_the_command_line_says_so() -> None:
    [port, key] = mistakes_of("[remote]\nport = 0", remote__port="x", bus__pub_prot=2)
    assert (port["file"], port["line"], port["key"]) == ("the command line", None, "[remote] port")
    assert key["hint"] == "did you mean pub_port?"
    [table] = mistakes_of("bus = 3", bus__pub_port=2)
    assert (table["line"], table["key"]) == (1, "bus")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no rig file .*: labwire config default"):
        load_rig(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot read the rig file"):
        load_rig(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'\nname = "\xe9"')
    with pytest.raises(ConfigError, match=r"latin\.toml, line 2: not UTF-8 text"):
        load_rig(tmp_path / "latin.toml")
    (tmp_path / "video.toml").write_bytes(bytes(2 << 20))
    with pytest.raises(ConfigError, match="is no rig file"):
        load_rig(tmp_path / "video.toml")


TABLES = ["bus", "remote", "network", "cameras", "sources", "recorder", "file_ipc", "actors"]
WORDS = st.sampled_from(
    [*TABLES, "name", "listen", "allow", "world", "kind", "class", "pub_port", "port", "camera", "x"]
)
TREES = st.recursive(
    st.integers() | st.booleans() | st.floats() | st.text(max_size=5) | WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(WORDS, TREES, max_size=5))
def test_any_tree_is_a_rig_or_a_config_error(tree: dict[str, Any]) -> None:
    text = "\n".join(f"{key} = {_inline(value)}" for key, value in tree.items())
    try:
        dump(parse_rig(text, file="rig.toml"))
    except ConfigError as error:
        wrong = error
    else:
        return
    assert str(wrong).startswith("rig.toml")
    assert wrong.data["mistakes"]


def _inline(value: object) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{key} = {_inline(inner)}" for key, inner in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_inline, value)) + "]"
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "")
        case bool():
            return str(value).lower()
        case _:
            return str(value)


# --- the default file, the schema, the dump


def test_default_file_means_the_defaults() -> None:
    text = default_toml()
    assert parse_rig(text) == RigConfig()
    tree = tomllib.loads(text)
    assert tree["remote"] == msgspec.to_builtins(RigConfig().remote), "every key is shown"


def test_default_file_switched_on_is_a_rig() -> None:
    switched_on = re.sub(r"(?m)^#(?=[^ \n])", "", default_toml())
    rig = parse_rig(switched_on)
    assert list(rig.cameras) == ["world"]
    assert list(rig.sources) == ["eyes", "tracker", "eeg"]
    assert rig.recorder == parse_rig("[recorder]").recorder
    assert rig.file_ipc
    assert rig.actors["alarm"].actor_class == "my_lab:Alarm"
    assert max(map(len, switched_on.splitlines())) <= 120


def test_every_key_has_help() -> None:
    tables = {"RemoteConfig", "BusConfig", "NetworkConfig", "LogConfig", "CameraTable", "RecorderConfig"}
    described = {name: one for name, one in schema()["$defs"].items() if name in tables | {"FileIpcConfig"}}
    assert len(described) == len(tables) + 1
    for name, definition in described.items():
        assert definition["description"], name
        for key, one in definition["properties"].items():
            assert one.get("description") or "$ref" in one, f"{name}.{key}: a table is explained by its struct"


def test_schema_takes_what_the_reader_takes_and_refuses_the_rest() -> None:
    validator = jsonschema.Draft202012Validator(schema())
    jsonschema.Draft202012Validator.check_schema(schema())
    validator.validate(tomllib.loads(default_toml()))
    validator.validate({"actors": {"alarm": {"class": "my_lab:Alarm", "threshold": 3}}})
    for wrong in (
        {"bus": {"pub_prot": 1}},
        {"bus": {"pub_port": 70000}},
        {"remote": {"replies": "pupil"}},
        {"actors": {"alarm": {"threshold": 3}}},
        {"sources": {"eyes": {}}},
    ):
        assert not validator.is_valid(wrong), wrong


def test_dump_is_what_the_file_would_say() -> None:
    text = '[cameras.world]\ndemo = true\n[actors.alarm]\nclass = "my_lab:Alarm"\nthreshold = 3\n'
    tree = dump(parse_rig(text))
    assert tree["actors"] == {"alarm": {"class": "my_lab:Alarm", "threshold": 3}}
    assert msgspec.convert(fold_options(tree), RigConfig) == parse_rig(text)
    json.dumps(tree)


def test_dump_hides_secrets() -> None:
    text = '[actors.alarm]\nclass = "m:C"\npassword = "x"\nsmtp = {api_token = "y", port = 3, token = ""}\n'
    assert dump(parse_rig(text))["actors"]["alarm"] == {
        "class": "m:C",
        "password": HIDDEN,
        "smtp": {"api_token": HIDDEN, "port": 3, "token": ""},
    }


def test_dump_hides_secrets_in_commands() -> None:
    command = ["curl", "-H", "Authorization: Bearer abc1", "--api-token", "abc2", "https://u:abc3@x.y/?token=abc4&n=5"]
    tree = dump(parse_rig(f'[alerts.a]\non = "instrument.died"\ncommand = {json.dumps(command)}\n'))
    said = tree["alerts"]["a"]["command"]
    assert not [one for one in said if "abc" in one]
    assert said[:2] + said[3:4] + [said[5]] == ["curl", "-H", "--api-token", f"https://x.y/?token={HIDDEN}&n=5"]


def test_help_is_the_string_under_the_field() -> None:
    assert help_of(RigConfig)["name"].startswith("Name of the rig")
