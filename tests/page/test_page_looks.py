"""The page of `moa serve`, in a real browser: how texts are laid out, and who can read them."""

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
    expect(page.locator("#steps button")).to_have_count(6)
    cell(page, "layer_1_a").click()
    for place in ("#answer-text", "#detail .text"):
        text = page.locator(place)
        expect(text).to_contain_text("[click](javascript:window.hacked=1)")
        expect(text).not_to_contain_text("!picture")
        assert text.locator("script, img, svg, b").count() == 0
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


def test_everything_is_done_by_keyboard(page, models, half):
    models.model("w", reply=LONG, **half)
    page.select_option("#mixture", "plain")
    page.locator("#question").focus()
    page.keyboard.type("why?")
    page.keyboard.press("Enter")
    status(page, "aggregator", "running")
    page.keyboard.press("Escape")
    expect(page.locator("#resume")).to_be_visible()
    models.model("w", reply=ANSWER)
    page.locator("#resume").press("Enter")
    answered(page)
    page.locator('#steps [aria-current="step"]').focus()
    page.keyboard.press("ArrowLeft")
    current = page.locator('#steps [aria-current="step"]')
    expect(current).to_have_text("Layer 2 gathered")
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
    expect(page.locator("#steps button")).not_to_have_count(0)
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
  const pairs = [['ink', 'paper'], ['ink', 'ground'], ['dim', 'paper'], ['dim', 'ground'],
    ['good', 'paper'], ['bad', 'bad-soft'], ['dim', 'bad-soft'], ['cut', 'cut-soft'],
    ['dim', 'cut-soft'], ['accent', 'paper'], ['accent-ink', 'accent'],
    ['layer-aggregator', 'layer-aggregator-soft'],
    ['ink', 'accent-soft'], ['dim', 'accent-soft']];
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
        expect(page.locator("#conversation .question.open")).to_have_text(f"question {number}?")
        answered(page, LONG)
    expect(page.locator(".earlier summary")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0


def test_table_is_laid_out_in_elements(page, models):
    table = (
        "Look:\n| Name | `n` |\n|:--|--:|\n| <b>x</b> | 1 \\| 2 |\n| **y** |\n\nAfter | it\n--- no"
    )
    models.model("w", reply=table)
    ask(page)
    answer = page.locator("#answer-text")
    expect(answer.locator("p")).to_have_text(["Look:", "After | it--- no"])
    rows = "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    wanted = [["Name", "n"], ["<b>x</b>", "1 | 2"], ["y"]]
    assert answer.locator("tr").evaluate_all(rows) == wanted
    assert answer.locator("th code, td strong").count() == 2


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
