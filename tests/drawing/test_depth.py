"""Drawings and tables of runs that did not ask all layers."""

import re
from dataclasses import replace

import pytest
from fakes import FakeModel

from moa_graph import create_moa, draw_mermaid, draw_svg, report
from moa_graph.runs.formatting import format_depth, format_run_depth
from moa_graph.runs.record import read_run

USAGE = {"input_tokens": 1000, "output_tokens": 234, "total_tokens": 1234}


@pytest.fixture
def ran():
    """A graph, and the state of a run of it whose times are known."""
    layer = {name: FakeModel(name=name, answers=["42"]) for name in "ab"}
    graph = create_moa([layer] * 3, FakeModel(name="w"), early_stop=0.9)
    state = graph.compile().invoke({"messages": "q"})
    for proposal in state["proposals"].values():
        proposal |= {"started": float(proposal["agent"] == "b"), "seconds": 0.2, "usage": USAGE}
    state["messages"][-1].response_metadata["moa"]["seconds"] = 0.01
    return graph, state


def test_edges_past_layers_are_dashed(ran, snapshot):
    assert draw_mermaid(ran[0]) == snapshot


def test_layers_that_were_not_asked_are_grey(ran, snapshot):
    assert draw_mermaid(*ran) == snapshot


@pytest.mark.parametrize(
    "options",
    [{"analysis": True}, {"aggregation": "sequential", "references_per_window": 1}],
)
def test_windows_and_an_analysis_that_were_passed_were_not_asked(options):
    layer = {name: FakeModel(name=name, answers=["42"]) for name in "ab"}
    graph = create_moa([layer] * 2, FakeModel(name="w"), early_stop=0.9, **options)
    drawn = draw_mermaid(graph, graph.compile().invoke({"messages": "q"}))
    assert drawn.count("<small>not asked</small>") == 3
    assert "left out</small>" not in drawn


def test_picture_has_dashed_edges_and_says_what_was_not_asked(ran):
    drawn = draw_svg(*ran)
    assert drawn.count('class="edge critical optional"') == 1
    assert drawn.count('class="edge optional"') == 1
    assert drawn.count(">not asked<") == 5  # four proposers, and the legend
    assert "1 of 3 layers" in drawn


def test_langgraph_draws_the_edge_too(ran):
    assert "layer_1_aggregator -.-> aggregator" in ran[0].compile().get_graph().draw_mermaid()


def test_a_graph_that_asks_all_layers_has_no_dashed_edge():
    assert "-.->" not in draw_mermaid(create_moa([["offline:lead"]] * 3, "offline:lead"))


def test_run_is_read_without_the_layers_that_were_not_asked(ran):
    graph, state = ran
    run = read_run(state, order=graph.nodes)
    assert (run.planned_proposals, len(run.layers)) == (2, 2)
    assert format_depth(run.depth) == "1 of 3 layers run: agreement 1.00, at least 0.9"
    priced = replace(run, calls=[replace(call, cost=0.01) for call in run.calls])
    assert (format_run_depth(priced) or "").endswith(
        "; 4 proposers were not called, which saved at least ~$0.04"
    )


def test_report_shows_what_the_aggregator_read_and_how_far_it_agreed(ran):
    graph, state = ran
    page = report(state, graph)
    depth = "1 of 3 layers run: agreement 1.00, at least 0.9; 4 proposers were not called"
    assert f"{depth}." in page  # nobody knows the prices
    assert "1.00, by the votes for the most frequent answer" in page
    assert "1. 42\n2. 42" in page
    assert "rebuilt" in page


def test_report_has_a_table_of_dissent():
    layer = {name: FakeModel(answers=[text]) for name, text in (("a", "42"), ("b", "<b>41</b>"))}
    graph = create_moa([layer], FakeModel())
    page = report(graph.compile().invoke({"messages": "q"}), graph)
    row = page[page.index('<td><span dir="auto">&lt;b&gt;41&lt;/b&gt;</span></td>') :].partition(
        "</tr>"
    )[0]
    assert re.findall('class="chip">(.*?)<', row) == ["b", "a"]


def test_shadow_is_told():
    layer = {name: FakeModel(name=name, answers=["42"]) for name in "ab"}
    graph = create_moa([layer] * 2, FakeModel(), early_stop=0.9, shadow=True)
    run = read_run(graph.compile().invoke({"messages": "q"}))
    assert format_depth(run.depth) == (
        "2 of 2 layers run: only recorded: `shadow`; would have stopped after 1 "
        "(agreement 1.00, at least 0.9), without 2 proposals"
    )
