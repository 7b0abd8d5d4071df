"""`holdfast release`: what it prints is what the chart takes, and what should not be released is refused."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.release.images import Image, ImageError
from cli.release.values import jobs_images, keep, written
from tests.cli.conftest import figures, holdfast
from tests.cli.studio import OWN, Studio
from tests.deploy.helm import chart
from tests.deploy.helm.binary import helm
from tests.effort import examples

DAY = 200
SERVING, JOBS = (f"registry.example.com/shop/holdfast-{name}" for name in ("serving", "jobs"))
DIGESTS = [f"sha256:{digit * 64}" for digit in "abcd"]
SITE = chart.CHART / "ci" / "production-values.yaml"


@dataclass(frozen=True)
class Shop:
    """A studio whose champion has other features than the one before; what commands find each by, and the tags."""

    before: dict[str, str]
    now: dict[str, str]
    tags: tuple[str, str]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Both were trained and promoted by their own code, in a store of their own."""
    home = tmp_path_factory.mktemp("shop")
    studio = Studio(home / "studio")
    studio.members(DAY)
    studio.visits((0, DAY), DAY)
    (home / "bentoml").mkdir()
    (home / "own").mkdir()
    code = (OWN / "studio.py").read_text()
    assert "/ DAY\n" in code
    (home / "own" / "studio.py").write_text(code.replace("/ DAY\n", "/ DAY / 7\n"))
    before = {**studio.environ(DAY), "BENTOML_HOME": str(home / "bentoml")}
    now = {**before, "HOLDFAST_USECASES": str(home / "own")}
    tags = []
    for environ in (before, now):
        made = figures("train", "studio", "--algorithm", "logistic", environ=environ)["manifest"]
        tags.append(f"{made['name']}:{made['version']}")
        holdfast("models", "promote", tags[-1], "--force", "--why", "spring", environ=environ)
    return Shop(before, now, (tags[0], tags[1]))


