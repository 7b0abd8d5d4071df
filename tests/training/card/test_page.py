"""The card: what a model is, for people, in a terminal and on a page; equal models have equal cards."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from model import store
from model.artefact import Manifest, read_manifest
from tests.training.conftest import Ready
from training import fit
from training.card import TITLES, page
from training.card.content import Subject
from usecases import Slice, UseCase

VOID = {"meta", "link", "img", "br", "hr", "input"}
HOSTILE = "</code></style><script>alert(1)</script><img src=x onerror=alert(1)> | `x` {{ 7 * 7 }}\nnext"


class Reader(HTMLParser):
    """Whether tags are well nested; which there are, with what attributes; and the text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Opened."""
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Opened and closed at once."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Closed, and no other."""
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        """Of an element that is shown."""
        if not {"style", "script"} & set(self.open):
            self.text.append(data)

    @property
    def shown(self) -> str:
        """All the text, with single blanks."""
        return " ".join("".join(self.text).split())


@dataclass(frozen=True)
class Cards:
    """Both cards of a stored model, and what they are about."""

    usecase: UseCase
    manifest: Manifest
    markdown: str
    html: str

    def subject(self, **changes: Any) -> Subject:
        """The same, changed."""
        rule = fit.decision(self.usecase)
        return Subject(self.usecase, rule, {**self.manifest.model_dump(), **changes})


def cards(usecase: UseCase, ready: Ready, algorithm: str = "xgboost") -> Cards:
    """Of a model trained now."""
    tag = replace(ready.toy, usecase=usecase).train(algorithm).manifest.tag
    texts = [(store.path(tag) / name).read_text() for name in ("card.md", "card.html")]
    return Cards(usecase, read_manifest(store.path(tag)), *texts)


@pytest.fixture(scope="module")
def pulse(pulse_ready: Ready) -> Cards:
    """Of the toy with events, and a slice."""
    return cards(replace(pulse_ready.toy.usecase, slices=(Slice("recency_days", (30,)),)), pulse_ready)


@pytest.fixture(scope="module")
def plan(plan_ready: Ready) -> Cards:
    """Of the toy with attributes only."""
    return cards(plan_ready.toy.usecase, plan_ready, "logistic")


def test_it_names_the_model_its_data_its_metrics_its_rule_and_its_inputs(pulse: Cards) -> None:
    card, manifest = pulse.markdown, pulse.manifest
    assert card.startswith("# pulse: Pulse: no visit in the next 30 days\n")
    assert f"`{manifest.fingerprint[:16]}`" in card
    assert "| train | 2020-03-09T00:00:00Z to 2020-05-08T00:00:00Z | 507 |" in card
    assert f"| ROC-AUC | {manifest.metrics['model']['roc_auc']:.4f} |" in card
    assert "`churn` where the probability is at least 0.2500, else `stay`" in card
    assert "contact 1, loss 20, rescued 0.2" in card
    for name in manifest.inputs:
        assert f"- `{name}`: " in card
    for name, value in manifest.parameters.items():
        assert f"| `{name}` | {value} |" in card
    assert f"| git commit | `{manifest.git_commit}` |" in card
    assert "| parent | `none` |" in card
    assert f"numpy {manifest.libraries['numpy'].version}" in card
    assert "`card.html`, beside this file" in card


def test_it_says_how_each_input_is_made(pulse: Cards, plan: Cards) -> None:
    assert "- `visits`: count over all of the past" in pulse.markdown
    assert "- `phone_visits_60d`: count over 60 days, where device = 'phone'" in pulse.markdown
    assert "- `most_pages`: max of pages over 90 days" in pulse.markdown
    assert "- `mean_paid`: Mean cents per visit; 0 without visits." in pulse.markdown
    assert "- `last_visit_at`: max of visited_at over all of the past" in pulse.markdown
    assert "```python\ndef mean_paid(paid: Array, visits: Array) -> Array:\n" in pulse.markdown
    assert "- `premium`: carried by the request, yes or no" in plan.markdown
    assert "- `region`: carried by the request, one of north, south, west" in plan.markdown
    assert "- `rating`: carried by the request, number, 0 to 5; may be missing" in plan.markdown


