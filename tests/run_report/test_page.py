"""The report in a browser: every state can be read by everybody, on every screen, and on paper."""

import pytest
from axe import find_violations
from browser import chromium, open_page
from report_states import STATES

WIDTHS = (320, 390, 768, 1280, 1440, 1920)

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All reports, as files."""
    folder = tmp_path_factory.mktemp("reports")
    for name, make in STATES.items():
        (folder / f"{name}.html").write_text(make(), "utf-8")
    return folder


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def page(browser):
    return open_page(browser)


@pytest.mark.parametrize("state", STATES)
def test_everybody_can_read_every_state_on_every_screen(page, folder, state):
    page.emulate_media(color_scheme="light")
    page.goto((folder / f"{state}.html").as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") == width
    assert find_violations(page) == []
    page.emulate_media(color_scheme="dark")
    assert find_violations(page, "color-contrast") == []


def tinted(page):
    """Give the words of the answer that are tinted."""
    return page.evaluate(
        "[...document.querySelectorAll('.first mark')].filter(each => "
        "getComputedStyle(each).backgroundColor !== 'rgba(0, 0, 0, 0)').map(each => each.innerText)"
    )


def test_radio_buttons_choose_whose_wording_is_tinted(browser, folder):
    page = open_page(browser)
    page.goto((folder / "whole.html").as_uri())
    everything = tinted(page)
    assert any("walks the list from front to back" in words for words in everything)
    assert any("nodes lie scattered in memory" in words for words in everything)
    page.get_by_label("1 amber").check()
    amber = tinted(page)
    assert any("walks the list from front to back" in words for words in amber)
    assert not any("nodes lie scattered in memory" in words for words in amber)
    page.get_by_label("none").check()
    assert tinted(page) == []


def test_paper_has_the_last_layer_and_neither_prompts_nor_earlier_layers(browser, folder):
    page = open_page(browser, color_scheme="dark", viewport={"width": 690, "height": 900})
    page.goto((folder / "degraded.html").as_uri())
    closed = page.locator(".prop:not([open])").filter(has_text="fjord").first.locator(".body")
    assert not closed.is_visible()
    page.emulate_media(media="print")
    assert closed.is_visible()
    assert not page.locator("#prompts").is_visible()
    assert not page.locator(".early").first.is_visible()
    assert not page.locator(".tints").is_visible()
    assert page.locator(".costs").get_by_text("local:amber").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("document.documentElement.scrollWidth") == 690


TEXTS_OF_TILES = """() => [...document.querySelectorAll(".pic .n")].flatMap((tile) => {
  const rect = tile.querySelector("rect").getBBox();
  return [...tile.querySelectorAll("text")].map((text) => {
    const box = text.getBBox();
    return [parseFloat(getComputedStyle(text).fontSize), rect.width - box.x - box.width];
  });
})"""


def test_words_of_a_wide_picture_are_larger_on_paper_and_end_within_their_tiles(browser, folder):
    page = open_page(browser, viewport={"width": 673, "height": 900})
    page.goto((folder / "wide.html").as_uri())
    page.emulate_media(media="print")
    sizes, ends = zip(*page.evaluate(TEXTS_OF_TILES), strict=True)
    shown = page.evaluate("document.querySelector('.pic').getScreenCTM().a")
    assert min(sizes) * shown > 9.3  # pixels: 7 points
    assert min(ends) > 0


def test_formulas_are_as_wide_as_the_paper_at_most(browser, folder):
    page = open_page(browser, viewport={"width": 420, "height": 600})
    page.goto((folder / "mathematics.html").as_uri())
    cut = "each => each.filter(each => each.scrollWidth > each.clientWidth + 1).length"
    assert page.locator(".first .formula.display").evaluate_all(cut) == 1
    page.emulate_media(media="print")
    assert page.locator(".first .formula.display").evaluate_all(cut) == 0


def test_answer_is_laid_out(browser, folder):
    page = open_page(browser)
    page.goto((folder / "whole.html").as_uri())
    answer = page.locator(".first .text")
    assert answer.locator("h4").inner_text().strip() == "Use merge sort"
    assert answer.locator("table").count() == 1
    assert answer.locator("pre").evaluate("each => each.scrollWidth > each.clientWidth")
    assert answer.locator("a").get_attribute("rel") == "noopener noreferrer"
