"""The diagram."""

import re
import struct
import sys
from functools import partial
from xml.etree import ElementTree as ET

import pytest
from fakes import FakeModel
from langgraph.graph import END, START, MessagesState, StateGraph

from moa_graph import (
    create_moa,
    draw_mermaid,
    draw_png,
    draw_svg,
)
from moa_graph.drawing.png import render_png
from moa_graph.runs.record import AGGREGATOR_FAILURE


@pytest.fixture
def graph():
    return create_moa(
        [{"b": "offline:lead", "a": "offline:bm25"}, ["offline:bm25"]], "offline:consensus"
    )


def test_each_layer_is_a_box(graph, snapshot):
    assert draw_mermaid(graph) == draw_mermaid(graph.compile()) == snapshot


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


@pytest.fixture
def ran():
    """A graph, and the state of a run of it whose times and failures are known."""
    usage = {"input_tokens": 1000, "output_tokens": 234, "total_tokens": 1234}
    layer = {
        "slow": FakeModel(),
        "fast": FakeModel(name="x:y"),
        "broken": FakeModel(),
        "late": FakeModel(),
    }
    graph = create_moa([layer], FakeModel(name="w"))
    state = graph.compile().invoke({"messages": "q"})
    fates = {
        "slow": {"seconds": 65, "usage": usage},
        "fast": {"seconds": 0.2, "usage": usage},
        "broken": {"seconds": 1, "content": "", "error": "OSError: down"},
        "late": {"seconds": 1, "content": "", "error": "cut off by the layer's deadline of 1 s"},
    }
    for name, fate in fates.items():
        state["proposals"][f"layer_1_{name}"] |= fate
    state["messages"][-1].response_metadata["moa"]["seconds"] = 0.01
    return graph, state


def test_run_is_drawn_on_the_graph(ran, snapshot):
    assert draw_mermaid(*ran, prices={"x:y": (3000, 0)}) == snapshot


def test_run_of_another_graph_is_refused(ran):
    other = create_moa([["offline:lead"]], "offline:consensus")
    state = {**ran[1], "messages": ran[1]["messages"][:1]}
    with pytest.raises(
        ValueError, match="`state`: no node of the graph is called 'layer_1_broken'"
    ):
        draw_mermaid(other, state)


def test_run_is_drawn_on_the_mixture_in_a_host(ran):
    graph, state = ran
    host = StateGraph(MessagesState)
    host.add_node("aggregator_of_many", graph.compile())
    host.add_edge(START, "aggregator_of_many")
    assert "cut off · 1.0 s" in draw_mermaid(host, state)


def test_unfinished_run_is_drawn_as_far_as_it_came(ran):
    graph, state = ran
    drawn = draw_mermaid(graph, {**state, "messages": state["messages"][:1]})
    assert "cut off · 1.0 s" in drawn
    assert "class n1 critical" in drawn


def test_agents_that_were_not_reached_look_it(ran):
    graph = create_moa([{"slow": FakeModel()}, {"next": FakeModel()}], FakeModel())
    state = {**ran[1], "messages": ran[1]["messages"][:1]}
    drawn = draw_mermaid(graph, state)
    assert '<small>not answered</small>"]:::missing' in drawn
    assert "not answered" in draw_svg(graph, state)


def test_what_is_no_graph_is_refused():
    with pytest.raises(ValueError, match="`graph`: expected a graph, compiled or not, got 3"):
        draw_mermaid(3)


def rectangles(svg):
    """The nodes of a drawing."""
    root = ET.fromstring(svg)
    shapes = root.iterfind("{*}g/{*}rect")
    return [tuple(float(s.get(k)) for k in ("x", "y", "width", "height")) for s in shapes]


def points(path):
    """Points on the way of an edge, along its lines and cubic curves."""
    words = iter(re.findall(r"[MLC]|-?[\d.]+", path))
    here, way = None, []
    for letter in words:
        ends = [(float(next(words)), float(next(words))) for _ in range(3 if letter == "C" else 1)]
        a, b, c = ends if letter == "C" else (here or ends[0], *ends, *ends)
        for t in (step / 20 for step in range(21)):
            weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
            corners = (here or c, a, b, c)
            way.append(
                tuple(sum(w * p[i] for w, p in zip(weights, corners, strict=True)) for i in (0, 1))
            )
        here = c
    return way


def inside(point, rectangle):
    x, y, width, height = rectangle
    return x + 1 < point[0] < x + width - 1 and y + 1 < point[1] < y + height - 1


def host():
    """A router, a loop, a mixture, and a mixture as a proposer of it."""
    inner = create_moa([["offline:lead", "offline:bm25"]], "offline:consensus").compile()
    moa = create_moa([{"inner": inner, "plain": FakeModel()}, [FakeModel()] * 7], FakeModel())
    builder = StateGraph(MessagesState)
    builder.add_node("moa", moa.compile())
    builder.add_node("greet", lambda _: {})
    builder.add_node("review", lambda _: {})
    builder.add_conditional_edges(START, lambda _: "moa", ["moa", "greet"])
    builder.add_conditional_edges("review", lambda _: END, ["moa", END])
    builder.add_edge("moa", "review")
    builder.add_edge("greet", END)
    return builder


