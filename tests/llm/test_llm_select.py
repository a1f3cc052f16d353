"""A real small model that is to select a proposal names one."""

import json

import pytest

from moa_graph import create_moa

pytestmark = pytest.mark.llm

QUESTIONS = ["Name a colour.", "Why is the sky blue?"]


@pytest.mark.parametrize("references_in", ["system", "user"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_the_answer_is_one_of_the_proposals(agent, llama, references_in, question):
    layer = {"a": agent("a", temperature=0.7), "b": agent("b", temperature=0.7)}
    moa = create_moa(
        [layer], agent("judge", max_tokens=64), aggregation="select", references_in=references_in
    )
    result = moa.compile().invoke({"messages": question})
    selected = result["messages"][-1].response_metadata["moa"]["selected"]
    assert result["messages"][-1].text == result["proposals"][selected]["content"]
    [call] = llama.calls_of("judge")
    assert call.body["response_format"]["type"] == "json_schema"
    assert json.loads(call.text)["number"] == {"layer_1_a": "1", "layer_1_b": "2"}[selected]
