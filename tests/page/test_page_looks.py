"""The page of `moa serve`, in a real browser: layout and accessibility of texts."""

import re

import pytest
from pages import ANSWER, LONG, answered, ask, cell, status
from playwright.sync_api import expect


def test_markup_of_models_stays_text(page, models):
    evil = (
        "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>\n\n"
        "[click](javascript:window.hacked=1) [data](data:text/html,x) [good](https://example.org/)\n\n"
        "![picture](https://example.org/x.png) <svg onload=alert(1)>\n\n```\n</code><b>\n```"
    )
    for name in ("a", "b", "w"):
        models.model(name, reply=evil)
    ask(page, evil)
    expect(page.locator("#answer-text")).to_contain_text("<script>window.hacked = 1</script>")
    expect(page.locator("#foot")).to_be_visible()
    cell(page, "layer_1_a").click()
    for place in ("#answer-text", "#side .text"):
        text = page.locator(place)
        expect(text).to_contain_text("[click](javascript:window.hacked=1)")
        expect(text).not_to_contain_text("!picture")
        assert text.locator("script, img, svg:not(.i), b").count() == 0
        links = text.locator("a").evaluate_all("all => all.map(a => [a.href, a.rel])")
        safe = "noopener noreferrer"
        assert links == [["https://example.org/", safe], ["https://example.org/x.png", safe]]
    assert page.evaluate("window.hacked") is None


def test_markdown_is_laid_out(page, models):
    text = (
        "# Title\n\nA *word*, `code` and **more**.\n\n- one\n  - inner\n- two\n\n3. third\n\n> said"
    )
    models.model("w", reply=f"{text}\n\n```py\nx = '<b>'\n```")
    ask(page)
    answer = page.locator("#answer-text")
    expect(answer.locator("pre code")).to_have_text("x = '<b>'")
    for selector, wanted in {
        "h3": "Title",
        "em": "word",
        "strong": "more",
        "ul ul li": "inner",
        "ol[start='3'] li": "third",
        "blockquote p": "said",
    }.items():
        expect(answer.locator(selector)).to_have_text(wanted)


SIGNS_OF_TASKS = """() => [...document.querySelectorAll("#answer-text li")].map((item) => {
  const range = document.createRange();
  range.selectNodeContents(item.querySelector("p") ?? item.lastChild);
  const [sign, text] = [item.querySelector(".task").getClientRects()[0], range.getClientRects()[0]];
  return [getComputedStyle(item).listStyleType, text.top < sign.bottom && sign.top < text.bottom];
})"""


def test_sign_of_a_task_stands_before_its_text_and_in_place_of_the_mark(page, models):
    models.model("w", reply="- [ ] close\n- [x] by\n\nAnd:\n\n- [ ] far\n\n- [x] apart")
    ask(page)
    expect(page.locator("#foot")).to_be_visible()
    assert page.evaluate(SIGNS_OF_TASKS) == [["none", True]] * 4


def test_everything_is_done_by_keyboard(page, models, half):
    models.model("w", reply=LONG, **half)
    page.locator("#mix").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(page.locator("#mixes")).to_be_hidden()
    page.locator("#question").focus()
    page.keyboard.type("why?")
    page.keyboard.press("Enter")
    status(page, "aggregator", "running")
    page.keyboard.press("Escape")
    expect(page.locator("#resume")).to_be_visible()
    models.model("w", reply=ANSWER)
    page.locator("#resume").press("Enter")
    answered(page)
    page.locator('#strip button[aria-current="step"]').focus()
    page.keyboard.press("ArrowLeft")
    current = page.locator('#strip button[aria-current="step"]')
    expect(current).to_contain_text("Layer 2")
    expect(current).to_be_focused()
    page.keyboard.press("Home")
    expect(current).to_have_text("Question")
    outline = current.evaluate("each => getComputedStyle(each).outlineStyle")
    assert outline == "solid"


@pytest.mark.parametrize("mixture", ["plain", "wide"])
def test_narrow_window_needs_no_sideways_scrolling(new_page, site, models, mixture, half, seen):
    models.model("w", reply=f"{'x' * 300}\n\n    {LONG}\n\n```\n{'y' * 300}\n```", **half)
    page = new_page(site[0], viewport={"width": 360, "height": 700})
    ask(page, "w" * 200, mixture)
    width = "document.documentElement.scrollWidth"
    status(page, "aggregator", "running")
    assert page.evaluate(width) == 360
    seen.set()
    expect(page.locator("#foot")).to_be_visible()
    assert page.evaluate(width) == 360
    page.click("#menu")
    expect(page.locator("#new")).to_be_visible()
    assert page.evaluate(width) == 360


