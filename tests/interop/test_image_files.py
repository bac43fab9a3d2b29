"""Our files in the hands of other people's readers: fabio, nxmx, silx, punx, each where it is installed."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest

from labwire.images.config import MasterFormat, WriterOptions
from labwire.images.run_taker import RunTaker
from labwire.wire.image_codec import decode_message
from labwire.wire.image_message import CalibrationMessage, EndMessage
from labwire.wire.image_user_data import start_for_socket
from tests.images.runs import BAD_PIXEL, HEIGHT, WIDTH, image, image_message, pixels_of, start_message

assert hdf5plugin.PLUGIN_PATH
IMAGES, PER_FILE = 25, 10


def store(folder: Path, master_format: MasterFormat = "NXmxVDS") -> Path:
    """Store a run; return the master file."""
    taker = RunTaker(folder, WriterOptions(format=master_format), source="a test", on_event=lambda *_: None)
    taker.start(start_for_socket(start_message(IMAGES, PER_FILE), socket_number=0))
    taker.calibration(CalibrationMessage(data={"pedestal_g0": image_message(0).data["default"]}))
    for number in range(IMAGES):
        taker.image(decode_message(b"".join(image(number))))
    taker.end(EndMessage(series_id=7, max_image_number=IMAGES))
    return folder / "lyso" / "lyso_1_master.h5"


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store(tmp_path_factory.mktemp("vds"))


@pytest.fixture(scope="module")
def legacy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store(tmp_path_factory.mktemp("legacy"), "NXmxLegacy")


def module(name: str) -> Any:
    """A foreign reader; a test skips where it is not installed."""
    pytest.importorskip(name.partition(".")[0], exc_type=ImportError)
    return importlib.import_module(name)


def test_h5py_and_hdf5plugin(master: Path) -> None:
    with h5py.File(master) as file:
        read: Any = file.get
        data = read("entry/data/data")
        assert data.shape == (IMAGES, HEIGHT, WIDTH)
        assert (data[13] == pixels_of(13)).all()
        assert (data[()] == np.stack([pixels_of(number) for number in range(IMAGES)])).all()
        assert read("entry/instrument/detector/data")[3, 0, 0] == pixels_of(3)[0, 0]
        mask = read("entry/instrument/detector/pixel_mask")
        assert mask[BAD_PIXEL] == 1
        assert mask == read("entry/instrument/detector/detectorSpecific/pixel_mask")
        assert read("entry/MX/bkgEstimate")[()].tolist() == list(map(float, range(IMAGES)))
        assert read("entry/MX/nPeaks")[()].tolist() == [number % 3 for number in range(IMAGES)]
        assert read("entry/sample/transformations/omega")[()] == pytest.approx(10.0 + 0.1 * np.arange(IMAGES))
        assert read("entry/user/answer")[()] == 42
        assert read("entry/detector/image_stored")[()].all()


def test_links_of_the_old_kind(legacy: Path) -> None:
    with h5py.File(legacy) as file:
        read: Any = file.get
        names = [f"data_{number:06d}" for number in (1, 2, 3)]
        assert list(read("entry/data")) == names
        lengths = [read(f"entry/data/{name}").shape[0] for name in names]
        assert lengths == [10, 10, 5]
        assert (read("entry/data/data_000002")[3] == pixels_of(13)).all()
        last = read("entry/data/data_000003").attrs
        assert (last["image_nr_low"], last["image_nr_high"]) == (21, 25)


def test_fabio_reads_every_image(master: Path, legacy: Path) -> None:
    fabio: Any = module("fabio")
    for path in (master, legacy):
        with fabio.open(str(path)) as opened:
            assert opened.nframes == IMAGES
            for number in (0, 9, 10, 24):
                assert (opened.getframe(number).data == pixels_of(number)).all()


def test_nxmx_understands_the_geometry(master: Path) -> None:
    nxmx: Any = module("nxmx")
    with h5py.File(master) as file:
        read = nxmx.NXmx(file)
        (entry,) = read.entries
        assert entry.definition == "NXmx"
        (instrument,) = entry.instruments
        assert str(instrument.name) == "X06SA"
        (detector,) = instrument.detectors
        assert detector.distance.to("mm").magnitude == pytest.approx(200.0)
        assert detector.count_time.to("ms").magnitude == pytest.approx(9.0)
        assert detector.sensor_material == "Si"
        assert detector.pixel_mask_applied in {None, False}
        (module_,) = detector.modules
        assert tuple(module_.data_size) == (HEIGHT, WIDTH)
        assert module_.fast_pixel_direction[()].to("um").magnitude == pytest.approx(75.0)
        (beam,) = instrument.beams
        assert beam.incident_wavelength.to("angstrom").magnitude == pytest.approx(1.0)
        (sample,) = entry.samples
        chain = nxmx.get_dependency_chain(sample.depends_on)
        assert [axis.path.rpartition("/")[2] for axis in chain] == ["omega"]
        (data,) = entry.data
        assert data[data.signal].shape == (IMAGES, HEIGHT, WIDTH)


def test_the_beam_hits_the_pixel_that_start_named(master: Path) -> None:
    """Corner of the module, and one pixel after the other from there: at the beam center we are on the beam's axis."""
    nxmx: Any = module("nxmx")
    with h5py.File(master) as file:
        module_ = nxmx.NXmx(file).entries[0].instruments[0].detectors[0].modules[0]
        fast, slow = module_.fast_pixel_direction, module_.slow_pixel_direction
        chain = nxmx.get_dependency_chain(fast.depends_on)
        origin = nxmx.get_cumulative_transformation(chain)[0, :3, 3]
        place = origin + 20.5 * fast.vector * 0.075 + 10.25 * slow.vector * 0.150
        assert place == pytest.approx([0.0, 0.0, 200.0], abs=1e-9)


def test_silx_shows_the_images_by_default(master: Path, legacy: Path) -> None:
    silx_io: Any = module("silx.io")
    nxdata: Any = importlib.import_module("silx.io.nxdata")
    for path in (master, legacy):
        with silx_io.open(str(path)) as file:
            default = nxdata.get_default(file)
            assert default is not None
            assert default.is_valid, default.issues
            assert default.signal.shape[1:] == (HEIGHT, WIDTH)
            assert (default.signal[3] == pixels_of(3)).all()


def test_punx_finds_no_error(master: Path) -> None:
    module("punx")
    done = subprocess.run(
        [sys.executable, "-m", "punx.main", "validate", "--report", "ERROR", str(master)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert done.returncode == 0, done.stderr
    count = re.search(r"^ERROR\s+(\d+) ", done.stdout, re.MULTILINE)
    assert count is not None, done.stdout
    assert int(count[1]) == 0, done.stdout
