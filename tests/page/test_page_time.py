"""What a model writes is laid out in time that is in proportion to it."""

from functools import partial
from itertools import pairwise

import pytest
from proportion import MOST, growth

SIZES = (2_000, 20_000, 200_000)  # characters; longer texts are not laid out
NOISE = 0.002  # seconds

RENDER = """async ([begin, unit, end, size]) => {
  const { render } = await import("/page/markdown.js");
  const element = document.createElement("div");
  render(element, (begin + unit.repeat(size / unit.length)).slice(0, size - end.length) + end);
  return element.childNodes.length;
}"""
TEXTS = {
    "heading": ("# ", " ", "x\u2028y"),
    "item": ("1. ", " ", "x\u2028y"),
    "quote": ("> ", " ", "x\u2028y"),
    "rule": ("---", "-", " x"),
    "blanks": ("", " ", "- x"),
    "lines": ("", "a\n", ""),
    "items": ("", "- a\n", ""),
    "quotes": ("", ">>>> a\n", ""),
    "rows": ("", "|-|\n", ""),
    "links": ("", "[a](", ""),
    "brackets": ("", "[", ""),
    "emphasis": ("", "*a", ""),
    "bold": ("", "**a ", ""),
    "underscores": ("", "_a ", ""),
    "back quotes": ("", "`", ""),
    "code": ("", "```\n", ""),
}


@pytest.fixture
def seconds(page):
    """Tell how long the page's thread itself was at work on a text."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def worked() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return next(each["value"] for each in metrics if each["name"] == "TaskDuration")

    def measure(text, size) -> float:
        began = worked()
        assert page.evaluate(RENDER, [*text, size])
        return worked() - began

    return measure


@pytest.mark.parametrize("text", TEXTS)
def test_time_is_in_proportion_to_the_text(text, seconds):
    for small, large in pairwise(SIZES):
        times, _ = growth(partial(seconds, TEXTS[text]), small, large, NOISE)
        assert times < MOST, f"{large:,} characters take {times:.0f} times as long as {small:,}"
