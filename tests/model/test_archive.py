"""Archives: the same bytes of the same model, moved whole or not at all, believed only as far as their digests go."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks.servers import BUCKET
from model import artefact, gate, store
from model.archive import ArchiveError, Reference, pull, push
from tests.model.conftest import Model
from tests.model.places import BucketSpot, DirectorySpot, Spot, another_store, bucket, contents, s3, tar
from tests.model.toys import copy_of, edit_json, reseal

NOBODY = 65_534


@pytest.fixture(scope="module")
def protocol() -> Iterator[dict[str, str]]:
    """A server of S3's protocol; its environment."""
    with s3() as environ:
        yield environ


@pytest.fixture(params=["directory", "s3"])
def spot(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Spot:
    """An empty place of each kind."""
    if request.param == "directory":
        return DirectorySpot(tmp_path / "archives")
    environ = request.getfixturevalue("protocol")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return BucketSpot(bucket(environ), tmp_path.name)


@pytest.fixture
def directory(tmp_path: Path) -> DirectorySpot:
    """An empty directory, where the kind of place makes no difference."""
    return DirectorySpot(tmp_path / "archives")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Home of the empty store of another machine."""
    return tmp_path / "elsewhere"


def path_of(tag: str) -> str:
    """Where an archive is."""
    return tag.replace(":", "/") + ".tar"


def place_archive(spot: Spot, tag: str, content: bytes) -> str:
    """Put whatever archive there, with the right digest beside it; the exact reference."""
    digest = hashlib.sha256(content).hexdigest()
    spot.write(path_of(tag), content)
    spot.write(f"{path_of(tag)}.sha256", f"{digest}  {path_of(tag).partition('/')[2]}\n".encode())
    return f"{tag}@sha256:{digest}"


def files_of(directory: Path) -> dict[str, bytes]:
    """An artefact's own files; BentoML's note is each store's."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "model.yaml"}


@contextmanager
def store_with(root: Path, directory: Path) -> Iterator[None]:
    """Another store, with that artefact in it."""
    manifest = artefact.read_manifest(directory)
    with another_store(root), store.staging() as staging:
        shutil.copytree(directory, staging / "model")
        (staging / "model" / "model.yaml").unlink(missing_ok=True)
        assert store.put(staging / "model", manifest.tag)
        yield


def changed(model: Model, to: Path, **fields: Any) -> Path:
    """A sound artefact of the same tag whose content is another; or, with `fields`, only its manifest."""
    directory = copy_of(model.directory, to)
    if not fields:
        edit_json(directory / "decision.json", lambda decision: decision.update(threshold=0.123))
    reseal(directory, **fields)
    return directory


def test_a_model_arrives_as_it_left(spot: Spot, boosted: Model, tmp_path: Path) -> None:
    pushed = push(spot.url, boosted.manifest.tag)
    assert pushed.stored
    assert pushed.bytes == len(spot.read(path_of(boosted.manifest.tag)))
    with another_store(tmp_path / "elsewhere"):
        pulled = pull(spot.url, pushed.reference)
        assert (pulled.tag, pulled.stored) == (boosted.manifest.tag, True)
        assert pushed.reference == f"{pulled.tag}@sha256:{pulled.digest}"
        arrived = store.path(pulled.tag)
        assert arrived.is_relative_to(tmp_path / "elsewhere")
        assert files_of(arrived) == files_of(boosted.directory)
        assert {stat.S_IMODE(path.stat().st_mode) for path in arrived.iterdir()} == {0o644}
        assert stat.S_IMODE(arrived.stat().st_mode) == 0o755
        assert "agree to the last bit" in gate.load(arrived, boosted.toy.usecase.features).proof
        assert store.tags() == [boosted.manifest.tag]


def test_the_archive_of_a_model_is_the_same_bytes_from_every_store(
    directory: DirectorySpot, boosted: Model, tmp_path: Path
) -> None:
    first = push(directory.url, boosted.manifest.tag)
    with another_store(tmp_path / "elsewhere"):
        pull(directory.url, boosted.manifest.tag)
        arrived = store.path(boosted.manifest.tag)
        for path in arrived.iterdir():
            path.chmod(0o600)
            os.utime(path, (1, 1))
        (arrived / "left.over").write_text("no part of it")
        second = push(str(tmp_path / "second"), boosted.manifest.tag)
    assert second.reference == first.reference
    name = path_of(boosted.manifest.tag)
    assert (tmp_path / "second" / name).read_bytes() == directory.read(name)


def test_what_an_archive_holds_is_bare(directory: DirectorySpot, linear: Model) -> None:
    push(directory.url, linear.manifest.tag)
    members = [member for member, _ in contents(directory.read(path_of(linear.manifest.tag)))]
    names = [member.name for member in members]
    assert names == sorted(names)
    assert set(names) == set(linear.manifest.files) | {"manifest.json", "manifest.sha256"}
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(0, 0, 0, "", "", 0o644)}