@pytest.mark.parametrize(
    "make",
    [
        *(
            partial(create_moa, [[FakeModel()] * width] * depth, FakeModel())
            for width, depth in [(1, 1), (3, 2), (6, 3), (7, 2), (12, 4), (31, 1)]
        ),
        host,
    ],
)
def test_nothing_is_drawn_over_a_node(make):
    svg = draw_svg(make())
    nodes = rectangles(svg)
    for number, node in enumerate(nodes):
        for x, y, width, height in nodes[:number]:
            assert not any(
                inside(corner, node)
                for corner in [(x, y), (x + width, y), (x, y + height), (x + width / 2, y + 2)]
            )
    for path in re.findall(r'<path class="edge[^"]*" d="([^"]+)"', svg):
        assert not any(inside(point, node) for point in points(path) for node in nodes)


def test_wide_layer_has_several_rows():
    svg = draw_svg(create_moa([[FakeModel()] * 12] * 4, FakeModel()))
    assert float(re.search(r'width="([\d.]+)"', svg)[1]) < 1400
    assert len({y for _, y, *_ in rectangles(svg)}) == 4 * 3 + 3


def test_svg_says_what_the_run_came_to(ran):
    svg = draw_svg(*ran, prices={"x:y": (3000, 0)})
    assert "2 of 4 proposals · 1 min 05 s on the critical path · 2,468 tokens" in svg
    assert "~$3.00 at least" in svg
    assert svg.count('class="edge critical"') == 4
    assert "<title>layer_1_broken\nfake\nOSError: down</title>" in svg


def test_legend_says_what_occurs_in_the_run(ran):
    svg, mermaid = draw_svg(*ran), draw_mermaid(*ran)
    for words in ("what the run waited for", "failed", "cut off"):
        assert f">{words}</text>" in svg
    assert "not answered or left out" not in svg
    assert 'legend["thick line: what the run waited for"]' in mermaid
    assert 'legend_failed["failed"]:::failed' in mermaid
    assert "legend" not in draw_svg(ran[0])
    assert "legend" not in draw_mermaid(ran[0])


def test_critical_path_has_another_colour_than_failures(ran):
    svg = draw_svg(*ran)
    failed = set(re.findall(r"\.failed \{[^}]*stroke: (#\w+)", svg))
    critical = set(re.findall(r"\.edge\.critical[^{]*\{ stroke: (#\w+)", svg))
    assert len(failed) == len(critical) == 2  # light and dark
    assert not failed & critical


def test_caption_stays_inside_a_narrow_picture(model):
    graph = create_moa([{"a": model()}], model())
    state = graph.compile().invoke({"messages": "q"})
    svg = draw_svg(graph, state)
    width, height = (
        float(each) for each in re.search(r'width="(\S+)" height="(\S+)"', svg).groups()
    )
    captions = re.findall(r'class="caption" x="(\S+)" y="(\S+)">([^<]*)<', svg)
    assert len(captions) > 2
    for x, y, words in captions:
        assert float(x) + 5.5 * len(words) < width
        assert float(y) < height


def test_aggregator_that_failed_is_drawn_as_failed_and_leads_nowhere(ran):
    failure = {AGGREGATOR_FAILURE: {"model": "x:y", "error": "OSError: down"}}
    state = {**ran[1], "messages": ran[1]["messages"][:1], **failure}
    drawn = draw_mermaid(ran[0], state)
    assert '"aggregator<br/><small>w</small><br/><small>failed</small>"]:::failed' in drawn
    assert "class n1,n5 critical" in drawn


def test_text_of_strangers_stays_text(ran):
    graph, state = ran
    state["proposals"]["layer_1_broken"]["error"] = "</title><script>alert(1)</script>\x00"
    svg = draw_svg(graph, state)
    ET.fromstring(svg)
    assert "<script" not in svg


def test_png_is_a_picture_of_that_size_and_shows_text(tmp_path):
    """Without any font of the system: a fresh machine has none."""
    graph = create_moa([["offline:lead"]], "offline:consensus")
    size = re.search(r'width="(\d+)" height="(\d+)"', draw_svg(graph)).groups()
    picture = draw_png(graph)
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", picture[16:24]) == tuple(2 * int(n) for n in size)
    hidden = render_png(re.sub(r"<text.*?</text>", "", draw_svg(graph)))
    assert len(picture) > 1.2 * len(hidden)


def test_png_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(ImportError, match=r"pip install 'moa_graph\[report\]'"):
        draw_png(create_moa([["offline:lead"]], "offline:consensus"))
