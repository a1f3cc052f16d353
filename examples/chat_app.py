"""A graph of a chat app: a mixture answers hard questions, and a single model easy ones.

Real models: use `ChatOpenAI(model="gpt-6-luna")` as the single model, and "openai:…" in the layer.
"""

from typing import Literal

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from moa_graph import create_moa
from moa_graph.models.offline import OfflineModel

LOG = "The pump stopped at nine. The guard closed the valve, for he smelled gas. Nobody was hurt."


def judge(state: MessagesState) -> Literal["moa", "single"]:
    # Questions for reasons are hard. A small model could judge better.
    return "moa" if state["messages"][-1].text.startswith(("Why", "How")) else "single"


def ask_one(state: MessagesState) -> dict[str, object]:
    return {"messages": [single.invoke(state["messages"])]}


single = OfflineModel(style="bm25")
moa = create_moa([["offline:bm25", "offline:mmr", "offline:ngram"]], "offline:consensus").compile()

builder = StateGraph(MessagesState)
builder.add_node("moa", moa)
builder.add_node("single", ask_one)
builder.add_conditional_edges(START, judge)
chat = builder.compile(checkpointer=InMemorySaver(), name="chat")

if __name__ == "__main__":
    for question in (f"{LOG} When did the pump stop?", "Why did the guard close the valve?"):
        for update in chat.stream({"messages": question}, {"configurable": {"thread_id": "1"}}):
            for node, values in update.items():
                print(f"{node}: {values['messages'][-1].text}")
