"""Whose tokens are seen, and whose calls are streamed."""

import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.runnables import RunnableLambda
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, MessagesState, StateGraph

from moa_graph import create_moa

ANSWER = "the final answer comes in many small words"


@pytest.fixture
def moa(server):
    """A mixture of two layers over real HTTP."""

    def make(**options):
        server.model("writer", reply=ANSWER)
        chat = {
            name: ChatOpenAI(model=name, base_url=server.url, api_key="x", stream_usage=True)
            for name in ("a", "b", "writer")
        }
        chain = chat["b"].with_config(run_name="bound") | RunnableLambda(lambda message: message)
        layers = [{"a": chat["a"], "b": chain}] * 2
        return create_moa(layers, chat["writer"], **options).compile(name="moa")

    return make


def host(moa):
    """A graph that embeds a mixture."""
    builder = StateGraph(MessagesState)
    builder.add_node("moa", moa)
    builder.add_edge(START, "moa")
    builder.add_edge("moa", END)
    return builder.compile()


def test_final_answer_streams_and_proposals_are_hidden(moa, stream):
    events = stream(moa(), {"messages": "q"}, stream_mode="messages")
    chunks = [message for message, _ in events if isinstance(message, AIMessageChunk)]
    assert "".join(chunk.text for chunk in chunks) == ANSWER
    assert sum(bool(chunk.text) for chunk in chunks) == len(ANSWER.split())
    assert {metadata["langgraph_node"] for _, metadata in events} == {"aggregator"}


def test_exactly_one_call_is_streamed_while_proposals_are_hidden(moa, server, stream):
    stream(moa(), {"messages": "q"}, stream_mode="messages")
    assert [call.model for call in server.calls if call.streamed] == ["writer"]
    assert len(server.calls) == 5


def test_final_message_is_not_streamed_a_second_time(moa, stream):
    events = stream(moa(), {"messages": "q"}, stream_mode=["messages", "values"])
    whole = [payload[0] for mode, payload in events if mode == "messages"]
    ids = {message.id for message in whole}
    final = events[-1][1]["messages"][-1]
    assert ids == {final.id}
    assert "".join(message.text for message in whole) == final.text == ANSWER


def test_proposals_stream_where_they_are_asked_for(moa, server, stream):
    events = stream(moa(stream_proposals=True), {"messages": "q"}, stream_mode="messages")
    texts = {}
    for message, metadata in events:
        node = metadata["langgraph_node"]
        texts[node] = texts.get(node, "") + message.text
    assert texts["layer_1_a"] == "a on q"
    assert set(texts) == {"layer_1_a", "layer_1_b", "layer_2_a", "layer_2_b", "aggregator"}
    assert all(call.streamed for call in server.calls)


def test_final_answer_streams_through_a_host(moa, server, stream):
    events = stream(host(moa()), {"messages": "q"}, stream_mode="messages", subgraphs=True)
    chunks = [(place, message) for place, (message, _) in events if message.text]
    assert "".join(message.text for _, message in chunks) == ANSWER
    assert all(place and place[0].startswith("moa:") for place, _ in chunks)
    assert [call.model for call in server.calls if call.streamed] == ["writer"]


def test_nothing_is_streamed_by_a_plain_call(moa, server, invoke):
    invoke(moa(), {"messages": "q"})
    assert not any(call.streamed for call in server.calls)
