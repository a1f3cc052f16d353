"""Proposals of a turn that other processes find: a model built anew stands for another process."""

import copy
import json
import logging

import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langgraph.cache.memory import InMemoryCache
from langgraph.cache.sqlite import SqliteCache
from scripted_mixtures import ChatMixture, calling, result_of
from waiting import PATIENCE

from moa_graph import Agent, AggregatorError, ChatMoA
from moa_graph.graph import cache_calls


@pytest.fixture(autouse=True)
def _patience(monkeypatch):
    monkeypatch.setattr(cache_calls, "CACHE_TIMEOUT_S", PATIENCE)


@pytest.fixture(params=["memory", "sqlite"])
def cache(request, tmp_path):
    if request.param == "memory":
        return InMemoryCache()
    return SqliteCache(path=str(tmp_path / "proposals.sqlite"))


def look(nonce: str) -> str:
    """Look."""
    return nonce


def caller(body):
    """Call a tool, then answer."""
    is_called = any(message["role"] == "tool" for message in body["messages"])
    return "the answer" if is_called else {"look": {"nonce": "1"}}


@pytest.fixture
def process(server, cache):
    """Build the mixture as each process does."""
    server.model("writer", reply=caller)

    def build(**options):
        a, b, last = (
            Agent(model=f"openai:{name}", base_url=server.url, max_retries=0)
            for name in ("a", "b", "writer")
        )
        return ChatMoA(
            **{"layers": [[a, b]] * 2, "aggregator": last, "proposal_cache": cache} | options
        )

    return build


def turn(model, invoke, question="q"):
    """Ask, and give the conversation with the result of the tool."""
    first = invoke(model.bind_tools([look]), question)
    call = first.tool_calls[0]
    return [
        HumanMessage(question),
        first,
        ToolMessage("seen", tool_call_id=call["id"], name=call["name"]),
    ]


def is_reused(answer):
    return answer.response_metadata["moa"]["reused_proposals"]


def test_other_process_finds_the_proposals_of_a_turn(process, server, invoke):
    loop = turn(process(), invoke)
    answer = invoke(process(), loop)
    assert answer.text == "the answer"
    assert is_reused(answer)
    assert answer.response_metadata["moa"]["answered"] == 4
    assert len(server.calls_of("a")) == 2


def test_other_process_finds_them_by_ids_where_the_conversation_has_changed(server, cache, invoke):
    def build():
        layer = {name: Agent(model=f"openai:{name}", base_url=server.url) for name in "ab"}
        return ChatMoA([layer], writer, proposal_cache=cache)

    called, writer = calling(), ChatMixture().writer
    writer.answers = [called, "the answer"]
    invoke(build(), "q")
    answer = invoke(build(), [HumanMessage("A summary of it."), *result_of(called)])
    assert is_reused(answer)
    assert len(server.calls_of("a")) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"prompt": "Judge them."},
        {"quorum": 2},
        {"references_in": "user"},
        {"layers": [["offline:lead"]]},
    ],
)
def test_other_mixtures_do_not_find_them(options, process, invoke):
    loop = turn(process(), invoke)
    assert not is_reused(invoke(process(**options), loop))


def test_other_scopes_do_not_find_them(process, invoke):
    loop = turn(process(), invoke)
    other = {"configurable": {"proposal_scope": "bob"}}
    assert not is_reused(invoke(process(), loop, other))


def test_number_of_tool_steps_counts_across_processes(process, invoke):
    loop = turn(process(consult=1), invoke)
    assert not is_reused(invoke(process(consult=1), loop))
    assert is_reused(invoke(process(consult=2), loop))


def test_retry_of_a_failed_writer_in_another_process_asks_the_writer_alone(process, server, invoke):
    server.model("writer", reply="the answer", faults=[500])
    with pytest.raises(AggregatorError):
        invoke(process(), "q")
    answer = invoke(process(), "q")
    assert answer.text == "the answer"
    assert is_reused(answer)
    assert len(server.calls_of("a")) == 2
    assert not is_reused(invoke(process(), "q"))  # the same question anew


def test_answer_without_tool_calls_stores_nothing(server, invoke):
    cache = InMemoryCache()
    agent = Agent(model="openai:a", base_url=server.url)
    invoke(ChatMoA([[agent]], agent, proposal_cache=cache), "q")
    assert not cache.get([])
    stored = []
    cache.set = cache.aset = stored.append
    invoke(ChatMoA([[agent]], agent, proposal_cache=cache), "q")
    assert stored == []


def test_proposers_that_cannot_be_described_stay_in_their_process(cache, invoke, caplog):
    called = calling()
    first, second = (ChatMixture(called, "the answer", proposal_cache=cache) for _ in range(2))
    loop = [HumanMessage("q"), *result_of(called)]
    with caplog.at_level(logging.WARNING, "moa_graph"):
        invoke(first.moa, "q")
        assert is_reused(invoke(first.moa, loop))
    assert not is_reused(invoke(second.moa, loop))
    [warning] = [each.message for each in caplog.records if "proposal_cache" in each.message][:1]
    assert warning.startswith("`proposal_cache`: 'layer_1_p11', 'layer_1_p12' cannot be described")


class BrokenCache(InMemoryCache):
    """Fails, or holds what nobody wrote."""

    def __init__(self, value=None):
        super().__init__()
        self.value = value

    def get(self, keys):
        if self.value is None:
            raise OSError("the cache is gone")
        return dict.fromkeys(keys, self.value)

    async def aget(self, keys):
        return self.get(keys)

    def set(self, pairs):
        raise OSError("the cache is gone")

    async def aset(self, pairs):
        self.set(pairs)


@pytest.mark.parametrize(
    "value",
    [None, "text", {}, {"panel": "x"}, {"panel": "x", "steps": "y"}, {"panel": "x", "steps": 1}],
)
def test_cache_that_fails_costs_only_what_it_would_have_saved(value, process, server, invoke):
    model = process(proposal_cache=BrokenCache(value))
    loop = turn(model, invoke)
    assert is_reused(invoke(model, loop))
    assert not is_reused(invoke(process(proposal_cache=BrokenCache(value)), loop))


def test_no_key_is_in_the_cache(process, server, invoke, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a-key-of-somebody")
    stored = []

    class Spy(InMemoryCache):
        def set(self, pairs):
            stored.append(json.dumps([[*key, value] for key, value in pairs.items()], default=str))
            super().set(pairs)

        async def aset(self, pairs):
            self.set(pairs)

    turn(process(proposal_cache=Spy()), invoke)
    assert stored
    assert not any("sk-a-key" in each for each in stored)


def test_deep_copy_shares_the_cache(process, cache):
    assert copy.deepcopy(process()).proposal_cache is cache


def test_mistaken_cache_is_refused():
    with pytest.raises(
        ValueError, match=r"`proposal_cache`='a\.sqlite': expected a LangGraph cache"
    ):
        ChatMoA([["offline:lead"]], "offline:lead", proposal_cache="a.sqlite")
