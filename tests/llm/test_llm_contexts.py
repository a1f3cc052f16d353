"""References of every kind fit the context of a real model, which says its size."""

import pytest
from fakes import FakeModel
from token_samples import SAMPLES

from moa_graph import AggregatorError, QuorumError, create_moa

pytestmark = pytest.mark.llm

QUESTION = "Why is the sky blue?"
CONTEXT = 1024


@pytest.fixture
def mixture(agent):
    """Make a mixture that has written two long texts of a kind, which `w` then reads."""

    def make(kind, **options):
        text = SAMPLES[kind].text
        text *= -(-2 * CONTEXT // SAMPLES[kind].tokens)
        layer = [FakeModel(answers=[text]) for _ in range(2)]
        return create_moa([layer], agent("w", **options)).compile()

    return make


@pytest.mark.parametrize("kind", ["English", "Chinese", "CSV"])
def test_references_of_every_kind_fit_by_themselves(mixture, llama, kind):
    told = mixture(kind).invoke({"messages": QUESTION})["messages"][-1].response_metadata["moa"]
    assert told["dropped_reference_chars"] > 0
    statuses = [call.status for call in llama.calls_of("w")]
    assert statuses in ([200], [400, 200])
    assert ("refused_prompt" in told) == (statuses == [400, 200])
    read = told["aggregator_usage"]["input_tokens"]
    assert 0.4 * CONTEXT < read < CONTEXT


def test_estimate_is_learned_from_each_answer(mixture, llama):
    """The first prompt may be refused; the second of the same kind is not."""
    for _ in range(2):
        llama.calls.clear()
        mixture("CSV").invoke({"messages": QUESTION})
    assert [call.status for call in llama.calls_of("w")] == [200]
    assert llama.calls_of("w")[0].usage["prompt_tokens"] > 0.7 * CONTEXT


def test_server_that_does_not_say_its_context_is_asked_twice(agent, llama, invoke):
    """A size that is too large stands for one that is not known."""
    long = FakeModel(answers=[SAMPLES["English"].text * 40])
    graph = create_moa([[long]], agent("w", max_input_tokens=100_000)).compile()
    told = invoke(graph, {"messages": QUESTION})["messages"][-1].response_metadata["moa"]
    assert [call.status for call in llama.calls_of("w")] == [400, 200]
    assert told["refused_prompt"]["context_tokens"] == CONTEXT
    assert told["refused_prompt"]["prompt_tokens"] > CONTEXT
    assert told["aggregator_usage"]["input_tokens"] <= CONTEXT - 16


def test_conversation_that_does_not_fit_is_told_with_its_remedy(agent, llama, invoke):
    remedy = r"exceeds the available context size .*; the prompt does not fit: shorten the conv"
    with pytest.raises(QuorumError, match=remedy):
        invoke(create_moa([[agent("a")]], agent("w")).compile(), {"messages": "word " * 1500})
    with pytest.raises(AggregatorError, match=f"{remedy}.*lower `max_tokens`=16"):
        invoke(create_moa([[FakeModel()]], agent("w")).compile(), {"messages": "word " * 1500})
    assert [call.status for call in llama.calls] == [400, 400]


@pytest.mark.parametrize("context", [512])  # which is full sooner
def test_proposer_that_runs_on_leaves_an_aggregator_its_room(agent, llama):
    """The local example of the documentation: nobody was given a number of tokens."""
    free = {"max_tokens": None, "temperature": 0.7}
    layer = {name: agent(name, **free) for name in ("a", "b")}
    graph = create_moa([layer], agent("w", **free)).compile()
    result = graph.invoke({"messages": "Tell a very long story of a dragon, with every detail."})
    assert result["messages"][-1].text
    assert [call.status for call in llama.calls] == [200, 200, 200]
