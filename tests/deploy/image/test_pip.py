"""What of this machine's pip configuration a build is shown."""

from __future__ import annotations

import configparser
import os
from pathlib import Path

import pytest

from deploy.image import pip


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only file that pip reads, empty."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS"):
        monkeypatch.setenv(name, str(tmp_path / "nobody"))
    file = tmp_path / "own.conf"
    file.touch()
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    return file


def test_what_is_configured_is_shown_whatever_it_was_configured_by(
    configuration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "index" / "simple").mkdir(parents=True)
    certificate = tmp_path / "own.pem"
    certificate.touch()
    configuration.write_text(
        f"[global]\nindex-url = https://one.example/simple\nextra-index-url = file://{tmp_path}/index/simple\n"
        f"    https://two.example/simple\n[install]\ncert = {certificate}\n[download]\nindex-url = https://no.example\n"
    )
    monkeypatch.setenv("PIP_INDEX_URL", "https://three.example/simple")
    secrets, directories = pip.secrets(tmp_path)
    shown = configparser.RawConfigParser()
    shown.read(secrets["pip"])
    assert shown["global"]["index-url"] == "https://three.example/simple"
    assert shown["global"]["extra-index-url"].split() == [
        f"file://{tmp_path}/index/simple",
        "https://two.example/simple",
    ]
    assert shown["global"]["cert"] == pip.CERTIFICATE
    assert secrets["pip-cert"] == certificate
    assert directories == [tmp_path / "index"]
    assert secrets["pip"].stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("configuration")
def test_a_bare_machine_has_nothing_to_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    assert pip.secrets(tmp_path) == ({}, [])
