"""The diagram."""

import re

import pytest
from fakes import FakeModel
from langgraph.graph import END, START, MessagesState, StateGraph

from moa_graph import create_moa, draw_mermaid

DRAWN = """flowchart TD
    n0(["start"]):::other
    n7(["end"]):::other
    subgraph box1["layer 1"]
        n1["b<br/><small>offline:lead</small>"]:::agent
        n2["a<br/><small>offline:bm25</small>"]:::agent
        n3("aggregator"):::hub
    end
    subgraph box2["layer 2"]
        n4["bm25<br/><small>offline:bm25</small>"]:::agent
        n5("aggregator"):::hub
    end
    subgraph box3["aggregator"]
        n6["aggregator<br/><small>offline:consensus</small>"]:::agent
    end
    n0 --> n1
    n0 --> n2
    n1 --> n3
    n2 --> n3
    n3 --> n4
    n4 --> n5
    n5 --> n6
    n6 --> n7
    classDef agent fill:#eef2ff,stroke:#6366f1,color:#1e1b4b
    classDef hub fill:#fef3c7,stroke:#d97706,color:#451a03
    classDef other fill:#f1f5f9,stroke:#64748b,color:#0f172a
"""


@pytest.fixture
def graph():
    return create_moa(
        [{"b": "offline:lead", "a": "offline:bm25"}, ["offline:bm25"]], "offline:consensus"
    )


def test_each_layer_is_a_box(graph):
    assert draw_mermaid(graph) == draw_mermaid(graph.compile()) == DRAWN


def test_graph_in_a_host_is_drawn_with_its_layers(graph):
    host = StateGraph(MessagesState)
    host.add_node("ask us", graph.compile())
    host.add_edge(START, "ask us")
    host.add_edge("ask us", END)
    drawn = draw_mermaid(host)
    assert re.findall(r'subgraph \w+\["(.+?)"\]', drawn) == [
        "ask us: layer 1",
        "ask us: layer 2",
        "ask us: aggregator",
    ]


def test_edges_grow_with_the_proposers_not_with_their_square():
    wide = create_moa([[FakeModel()] * 6] * 3, FakeModel())
    assert draw_mermaid(wide).count("-->") == 38


def test_labels_cannot_break_out_of_the_diagram():
    drawn = draw_mermaid(create_moa([{'"]; x["<b>': FakeModel()}], FakeModel()))
    assert '["#quot;]; x[#quot;&lt;b&gt;<br/>' in drawn


def test_plain_langgraph_drawing_shows_every_node(graph):
    drawn = graph.compile().get_graph().draw_mermaid()
    assert "layer_1_a" in drawn
    assert "layer_2_aggregator -.-> aggregator" in drawn
