"""Review proposals between two layers: correct one, drop two, and continue.

Real models: use any names in the layer. A checkpointer on disk allows a review to last for days.
"""

from langgraph.checkpoint.memory import InMemorySaver

from moa_graph import create_moa

TEXT = """When does the ferry leave?

The ferry leaves at six. Bring coffee. The timetable is from 1987."""

first = {"lead": "offline:lead", "words": "offline:bm25", "letters": "offline:ngram"}
layers = [first, {"synthesis": "offline:consensus"}]
builder = create_moa(layers, aggregator="offline:consensus")
moa = builder.compile(checkpointer=InMemorySaver(), interrupt_before=["layer_1_aggregator"])
config = {"configurable": {"thread_id": "1"}}
edits = {
    "layer_1_lead": {"content": "The ferry leaves at eight since May."},
    "layer_1_words": None,
    "layer_1_letters": None,
}

if __name__ == "__main__":
    moa.invoke({"messages": TEXT}, config)
    state = moa.get_state(config)
    print(f"before {state.next[0]}:")
    for node, proposal in state.values["proposals"].items():
        print(f"  {node}: {proposal['content']}")
    moa.update_state(config, {"proposals": edits}, as_node="layer_1_lead")
    result = moa.invoke(None, config)
    print("after the review:")
    for node, proposal in result["proposals"].items():
        print(f"  {node}: {proposal['content']}")
    print(f"answer: {result['messages'][-1].text}")
