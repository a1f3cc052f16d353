"""What can be done with any builder or compiled graph can be done with a mixture's."""

import copy
from typing import get_type_hints

import pytest
from fakes import FakeModel
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph

from moa_graph import Agent, MoAState, create_moa

QUESTION = {"messages": "Where is it? It is here."}


def offline_builder():
    return create_moa([["offline:lead", "offline:bm25"]] * 2, "offline:consensus", grace=10)


def answer_of(invoke, graph):
    return invoke(graph, QUESTION)["messages"][-1].text


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
@pytest.mark.parametrize("used", [True, False])
def test_a_copy_of_a_builder_answers(copied, used, server, invoke):
    models = [ChatOpenAI(model=name, base_url=server.url, api_key="x") for name in "ab"]
    builder = create_moa([models], Agent(model="openai:w", base_url=server.url))
    if used:
        answer_of(invoke, builder.compile())
    assert answer_of(invoke, copied(builder).compile())


def test_a_copy_of_a_builder_can_be_changed_alone(invoke):
    builder = offline_builder()
    changed = copy.deepcopy(builder)
    changed.add_node("check", lambda _: {"messages": "checked"}).add_edge("aggregator", "check")
    assert answer_of(invoke, changed.compile()) == "checked"
    assert answer_of(invoke, builder.compile()) == "It is here."


@pytest.mark.parametrize(
    "derive",
    [
        copy.copy,
        lambda graph: graph.copy(),
        lambda graph: graph.copy({"checkpointer": None}),
        lambda graph: graph.with_config(tags=["x"], max_concurrency=1),
        lambda graph: graph.with_retry(),
        lambda graph: graph.with_fallbacks([offline_builder().compile()]),
        lambda graph: graph.with_types(input_type=dict),
        lambda graph: graph.validate(),
    ],
)
def test_a_graph_that_is_derived_of_a_compiled_one_answers(derive, invoke):
    assert answer_of(invoke, derive(offline_builder().compile())) == "It is here."


def test_a_builder_is_compiled_several_times(invoke):
    builder = offline_builder()
    config = {"configurable": {"thread_id": "1"}}
    stored = builder.compile(checkpointer=InMemorySaver(), name="one")
    assert invoke(stored, QUESTION, config)["messages"][-1].text == "It is here."
    assert answer_of(invoke, builder.compile(name="two")) == "It is here."


@pytest.mark.slow
def test_a_builder_is_sent_to_a_worker(invoke):
    from ray import cloudpickle

    builder = offline_builder()
    assert answer_of(invoke, builder.compile()) == "It is here."
    sent = cloudpickle.loads(cloudpickle.dumps(builder))
    assert answer_of(invoke, sent.compile()) == "It is here."


def test_a_host_is_drawn_with_the_mixture_in_it():
    host = StateGraph(MessagesState).add_node("moa", offline_builder().compile())
    drawn = host.add_edge(START, "moa").add_edge("moa", END).compile().get_graph(xray=True)
    names = {name.rpartition(":")[2] for name in drawn.nodes}
    assert {"layer_1_lead", "layer_2_aggregator", "aggregator"} <= names
    assert "layer_1_lead" in drawn.draw_mermaid()
    assert drawn.to_json()["edges"]


def test_its_types_are_those_of_its_state():
    graph = offline_builder().compile()
    assert graph.builder.state_schema is MoAState
    assert set(get_type_hints(MoAState)) == {"analysis", "messages", "proposals"}
    assert set(graph.get_input_jsonschema()["properties"]) == {"messages"}
    assert set(graph.get_output_jsonschema()["properties"]) == {"analysis", "messages", "proposals"}
    assert graph.get_context_jsonschema() is None


@pytest.mark.filterwarnings("ignore:This API is in beta")
def test_it_is_a_tool(invoke):
    graph = create_moa([[FakeModel()]], FakeModel(answers=["from the tool"])).compile()
    tool = graph.as_tool(name="panel", description="Asks a panel.", arg_types={"messages": str})
    assert invoke(tool, {"messages": "q"})["messages"][-1].text == "from the tool"
