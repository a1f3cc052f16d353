"""The exact messages that every model reads, against the authors' layout."""

from copy import deepcopy

import pytest
from fakes import FakeModel
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    HumanMessage,
    SystemMessage,
    convert_to_openai_messages,
)

from moa_graph import AGGREGATE_AND_SYNTHESIZE, create_moa
from moa_graph.prompting.thoughts import strip_thoughts

TABLE_1 = """You have been provided with a set of responses from various open-source models to the \
latest user query. Your task is to synthesize these responses into a single, high-quality \
response. It is crucial to critically evaluate the information provided in these responses, \
recognizing that some of it may be biased or incorrect. Your response should not simply replicate \
the given answers but should offer a refined, accurate, and comprehensive reply to the \
instruction. Ensure your response is well-structured, coherent, and adheres to the highest \
standards of accuracy and reliability."""


def as_the_authors_do(messages, references):
    """What the authors' code sends, restated: dictionaries in, dictionaries out."""
    if not references:
        return messages
    block = TABLE_1 + "\n\nResponses from models:"
    for index in range(len(references)):
        block = block + "\n" + str(index + 1) + ". " + references[index]
    sent = deepcopy(messages)
    if sent[0]["role"] == "system":
        sent[0]["content"] = sent[0]["content"] + "\n\n" + block
        return sent
    sent.insert(0, {"role": "system", "content": block})
    return sent


conversations = st.tuples(
    st.none() | st.text(min_size=1),
    st.lists(st.text(min_size=1), min_size=1, max_size=5).filter(lambda turns: len(turns) % 2),
).map(
    lambda parts: [
        *([{"role": "system", "content": parts[0]}] if parts[0] is not None else []),
        *(
            {"role": "assistant" if index % 2 else "user", "content": text}
            for index, text in enumerate(parts[1])
        ),
    ]
)
visible = (  # by the character in the middle
    st.tuples(st.text(), st.sampled_from("a1é答{*"), st.text())
    .map("".join)
    .filter(lambda text: "think>" not in text)
)
listed = st.sampled_from(
    ["1. one\n2. two", "Steps:\n\n1. a\n\n2. b", "答案:\n1. 一\n2. 二", "{x} %s"]
)


@settings(deadline=None, max_examples=60)
@given(
    conversation=conversations,
    texts=st.lists(visible | listed, min_size=3, max_size=3),
    paper_layers=st.sampled_from([2, 3, 4]),
)
def test_every_model_reads_what_the_authors_code_sends(conversation, texts, paper_layers):
    proposers = [FakeModel(answers=[text]) for text in texts]
    writer = FakeModel(answers=["final"])
    graph = create_moa([proposers] * (paper_layers - 1), writer).compile()
    graph.invoke({"messages": conversation})
    references = [text.strip() for text in texts]
    for proposer in proposers:
        for layer, asked in enumerate(proposer.asked, 1):
            expected = as_the_authors_do(conversation, references if layer > 1 else [])
            assert convert_to_openai_messages(asked) == expected
    expected = as_the_authors_do(conversation, references)
    assert convert_to_openai_messages(writer.asked[0]) == expected


def test_prompt_is_the_one_of_the_paper():
    assert AGGREGATE_AND_SYNTHESIZE == TABLE_1


def test_references_stand_in_configured_order(invoke, model):
    writer = model()
    names = ["zoe", "p10", "p2", "adam"]
    layer = {name: model(answers=[f"I am {name}"]) for name in names}
    invoke(create_moa([layer], writer).compile(), {"messages": "q"})
    assert writer.asked[0][0].content.endswith(
        "\n1. I am zoe\n2. I am p10\n3. I am p2\n4. I am adam"
    )


def test_another_prompt_takes_the_place_of_the_papers(invoke, model):
    writer = model()
    graph = create_moa([[model()]], writer, prompt="Pick the best.")
    invoke(graph.compile(), {"messages": "q"})
    assert writer.asked[0][0].content == ("Pick the best.\n\nResponses from models:\n1. an answer")


def test_the_conversation_itself_is_left_as_it_was(invoke, model):
    messages = [SystemMessage("Be brief.", id="s"), HumanMessage("q", id="h")]
    result = invoke(create_moa([[model()]] * 2, model()).compile(), {"messages": messages})
    assert result["messages"][:2] == messages
    assert messages[0].content == "Be brief."


def test_system_message_of_blocks_keeps_its_blocks(invoke, model):
    block = {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
    writer = model()
    messages = [SystemMessage([block]), HumanMessage("q")]
    invoke(create_moa([[model()]], writer).compile(), {"messages": messages})
    first = writer.asked[0][0]
    assert first.content[0] == block
    assert first.text == f"Be brief.\n\n{TABLE_1}\n\nResponses from models:\n1. an answer"


def test_images_reach_every_model_untouched(invoke, model):
    content = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
    ]
    proposer, writer = model(), model()
    graph = create_moa([[proposer]] * 2, writer).compile()
    invoke(graph, {"messages": [HumanMessage(content)]})
    for asked in (*proposer.asked, *writer.asked):
        assert asked[-1].content == content


def test_blocks_are_read_as_text_without_reasoning(invoke, model):
    blocks = [
        {"type": "reasoning", "reasoning": "They want a number."},
        {"type": "thinking", "thinking": "Is it 42?"},
        {"type": "text", "text": " It is "},
        {"type": "text", "text": "42.\n"},
    ]
    writer = model()
    graph = create_moa([[model(answers=[AIMessage(blocks)])]], writer).compile()
    result = invoke(graph, {"messages": "q"})
    assert result["proposals"]["layer_1_fake"]["content"] == "It is 42."
    assert writer.asked[0][0].content.endswith("\n1. It is 42.")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("plain", "plain"),
        ("<think>hm</think>\n\nanswer\n", "answer"),
        ("<think>\na\n</think>one <think>b</think>two", "one two"),
        ("the template opened it</think> answer", "answer"),
        ("<think>cut off", ""),
        ("Write <think> first.", "Write <think> first."),
        ("Use `<think>` and `</think>` tags.", "Use `<think>` and `</think>` tags."),
        ("", ""),
    ],
)
def test_thoughts_are_stripped(text, kept):
    assert strip_thoughts(text) == kept


def test_stripping_thoughts_takes_time_in_proportion_to_the_text():
    """A text of many openings made a careless expression try each of them to the end."""
    assert strip_thoughts("<think>" * 1_000_000) == ""
    assert strip_thoughts("<think></think>" * 500_000 + "x") == "x"