CONTRAST = """() => {
  const style = getComputedStyle(document.documentElement);
  const light = (name) => {
    const probe = document.createElement('i');
    probe.style.color = style.getPropertyValue(name);
    document.body.append(probe);
    const parts = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map((each) => {
      const c = each / 255;
      return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    probe.remove();
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const pairs = [['ink', 'paper'], ['ink', 'ground'], ['ink', 'raise'], ['ink', 'tint'],
    ['ink', 'accent-soft'], ['ink', 'warn-soft'], ['ink', 'bad-soft'],
    ['dim', 'paper'], ['dim', 'ground'], ['dim', 'raise'], ['dim', 'accent-soft'],
    ['good', 'paper'], ['good', 'ground'], ['warn', 'paper'], ['warn', 'ground'],
    ['warn', 'warn-soft'], ['bad', 'paper'], ['bad', 'ground'], ['bad', 'bad-soft'],
    ['accent', 'paper'], ['accent', 'ground'], ['accent', 'accent-soft'], ['on-accent', 'accent']];
  return pairs.map(([front, back]) => {
    const [a, b] = [light('--' + front), light('--' + back)].sort((x, y) => y - x);
    return [front, back, (a + 0.05) / (b + 0.05)];
  });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_are_readable(new_page, site, scheme):
    page = new_page(site[0], color_scheme=scheme)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(re.findall(r"\d+", ground)[0]) < 128) == (scheme == "dark")
    assert [each for each in page.evaluate(CONTRAST) if each[2] < 4.5] == []


def test_narrow_window_holds_earlier_answers(new_page, site, models):
    models.model("w", reply=LONG)
    page = new_page(site[0], viewport={"width": 360, "height": 700})
    for number in (1, 2):
        ask(page, f"question {number}?")
        expect(page.locator("#asked")).to_have_text(f"question {number}?")
        answered(page, LONG)
    expect(page.locator("#earlier .turn")).to_have_count(1)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0


def test_table_is_laid_out_in_elements(page, models):
    table = (
        "Look:\n| Name | `n` |\n|:--|--:|\n| <b>x</b> | 1 \\| 2 |\n| **y** |\n\nAfter | it\n--- no"
    )
    models.model("w", reply=table)
    ask(page)
    answer = page.locator("#answer-text")
    expect(answer.locator("p")).to_have_text(["Look:", "After | it --- no"])
    rows = "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    wanted = [["Name", "n"], ["<b>x</b>", "1 | 2"], ["y", ""]]
    assert answer.locator("tr").evaluate_all(rows) == wanted
    assert answer.locator("th code, td strong").count() == 2
    sides = "cells => cells.map(cell => getComputedStyle(cell).textAlign)"
    assert answer.locator("th").evaluate_all(sides) == ["left", "right"]


def test_wide_table_scrolls_by_itself(new_page, site, models):
    row = f"|{'|'.join('column' for _ in range(30))}|"
    models.model("w", reply=f"{row}\n{'|-' * 30}|\n{row}")
    page = new_page(site[0], viewport={"width": 360, "height": 700})
    ask(page)
    expect(page.locator("#answer-text td")).to_have_count(30)
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_marks_of_direction_do_not_reach_beyond_their_element(page, models):
    models.model("w", reply="**abc\u202e** then")
    ask(page)
    expect(page.locator("#answer-text strong")).to_have_count(1)
    first, last = page.evaluate("""() => {
      const text = document.querySelector("#answer-text p").lastChild;
      return [1, 4].map((at) => {
        const range = document.createRange();
        range.setStart(text, at);
        range.setEnd(text, at + 1);
        return range.getBoundingClientRect().x;
      });
    }""")
    assert first < last


def test_highest_heading_of_an_answer_is_larger_than_its_text_at_any_level(page, models):
    for marks in ("#", "##", "###"):
        models.model("w", reply=f"{marks} Title\n\n{marks}# Part\n\nWords.")
        ask(page)
        expect(page.locator("#foot")).to_be_visible()
        size = "each => getComputedStyle(each).fontSize"
        told = [page.get_by_role("heading", name=name).evaluate(size) for name in ("Title", "Part")]
        assert told == ["20px", "16px"], marks
        page.click("#new")