def test_the_digest_is_one_that_sha256sum_checks(directory: DirectorySpot, linear: Model) -> None:
    pushed = push(directory.url, linear.manifest.tag)
    name, version = linear.manifest.tag.split(":")
    command = ["sha256sum", "--check", f"{version}.tar.sha256"]
    done = subprocess.run(command, cwd=directory.root / name, capture_output=True, text=True, check=False)
    assert done.stdout == f"{version}.tar: OK\n"
    assert pushed.reference.rpartition(":")[2] in directory.read(f"{name}/{version}.tar.sha256").decode()


def test_the_second_push_and_the_second_pull_change_nothing(spot: Spot, linear: Model, elsewhere: Path) -> None:
    first = push(spot.url, linear.manifest.tag)
    before = spot.state()
    again = push(spot.url, linear.manifest.tag)
    assert (again.reference, again.stored) == (first.reference, False)
    assert spot.state() == before
    assert len(before) == 2
    with another_store(elsewhere):
        assert pull(spot.url, first.reference).stored
        kept = DirectorySpot(elsewhere / "models").state()
        assert not pull(spot.url, first.reference).stored
        assert not pull(spot.url, linear.manifest.tag).stored
        assert DirectorySpot(elsewhere / "models").state() == kept


def test_another_model_of_that_name_is_never_overwritten(spot: Spot, linear: Model, tmp_path: Path) -> None:
    ours = push(spot.url, linear.manifest.tag)
    before = spot.state()
    with store_with(tmp_path / "other", changed(linear, tmp_path / "changed")):
        with pytest.raises(ArchiveError, match="with another content"):
            push(spot.url, linear.manifest.tag)
        assert spot.state() == before
        kept = files_of(store.path(linear.manifest.tag))
        with pytest.raises(ArchiveError, match="holds another model"):
            pull(spot.url, ours.reference)
        with pytest.raises(ArchiveError, match="holds another model"):
            pull(spot.url, linear.manifest.tag)
        assert files_of(store.path(linear.manifest.tag)) == kept


def test_the_same_content_made_at_another_time_is_the_same_model(spot: Spot, linear: Model, tmp_path: Path) -> None:
    ours = push(spot.url, linear.manifest.tag)
    before = spot.state()
    later = changed(linear, tmp_path / "changed", created_at="2026-01-01T00:00:00Z")
    with store_with(tmp_path / "other", later):
        again = push(spot.url, linear.manifest.tag)
        assert (again.reference, again.stored) == (ours.reference, False)
        assert spot.state() == before
        assert not pull(spot.url, ours.reference).stored
        assert store.manifest(linear.manifest.tag).created_at == "2026-01-01T00:00:00Z"


def test_a_push_that_was_cut_short_is_not_there_and_the_next_one_completes_it(
    spot: Spot, linear: Model, tmp_path: Path, elsewhere: Path
) -> None:
    whole = push(spot.url, linear.manifest.tag)
    before, name = spot.state(), path_of(linear.manifest.tag)
    spot.delete(f"{name}.sha256")
    with another_store(elsewhere), pytest.raises(ArchiveError, match="or its push has not ended"):
        pull(spot.url, whole.reference)
    later = changed(linear, tmp_path / "changed", created_at="2026-01-01T00:00:00Z")
    with store_with(tmp_path / "other", later):
        completed = push(spot.url, linear.manifest.tag)
    assert (completed.reference, completed.stored) == (whole.reference, True)
    assert spot.state().keys() == before.keys()
    assert spot.state()[name] == before[name]
    spot.delete(name)
    with another_store(elsewhere), pytest.raises(ArchiveError, match="and not its archive"):
        pull(spot.url, whole.reference)
    assert push(spot.url, linear.manifest.tag).stored
    with another_store(elsewhere):
        assert pull(spot.url, whole.reference).stored


