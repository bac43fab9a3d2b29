"""The commands for instruments against a real rig: what people and programs read, and what goes wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from labwire.cli.connection import HERE
from labwire.cli.instruments import read_commands, show_states
from labwire.errors import UsageError
from labwire.operations.instruments import CommandRequest, InstrumentStatus
from tests.bus.fake_hub import wait_until
from tests.rig_fixture import RunningRig, running_rig

BENCH = """
name = "bench"

[instruments.DMM1]
driver = "labwire.instruments.drivers.simulated:Multimeter"
queue = "socket"
voltage_v = 2.5
drift_v = 0.0

[instruments.SCOPE1]
driver = "labwire.instruments.drivers.simulated:Oscilloscope"
queue = "socket"

[instruments.SLOW]
driver = "labwire.instruments.drivers.simulated:Slow"
queue = "socket"
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRig]:
    with running_rig(tmp_path_factory.mktemp("bench"), BENCH) as running:
        wait_until(lambda: running.labwire("instruments").stdout.count("ready") == 3, "the instruments")
        yield running


def out(rig: RunningRig, *words: str) -> str:
    done = rig.labwire(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def error(rig: RunningRig, *words: str) -> tuple[int, str]:
    done = rig.labwire(*words)
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_list(bench: RunningRig) -> None:
    lines = out(bench, "instruments").splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [
        ["DMM1", "ready", "Multimeter"],
        ["SCOPE1", "ready", "Oscilloscope"],
        ["SLOW", "ready", "Slow"],
    ]
    rows = json.loads(out(bench, "instruments", "--json"))
    assert [row["name"] for row in rows] == ["DMM1", "SCOPE1", "SLOW"]
    assert json.loads(out(bench, "instruments", "list", "--json"))[0]["queue"] == "socket"


def test_an_error_is_shown_whole_on_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    told = "not allowed: set it as root: sysctl fs.mqueue.msgsize_max=8208 fs.mqueue.msg_max=100"
    show_states([InstrumentStatus(name="PX", state="given_up", last_error=told)], HERE)
    assert capsys.readouterr().out.splitlines()[-1] == f"PX: {told}"


def test_one_tells_what_it_can_do(bench: RunningRig) -> None:
    text = out(bench, "instruments", "DMM1")
    assert "MEASURE_VOLTAGE [range=FLOAT] [samples=INT] -> float V" in text
    assert "in V, 0.1 to 1000, default 10.0" in text
    assert "1 to 1000000" in text
    assert json.loads(out(bench, "instruments", "DMM1", "--json"))["verbs"][0]["name"] == "IDENTIFY"
    assert ", block after block" in out(bench, "instruments", "describe", "SCOPE1")


def test_call(bench: RunningRig) -> None:
    value, unit = out(bench, "call", "DMM1", "MEASURE_VOLTAGE", "range=10", "samples=100").split()
    assert (float(value), unit) == (pytest.approx(2.5, abs=0.01), "V")
    result = json.loads(out(bench, "call", "DMM1", "measure_voltage", '{"range": 10}', "--json"))
    assert result["command_id"].startswith("DMM1-")
    assert result["value"] == pytest.approx(2.5, abs=0.01)
    assert out(bench, "call", "DMM1", "IDENTIFY") == "labwire,Simulated multimeter,0,1\n"


def test_call_many_times(bench: RunningRig) -> None:
    done = bench.labwire("call", "DMM1", "IDENTIFY", "--repeat", "5", "--every", "0.01")
    assert done.stdout.splitlines() == ["labwire,Simulated multimeter,0,1"] * 5
    assert "5 commands; an answer took" in done.stderr


def test_a_waveform_goes_into_a_file(bench: RunningRig) -> None:
    text = out(bench, "call", "SCOPE1", "READ_WAVEFORM", "points=1000", "--save", "wave.npy")
    assert text.startswith("float32 (1000,), -1.")
    assert np.load(bench.folder / "wave.npy").shape == (1000,)
    assert json.loads(out(bench, "call", "SCOPE1", "READ_WAVEFORM", "points=2", "--json"))["array"]["dtype"] == "<f4"
    done = bench.labwire("call", "DMM1", "IDENTIFY", "--save", "x.npy")
    assert (done.returncode, done.stderr) == (
        2,
        "error: there is nothing to write to x.npy: the command returned no waveform\n",
    )


def test_what_goes_wrong_reads_well(bench: RunningRig) -> None:
    code, text = error(bench, "call", "DMM1", "MEASURE_VOLTAGE", "range=0.1")
    assert code == 17
    assert "DMM1 MEASURE_VOLTAGE failed: overload" in text
    code, text = error(bench, "call", "DMM1", "MEASURE_VOLT")
    assert (code, "MEASURE_VOLTAGE" in text) == (4, True)
    code, text = error(bench, "call", "DMM2", "IDENTIFY")
    assert (code, text) == (4, "error: no instrument 'DMM2'; there are: DMM1, SCOPE1, SLOW\n")
    code, text = error(bench, "call", "SLOW", "SLEEP", "seconds=0.3", "--timeout-ms", "20", "--json")
    told = json.loads(text)
    assert (code, told["error"]) == (11, "DeadlineError")
    assert "labwire instruments restart SLOW --port" in told["hint"]
    code, text = error(bench, "call", "DMM1", "MEASURE_VOLTAGE", "10")
    assert (code, text) == (2, "error: '10' is neither key=value nor a JSON object\n")


def test_a_list_of_commands(bench: RunningRig) -> None:
    (bench.folder / "commands").write_text(
        "# a list\nDMM1 IDENTIFY\n\nSCOPE1 READ_WAVEFORM points=5   # five\n"
        '{"name": "DMM1", "verb": "MEASURE_VOLTAGE", "params": {"range": 0.1}}\nDMM1 IDENTIFY\n'
    )
    done = bench.labwire("instruments", "run", "commands")
    assert done.returncode == 17
    assert done.stdout.splitlines()[0] == "labwire,Simulated multimeter,0,1"
    assert "DMM1 MEASURE_VOLTAGE: DMM1 MEASURE_VOLTAGE failed: overload" in done.stderr
    assert "3 of 4 commands ran, 1 failed" in done.stderr
    done = bench.labwire("instruments", "run", "commands", "--keep-going", "--json")
    assert [bool(json.loads(line)["error"]) for line in done.stdout.splitlines()] == [False, False, True, False]


def test_blocks(bench: RunningRig) -> None:
    words = ("instruments", "acquire", "SCOPE1", "ACQUIRE", "points=10", "real_time=false")
    lines = out(bench, *words, "--count", "20").splitlines()
    assert [line.partition(":")[0] for line in lines] == [str(number) for number in range(20)]
    assert len(out(bench, *words, "blocks=3", "--json").splitlines()) == 3
    assert json.loads(out(bench, *words, "blocks=3", "--only-to-bus", "--json"))["blocks"] == 3


def test_steering(bench: RunningRig) -> None:
    assert json.loads(out(bench, "instruments", "ping", "DMM1", "--json"))["round_trip_us"] > 0
    assert "µs" in out(bench, "instruments", "ping", "DMM1")
    assert json.loads(out(bench, "instruments", "barrier", "DMM1", "SCOPE1", "--json"))["names"] == ["DMM1", "SCOPE1"]
    assert "DMM1" in out(bench, "instruments", "cancel", "DMM1")


def test_a_script(bench: RunningRig) -> None:
    (bench.folder / "measure.py").write_text(
        "from beside import AVERAGE\n"
        "dmm = instrument('DMM1')\n"
        "values = [dmm.measure_voltage(range=10.0) for _ in progress(range(AVERAGE), 'measuring')]\n"
        "print(len(values), args, rig.status().name)\n"
    )
    (bench.folder / "beside.py").write_text("AVERAGE = 20\n")
    assert out(bench, "script", "measure.py", "fast", "-x") == "20 ['fast', '-x'] bench\n"
    (bench.folder / "wrong.py").write_text("def f():\n    instrument('DMM1').measure_voltage(range='x')\n\nf()\n")
    code, text = error(bench, "script", "wrong.py")
    assert code == 2
    assert text.startswith("wrong.py, line 2:\nerror: DMM1 MEASURE_VOLTAGE: parameter 'range'")


def test_lists_are_read() -> None:
    assert read_commands('A READ n=1 \'text=a b\'\n# no\n\n{"name": "B", "verb": "GO"}', 250) == [
        CommandRequest(name="A", verb="READ", params={"n": 1, "text": "a b"}, timeout_ms=250),
        CommandRequest(name="B", verb="GO", timeout_ms=250),
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("A READ\nB", "line 2: 'B' is no command"),
        ("A READ n", "line 1: 'n' is neither"),
        ("A 'READ", "line 1: No closing quotation"),
        ('{"name": 3}', "line 1: "),
        ("# nothing", "0 commands"),
    ],
)
def test_a_line_that_is_no_command_is_named(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        read_commands(text, 1000)


def test_a_list_that_cannot_be_read(bench: RunningRig, tmp_path: Path) -> None:
    code, text = error(bench, "instruments", "run", str(tmp_path / "nowhere"))
    assert (code, "No such file" in text) == (2, True)
