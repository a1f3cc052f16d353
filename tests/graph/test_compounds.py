"""Models inside LangChain's compounds behave as they do alone."""

import asyncio
import contextvars
import threading

import pytest
from fakes import FakeModel
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import (
    ConfigurableField,
    RunnableBranch,
    RunnableLambda,
    RunnableParallel,
)
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.config import get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command
from waiting import PATIENCE, wait_for

from moa_graph import AggregatorError, QuorumError, create_moa

COMPOUNDS = {
    "bare": lambda model: model,
    "bind": lambda model: model.bind(stop=["x"]),
    "with_config": lambda model: model.with_config(tags=["mine"]),
    "with_retry": lambda model: model.with_retry(),
    "with_fallbacks": lambda model: model.with_fallbacks([model]),
    "sequence": lambda model: model | RunnableLambda(lambda message: message),
    "parser": lambda model: model | StrOutputParser(),
    "branch": lambda model: RunnableBranch((lambda _: False, model), model),
    "parallel": lambda model: RunnableParallel(a=model) | (lambda found: found["a"]),
    "fields": lambda model: model.configurable_fields(name=ConfigurableField("name")),
    "alternatives": lambda model: model.configurable_alternatives(
        ConfigurableField("which"), other=model
    ),
    "configured": lambda model: model.configurable_fields(
        name=ConfigurableField("name")
    ).with_config(configurable={"name": "another"}),
}


@pytest.fixture(params=COMPOUNDS)
def compound(request):
    return COMPOUNDS[request.param]


class SyncOnly(BaseChatModel):
    """A chat model that knows no async, as those that run locally. Many answer together."""

    together: threading.Barrier

    @property
    def _llm_type(self):
        return "sync-only"

    def _generate(self, messages, *_, **__):
        self.together.wait(PATIENCE)
        return ChatResult(generations=[ChatGeneration(message=AIMessage("done"))])


async def test_sync_only_models_run_side_by_side(compound):
    model = SyncOnly(together=threading.Barrier(24))
    layer = [compound(model) for _ in range(24)]
    graph = create_moa([layer], FakeModel()).compile()
    result = await graph.ainvoke({"messages": "q"})
    assert not any(p["error"] for p in result["proposals"].values())


def openai(server, name):
    return ChatOpenAI(model=name, base_url=server.url, api_key="x", max_retries=0)


def test_compounds_work_on_two_event_loops(compound, server):
    model = compound(openai(server, "a"))
    graph = create_moa([[model] * 2] * 2, model).compile()
    for _ in range(3):
        answer = asyncio.run(graph.ainvoke({"messages": "q"}))
        assert answer["messages"][-1].text == "a on q"
        assert answer["messages"][-1].response_metadata["moa"]["failed"] == []


def test_compounds_are_not_streamed_while_hidden(compound, server):
    layer = [compound(openai(server, "a"))] * 2
    graph = create_moa([layer], openai(server, "w")).compile()
    list(graph.stream({"messages": "q"}, stream_mode="messages"))
    assert [call.model for call in server.calls if call.streamed] == ["w"]


def test_answer_of_a_compound_aggregator_is_seen_once(compound, server):
    server.model("w", reply="the final answer")
    graph = create_moa([[openai(server, "a")]], compound(openai(server, "w"))).compile()
    events = list(graph.stream({"messages": "q"}, stream_mode="messages"))
    assert "".join(message.text for message, _ in events) == "the final answer"


def test_agents_are_proposers_and_aggregators(invoke, server):
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    agent = create_agent(openai(server, "agent"), [add])
    layer = {"agent": agent, "again": agent.with_retry(), "chain": agent | _last}
    result = invoke(create_moa([layer], agent).compile(), {"messages": "q"})
    assert [p["content"] for p in result["proposals"].values()] == ["agent on q"] * 3
    assert result["messages"][-1].text == "agent on q"
    assert len(result["messages"]) == 2
    assert result["proposals"]["layer_1_agent"]["usage"]["output_tokens"] == 3


def _last(state):
    return state["messages"][-1]


