"""Markdown that comes piece by piece is laid out as if it came at once, and only once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_texts import TEXTS

from moa_graph.markdown import StreamedMarkdown, render_blocks, streaming

PARAGRAPH = "It is **so** that water is `wet`, as [they](https://example.org) say. "
LONG = {
    "paragraphs": (PARAGRAPH * 3 + "\n\n") * 10,
    "one paragraph": PARAGRAPH * 30,
    "one block of code": "```python\n" + "print('a')\n" * 200,
    "one list": f"- {PARAGRAPH}\n" * 30,
    "one table": "| a | b |\n|---|---|\n" + "| one | two |\n" * 100,
    "headings without empty lines": f"# a\n{PARAGRAPH}\n" * 20,
}


def pieces(text, size=4):
    return [text[: end + size] for end in range(0, len(text), size)]


@pytest.mark.parametrize("kind", LONG)
def test_characters_that_are_laid_out_are_in_proportion_to_the_text(kind):
    laid_out = []
    for times in (1, 4):
        streamed, text = StreamedMarkdown(), LONG[kind] * times
        for so_far in pieces(text):
            streamed.update(so_far)
        laid_out.append(streamed.rendered_chars / len(text))
    assert max(laid_out) < 20
    assert laid_out[1] < 1.5 * laid_out[0]


def test_finished_block_is_not_laid_out_again(monkeypatch):
    seen = []
    parse = streaming.MarkdownDocument
    monkeypatch.setattr(
        streaming,
        "MarkdownDocument",
        lambda text, **options: seen.append(text) or parse(text, **options),
    )
    streamed = StreamedMarkdown()
    for so_far in pieces("first one\n\nsecond one\n\nthird one\n\n", 1):
        streamed.update(so_far, is_over=False)
    assert streamed.finished == 2
    later = seen[next(i for i, text in enumerate(seen) if "third" in text) + 1 :]
    assert not [text for text in later if "first" in text]


@given(TEXTS, st.integers(1, 7), st.sampled_from([1, 4, 10**6]))
def test_piece_by_piece_is_as_at_once(text, size, patience):
    streamed, kept = StreamedMarkdown(patience), []
    for so_far in pieces(text, size):
        streamed.update(so_far)
        assert streamed.blocks[: len(kept)] == kept, "a finished block has changed"
        kept = streamed.blocks[: streamed.finished]
    streamed.update(text, is_over=True)
    assert streamed.blocks == render_blocks(text)


LINES = [
    *("a\n", "- a\n", "  b\n", "    c\n", "1. a\n", "2) b\n", "\n", "> a\n", "```\n", "$$\n"),
    *("\\[\n", "\\]\n", "| a | b |\n", "|---|---|\n", "# a\n", "---\n", "===\n", "1", "-", " "),
    "[a]: b\n",
]


@given(st.lists(st.sampled_from(LINES), max_size=25).map("".join))
def test_block_by_block_is_as_at_once(text):
    streamed = StreamedMarkdown(10**6)
    for so_far in pieces(text, 1):
        streamed.update(so_far)
    streamed.update(text, is_over=True)
    assert streamed.blocks == render_blocks(text)


def test_too_long_a_text_is_as_at_once(monkeypatch):
    for module in ("document", "streaming"):
        monkeypatch.setattr(f"moa_graph.markdown.{module}.MAX_LAID_OUT_CHARS", 50)
    text = "one\n\ntwo three\n\n" * 10
    streamed = StreamedMarkdown()
    for so_far in pieces(text):
        streamed.update(so_far)
    streamed.update(text, is_over=True)
    assert streamed.blocks == render_blocks(text)
    assert streamed.blocks[-1].startswith("<pre")


def test_what_is_not_over_is_behind_by_little():
    streamed = StreamedMarkdown()
    for so_far in pieces(PARAGRAPH * 20):
        streamed.update(so_far)
        assert len("".join(streamed.blocks)) * 1.2 > len(so_far) * 0.7
