"""Every state of the page, at every size: nothing is out of reach, and axe finds nothing."""

import pytest
from axe import find_violations
from page_states import QUESTION, STATES, WRITTEN, Scene, behave, mixtures
from pages import ask, cell, serve_in_thread, step
from playwright.sync_api import expect

SIZES = {"desk": (1440, 900), "laptop": (1280, 800), "phone": (390, 844), "smallest": (320, 640)}
OF_COLOURS = ["color-contrast", "link-in-text-block"]  # rules that a scheme matters to
OUTSIDE = """() => {
  const inside = (element) => {
    if (!element?.checkVisibility()) return true;
    const box = element.getBoundingClientRect();
    return box.top >= -1 && box.left >= -1
      && box.bottom <= innerHeight + 1 && box.right <= innerWidth + 1;
  };
  const main = ["question", "ask", "stop", "go-on", "discard", "resume-too", "totals", "strip"];
  const ids = document.getElementById("side").checkVisibility() ? [...main, "shut"] : main;
  const wide = document.documentElement.scrollWidth - innerWidth;
  const talk = document.getElementById("talk");
  return [
    ...ids.filter((id) => !inside(document.getElementById(id))),
    ...(wide > 0 ? [`the page scrolls ${wide} pixels sideways`] : []),
    ...(talk.scrollWidth > talk.clientWidth ? ["the stage scrolls sideways"] : []),
    ...(document.documentElement.scrollHeight > innerHeight ? ["the page scrolls"] : []),
    ...(document.getElementById("strip").offsetHeight > 120 ? ["the strip is too high"] : []),
  ];
}"""
FIRST_LINE = """() => {
  const line = document.querySelector("#answer-text > *").getBoundingClientRect();
  const talk = document.getElementById("talk").getBoundingClientRect();
  return line.top >= talk.top - 1 && line.top + 20 <= talk.bottom;
}"""


@pytest.fixture(scope="module")
def states_site(models):
    """The address of a server with all mixtures, whose threads are in memory."""
    with serve_in_thread(*mixtures(models.url)) as url:
        yield url


@pytest.fixture
def scene(models, states_site, new_page):
    """A page on which nothing was asked, and models that answer."""
    behave(models)
    shown = Scene(new_page(states_site, viewport={"width": 1280, "height": 800}), models)
    with shown.closing:
        yield shown
    shown.seen.set()


def resize(page, size):
    page.set_viewport_size(dict(zip(("width", "height"), SIZES[size], strict=True)))
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")