def test_both_files_say_the_same(pulse: Cards, plan: Cards) -> None:
    for one in (pulse, plan):
        shown = Reader(one.html).shown
        for line in one.markdown.split("```python")[0].splitlines()[:-1]:
            cells = re.split(r" \| ", line.strip("| ").replace("\\|", "|"))
            for cell in cells if "---" not in line else []:
                plain = " ".join(re.sub(r"^(#+|-) ", "", cell).replace("`", "").split())
                assert plain in shown, cell


def test_what_a_model_does_not_say_is_said(pulse: Cards, plan: Cards) -> None:
    assert f"one label time, {pulse.manifest.dataset.label_times['test'][-1]}" in pulse.markdown
    assert "`known: false`" in pulse.markdown
    assert "known from the beginning" not in pulse.markdown
    assert "known: false" not in plan.markdown
    assert "what will hold later" in plan.markdown
    for one in (pulse, plan):
        assert "leans upward" in one.markdown
        assert "not what causes what" in one.markdown
    assert "## Slices" in pulse.markdown
    assert "## Slices" not in plan.markdown


def test_what_is_worse_is_told_as_it_is_judged_and_why_a_part_is_not_measured_below(pulse: Cards) -> None:
    small = {**pulse.manifest.metrics["slices"][0], "part": "few", "reason": "fewer than 200 examples"}
    auc = {"value": 0.7, "interval": [0.6, 0.8]}
    figures = {**small, "part": "many", "reason": None, "promised": 0.8} | dict.fromkeys(
        ("roc_auc", "log_loss", "ece"), auc
    )
    parts = [small, {**figures, "worse": ["ranking", "level"]}, {**figures, "part": "good", "worse": []}]
    card = page.markdown(pulse.subject(metrics={**pulse.manifest.metrics, "slices": parts}))
    rows = [line.split(" | ") for line in card.splitlines() if line.startswith("| `recency_days`")]
    assert [row[5:8] for row in rows] == [
        ["-", "-", "-"],
        ["0.700 (0.600 to 0.800)", "0.800", "ranking, level"],
        ["0.700 (0.600 to 0.800)", "0.800", "no"],
    ]
    assert "\n- `recency_days`, few, is not measured: fewer than 200 examples\n" in card
    assert "Ranking: the ROC-AUC falls significantly short of what is promised" in card
    assert "Level: mean probability and share of positives are significantly further apart" in card


def test_a_logistic_regression_s_card_does_not_compare_it_with_itself(pulse: Cards, plan: Cards) -> None:
    assert "logistic regression" in pulse.markdown
    assert "logistic regression" in pulse.html
    assert "logistic regression" not in plan.markdown
    assert "logistic regression" not in plan.html
    auc = plan.manifest.metrics["model"]["roc_auc"]
    (row,) = (line for line in plan.markdown.splitlines() if line.startswith("| ROC-AUC | "))
    assert row.count("|") == 4
    assert f"{auc:.4f}" in row


def test_it_holds_no_time_of_training_and_no_version(pulse: Cards, plan: Cards) -> None:
    for text in (pulse.markdown, pulse.html):
        assert pulse.manifest.version not in text
        assert pulse.manifest.created_at[:10] not in text
    assert "| train | - |" in plan.markdown


def test_equal_models_have_equal_cards(pulse: Cards) -> None:
    assert page.markdown(pulse.subject()) == pulse.markdown
    assert page.html(pulse.subject()) == pulse.html
    changed = {**pulse.manifest.metrics, "importance": dict.fromkeys(pulse.manifest.inputs, 1.0)}
    assert page.html(pulse.subject(metrics=changed)) != pulse.html