def test_a_draft_that_was_left_behind_is_in_nobodys_way(directory: DirectorySpot, linear: Model) -> None:
    directory.write(f"{linear.manifest.name}/.draft", b"half of it")
    push(directory.url, linear.manifest.tag)
    assert set(directory.state()) == {path_of(linear.manifest.tag), f"{path_of(linear.manifest.tag)}.sha256"}


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.9, 0.9999])
def test_one_flipped_bit_is_refused_before_the_archive_is_opened(
    spot: Spot, linear: Model, elsewhere: Path, share: float
) -> None:
    pushed = push(spot.url, linear.manifest.tag)
    content = bytearray(spot.read(path_of(linear.manifest.tag)))
    content[int(len(content) * share)] ^= 1
    spot.write(path_of(linear.manifest.tag), bytes(content))
    with another_store(elsewhere):
        for reference in (pushed.reference, linear.manifest.tag):
            with pytest.raises(ArchiveError, match="was changed or cut short, and was not opened"):
                pull(spot.url, reference)
        assert store.tags() == []
    assert [path for path in elsewhere.rglob("*") if path.name in linear.manifest.files] == []


def test_a_damaged_archive_is_not_taken_for_the_model_by_push(spot: Spot, linear: Model) -> None:
    push(spot.url, linear.manifest.tag)
    content = bytearray(spot.read(path_of(linear.manifest.tag)))
    content[5_000] ^= 1
    spot.write(path_of(linear.manifest.tag), bytes(content))
    before = spot.state()
    with pytest.raises(ArchiveError, match=r"there already, and broken .* push again"):
        push(spot.url, linear.manifest.tag)
    assert spot.state() == before


def test_another_digest_than_the_one_asked_for_is_refused(spot: Spot, linear: Model, elsewhere: Path) -> None:
    pushed = push(spot.url, linear.manifest.tag)
    asked = f"{linear.manifest.tag}@sha256:{'0' * 64}"
    with another_store(elsewhere):
        for there in ([], [linear.manifest.tag]):
            with pytest.raises(ArchiveError, match=f"holds {pushed.reference}, not {asked}"):
                pull(spot.url, asked)
            assert store.tags() == there
            pull(spot.url, linear.manifest.tag)


@pytest.mark.parametrize("line", ["", "nothing", "0" * 64, f"{'0' * 64}  other.tar\n", f"{'g' * 64}  VERSION.tar\n"])
def test_a_digest_file_that_is_none_is_refused(directory: DirectorySpot, linear: Model, line: str) -> None:
    push(directory.url, linear.manifest.tag)
    name, version = linear.manifest.tag.split(":")
    directory.write(f"{name}/{version}.tar.sha256", line.replace("VERSION", version).encode())
    for move in (push, pull):
        with pytest.raises(ArchiveError, match="holds no digest of"):
            move(directory.url, linear.manifest.tag)


Members = list[tuple[tarfile.TarInfo, bytes]]