@pytest.mark.parametrize("name", STATES)
def test_nothing_is_out_of_reach_at_any_size_and_axe_finds_nothing(name, scene):
    STATES[name](scene)
    page, outside = scene.page, {}
    for size in SIZES:
        resize(page, size)
        outside[size] = page.evaluate(OUTSIDE)
    assert outside == {size: [] for size in SIZES}
    for scheme, rules in {"light": [], "dark": OF_COLOURS}.items():
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        for size in ("laptop", "phone"):
            resize(page, size)
            assert find_violations(page, *rules) == [], (scheme, size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mixture", ["house", "wide"])
def test_answer_begins_in_view_when_it_ends_and_when_its_thread_is_opened(mixture, size, scene):
    page = scene.page
    resize(page, size)
    scene.models.model("w", reply=WRITTEN)
    for question in ("first?", QUESTION):
        ask(page, question, mixture)
        expect(page.locator("#asked")).to_have_text(question)
        expect(page.locator("#foot")).to_be_visible()
        assert page.evaluate(FIRST_LINE), question
        assert page.evaluate(OUTSIDE) == []
    page.reload()
    expect(page.locator("#answer-text")).to_contain_text("Line 39")
    assert page.evaluate(FIRST_LINE)
    first = page.locator("#answer-text > *").first
    place = first.bounding_box()["y"]
    cell(page, "aggregator").click()
    expect(page.locator("#side .text")).to_contain_text("Line 39")
    assert first.bounding_box()["y"] == pytest.approx(place, abs=1)
    page.keyboard.press("Escape")
    assert first.bounding_box()["y"] == pytest.approx(place, abs=1)
    step(page, "Layer 3" if mixture == "wide" else "Layer 2")
    expect(page.locator("#go-on")).to_be_visible()
    assert page.evaluate(OUTSIDE) == []


def test_answer_is_not_covered_on_a_phone_by_the_panel_that_it_was_changed_in(scene):
    page = scene.page
    resize(page, "phone")
    scene.answer()
    step(page, "Layer 2")
    cell(page, "layer_2_fjord").click()
    page.locator("#side").get_by_role("button", name="Drop").click()
    page.click("#go-on")
    expect(page.locator("#status")).to_contain_text("11 of 12")
    expect(page.locator("#side")).to_be_hidden()
    assert page.evaluate(FIRST_LINE)


SIGNS = """() => Object.fromEntries([...document.querySelectorAll("#strip [data-state]")].map(
  (tile) => {
  const { borderStyle, borderWidth } = getComputedStyle(tile);
  const icon = tile.querySelector("svg path").getAttribute("d");
  return [tile.dataset.state, [icon, tile.querySelector(".word, .model").textContent,
    borderStyle, borderWidth].join()];
}))"""


@pytest.mark.parametrize("name", ["asked again after a failure", "degraded", "early stop"])
def test_calls_are_told_apart_without_colours_and_nothing_moves(name, scene):
    scene.page.emulate_media(forced_colors="active", reduced_motion="reduce")
    STATES[name](scene)
    signs = scene.page.evaluate(SIGNS)
    assert len(signs) > 1
    assert len(set(signs.values())) == len(signs), signs
    assert scene.page.evaluate("document.getAnimations().length") == 0
    press_until(scene.page, "Tab", "#strip .tile")
    outline = "getComputedStyle(document.activeElement).outline"
    assert "solid 3px" in scene.page.evaluate(outline)


EDGES = """(selector) => {
  const box = document.querySelector(selector);
  const range = document.createRange();
  range.selectNodeContents(box);
  const [text, around] = [range.getClientRects()[0], box.getBoundingClientRect()];
  return [text.left - around.left, around.right - text.right];
}"""


def test_text_from_right_to_left_begins_at_the_right(scene):
    page = scene.page
    scene.models.model("w", reply="# عنوان\n\nفرز الدمج مناسب.\n\n- أولا\n- ثانيا")
    ask(page, "كيف أفرز قائمة؟", "judged")
    expect(page.locator("#foot")).to_be_visible()
    for selector in ("#asked", "#answer-text h3", "#answer-text p", "#answer-text li"):
        left, right = page.evaluate(EDGES, selector)
        assert left > right + 50, selector
    assert page.evaluate(OUTSIDE) == []


def press_until(page, key, selector):
    """Press a key until the focus is where it is wanted."""
    for _ in range(500):  # each thread of the list takes two
        page.keyboard.press(key)
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"{key} does not lead to {selector}")


def test_keyboard_is_enough_from_the_question_to_the_stop(scene):
    page = scene.page
    page.locator("#question").focus()
    page.keyboard.type(QUESTION)
    page.keyboard.press("Enter")
    expect(page.locator("#foot")).to_be_visible()
    press_until(page, "Tab", "#strip .tile")
    page.keyboard.press("ArrowRight")
    tile = page.locator("#strip .tile:focus")
    node = tile.get_attribute("data-node")
    page.keyboard.press("Enter")
    expect(page.locator("#side")).to_be_visible()
    press_until(page, "Tab", "#side *")
    page.keyboard.press("Escape")
    expect(page.locator("#side")).to_be_hidden()
    assert tile.get_attribute("data-node") == node
    scene.hold("cedar")
    press_until(page, "Tab", "#question")
    page.keyboard.type("And then?")
    page.keyboard.press("Enter")
    expect(page.locator("#stop")).to_be_visible()
    press_until(page, "Tab", "#stop")
    page.keyboard.press("Enter")
    expect(page.locator("#resume")).to_be_visible()