def test_the_page_is_one_whole_file_without_script(pulse: Cards, plan: Cards) -> None:
    for one in (pulse, plan):
        reader = Reader(one.html)
        tags = {tag for tag, _ in reader.tags}
        assert not tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
        for _, attributes in reader.tags:
            assert not {name for name in attributes if name.startswith("on")}
            assert not {"src", "srcset", "action"} & set(attributes)
            assert (attributes.get("href") or "#").startswith("#")
        addresses = set(re.findall(r"(?:https?:)?//[\w.]+[^\s\"<]*", one.html))
        assert addresses <= {"http://www.w3.org/2000/svg"}  # a name, not an address
        assert "@import" not in one.html
        assert not re.findall(r"url\((?!#)", one.html)
        ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
        assert len(ids) == len(set(ids))
        assert [tag for tag, _ in reader.tags].count("svg") == 6
        assert len(one.html) < 200_000


def test_the_page_fits_a_phone_light_and_dark(pulse: Cards) -> None:
    reader = Reader(pulse.html)
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in reader.tags
    assert pulse.html.count('<div class="scroll"><table>') == pulse.html.count("<table>")
    assert "prefers-color-scheme:dark" in pulse.html
    assert re.search(r"\.scroll\{[^}]*overflow-x:auto[^}]*no-repeat local,[^}]*no-repeat scroll\}", pulse.html)
    assert pulse.html.count("--shade:") == 2  # light and dark
    assert all("width" not in attributes for tag, attributes in reader.tags if tag == "svg")


def test_names_that_would_break_the_page_or_the_table_are_text(pulse: Cards) -> None:
    usecase = replace(pulse.usecase, title=HOSTILE, decisions=(HOSTILE, "<i>gone</i>"))
    hostile = replace(pulse, usecase=usecase)
    metrics = pulse.manifest.metrics
    slices = [{**one, "part": HOSTILE, "reason": HOSTILE} for one in metrics["slices"]]
    about = hostile.subject(
        metrics={**metrics, "slices": slices}, parameters={HOSTILE: HOSTILE}, git_commit=HOSTILE, parent=HOSTILE
    )
    html, markdown = page.html(about), page.markdown(about)
    reader = Reader(html)
    assert not {tag for tag, _ in reader.tags} & {"script", "img", "i"}
    assert "alert(1)" in reader.shown
    assert "{{ 7 * 7 }}" in reader.shown
    assert "49" not in re.sub(r"\d*\.\d+|\d{3,}", "", reader.shown)
    width = {
        line.replace("\\|", "").count("|") for line in markdown.splitlines() if line.startswith("| `recency_days`")
    }
    assert width == {11}
    assert "\nnext" not in markdown


def test_a_search_is_summed_up(pulse: Cards) -> None:
    search = {
        "objective": "log loss",
        "trials": [{}] * 12,
        "pruned": 3,
        "folds": [{}] * 4,
        "best": {"number": 7, "value": 0.31234},
        "default": {"value": 0.31334},
        "gain": {"value": 0.001, "error": 0.0004},
        "chosen": 7,
    }
    said = page.markdown(pulse.subject(search=search))
    assert "Of 12 trials (3 pruned) by 4 fold(s)" in said
    assert "the best 0.3123, the defaults 0.3133" in said
    assert "Chosen: trial 7." in said
    assert "Chosen: the defaults" in page.markdown(pulse.subject(search={**search, "chosen": 0}))
    assert "not searched for" in pulse.markdown


def test_cards_are_files_of_the_artefact_and_no_content(pulse: Cards, tmp_path: Path) -> None:
    assert {"card.md", "card.html"} <= set(pulse.manifest.files)
    page.write(tmp_path, pulse.usecase, pulse.subject().rule, pulse.manifest.model_dump())
    assert (tmp_path / "card.html").read_text() == pulse.html
    assert set(TITLES) == set(pulse.manifest.metrics["model"])
