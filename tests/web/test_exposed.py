"""TLS by certificate files, and the page that opens by itself."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from labwire.errors import ERROR_CODES, ConfigError
from labwire.testing import wait_until
from labwire.testing.rig import environment, run_labwire, running_rig


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1, and its key beside it."""
    openssl = shutil.which("openssl") or pytest.skip("openssl, which makes the certificate, is not here")
    folder = tmp_path_factory.mktemp("tls")
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "rig.key", "-out", "rig.pem"]
    subprocess.run([*command, *files], cwd=folder, check=True, capture_output=True)
    return folder / "rig.pem"


def test_https(tmp_path: Path, certificate: Path) -> None:
    key = certificate.with_suffix(".key")
    toml = f'name = "tls"\n[web]\ncertificate = "{certificate}"\nkey = "{key}"\n'
    with running_rig(tmp_path, toml, web=True) as rig:
        assert rig.ready.web.startswith("https://127.0.0.1:")
        trusting = ssl.create_default_context(cafile=certificate)
        with urllib.request.urlopen(f"{rig.ready.web}/health", context=trusting, timeout=20) as answer:  # noqa: S310
            assert answer.status == 200


def test_a_key_without_its_certificate(tmp_path: Path) -> None:
    (tmp_path / "a.pem").write_text("x")
    (tmp_path / "rig.toml").write_text('[web]\ncertificate = "a.pem"\n')
    done = run_labwire("run", "rig.toml", env=environment(tmp_path), cwd=tmp_path)
    assert done.returncode == ERROR_CODES[ConfigError].exit_code
    assert "https needs both" in done.stderr


def test_files_that_are_no_certificate_keep_only_the_page_from_running(tmp_path: Path) -> None:
    for name in ("a.pem", "a.key"):
        (tmp_path / name).write_text("this is no certificate")
    toml = 'name = "tls"\n[web]\ncertificate = "a.pem"\nkey = "a.key"\n'
    with running_rig(tmp_path, toml, web=True) as rig:
        assert rig.ready.failed == ["web"]
        assert rig.ready.web == ""
        assert "cannot use certificate" in rig.labwire("actors", "list", "--json").stdout


def test_open_opens_the_page(tmp_path: Path) -> None:
    (tmp_path / "browser.py").write_text("import pathlib, sys\npathlib.Path('opened').write_text(sys.argv[1])\n")
    env = {"BROWSER": f"{sys.executable} {tmp_path / 'browser.py'} %s"}
    with running_rig(tmp_path, 'name = "bare"', ["--open"], env, web=True) as rig:
        wait_until(lambda: (tmp_path / "opened").exists() and (tmp_path / "opened").read_text() == rig.ready.web)
