"""A `ChatMoA` that stops early: tools, reused proposals, streams, caches."""

import asyncio

import pytest
from decisions import FakeDecisions
from fakes import FakeModel
from langchain.agents import create_agent
from langchain_core.tools import tool
from langgraph.cache.memory import InMemoryCache
from scripted_mixtures import ChatMixture, calling

from moa_graph import AggregatorError, ChatMoA, QuorumError, agreement

OPTIONS = {"layers": 3, "width": 2, "early_stop": agreement(0.9)}


@tool
def look() -> str:
    """Look."""
    return "seen"


def summary_of(message):
    return message.response_metadata["moa"]


def test_layers_that_agree_are_the_last_to_be_asked(invoke):
    panel = ChatMixture("the answer", **OPTIONS)
    answer = invoke(panel.moa, "q")
    assert (answer.text, panel.proposer_calls) == ("the answer", 2)
    assert summary_of(answer)["depth"]["skipped"] == 4


def test_a_stream_ends_with_the_same_account(stream):
    chunks = stream(ChatMixture("the answer", **OPTIONS).moa, "q")
    assert "".join(chunk.text for chunk in chunks).strip() == "the answer"
    assert summary_of(chunks[-1])["depth"]["layers"] == 1


def test_calls_of_a_turn_reuse_the_proposals_of_the_layer_that_was_asked(invoke):
    panel = ChatMixture(calling(), calling(), "the answer", **OPTIONS)
    result = invoke(create_agent(panel.moa, [look]), {"messages": "q"})
    answers = result["messages"][1::2]
    assert panel.proposer_calls == 2
    assert [summary_of(each)["reused_proposals"] for each in answers] == [False, True, True]
    assert [summary_of(each)["depth"]["layers"] for each in answers] == [1, 1, 1]
    assert [summary_of(each)["asked"] for each in answers] == [2, 2, 2]
    for messages in panel.writer.asked:
        assert messages[0].text.endswith("1. a proposal\n2. a proposal")


def test_a_decision_that_is_reused_costs_nothing(invoke):
    judge = FakeDecisions()
    panel = ChatMixture(calling(), "the answer", layers=3, early_stop=judge)
    result = invoke(create_agent(panel.moa, [look]), {"messages": "q"})
    first, second = result["messages"][1::2]
    assert len(judge.asked) == 1
    assert summary_of(first)["usage"]["total_tokens"] == 11
    assert summary_of(second)["usage"]["total_tokens"] == 0
    assert "decisions" not in summary_of(second)


def test_another_process_finds_the_decision_with_the_proposals(invoke):
    cache = InMemoryCache()
    layers = [["offline:lead", "offline:lead"]] * 3
    told = []
    for writer in (FakeModel(answers=[ValueError("down")]), FakeModel(answers=["the answer"])):
        moa = ChatMoA(layers, writer, early_stop=0.9, proposal_cache=cache)
        try:
            told.append(summary_of(invoke(moa, "Where is it? It is here.")))
        except Exception:  # there is no fallback
            told.append(None)
    assert told[0] is None
    assert (told[1]["reused_proposals"], told[1]["depth"]["layers"]) == (True, 1)


def test_its_identity_is_the_same_as_before_where_it_is_not_set():
    layers = [["offline:lead"]] * 2
    plain, stopping = ChatMoA(layers, "offline:lead"), ChatMoA(layers, "offline:lead", early_stop=1)
    assert "early_stop" not in str(plain.asdict())
    assert plain.asdict() != stopping.asdict()


def test_a_fallback_answers_from_the_same_layer(invoke):
    panel = ChatMixture(ValueError("down"), fallbacks=[FakeModel(answers=["instead"])], **OPTIONS)
    assert invoke(panel.moa, "q").text == "instead"


@pytest.mark.parametrize("count", [4])
def test_many_at_a_time_decide_each_for_themselves(count):
    moa = ChatMixture("the answer", **OPTIONS).moa

    async def ask_all():
        return await asyncio.gather(*(moa.ainvoke(f"q{n}") for n in range(count)))

    answers = asyncio.run(ask_all())
    assert [summary_of(each)["depth"]["layers"] for each in answers] == [1] * count


def test_a_retry_after_a_failed_window_asks_no_proposer_again(invoke):
    options = {"aggregation": "sequential", "references_per_window": 1}
    panel = ChatMixture("one", ValueError("down"), "two", "the answer", width=3, **options)
    with pytest.raises(AggregatorError, match="down"):
        invoke(panel.moa, "q")
    answer = invoke(panel.moa, "q")
    assert (answer.text, panel.proposer_calls, panel.written) == ("the answer", 3, 4)
    assert summary_of(answer)["reused_proposals"] is True


def test_a_retry_after_a_lost_vote_asks_the_voters_alone(invoke):
    voters = {"v": FakeModel(answers=[ValueError("down"), "2 > 1"])}
    panel = ChatMixture(width=2, aggregation="vote", voters=voters)
    with pytest.raises(QuorumError, match="vote: 0 of 1 voters"):
        invoke(panel.moa, "q")
    assert invoke(panel.moa, "q").text == "a proposal"
    assert (panel.proposer_calls, len(voters["v"].asked)) == (2, 2)


def test_a_tool_loop_after_a_failed_window_reuses_all_that_was_asked(invoke):
    options = {"aggregation": "sequential", "references_per_window": 1}
    panel = ChatMixture(ValueError("down"), "one", calling(), "the answer", width=2, **options)
    agent = create_agent(panel.moa, [look])
    with pytest.raises(AggregatorError):
        invoke(agent, {"messages": "q"})
    result = invoke(agent, {"messages": "q"})
    assert result["messages"][-1].text == "the answer"
    assert (panel.proposer_calls, panel.written) == (2, 4)
