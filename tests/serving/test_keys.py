"""Keys: what a file of them may say, whose a request is, and what becomes of both when the file is replaced."""

from __future__ import annotations

import logging
import os
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving import metrics
from serving.errors import Unauthorized
from serving.keys import Keys, read
from settings import SettingsError, load
from tests.effort import examples

ONE, TWO = "0123456789abcdef", "fedcba9876543210"


def keys(path: Path, text: str) -> Keys:
    """The keys of a file with that text."""
    path.write_text(text)
    return Keys(load({"HOLDFAST_API_KEYS_FILE": str(path)}))


def asks(found: Keys, key: str) -> str:
    """Whose key that is, sent in both ways."""
    bearer, header = {b"authorization": b"Bearer " + key.encode()}, {b"x-api-key": key.encode()}
    assert found.client(bearer) == found.client(header)
    return found.client(bearer)


def test_lines_commas_comments_and_digests() -> None:
    hashed = sha256(TWO.encode()).hexdigest()
    text = f"\ufeff\n# who\n  team.a = {ONE}  \n\nteam-b=sha256:{hashed.upper()}, team_c={ONE}{TWO}\n"
    found = dict(read(text))
    assert list(found) == ["team.a", "team-b", "team_c"]
    assert found["team-b"].hex() == hashed


def test_a_name_has_as_many_keys_as_it_likes_and_each_opens(tmp_path: Path) -> None:
    found = keys(tmp_path / "keys", f"a={ONE}\na={TWO}\nb=sha256:{sha256(b'x' * 20).hexdigest()}\n")
    assert [asks(found, key) for key in (ONE, TWO, "x" * 20)] == ["a", "a", "b"]


def test_what_is_kept_as_a_digest_is_no_key_itself(tmp_path: Path) -> None:
    digest = sha256(ONE.encode()).hexdigest()
    found = keys(tmp_path / "keys", f"a=sha256:{digest}")
    assert [asks(found, key) for key in (digest, f"sha256:{digest}", f"a=sha256:{digest}")] == ["", "", ""]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"a={ONE}\n{TWO}", "line 2: write NAME=KEY"),
        (f"a={ONE}\nb c={TWO}", "line 2: write NAME=KEY"),
        (f"{'n' * 65}={TWO}", "line 1: write NAME=KEY"),
        (f"a={ONE}\n\n# x\nb={TWO[:-1]}", "line 4: a key has 16 to 512"),
        (f"b={TWO} {TWO}", "line 1: a key has 16 to 512"),
        (f"b={TWO}é", "line 1: a key has 16 to 512"),
        (f"b=sha256:{TWO}", "line 1: behind `sha256:` there are 64 hex digits"),
        (f"a={TWO}\nb=sha256:{sha256(TWO.encode()).hexdigest()}", "line 2: another name has the same key"),
        ("# nobody yet", "holds no key"),
        (",", "holds no key"),
    ],
)
def test_a_line_that_is_no_key_is_told_by_its_number_and_not_shown(text: str, told: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Keys(load({"HOLDFAST_API_KEYS": text}))
    assert told in str(refused.value)
    assert TWO[:-1] not in str(refused.value)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"authorization": ONE.encode()},
        {b"authorization": b"Basic " + ONE.encode()},
        {b"authorization": b"Bearer"},
        {b"authorization": b"Bearer " + ONE.encode() + b"0"},
        {b"authorization": b"Bearer " + ONE[:-1].encode()},
        {b"authorization": b"Bearer " + ONE.upper().encode()},
        {b"x-api-key": b""},
        {b"x-api-key": b"\xff\x00"},
        {b"x-api-key": b"a=" + ONE.encode()},
        {b"cookie": b"x-api-key=" + ONE.encode()},
    ],
)
def test_who_has_no_key_is_refused_in_the_same_words(headers: dict[bytes, bytes], tmp_path: Path) -> None:
    found = keys(tmp_path / "keys", f"a={ONE}")
    with pytest.raises(Unauthorized) as refused:
        found.demand(headers)
    assert refused.value.detail == "an API key is needed: send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`"
    assert refused.value.problems == []


