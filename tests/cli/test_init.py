"""``labwire init`` writes rig files that pass the check."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest

from labwire.cli.init import ask
from labwire.cli.main import main
from labwire.rig.new_rig import NewRig, name_from
from labwire.rig.rig_file import load_rig
from labwire.sources.config import PupilConfig
from tests.rig_fixture import environment
from tests.terminal import on_a_terminal


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["init", *arguments])
    out, err = capsys.readouterr()
    return ended.value.code, out, err


@pytest.fixture(autouse=True)
def nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())


@pytest.fixture
def rig(tmp_path: Path) -> Path:
    return tmp_path / "rig.toml"


def test_options_are_answers(capsys: pytest.CaptureFixture[str], rig: Path) -> None:
    options = ["--name", "lab", "--eyes", "simulated", "--camera", "0", "--recordings", "data"]
    instruments = ["--instrument", "DMM1=simulated_multimeter", "--instrument", "PSU=TCPIP0::10.0.0.9::INSTR"]
    code, out, err = run(capsys, str(rig), *options, *instruments, "--allow", "10.0.0.0/8", "--schema")
    assert (code, err) == (0, "")
    assert f"run {rig}" in out
    config = load_rig(rig)
    assert config.name == "lab"
    assert list(config.sources) == ["eyes"]
    assert config.cameras["world"].camera == 0
    assert config.instruments["DMM1"].driver == "simulated_multimeter"
    psu = config.instruments["PSU"]
    assert (psu.driver, psu.options) == ("scpi", {"resource": "TCPIP0::10.0.0.9::INSTR"})
    assert config.recorder
    assert config.recorder.root == str(rig.parent / "data")
    assert (config.network.listen, config.network.allow) == ("0.0.0.0", ["10.0.0.0/8"])
    assert rig.read_text().startswith("#:schema rig.schema.json\n")
    schema = json.loads((rig.parent / "rig.schema.json").read_bytes())
    jsonschema.validate(tomllib.loads(rig.read_text()), schema)


def test_without_a_word_it_is_a_rig_that_records(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "Müllers Labor"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert run(capsys, "--yes", "--json")[:2] == (0, '{"file":"rig.toml","name":"M-llers-Labor"}\n')
    config = load_rig("rig.toml")
    assert config.recorder
    assert not config.network.exposed
    assert [config.cameras, config.sources, config.instruments] == [{}, {}, {}]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--camera", "nothere.mp4"], "there is no file"),
        (["--eyes", "left:"], "simulated"),
        (["--eyes", "9"], "a number is no computer"),
        (["--eyes", "simulatd"], "did you mean simulated? A computer of that name is simulatd:50020"),
        (["--instrument", "DMM1"], "NAME=DRIVER"),
        (["--instrument", "D M=x"], "NAME=DRIVER"),
        (["--instrument", "hub=simulated_multimeter"], "belongs to the rig itself"),
        (["--name", "a b", "--allow", "here"], "2 mistakes"),
    ],
)
def test_answers_that_make_no_rig(
    capsys: pytest.CaptureFixture[str], rig: Path, options: list[str], words: str
) -> None:
    code, _, err = run(capsys, str(rig), *options)
    assert code != 0
    assert words in err
    assert not rig.exists()


def test_pupil_core_as_eyes(capsys: pytest.CaptureFixture[str], rig: Path) -> None:
    assert run(capsys, str(rig), "--eyes", "192.168.1.5:50021")[0] == 0
    eyes = load_rig(rig).sources["eyes"]
    assert isinstance(eyes, PupilConfig)
    assert (eyes.host, eyes.port, eyes.relay) == ("192.168.1.5", 50021, True)


@pytest.mark.parametrize("host", ["lab-pc", "pupil.lab.org", "10.0.0.9", "simulatd:50020"])
def test_a_computer_is_no_misspelled_word(capsys: pytest.CaptureFixture[str], rig: Path, host: str) -> None:
    assert run(capsys, str(rig), "--eyes", host)[0] == 0
    eyes = load_rig(rig).sources["eyes"]
    assert isinstance(eyes, PupilConfig)
    assert eyes.host == host.partition(":")[0]


def test_a_file_that_is_there_stays(capsys: pytest.CaptureFixture[str], rig: Path) -> None:
    rig.write_text("# mine\n")
    code, _, err = run(capsys, str(rig))
    assert (code != 0, "--force" in err, rig.read_text()) == (True, True, "# mine\n")
    assert run(capsys, str(rig), "--force")[0] == 0
    assert load_rig(rig).recorder


def test_only_what_is_open_is_asked() -> None:
    answers = {"name": "", "camera": "demo", "an instrument": "", "networks": "10.0.0.0/8, 10.1.0.0/16"}

    def read(question: str) -> str:
        return answers.pop(next(one for one in answers if question.startswith(one)))

    new = ask(NewRig(name="given"), {"name", "camera", "instruments", "allow"}, read)
    assert not answers
    assert (new.name, new.camera, new.allow) == ("given", "demo", ("10.0.0.0/8", "10.1.0.0/16"))


@pytest.mark.skipif(sys.platform != "linux", reason="needs a pseudo terminal")
def test_a_person_answers(tmp_path: Path) -> None:
    with on_a_terminal([sys.executable, "-m", "labwire", "init"], env=environment(tmp_path), cwd=tmp_path) as terminal:
        for question, answer in (
            ("name of the rig", "my bench"),
            ("is not a name", "bench"),
            ("eye tracker", "simulated"),
            ("camera", ""),
            ("folder for recordings", "none"),
            ("an instrument", "oops"),
            ("NAME=DRIVER", "DMM1=simulated_multimetre"),
            ("did you mean 'simulated_multimeter'", "DMM1=simulated_multimeter"),
            ("an instrument", ""),
            ("networks", "y"),
            ("is not a network", ""),
        ):
            terminal.wait_for(question)
            terminal.type(f"{answer}\n")
        terminal.wait_for("is written")
    config = load_rig(tmp_path / "rig.toml")
    assert (config.name, list(config.sources), list(config.instruments)) == ("bench", ["eyes"], ["DMM1"])
    assert config.recorder is None


@pytest.mark.skipif(sys.platform != "linux", reason="needs a pseudo terminal")
def test_an_option_that_is_wrong_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "labwire", "init", "--instrument", "DMM1=nosuch"]
    with on_a_terminal(command, env=environment(tmp_path), cwd=tmp_path) as terminal:
        terminal.wait_for("no driver 'nosuch' is installed; installed are: ")
        terminal.wait_for(". A class is named 'module:Class'")
    assert not (tmp_path / "rig.toml").exists()


def test_names_of_folders() -> None:
    assert [name_from(name) for name in ("eyes", "my lab", "-x-", "ü", "a" * 99)] == [
        "eyes",
        "my-lab",
        "x",
        "rig",
        "a" * 64,
    ]


TAPLO = Path(sys.executable).parent / "taplo"


@pytest.mark.skipif(not TAPLO.exists(), reason="taplo is not installed")
def test_editors_find_the_schema_and_check_by_it(capsys: pytest.CaptureFixture[str], rig: Path) -> None:
    assert run(capsys, str(rig), "--eyes", "simulated", "--instrument", "D=simulated_multimeter", "--schema")[0] == 0

    def lint() -> subprocess.CompletedProcess[str]:
        return subprocess.run([TAPLO, "lint", rig.name], cwd=rig.parent, capture_output=True, text=True, check=False)

    assert lint().returncode == 0, lint().stderr
    rig.write_text(rig.read_text().replace("root =", "rot ="))
    assert lint().returncode == 1
