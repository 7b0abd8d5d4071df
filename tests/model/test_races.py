"""Many processes at once, and processes that are killed: no lost line, no torn model, no two champions."""

from __future__ import annotations

import random
import shutil
import threading
from pathlib import Path

import bentoml

from benchmarks.servers import Server
from model import artefact, store
from tests.model import racing
from tests.model.conftest import Model
from tests.model.registries import in_file, in_postgresql

KILLS = 20


def whole(name: str) -> list[str]:
    """The stored models of that name, each of which is whole, for us and for BentoML."""
    tags = store.tags(name)
    for tag in tags:
        assert artefact.check_files(store.path(tag), store.manifest(tag)) == []
    assert sorted(str(model.tag) for model in bentoml.models.list(name)) == sorted(tags) if tags else True
    return tags


def test_twenty_processes_at_once_lose_nothing(linear: Model, tmp_path: Path, postgresql: Server) -> None:
    context, name = racing.context(), "race"
    places = [in_file(tmp_path), in_postgresql(postgresql, tmp_path)]
    gate, told = context.Barrier(20), context.SimpleQueue()
    racers = [context.Process(target=racing.train, args=(n, linear.directory, name, gate)) for n in range(10)]
    racers += [context.Process(target=racing.promote, args=(n, places, name, told, gate)) for n in range(10)]
    for racer in racers:
        racer.start()
    heard = [told.get() for _ in range(10 * racing.ROUNDS * len(places) * 2)]
    for racer in racers:
        racer.join(120)
    assert [racer.exitcode for racer in racers] == [0] * 20
    for which, place in enumerate(places):
        entries = place.open().entries(name)
        assert place.open().verify().entries == len(entries)
        assert [entry.number for entry in entries] == list(range(1, len(entries) + 1))
        mine = [what for what in heard if what[0] == which]
        won = sorted(number for _, what, number in mine if what == "won")
        promoted = [entry for entry in entries if entry.action == "promote"]
        assert [entry.number for entry in promoted] == won
        assert won
        assert sorted(number for _, what, number in mine if what == "ready") == [
            entry.number for entry in entries if entry.action == "ready"
        ]
        assert [entry.before for entry in promoted] == [None, *(entry.tag for entry in promoted[:-1])]
        assert place.open().alias(name) == promoted[-1].tag
    versions = {f"{name}:20200101-own{n}x{turn}" for n in range(10) for turn in range(racing.ROUNDS)}
    assert set(whole(name)) == versions | {f"{name}:20200101-shared{turn}" for turn in range(racing.ROUNDS)}
    assert f"{bentoml.models.get(f'{name}:latest').tag}" in store.tags(name)
    for tag in store.tags(name):
        store.delete(tag)
    assert not (store.home() / "models" / name).exists()


def test_a_process_that_is_killed_while_it_stores_leaves_nothing_half_made(linear: Model) -> None:
    context, name, chance = racing.context(), "killed", random.Random(3)  # noqa: S311  # no secret
    staging = store.home() / "holdfast" / "staging"
    left = 0
    for _ in range(KILLS):
        begun = context.Event()
        saving = context.Process(target=racing.save_for_ever, args=(linear.directory, name, begun))
        saving.start()
        assert begun.wait(60)
        threading.Event().wait(chance.uniform(0, 0.15))  # a moment like any other
        saving.kill()
        saving.join()
        whole(name)
        left += any(path.is_dir() for path in staging.iterdir()) if staging.exists() else 0
    assert left  # some were killed in the middle of it
    assert racing.save(linear.directory, racing.variant(linear.directory, name, "20200101-last"))
    assert [path for path in staging.iterdir() if path.is_dir()] == []
    assert f"{name}:20200101-last" in whole(name)
    shutil.rmtree(store.home() / "models" / name)


def test_a_directory_in_the_making_may_vanish_while_others_sweep(tmp_path: Path) -> None:
    context = racing.context()
    makers = [context.Process(target=racing.stage, args=(tmp_path, 200)) for _ in range(4)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join(120)
    assert [maker.exitcode for maker in makers] == [0] * 4
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