async def test_context_reaches_a_sync_only_model():
    """Tracing, request ids and LangGraph's own stream writer live in context variables."""
    request_id = contextvars.ContextVar("request_id", default=None)
    request_id.set("r1")

    def look(_):
        get_stream_writer()({"seen": request_id.get()})
        return "done"

    graph = create_moa([[RunnableLambda(look)]], FakeModel()).compile()
    events = [each async for each in graph.astream({"messages": "q"}, stream_mode="custom")]
    assert events == [{"seen": "r1"}]


def test_event_loops_leave_no_connections_behind(server):
    graph = create_moa([[openai(server, "a")]], openai(server, "w")).compile()
    for _ in range(5):
        asyncio.run(graph.ainvoke({"messages": "q"}))
    assert len(server.connections) >= 5
    wait_for(lambda: all(each.is_closing() for each in server.connections))


async def test_sync_model_that_raises_stop_iteration_is_a_failed_proposer():
    def stop(_):
        raise StopIteration

    layer = {"a": RunnableLambda(stop), "b": FakeModel(answers=["fine"])}
    graph = create_moa([layer], FakeModel(answers=["w"])).compile()
    result = await asyncio.wait_for(graph.ainvoke({"messages": "q"}), PATIENCE)
    assert "StopIteration" in result["proposals"]["layer_1_a"]["error"]
    assert result["messages"][-1].text == "w"


def test_call_that_cancels_itself_is_a_failed_proposer_in_a_sync_run():
    def cancel(_):
        raise asyncio.CancelledError

    layer = {"a": RunnableLambda(cancel), "b": FakeModel(answers=["fine"])}
    result = create_moa([layer], FakeModel(answers=["w"])).compile().invoke({"messages": "q"})
    assert "cancelled itself" in result["proposals"]["layer_1_a"]["error"]
    assert result["messages"][-1].text == "w"


@tool
def hand_over() -> Command:
    """Hand over to the department that pays money back."""
    update = {"messages": [HumanMessage("I WANT A REFUND")]}
    return Command(graph=Command.PARENT, goto="billing", update=update)


class ToolCaller(FakeModel):
    def bind_tools(self, *_, **__):
        return self


def leaving_agent():
    call = AIMessage("", tool_calls=[{"name": "hand_over", "args": {}, "id": "1"}])
    return create_agent(ToolCaller(answers=[call]), [hand_over])


def in_a_host(graph):
    host = StateGraph(MessagesState).add_node("moa", graph).add_edge(START, "moa")
    host.add_node("billing", lambda _: {"messages": "paid back"})
    return host.compile()


@pytest.mark.parametrize("place", [lambda graph: graph, in_a_host])
def test_a_proposer_that_leaves_the_graph_is_a_failed_proposer(place, invoke):
    layer = {"a": leaving_agent(), "b": FakeModel()}
    result = invoke(place(create_moa([layer], FakeModel()).compile()), {"messages": "q"})
    assert [message.text for message in result["messages"]] == ["q", "an answer"]
    summary = result["messages"][-1].response_metadata["moa"]
    assert summary["failed"] == ["layer_1_a"]
    assert "handed over to 'billing'" in summary["errors"]["layer_1_a"]
    with pytest.raises(QuorumError, match="handed over to 'billing'"):
        invoke(place(create_moa([layer], FakeModel(), quorum=1.0).compile()), {"messages": "q"})


@pytest.mark.parametrize("place", [lambda graph: graph, in_a_host])
def test_an_aggregator_that_leaves_the_graph_is_a_failed_aggregator(place, invoke):
    moa = create_moa([[FakeModel()]], leaving_agent(), fallbacks=[FakeModel(answers=["spare"])])
    result = invoke(place(moa.compile()), {"messages": "q"})
    assert [message.text for message in result["messages"]] == ["q", "spare"]
    with pytest.raises(AggregatorError, match="handed over to 'billing'"):
        invoke(place(create_moa([[FakeModel()]], leaving_agent()).compile()), {"messages": "q"})