def _member(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> Members:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size, member.mode = kind, link, len(content), 0o644
    return [(member, content)]


def _without(members: Members, name: str) -> Members:
    return [one for one in members if one[0].name != name]


def _linked(members: Members, name: str, kind: bytes) -> Members:
    return _without(members, name) + _member(name, kind=kind, link="/etc/passwd")


def _renamed(members: Members, old: str, new: str) -> Members:
    content = next(content for member, content in members if member.name == old)
    return _without(members, old) + _member(new, content)


HOSTILE: dict[str, Callable[[Members], Members]] = {
    "a path that climbs": lambda m: m + _member("../evil", b"x"),
    "a path from the root": lambda m: m + _member("/tmp/evil", b"x"),  # noqa: S108
    "a path below": lambda m: m + _member("below/evil", b"x"),
    "a renamed model": lambda m: _renamed(m, "decision.json", "../decision.json"),
    "a dot": lambda m: m + _member("."),
    "a hidden file": lambda m: m + _member(".evil", b"x"),
    "an empty name": lambda m: m + _member("", b"x"),
    "a name of other letters": lambda m: m + _member("évil", b"x"),
    "a symbolic link": lambda m: _linked(m, "card.md", tarfile.SYMTYPE),
    "a hard link": lambda m: _linked(m, "card.md", tarfile.LNKTYPE),
    "a character device": lambda m: _linked(m, "card.md", tarfile.CHRTYPE),
    "a block device": lambda m: _linked(m, "card.md", tarfile.BLKTYPE),
    "a pipe": lambda m: _linked(m, "card.md", tarfile.FIFOTYPE),
    "a directory": lambda m: m + _member("below", kind=tarfile.DIRTYPE),
    "a sparse file": lambda m: m + _member("big", kind=tarfile.GNUTYPE_SPARSE),
    "a member more": lambda m: m + _member("custom_objects.pkl", b"x"),
    "BentoML's note": lambda m: m + _member("model.yaml", b"module: os\n"),
    "a member twice": lambda m: [*m, m[0]],
    "a member less": lambda m: _without(m, "golden.json"),
    "no manifest": lambda m: _without(m, "manifest.json"),
    "no seal": lambda m: _without(m, "manifest.sha256"),
    "nothing": lambda m: [],  # noqa: ARG005
    "too many members": lambda m: m + [one for i in range(1_001) for one in _member(f"f{i}")],
    "a manifest that fills memory": lambda m: (
        _without(m, "manifest.json") + _member("manifest.json", b" " * 2**24 + b"x")
    ),
    "another order": lambda m: m[::-1],
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_is_refused_and_nothing_of_it_stored(
    directory: DirectorySpot, linear: Model, tmp_path: Path, what: str
) -> None:
    push(directory.url, linear.manifest.tag)
    members = contents(directory.read(path_of(linear.manifest.tag)))
    reference = place_archive(directory, linear.manifest.tag, tar(HOSTILE[what](members)))
    _refused(directory, reference, tmp_path)


def _refused(spot: Spot, reference: str, tmp_path: Path) -> str:
    """Pulling that is one clear error and leaves nothing; what was said."""
    before, elsewhere = set(tmp_path.rglob("*")), tmp_path / "elsewhere"
    with another_store(elsewhere):
        with pytest.raises(ArchiveError) as caught:
            pull(spot.url, reference)
        assert store.tags() == []
    left = [path for path in set(tmp_path.rglob("*")) - before if path.is_file()]
    assert {path.relative_to(elsewhere).parts[0] for path in left} <= {"holdfast"}
    assert {path.name for path in left} <= {"lock", "store.lock"}
    assert not Path("/tmp/evil").exists()  # noqa: S108
    return str(caught.value)


def _long(archive: bytes) -> bytes:
    members = contents(archive)
    return tar(members + _member("n" * 150, b"x"), tarfile.GNU_FORMAT)


def _extended(archive: bytes) -> bytes:
    members = contents(archive)
    members[0][0].pax_headers = {"GNU.sparse.size": str(2**40), "GNU.sparse.map": "0,1", "comment": "x" * 1_000}
    return tar(members, tarfile.PAX_FORMAT)


def _larger(archive: bytes) -> bytes:
    """The last member's header claims 4 GiB."""
    members = contents(archive)
    content = members[-1][1]
    members[-1][0].size = 2**32
    header = members[-1][0].tobuf(tarfile.USTAR_FORMAT)
    return tar(members[:-1]).rstrip(b"\0") + header + content


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "nothing at all": lambda _: b"",
    "no tar": lambda _: b"PK\x03\x04" * 1_000,
    "cut short": lambda archive: archive[:3_000],
    "without its end": lambda archive: archive.rstrip(b"\0"),
    "more behind it": lambda archive: archive + b"more",
    "zeros behind it": lambda archive: archive + b"\0" * 512,
    "compressed": lambda archive: gzip.compress(archive, mtime=0),
    "long names": _long,
    "extended headers": _extended,
    "a member larger than all": _larger,
}


@pytest.mark.parametrize("what", FORMS)
def test_an_archive_of_another_form_is_refused(
    directory: DirectorySpot, linear: Model, tmp_path: Path, what: str
) -> None:
    push(directory.url, linear.manifest.tag)
    content = FORMS[what](directory.read(path_of(linear.manifest.tag)))
    _refused(directory, place_archive(directory, linear.manifest.tag, content), tmp_path)


def test_an_archive_of_another_model_is_refused(
    directory: DirectorySpot, linear: Model, boosted: Model, tmp_path: Path
) -> None:
    push(directory.url, boosted.manifest.tag)
    content = directory.read(path_of(boosted.manifest.tag))
    for tag in (linear.manifest.tag, f"{boosted.manifest.name}:20200101-00000000"):
        told = _refused(directory, place_archive(directory, tag, content), tmp_path)
        assert f"it holds {boosted.manifest.tag}" in told


@pytest.mark.parametrize("name", ["../../../../etc/passwd", "/dev/zero", "below/evil", "model.yaml"])
def test_a_manifest_that_names_other_files_is_refused(
    directory: DirectorySpot, linear: Model, tmp_path: Path, name: str
) -> None:
    odd = copy_of(linear.directory, tmp_path / "odd")
    stored = artefact.read_manifest(odd).model_dump()
    stored["files"][name] = "0" * 64
    stored["content_digest"] = artefact.content_digest(stored, stored["files"])
    artefact.seal(odd, artefact.Manifest(**stored))
    members = [
        one for path in odd.iterdir() if path.name != "model.yaml" for one in _member(path.name, path.read_bytes())
    ]
    told = _refused(directory, place_archive(directory, linear.manifest.tag, tar(members)), tmp_path)
    assert "are not those that its manifest names" in told


@pytest.mark.parametrize("name", ["card.md", "model.json", "golden.json", "manifest.json", "manifest.sha256"])
def test_a_file_that_its_manifest_does_not_know_is_refused(
    directory: DirectorySpot, linear: Model, tmp_path: Path, name: str
) -> None:
    members = [
        (path.name, path.read_bytes()) for path in sorted(linear.directory.iterdir()) if path.name != "model.yaml"
    ]
    own = [one for n, c in members for one in _member(n, c.replace(b"0", b"1", 1) if n == name else c)]
    _refused(directory, place_archive(directory, linear.manifest.tag, tar(own)), tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plan",
        "plan:latest",
        "plan@champion",
        "plan:1@sha256:abc",
        "../plan:1",
        "plan:../1",
        f"plan:1@md5:{'0' * 64}",
        f"plan:1@sha256:{'A' * 64}",
        f"plan:1@sha256:{'0' * 64}x",
        "plan:1\n",
    ],
)
def test_what_is_no_reference_is_told(directory: DirectorySpot, text: str) -> None:
    with pytest.raises(ArchiveError, match="is neither NAME:VERSION nor"):
        pull(directory.url, text)


