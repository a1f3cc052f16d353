"""What `langgraph.json` names can be deployed."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph.state import CompiledStateGraph

from moa_graph import MoAConfig, deployable
from moa_graph.config.model import preset_names

ROOT = Path(__file__).parents[2]
GRAPHS = json.loads((ROOT / "langgraph.json").read_text())["graphs"]


@pytest.mark.process
def test_langgraph_accepts_it():
    command = [Path(sys.executable).parent / "langgraph", "validate"]
    environment = os.environ | {"LANGGRAPH_CLI_NO_ANALYTICS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


ANSWERS = {"ask-panel": "together", "ask-offline": "offline"}
"""The graphs whose output is the answer alone, and the presets they begin with."""


def test_every_preset_has_a_graph():
    assert sorted(set(GRAPHS) - set(ANSWERS)) == preset_names()


@pytest.mark.parametrize("name", GRAPHS)
def test_graph_needs_no_key_to_be_loaded(name):
    graph = factory(name)()
    assert isinstance(graph, CompiledStateGraph)
    assert graph.name == ANSWERS.get(name, name)
    assert graph.checkpointer is None  # the server brings its own


def test_graph_follows_the_config_it_is_given(invoke):
    settings = {"preset": "offline", "models": ["lead", "offline:bm25"], "aggregator": "lead"}
    config = {"configurable": {**settings, "samples": 2, "thread_id": "1", "temperature": None}}
    graph = factory("moa")(config)
    assert [node for node in graph.nodes if node.startswith("layer_2")] == [
        *("layer_2_lead", "layer_2_lead_2", "layer_2_bm25", "layer_2_bm25_2"),
        "layer_2_aggregator",
    ]
    values = invoke(graph, {"messages": "Where? It is here. It is there."})
    assert values["messages"][-1].response_metadata["moa"]["aggregator"] == "offline:lead"


def test_what_a_form_leaves_empty_is_the_preset_s_own():
    graph = factory("offline")
    empty = {"preset": "", "models": [], "aggregator": "", "temperature": "", "samples": ""}
    assert list(graph({"configurable": empty}).nodes) == list(graph().nodes)
    assert len(graph({"configurable": {**empty, "samples": 2}}).nodes) > len(graph().nodes)


def test_mixture_in_a_file_is_deployable_too(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\nlayers = [["offline:lead"]]\naggregator = "offline:lead"')
    graph = deployable(path)
    assert graph().name == "mine"
    assert graph().get_context_jsonschema()["properties"]["preset"]["default"] is None
    assert len(graph({"configurable": {"samples": 3}}).nodes) == 6


def test_output_can_be_the_answer_alone(invoke):
    graph = deployable("offline", answer_only=True)()
    assert invoke(graph, {"messages": "Where? It is here."}) == {"answer": "It is here."}
    assert list(graph.get_input_jsonschema()["properties"]) == ["messages"]
    assert list(graph.get_output_jsonschema()["properties"]) == ["answer"]


def test_graph_of_the_answer_alone_follows_the_config_it_is_given(invoke):
    settings = {"preset": "offline", "models": ["lead"], "aggregator": "offline:lead"}
    graph = deployable("moa", answer_only=True)({"configurable": settings})
    assert "preset" in graph.get_context_jsonschema()["properties"]
    assert invoke(graph, {"messages": "Where? It is here."}) == {"answer": "It is here."}


def test_graph_of_the_answer_alone_stores_plain_text(invoke):
    answer = invoke(deployable("offline", answer_only=True)(), {"messages": "Where? Here."})
    assert type(answer["answer"]) is str


def test_graph_of_the_answer_alone_asks_anew_on_the_same_thread(invoke):
    graph = deployable("offline", answer_only=True)().copy(update={"checkpointer": InMemorySaver()})
    thread = {"configurable": {"thread_id": "1"}}
    for question, answer in (("Where?", "It is here."), ("What has the cook?", "The cook sings.")):
        asked = {"messages": f"{question} {answer}"}
        assert invoke(graph, asked, thread) == {"answer": answer}
    messages = graph.get_state(thread).values["messages"]
    assert [each.type for each in messages] == ["human", "ai", "human", "ai"]


def test_a_mixture_alone_has_no_context_schema():
    assert MoAConfig.load("moa").graph().compile().get_context_jsonschema() is None


def factory(name):
    path, _, variable = GRAPHS[name]["path"].partition(":")
    return runpy.run_path(str(ROOT / path))[variable]
