"""What a run does not do: copy what it is given, and work for nobody."""

import tracemalloc

import pytest
from fakes import FakeModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from moa_graph import create_moa
from moa_graph.prompting.tokens import count_message_tokens, count_tokens

MEGABYTE = 1_000_000


async def peak(graph, messages):
    """The most memory that a run took, above what was taken before."""
    await graph.ainvoke({"messages": "what is built at the first call is built now"})
    tracemalloc.start()
    try:
        await graph.ainvoke({"messages": messages})
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def mixture(**options):
    layer = {f"m{number}": FakeModel(profile={"max_input_tokens": 10**9}) for number in range(6)}
    writer = FakeModel(profile={"max_input_tokens": 10**9})
    return create_moa([layer] * 2, writer, **options).compile()


@pytest.mark.parametrize("letter", ["x", "я", "語"])
async def test_no_call_copies_the_conversation(letter):
    asked = [HumanMessage(letter * 4 * MEGABYTE), AIMessage("yes"), HumanMessage("q")]
    assert await peak(mixture(), asked) < 2 * MEGABYTE


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({}, [SystemMessage("x" * 4 * MEGABYTE), HumanMessage("q")]),
        ({"references_in": "user"}, [HumanMessage("x" * 4 * MEGABYTE)]),
    ],
)
async def test_message_that_takes_the_references_is_copied_once_a_layer(options, asked):
    taken = await peak(mixture(**options), asked)
    assert taken < 3 * 4 * MEGABYTE  # two are read by a layer each, with no third


@pytest.mark.parametrize("text", ["", "abc", "я" * 10_001, "語x" * 5000, "\ud800" * 5000])
def test_tokens_of_a_message_are_those_of_its_text_and_four(text):
    assert count_message_tokens([HumanMessage(text)]) == count_tokens(text) + 4
    assert count_message_tokens([HumanMessage([{"type": "text", "text": text}])]) == (
        count_tokens(text) + 4
    )
