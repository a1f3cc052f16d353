"""An answer from LangChain's own cache is a hit: it costs nothing, and breaks nothing."""

import pytest
from fakes import FakeModel
from langchain.agents import create_agent
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from langchain_core.messages import AIMessage
from langchain_openai import ChatOpenAI
from langgraph.cache.memory import InMemoryCache as NodeCache
from langgraph.types import CachePolicy

from moa_graph import ChatMoA, create_moa

ZERO = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}


@pytest.fixture(autouse=True)
def _cache():
    set_llm_cache(InMemoryCache())
    yield
    set_llm_cache(None)


@pytest.fixture
def openai(server):
    return lambda name: ChatOpenAI(model=name, base_url=server.url, api_key="x", max_retries=0)


def summary_of(result):
    return result["messages"][-1].response_metadata["moa"]


def test_a_second_run_costs_nothing_and_says_what_it_saved(invoke, server, openai):
    graph = create_moa([{"a": openai("a"), "b": openai("b")}], openai("w")).compile()
    first, second = (invoke(graph, {"messages": "q"}) for _ in range(2))
    assert len(server.calls) == 3
    assert second["messages"][-1].text == first["messages"][-1].text
    paid, saved = summary_of(first), summary_of(second)
    assert paid["usage"]["total_tokens"] > 0
    assert "cached" not in paid
    assert saved["usage"] == saved["aggregator_usage"] == ZERO
    assert saved["cached"] == ["layer_1_a", "layer_1_b", "aggregator"]
    assert saved["saved_usage"]["total_tokens"] == paid["usage"]["total_tokens"]
    assert saved["usage_unknown"] == []
    assert second["messages"][-1].usage_metadata == ZERO
    proposal = second["proposals"]["layer_1_a"]
    assert (proposal["usage"], proposal["error"]) == (ZERO, None)
    assert proposal["cached"]["usage"]["total_tokens"] > 0


def test_a_hit_of_a_model_that_told_no_usage_is_an_answer(invoke):
    graph = create_moa([{"a": FakeModel(), "b": FakeModel()}], FakeModel()).compile()
    first, second = (invoke(graph, {"messages": "q"}) for _ in range(2))
    assert second["messages"][-1].text == first["messages"][-1].text
    assert summary_of(second)["failed"] == []
    assert summary_of(second)["usage"] == ZERO
    assert summary_of(second)["saved_usage"] is None


def test_only_the_calls_that_were_made_are_counted(invoke, server, openai):
    for writer in ("v", "w"):
        graph = create_moa([{"a": openai("a")}], openai(writer)).compile()
        result = invoke(graph, {"messages": "q"})
    summary = summary_of(result)
    assert summary["cached"] == ["layer_1_a"]
    assert summary["usage"] == summary["aggregator_usage"]
    assert summary["usage"]["total_tokens"] > 0


def test_an_agent_is_counted_without_its_hits(invoke, openai):
    def weather(city: str) -> str:
        """Tell the weather."""
        return "rain"

    class ToolCaller(FakeModel):
        def bind_tools(self, *_, **__):
            return self

    call = AIMessage("", tool_calls=[{"name": "weather", "args": {"city": "Oslo"}, "id": "1"}])
    costs = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    call.usage_metadata = costs
    expert = ToolCaller(answers=[call, AIMessage("rain", usage_metadata=costs)])
    graph = create_moa([{"a": create_agent(expert, [weather])}], FakeModel()).compile()
    first = invoke(graph, {"messages": "q"})
    assert first["proposals"]["layer_1_a"]["usage"]["total_tokens"] == 6
    assert first["proposals"]["layer_1_a"]["cached"] is None


def test_a_hit_streams_once(stream, server, openai):
    server.model("w", reply="one two three")
    graph = create_moa([{"a": openai("a")}], openai("w")).compile()
    for _ in range(2):
        pieces = [m.text for m, _ in stream(graph, {"messages": "q"}, stream_mode="messages")]
        assert "".join(pieces) == "one two three"


def test_a_hit_inside_a_chat_model_and_a_hit_of_the_whole_cost_nothing(invoke, server, openai):
    moa = ChatMoA([{"a": openai("a")}], openai("w"), cache=False)
    first, second = (invoke(moa, "q") for _ in range(2))
    assert first.usage_metadata["total_tokens"] > 0
    assert second.usage_metadata == ZERO
    inner = ChatMoA([{"a": openai("a")}], openai("w"))
    outer = create_moa([{"panel": inner}], openai("w")).compile()
    results = [invoke(outer, {"messages": "r"}) for _ in range(2)]
    assert summary_of(results[0])["usage"]["total_tokens"] > 0
    assert summary_of(results[1])["usage"] == ZERO
    assert summary_of(results[1])["cached"] == ["layer_1_panel", "aggregator"]


def test_the_node_cache_keeps_what_a_hit_took_at_first(invoke, openai):
    invoke(create_moa([{"a": openai("a")}], openai("w")).compile(), {"messages": "q"})
    moa = create_moa([{"a": openai("a")}], openai("w"), cache_policy=CachePolicy())
    graph = moa.compile(cache=NodeCache())
    results = [invoke(graph, {"messages": "q"}) for _ in range(2)]
    took = [result["proposals"]["layer_1_a"]["cached"]["usage"] for result in results]
    assert took[0]["total_tokens"] == took[1]["total_tokens"] > 0


def test_a_picker_that_is_cached_picks_the_same(invoke, server, openai):
    server.model("w", reply="2")
    layer = {"a": openai("a"), "b": openai("b")}
    graph = create_moa([layer], openai("w"), aggregation="select").compile()
    results = [invoke(graph, {"messages": "q"}) for _ in range(2)]
    assert [summary_of(each)["selected"] for each in results] == ["layer_1_b"] * 2
    assert summary_of(results[1])["usage"] == ZERO