def test_a_reference_reads_as_it_is_written() -> None:
    for text in ("plan:20260101-00000000", f"plan:1@sha256:{'0' * 64}"):
        assert str(Reference.parse(text)) == text


def test_a_broken_model_is_not_pushed(directory: DirectorySpot, linear: Model, tmp_path: Path) -> None:
    with store_with(tmp_path / "other", linear.directory):
        kept = store.path(linear.manifest.tag) / "model.json"
        kept.write_text(kept.read_text() + " ")
        with pytest.raises(artefact.ArtefactError, match=r"model\.json: sha256 is"):
            push(directory.url, linear.manifest.tag)
        assert not directory.root.exists()


def test_a_broken_model_is_not_taken_for_the_one_that_is_pulled(
    directory: DirectorySpot, linear: Model, tmp_path: Path
) -> None:
    push(directory.url, linear.manifest.tag)
    with store_with(tmp_path / "other", linear.directory):
        kept = store.path(linear.manifest.tag) / "model.json"
        kept.write_text(kept.read_text() + " ")
        with pytest.raises(ArchiveError, match=r"and broken .*bentoml models delete"):
            pull(directory.url, linear.manifest.tag)


def test_many_at_once_make_one_archive_and_one_model(spot: Spot, linear: Model, tmp_path: Path) -> None:
    with ThreadPoolExecutor(6) as pool:
        pushed = list(pool.map(lambda _: push(spot.url, linear.manifest.tag), range(6)))
        assert len({one.reference for one in pushed}) == 1
        assert len(spot.state()) == 2
        with another_store(tmp_path / "elsewhere"):
            pulled = list(pool.map(lambda _: pull(spot.url, pushed[0].reference), range(6)))
            assert sum(one.stored for one in pulled) == 1
            assert files_of(store.path(linear.manifest.tag)) == files_of(linear.directory)


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Without the rights of root, where the tests have them."""
    if os.getuid() == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(os.getuid())


@pytest.mark.usefixtures("unprivileged")
def test_a_directory_that_may_not_be_read_is_told(tmp_path_factory: pytest.TempPathFactory, linear: Model) -> None:
    closed = tmp_path_factory.getbasetemp() / "closed"
    with pytest.raises(ArchiveError, match="cannot be read: Permission denied"):
        pull(str(closed), linear.manifest.tag)


@pytest.mark.parametrize("below", ["file", "/proc/archives"])
def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path, linear: Model, below: str) -> None:
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(ArchiveError, match=r"cannot be written: \w+") as caught:
        push(str(tmp_path / below), linear.manifest.tag)
    assert "\n" not in str(caught.value)


def test_a_directory_that_is_missing_is_told_apart_from_one_without_the_model(tmp_path: Path, linear: Model) -> None:
    with pytest.raises(ArchiveError, match=f"there is no directory {tmp_path / 'typo'}: .*mounted"):
        pull(str(tmp_path / "typo"), linear.manifest.tag)
    assert not (tmp_path / "typo").exists()
    with pytest.raises(ArchiveError, match=f"{tmp_path} holds no model {linear.manifest.tag}"):
        pull(str(tmp_path), linear.manifest.tag)


def test_an_address_may_be_written_as_a_url(directory: DirectorySpot, linear: Model) -> None:
    pushed = push(directory.root.as_uri(), linear.manifest.tag)
    assert pushed.url == str(directory.root / path_of(linear.manifest.tag))
    with pytest.raises(ArchiveError, match="file://host/archives names a host"):
        push("file://host/archives", linear.manifest.tag)


def test_any_driver_of_fsspec_will_do(linear: Model, elsewhere: Path) -> None:
    pushed = push("memory://archives", linear.manifest.tag)
    assert not push("memory://archives", linear.manifest.tag).stored
    with another_store(elsewhere):
        assert pull("memory://archives", pushed.reference).stored


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("nope://somewhere", "nope://somewhere cannot be reached: Protocol not known: nope"),
        ("gs://bucket/prefix", "the driver of gs:// is not installed: Please install gcsfs"),
        ("ftp://me:secret@127.0.0.1:1/x", r"ftp://me:\*\*\*@127.0.0.1:1/x cannot be reached: Connection refused"),
    ],
)
def test_a_place_out_of_reach_is_told_in_one_line(linear: Model, url: str, told: str) -> None:
    for move in (push, pull):
        with pytest.raises(ArchiveError, match=told) as caught:
            move(url, linear.manifest.tag)
        assert "secret" not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_what_object_storage_refuses_is_told_in_one_line(
    protocol: dict[str, str], linear: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in protocol.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ArchiveError, match=r"s3://nothing/.* cannot be written: .* bucket does not exist"):
        push("s3://nothing/x", linear.manifest.tag)
    with pytest.raises(ArchiveError, match="s3://nothing/x holds no model plan"):
        pull("s3://nothing/x", linear.manifest.tag)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(
        ArchiveError, match=f"s3://{BUCKET}/.* cannot be read: Unable to locate cred.*AWS_PROFILE, are read"
    ):
        pull(f"s3://{BUCKET}/x", linear.manifest.tag)


@pytest.mark.parametrize("name", ["model.yaml", "custom_objects.pkl", ".hidden", "n" * 101])
def test_an_artefact_may_not_have_files_that_are_not_its_own(
    directory: DirectorySpot, linear: Model, tmp_path: Path, name: str
) -> None:
    odd = copy_of(linear.directory, tmp_path / "odd")
    (odd / name).write_text("x")
    stored = artefact.read_manifest(odd).model_dump()
    manifest = reseal(odd, files={**stored["files"], name: ""})
    assert not artefact.check_files(odd, manifest)
    members = [one for path in odd.iterdir() for one in _member(path.name, path.read_bytes())]
    if name != "model.yaml":
        members = _without(members, "model.yaml")
    archive = tar(members, tarfile.GNU_FORMAT)
    told = _refused(directory, place_archive(directory, manifest.tag, archive), tmp_path)
    assert "is no plain file of an artefact" in told
