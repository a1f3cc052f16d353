"""Between OpenAI's JSON and LangChain's messages, without a server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage

from moa_graph.prompting.thoughts import ThoughtFilter, strip_thoughts
from moa_graph.server.openai_answers import openai_finish_reason, openai_usage
from moa_graph.server.openai_chat_format import CompletionEnvelope


def pieces_of(text, cuts):
    ends = sorted({min(cut, len(text)) for cut in cuts} | {len(text)})
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@given(
    thought=st.sampled_from(["", "<think></think>", "<think>so < it\n goes</think>\n\n"]),
    answer=st.sampled_from(["x", "<", "<th", "<thin air>", "a </b> c", "two\nlines", "<html> y"]),
    cuts=st.lists(st.integers(0, 60)),
)
def test_streamed_answer_is_the_whole_one_however_it_is_cut(thought, answer, cuts):
    spoken = ThoughtFilter()
    shown = "".join(map(spoken.feed, pieces_of(f"{thought}{answer}", cuts)))
    assert shown + spoken.finish() == strip_thoughts(f"{thought}{answer}")


def test_white_space_in_front_of_an_answer_stays():
    spoken = ThoughtFilter()
    assert [spoken.feed(piece) for piece in ("\n", "    def", " f():")] == [
        "",
        "\n    def",
        " f():",
    ]


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({}, "stop"),
        ({"finish_reason": "stop"}, "stop"),
        ({"finish_reason": "length"}, "length"),
        ({"stop_reason": "max_tokens"}, "length"),
        ({"stop_reason": "end_turn"}, "stop"),
        ({"finish_reason": "content_filter"}, "content_filter"),
        ({"finish_reason": "eos"}, "stop"),
    ],
)
def test_reason_is_in_openais_words(metadata, reason):
    assert openai_finish_reason(AIMessage("x", response_metadata=metadata)) == reason


def test_details_of_usage_are_told():
    total = {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12}
    total |= {"input_token_details": {"cache_read": 3}, "output_token_details": {"reasoning": 2}}
    told = openai_usage(AIMessage("x", response_metadata={"moa": {"usage": total}}))
    assert told.prompt_tokens_details.cached_tokens == 3
    assert told.completion_tokens_details.reasoning_tokens == 2


def test_each_answer_has_an_id_of_its_own():
    assert CompletionEnvelope("m").id != CompletionEnvelope("m").id
