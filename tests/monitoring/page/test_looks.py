"""The page in a real browser: it loads without a fault, fits every screen, can be read in both schemes, and asks for
nothing from elsewhere."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.browsing.browser import Browser, Page
from tests.monitoring.page.stage import EVIL, FORMER, TAG

PAGES = ("/", f"/models/{TAG}", f"/models/{FORMER}", f"/windows/{TAG}/24", f"/windows/{TAG}/1", "/nowhere")
SCREENS = ((375, False), (375, True), (768, False), (1400, False), (1400, True))
CONTRAST = """(() => {
  const channel = v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = c => .2126 * channel(c[0]) + .7152 * channel(c[1]) + .0722 * channel(c[2]);
  const read = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const behind = e => { for (; e; e = e.parentElement) { const c = read(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] === 1) return c; } return [255, 255, 255]; };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement, text = walk.currentNode.data.trim();
    if (!text || !e.getClientRects().length || e.closest('.hidden')) continue;
    const style = getComputedStyle(e);
    const ink = read(e instanceof SVGElement ? style.fill : style.color), page = behind(e);
    const [a, b] = [light(ink), light(page)].sort((x, y) => y - x);
    found.push([(a + .05) / (b + .05), text.slice(0, 30)]);
  }
  return found;
})()"""


def shown(chromium: Browser, url: str, width: int = 1280, *, dark: bool = False) -> Page:
    """A page of that width."""
    page = chromium.page(width, dark=dark)
    page.goto(url)
    return page


@pytest.mark.parametrize("path", PAGES)
def test_a_page_fits_every_screen_and_asks_for_nothing_from_elsewhere(path: str, url: str, chromium: Browser) -> None:
    for width, dark in SCREENS:
        page = shown(chromium, url + path, width, dark=dark)
        assert [p for p in page.problems() if "404" not in p or path != "/nowhere"] == []
        assert {request.split("/")[2] for request in page.requests()} == {url.split("/")[2]}
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("document.querySelectorAll('script, [style], [onclick]').length") == 0
        assert page.evaluate("[...document.styleSheets].length") == 1


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("path", PAGES)
def test_everything_can_be_read_in_both_schemes(path: str, dark: bool, url: str, chromium: Browser) -> None:
    page = shown(chromium, url + path, dark=dark)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    ratios: list[Any] = page.evaluate(CONTRAST)
    assert len(ratios) > 5
    assert [one for one in ratios if one[0] < 4.5] == []  # WCAG 2.2, 1.4.3
    page_colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    bright = sum(map(int, page_colour.removeprefix("rgb(").removesuffix(")").split(","))) / 3
    assert bright < 60 if dark else bright > 200


def test_a_model_tells_its_story(url: str, chromium: Browser) -> None:
    page = shown(chromium, f"{url}/models/{TAG}")
    text = page.text()
    for words in (
        "Alarm",
        "5 of 8 columns moved",
        "A new model is asked for",
        "monthly_charges is spread differently",
        "total_charges is missing more often",
        "What became true",
        "blind to concept drift",
        "▲ not as expected",
        "1 of 2 features differ",
        "Held against the training set (20,000 rows)",
        "Season is not modelled",
    ):
        assert words in text, words
    order = page.evaluate("[...document.querySelectorAll('.moved')][0].innerText")
    assert order.index("monthly_charges") < order.index("payment_method") < order.index("tenure")
    assert page.evaluate("document.querySelectorAll('.strip .all td').length") == 24
    assert page.evaluate("document.querySelectorAll('.strip .all td.alarm').length") >= 7


def test_a_drawing_has_its_figures_as_a_table_and_a_name_for_who_cannot_see_it(url: str, chromium: Browser) -> None:
    page = shown(chromium, f"{url}/windows/{TAG}/24")
    figures = page.evaluate(
        "[...document.querySelectorAll('figure')].map(one => [one.querySelector('svg').getAttribute('aria-label'), "
        "one.querySelectorAll('tbody tr').length])"
    )
    assert len(figures) == 8
    assert all(name and rows >= 2 for name, rows in figures)


def test_windows_lead_to_their_pages(url: str, chromium: Browser) -> None:
    page = shown(chromium, f"{url}/models/{TAG}")
    last = page.evaluate("[...document.querySelectorAll('.strip .all a')].pop().href")
    assert last == f"{url}/windows/{TAG}/24"
    assert page.goto(last) == 200
    assert page.goto(page.evaluate("document.querySelector('.steps a').href")) == 200
    assert "Window 23" in page.text()


def test_what_comes_from_outside_is_text(url: str, chromium: Browser) -> None:
    page = shown(chromium, f"{url}/windows/{TAG}/24")
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert EVIL in page.text()
    assert page.evaluate("document.scripts.length") == 0
    assert page.goto(f"{url}/models/{quote(EVIL, safe='')}") == 404
    assert EVIL in page.text()
    assert page.evaluate("document.scripts.length") == 0


def test_where_nothing_was_read_the_page_says_what_to_do(empty: str, chromium: Browser) -> None:
    page = shown(chromium, empty, 375)
    assert page.problems() == []
    for words in ("Nothing to watch yet", "holdfast run telco", "/v1/predict", "holdfast monitor run telco"):
        assert words in page.text()
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
