"""A mixture as a node of a host graph: a router sends long questions to it, others elsewhere."""

from typing import Literal

from langgraph.graph import END, START, MessagesState, StateGraph

from moa_graph import create_moa

LONG = 40  # characters


def route(state: MessagesState) -> Literal["moa", "greet"]:
    return "moa" if len(state["messages"][-1].text) > LONG else "greet"


def greet(_: MessagesState) -> dict[str, object]:
    return {"messages": [("ai", "Hello! Paste a text and ask about it.")]}


moa = create_moa([["offline:bm25", "offline:mmr"]], aggregator="offline:consensus").compile()

builder = StateGraph(MessagesState)
builder.add_node("moa", moa)
builder.add_node("greet", greet)
builder.add_conditional_edges(START, route)
builder.add_edge("moa", END)
builder.add_edge("greet", END)
graph = builder.compile(name="host")

if __name__ == "__main__":
    for question in ("Hi!", "Who has the key? The gardener has the key. The cook has none."):
        print(graph.invoke({"messages": question})["messages"][-1].text)
