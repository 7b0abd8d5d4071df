"""`holdfast monitor report`: real rows on both sides, a file that opens anywhere and asks for nothing, and no alarm."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cli.main import app
from cli.monitor.once import once
from cli.monitor.profiles import profiles
from cli.monitor.reporting import Reporter, trained
from model.predictions.reading import Directory
from model.profile import Profile
from monitoring import Window, evidently
from monitoring.ledger import Ledger, open_ledger
from monitoring.page import Watched
from tests.browsing.browser import Browser, browser
from tests.cli.studio import Studio, member
from tests.monitoring.page.conftest import served

DAY = 200.5
WINDOW = [[member(number) for number in range(125)]] * 8
"""Requests of a thousand answers."""


@dataclass(frozen=True)
class Scene:
    """A studio whose model has answered for two windows, and whose monitor has read them."""

    studio: Studio
    tag: str
    ledger: Ledger
    profile: Profile

    @property
    def reports(self) -> Path:
        """Where they are."""
        return self.studio.home / "var" / "studio" / "monitor" / "reports"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Members as they are, and then as they are asked about."""
    studio = Studio(tmp_path_factory.mktemp("studio"))
    studio.members(DAY)
    studio.visits((0, DAY), DAY)
    tag = studio.train(DAY)
    studio.answer(tag, DAY, WINDOW * 2)
    workspace = studio.at(DAY)
    ledger = open_ledger(None, workspace.home, "studio")
    once(workspace, ledger)
    profile = profiles(workspace.models)(tag)
    assert profile is not None
    assert [one.number for one in ledger.closed(tag)] == [1, 2]
    return Scene(studio, tag, ledger, profile)


def test_the_training_set_that_is_computed_again_is_that_of_the_profile(scene: Scene) -> None:
    rows, which = trained(scene.studio.at(DAY), scene.tag, scene.profile)
    assert which == "the training set"
    again = scene.profile.view(Window.from_frame(scene.profile, rows).counts)
    for name, counts in scene.profile.view(scene.profile.counts).items():
        np.testing.assert_array_equal(again[name], counts, err_msg=name)


def test_a_window_s_rows_are_those_that_were_counted(scene: Scene) -> None:
    closed = scene.ledger.closed(scene.tag)[0]
    log = Directory(scene.studio.home / "var" / "studio" / "predictions", "studio")
    rows = evidently.frame(log.between(), scene.profile.columns)
    both = [Window.from_bytes(scene.profile, one.window) for one in scene.ledger.closed(scene.tag)]
    assert len(rows) == 2_000 == both[0].rows + both[1].rows
    again = scene.profile.view(Window.from_frame(scene.profile, rows).counts)
    for name, counts in scene.profile.view((both[0] + both[1]).counts).items():
        np.testing.assert_array_equal(again[name], counts, err_msg=name)
    some = evidently.frame(log.between(), scene.profile.columns, most=100)
    assert len(some) == 100
    assert some.equals(evidently.frame(reversed(list(log.between())), scene.profile.columns, most=100))
    assert closed.rows == 1_000


def test_a_report_opens_without_a_network_and_says_that_it_is_no_alarm(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in scene.studio.environ(DAY).items():
        monkeypatch.setenv(variable, value)
    reporter = Reporter("studio")  # as a monitor that serves has it made
    for window in scene.ledger.closed(scene.tag):
        reporter.ask(window)
    while reporter.go_on():
        time.sleep(0.05)
    assert [path.name for path in scene.reports.iterdir()] == [f"{scene.tag.replace(':', '-')}-2.html"]
    path = next(scene.reports.iterdir())
    watched = Watched(scene.studio.at(DAY).usecase, scene.ledger, profiles(scene.studio.at(DAY).models), scene.reports)
    with browser() as chromium, served(watched) as url:
        page = chromium.page(1280)
        page.goto(f"{url}/models/{scene.tag}")
        link = page.evaluate("document.querySelector('a[href^=\"/reports/\"]').href")
        assert link == f"{url}/reports/{path.name}"
        assert "no alarm here" in page.text()
        _opens(chromium, link)
        _opens(chromium, path.as_uri())


def test_what_cannot_be_had_is_said(scene: Scene) -> None:
    for words, why in (
        (("--window", "9"), f"{scene.tag} has no window 9; it has 1 to 2"),
        (("--model", "studio:none"), f"no answer of a model studio:none was read; there are {scene.tag}"),
    ):
        done = CliRunner().invoke(app, ["monitor", "report", "studio", *words], env=scene.studio.environ(DAY))
        assert done.exit_code == 1
        assert str(done.exception) == why


def _opens(chromium: Browser, url: str) -> None:
    page = chromium.page(1280)
    page.goto(url)
    while "Drift Score" not in page.text():  # its script draws it
        page.evaluate("new Promise(requestAnimationFrame)")
    assert evidently.NOTE in page.text()
    assert "against the training set" in page.text()
    assert page.problems() == []
    assert [one for one in page.requests() if not one.startswith(("data:", "blob:"))] == [url]
