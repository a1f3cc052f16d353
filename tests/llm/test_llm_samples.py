"""Samples of a real model come from one request, where its server writes several answers."""

import pytest

from moa_graph import create_moa

pytestmark = pytest.mark.llm

NODES = ["layer_1_a", "layer_1_a_2", "layer_1_a_3"]


@pytest.fixture
def context():
    return 2048


def ask_samples(agent, invoke):
    sampled = agent("a", temperature=1.5, samples=3, joint_samples=True)
    graph = create_moa([{"a": sampled}], agent("w")).compile()
    return invoke(graph, {"messages": "Why is the sky blue?"})


@pytest.mark.parametrize("slots", [4])
def test_samples_are_one_request(llama, agent, slots, invoke):
    result = ask_samples(agent, invoke)
    [call] = llama.calls_of("a")
    assert call.body["n"] == 3
    texts = {choice["message"]["content"].strip() for choice in call.parts[0]["choices"]}
    assert {result["proposals"][node]["content"] for node in NODES} == texts
    assert len(texts) > 1
    usages = [result["proposals"][node]["usage"] for node in NODES]
    [told] = [usage for usage in usages if usage]  # llama.cpp counts the first choice alone
    assert told["total_tokens"] == call.usage["total_tokens"]


def test_server_that_writes_one_answer_at_a_time_is_asked_separately(llama, agent, invoke):
    result = ask_samples(agent, invoke)
    assert [call.status for call in llama.calls_of("a")] == [400, 200, 200, 200]
    assert not any(result["proposals"][node]["error"] for node in NODES)
