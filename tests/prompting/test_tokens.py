"""Tokens are estimated by what a text is made of, and corrected by what models count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage
from token_samples import SAMPLES

from moa_graph.prompting.tokens import (
    count_message_tokens,
    count_tokens,
    fits_token_limit,
    tokens_of_weight,
    truncate_text,
    weigh_text,
)


@pytest.mark.parametrize("kind", SAMPLES)
def test_estimate_is_off_by_a_third_at_most(kind):
    """SmolLM2 has few tokens, so that most models count less; a fourth of the bytes is off by 4."""
    sample = SAMPLES[kind]
    assert 2 / 3 < count_tokens(sample.text) / sample.tokens < 4 / 3


def test_character_is_one_token_a_byte_at_most():
    for text in ("a", "A", "1", "?", " ", "\n", "é", "я", "א", "अ", "語", "한", "😀"):
        assert 0 < count_tokens(text * 1000) <= 1000 * len(text.encode())


@given(st.text(max_size=300), st.text(max_size=300))
def test_weights_of_parts_add_up(first, second):
    assert weigh_text(first) + weigh_text(second) == weigh_text(first + second)
    assert count_tokens(first) == tokens_of_weight(weigh_text(first))


@given(st.text(max_size=300), st.integers(0, 300))
def test_text_fits_what_it_counts(text, limit):
    assert fits_token_limit(text, limit) == (count_tokens(text) <= limit)


@pytest.mark.parametrize("text", ["ab 語" * 5000, "я" * 20_001, "😀" * 9000])
def test_long_text_is_cut_at_the_last_character_that_fits(text):
    for limit in (1, 1000, 4095):
        kept, lost = truncate_text(text, limit)
        length = len(text) - lost
        assert kept.startswith(text[:length])
        assert count_tokens(text[:length]) <= limit < count_tokens(text[: length + 1])


def test_calls_of_tools_count():
    call = {"name": "search", "args": {"query": "sky " * 100}, "id": "1"}
    with_call = count_message_tokens([AIMessage("", tool_calls=[call])])
    assert with_call > 80
    assert count_message_tokens([HumanMessage("")]) < 10


def test_long_text_weighs_what_its_parts_weigh_however_often_it_is_asked():
    text = "Ein Satz über 1987. 天空是蓝色的。 " * 10_000
    parts = [text[start : start + 50_000] for start in range(0, len(text), 50_000)]
    for _ in range(2):
        assert weigh_text(text) == sum(map(weigh_text, parts))
    assert weigh_text(f"{text}x") > weigh_text(text)


def test_very_long_text_is_weighed_by_a_sample_of_its_parts():
    """Who sends ten megabytes holds up nobody else; what is estimated is the same every time."""
    parts = [SAMPLES["English"].text, SAMPLES["Chinese"].text, SAMPLES["Russian"].text]
    text = "".join(part * 4000 for part in parts)
    exactly = sum(weigh_text(part) * 4000 for part in parts)
    assert weigh_text(text) == pytest.approx(exactly, rel=0.02)
    assert weigh_text(text) == weigh_text(text.encode().decode())


@pytest.mark.parametrize("size", [524_287, 524_288, 524_289, 528_384, 3_000_001])
def test_sample_of_uniform_text_weighs_what_all_of_it_does(size):
    assert weigh_text("a" * size) == 18 * size


def test_text_that_fits_but_for_the_estimate_is_not_cut():
    rare = "語" * 4096
    text = rare + "a" * 4096 * 400  # of which the sample sees more rare ones
    assert count_tokens(text) > (exactly := -(-(160 * 4096 + 18 * 4096 * 400) // 100))
    assert truncate_text(text, exactly) == (text, 0)