def test_a_key_may_stand_beside_what_a_proxy_wants(tmp_path: Path) -> None:
    found = keys(tmp_path / "keys", f"a={ONE}")
    assert found.demand({b"authorization": b"Basic dTpw", b"x-api-key": ONE.encode()}) == "a"
    assert found.demand({b"authorization": b"bearer a.jwt.of.a.mesh", b"x-api-key": ONE.encode()}) == "a"
    assert found.demand({b"authorization": b"BEARER  " + ONE.encode()}) == "a"


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(st.sampled_from(["a", "=", ",", "#", " ", "\n", "sha256:", ONE, TWO]), max_size=20).map("".join))
def test_any_text_is_keys_or_is_refused_without_showing_it(text: str) -> None:
    told, found = "", []
    try:
        found = read(text)
    except SettingsError as error:
        told = str(error)
    assert bool(told) != bool(found)
    assert ONE not in told


def test_a_file_is_read_again_when_it_is_another_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "keys"
    found = keys(path, f"a={ONE}")
    found.look()
    assert (asks(found, ONE), asks(found, TWO)) == ("a", "")
    logging.getLogger("holdfast").propagate = True
    with caplog.at_level(logging.INFO, "holdfast.serving"):
        (tmp_path / "new").write_text(f"a={ONE}\nb={TWO}")
        (tmp_path / "new").replace(path)
        found.look()
        assert (asks(found, ONE), asks(found, TWO)) == ("a", "b")
        path.write_text(f"b={TWO}")
        found.look()
        assert (asks(found, ONE), asks(found, TWO)) == ("", "b")
    assert [record.getMessage() for record in caplog.records] == [
        f"API keys: {path} was read again; there are keys of a, b",
        f"API keys: {path} was read again; there are keys of b",
    ]


def test_kubernetes_swaps_a_link_on_the_way(tmp_path: Path) -> None:
    for version, text in (("v1", f"a={ONE}"), ("v2", f"a={TWO}")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "keys").write_text(text)
    stamp = os.stat(tmp_path / "v1" / "keys").st_mtime_ns  # noqa: PTH116
    os.utime(tmp_path / "v2" / "keys", ns=(stamp, stamp))  # only the file is another one
    (tmp_path / "..data").symlink_to("v1")
    (tmp_path / "keys").symlink_to("..data/keys")
    found = Keys(load({"HOLDFAST_API_KEYS_FILE": str(tmp_path / "keys")}))
    (tmp_path / "..new").symlink_to("v2")
    (tmp_path / "..new").replace(tmp_path / "..data")
    found.look()
    assert (asks(found, ONE), asks(found, TWO)) == ("", "a")


@pytest.mark.parametrize("wrong", ["missing", "empty", "not a key", "binary", "a directory"])
def test_a_file_that_cannot_be_used_changes_nothing_and_is_told_once(
    wrong: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "keys"
    found = keys(path, f"a={ONE}")
    path.unlink()
    if wrong == "a directory":
        path.mkdir()
    elif wrong != "missing":
        path.write_bytes({"empty": b"", "not a key": TWO.encode(), "binary": b"a=\xff"}[wrong])
    logging.getLogger("holdfast").propagate = True
    with caplog.at_level(logging.INFO, "holdfast.serving"):
        for _ in range(3):
            found.look()
    assert (asks(found, ONE), asks(found, TWO)) == ("a", "")
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert f"API keys: {path} cannot be used, and the former keys hold: " in record.getMessage()
    assert TWO not in record.getMessage()
    assert metrics.KEYS_STALE._value.get() == 1
    if wrong == "a directory":
        path.rmdir()
    path.write_text(f"b={TWO}")
    found.look()
    assert (asks(found, ONE), asks(found, TWO)) == ("", "b")
    assert metrics.KEYS_STALE._value.get() == 0


def test_a_file_that_changes_while_the_server_starts_is_not_missed(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"a={ONE}")
    loaded = load({"HOLDFAST_API_KEYS_FILE": str(path)})
    path.write_text(f"a={TWO}")
    found = Keys(loaded)
    found.look()
    assert (asks(found, ONE), asks(found, TWO)) == ("", "a")


def test_no_keys_none_asked_for() -> None:
    found = Keys(load({}))
    found.look()
    assert not found.on