def released(shop: Shop, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """`holdfast release` by the code of now; the second pair of images, unless others are named."""
    own = [] if "--image" in words else ["--image", f"{SERVING}@{DIGESTS[2]}", "--jobs-image", f"{JOBS}@{DIGESTS[3]}"]
    return holdfast("release", "studio", *own, *words, environ=shop.now, code=code)


def first(shop: Shop) -> str:
    """The values by which the first one was released."""
    images = ("--image", f"{SERVING}@{DIGESTS[0]}", "--jobs-image", f"{JOBS}@{DIGESTS[1]}")
    return holdfast("release", *images, "--model", shop.tags[0], "--force", environ=shop.before).stdout


def test_the_chart_takes_the_values_and_keeps_up_what_a_rollback_needs(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "previous.yaml").write_text(first(shop))
    done = released(shop, "--previous", str(tmp_path / "previous.yaml"))
    values = yaml.safe_load(done.stdout)
    assert values["model"]["tag"] == shop.tags[1]
    assert "(promote, " in done.stdout
    assert ": spring)" in done.stdout
    objects = chart.render("production", values)
    (served,) = chart.one(objects, "Deployment", "holdfast")["spec"]["template"]["spec"]["containers"]
    assert served["image"] == f"{SERVING}@{DIGESTS[2]}"
    (also,) = values["jobs"]["materialize"]["also"]
    old = yaml.safe_load(first(shop))
    assert (also["image"], also["fingerprint"]) == (f"{JOBS}@{DIGESTS[1]}", old["model"]["fingerprint"])
    assert also["fingerprint"] != values["model"]["fingerprint"]
    job = chart.one(objects, "CronJob", f"holdfast-materialize-{also['name']}")
    (kept,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert kept["image"] == f"{JOBS}@{DIGESTS[1]}"


def test_what_cannot_be_kept_up_is_told(shop: Shop) -> None:
    done = released(shop)
    assert f"{shop.tags[0]} has other features" in done.stderr
    assert yaml.safe_load(done.stdout)["jobs"]["materialize"]["also"] == []


def test_the_command_is_one_that_a_shell_and_helm_take(shop: Shop) -> None:
    words = ("--output", "command", "--values", str(SITE), "--release", "shop", "--namespace", "it's")
    done = released(shop, *words)
    assert done.stdout.startswith("helm upgrade --install shop ")
    script = f'helm() {{ shift 2; "{helm()}" template "$@"; }}\n{done.stdout}'
    ran = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert f"image: {SERVING}@{DIGESTS[2]}" in ran.stdout.replace('"', "")
    alone = released(shop, "--output", "command").stdout
    assert "--reset-then-reuse-values -f -" in alone
    assert "--namespace" not in alone


def test_a_canary_leaves_the_stable_version_as_it_is(shop: Shop) -> None:
    values = yaml.safe_load(released(shop, "--canary", "--model", shop.tags[1]).stdout)
    assert list(values) == ["canary"]
    stable_model = {"usecase": "studio", "model": {"tag": shop.tags[0]}}
    objects = chart.render("production", {**stable_model, **values})
    served = {
        name: chart.one(objects, "Deployment", name)["spec"]["template"]["spec"]["containers"][0]["image"]
        for name in ("holdfast", "holdfast-canary")
    }
    stable = yaml.safe_load(SITE.read_text())["image"]
    assert served == {
        "holdfast": f"{stable['repository']}@{stable['digest']}",
        "holdfast-canary": f"{SERVING}@{DIGESTS[2]}",
    }
    assert "points to no model" in released(shop, "--canary", code=1).stderr


def test_a_model_from_the_archive_is_pushed_and_named_by_its_digest(shop: Shop, tmp_path: Path) -> None:
    environ = {**shop.now, "HOLDFAST_ARCHIVE_URL": str(tmp_path)}
    images = ("--image", f"{SERVING}:1", "--archive")
    values = yaml.safe_load(holdfast("release", *images, environ=environ).stdout)
    (note,) = tmp_path.glob("studio/*.sha256")
    assert values["model"]["source"] == "archive"
    assert values["model"]["digest"] == note.read_text().split()[0]
    assert values["jobsImage"] == {"repository": JOBS, "tag": "1", "digest": ""}
    chart.render("archive", {**values, "events": False})
    assert "Set HOLDFAST_ARCHIVE_URL" in released(shop, "--archive", code=1).stderr


def test_what_is_not_promoted_is_not_released(shop: Shop) -> None:
    done = released(shop, "--model", shop.tags[0], code=1)
    assert f"{shop.tags[0]} is not promoted, studio@champion is {shop.tags[1]}" in done.stderr


@pytest.mark.parametrize("option", ["--previous", "--values"])
def test_a_file_that_is_not_there_is_told_whatever_it_is_for(shop: Shop, option: str) -> None:
    done = released(shop, "--canary", "--model", shop.tags[1], option, "nope.yaml", code=1)
    assert f"{option} nope.yaml" in done.stderr
    assert done.stdout == ""


def engine(directory: Path, known: dict[str, dict[str, Any]]) -> dict[str, str]:
    """What lets commands find an engine that knows these images: a program of its name, saying what podman says."""
    cases = ""
    for index, (name, one) in enumerate(known.items()):
        (directory / f"{index}.json").write_text(json.dumps([one]))
        cases += f'"{name}") cat "{directory}/{index}.json" ;;\n'
    program = directory / "podman"
    program.write_text(f'#!/bin/sh\ncase "$3" in\n{cases}*) exit 125 ;;\nesac\n')
    program.chmod(0o755)
    return {"PATH": f"{directory}:{os.environ['PATH']}"}


def labelled(**labels: str) -> dict[str, Any]:
    """An image as an engine tells of it."""
    return {"Id": DIGESTS[0].removeprefix("sha256:"), "RepoDigests": [], "Config": {"Labels": labels}}


def test_an_image_s_id_is_not_taken_for_its_digest(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "pushed").mkdir()
    words = ("release", "--image", f"{SERVING}@{DIGESTS[0]}", "--jobs-image", f"{JOBS}@{DIGESTS[1]}")
    own = engine(tmp_path, {DIGESTS[0]: labelled()})
    done = holdfast(*words, environ={**shop.now, **own}, code=1)
    assert f"{SERVING}@{DIGESTS[0]} has the id of an image on this machine" in done.stderr
    assert "podman push --digestfile" in done.stderr
    pushed = {**labelled(), "RepoDigests": [f"{SERVING}@{DIGESTS[0]}"]}  # docker's, where both are the same
    own = engine(tmp_path / "pushed", {DIGESTS[0]: pushed})
    assert DIGESTS[0] in holdfast(*words, environ={**shop.now, **own}).stdout


def test_images_that_were_swapped_are_refused(shop: Shop, tmp_path: Path) -> None:
    title = "org.opencontainers.image.title"
    images = {f"{SERVING}:1": "holdfast-serving", f"{JOBS}:1": "holdfast-jobs", "own:1": "my-own"}
    known = {name: labelled(**{title: said, "holdfast.model": shop.tags[1]}) for name, said in images.items()}
    environ = {**shop.now, **engine(tmp_path, known)}
    right, wrong = ("release", "--image", f"{SERVING}:1"), ("release", "--image", f"{JOBS}:1")
    said = holdfast(*wrong, environ=environ, code=1).stderr
    assert f"--image {JOBS}:1 is a holdfast-jobs image, which is for --jobs-image" in said
    said = holdfast(*right, "--jobs-image", f"{SERVING}:1", environ=environ, code=1).stderr
    assert f"--jobs-image {SERVING}:1 is a holdfast-serving image, which is for --image" in said
    for jobs in ((), ("--jobs-image", "own:1")):
        assert "is that of one for" not in holdfast(*right, *jobs, environ=environ).stderr
    away = holdfast("release", "--image", f"{JOBS}:2", "--jobs-image", f"{JOBS}:2", environ=environ).stderr
    assert away.count("its name is that of one for --jobs-image: is --image right?") == 1
    assert away.count("is that of one for") == 1


def test_an_image_that_carries_another_model_is_refused(shop: Shop, tmp_path: Path) -> None:
    own = engine(tmp_path, {f"{SERVING}:1": labelled(**{"holdfast.model": shop.tags[0]})})
    words = ("release", "--image", f"{SERVING}:1")
    done = holdfast(*words, environ={**shop.now, **own}, code=1)
    assert f"{SERVING}:1 carries {shop.tags[0]}, not {shop.tags[1]}" in done.stderr
    done = holdfast(*words, "--model", shop.tags[0], "--force", environ={**shop.before, **own})
    assert f"{SERVING}:1 carries {shop.tags[0]}" in done.stderr
    assert yaml.safe_load(done.stdout)["image"] == {"repository": SERVING, "tag": "1", "digest": ""}


@pytest.mark.parametrize("text", [SERVING, f"{SERVING}:latest", "localhost:5000/a", f"{SERVING}@sha256:abc", "A:1", ""])
def test_an_image_that_is_not_exact_is_refused(text: str) -> None:
    with pytest.raises(ImageError, match="REPOSITORY"):
        Image.parse(text)


def test_exact_images_are_taken_apart() -> None:
    assert Image.parse("localhost:5000/a:1") == Image("localhost:5000/a", "1")
    assert Image.parse(f"a:latest@{DIGESTS[0]}") == Image("a", "latest", DIGESTS[0])
    assert str(Image("a", "1", DIGESTS[0])) == f"a:1@{DIGESTS[0]}"
    assert Image("b/x-serving", "1").jobs() == Image("b/x-jobs", "1")
    assert Image("b/x-serving", "", DIGESTS[0]).jobs() is None
    assert Image("b/x", "1").jobs() is None


def test_jobs_images_are_read_of_a_canary_and_of_what_was_kept_up_too() -> None:
    values: dict[str, Any] = {
        "jobsImage": {"repository": JOBS, "digest": DIGESTS[0]},
        "model": {"fingerprint": "1" * 64},
        "canary": {"jobsImage": {"digest": DIGESTS[1]}, "model": {"fingerprint": "2" * 64}},
        "jobs": {"materialize": {"also": [{"name": "a", "image": f"b@{DIGESTS[2]}", "fingerprint": "3" * 64}]}},
    }
    found = {"1" * 64: f"{JOBS}@{DIGESTS[0]}", "2" * 64: f"{JOBS}@{DIGESTS[1]}", "3" * 64: f"b@{DIGESTS[2]}"}
    assert jobs_images(yaml.safe_dump(values), "values") == found
    assert jobs_images("{jobsImage: {repository: a, tag: '1'}, model: {fingerprint: '1'}}", "values") == {}


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.tuples(st.text("xyz", min_size=1), st.sampled_from("1234"))), st.sets(st.sampled_from("1234")))
def test_each_other_feature_set_is_kept_up_once_or_told(needed: list[tuple[str, str]], known: set[str]) -> None:
    kept, missing = keep(needed, {one: f"image-{one}" for one in known}, "1")
    others = {fingerprint for _, fingerprint in needed} - {"1"}
    assert sorted(one.fingerprint for one in kept) == sorted(others & known)
    assert sorted(missing) == sorted(tag for tag, fingerprint in needed if fingerprint in others - known)
    assert sorted(tag for one in kept for tag in one.tags) == sorted(t for t, f in needed if f in others & known)


@settings(max_examples=examples(100), deadline=None)
@given(
    st.dictionaries(st.text("abc", min_size=1), st.text() | st.sampled_from(["1e23", "y", "0x1", "on", "2026-01-01"]))
)
def test_texts_stay_texts(values: dict[str, str]) -> None:
    text = written({"values": values}, ["a\nb"])
    assert yaml.safe_load(text) == {"values": values}
    assert text.startswith("# a b\n")
    for value in values.values():
        assert f": {value}\n" not in text
