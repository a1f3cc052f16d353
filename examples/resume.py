"""Resume a run: the failed layer is called again, and the layer before it is not."""

from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver

from moa_graph import QuorumError, create_moa

outage = iter([True, False])  # the provider is down for the first call


def flaky(_: object) -> str:
    print("flaky is called")
    if next(outage):
        raise ConnectionError("the provider is down")
    return "It is behind the stove."


def steady(_: object) -> str:
    print("steady is called")
    return "Look behind the stove."


layers = [{"steady": RunnableLambda(steady)}, {"flaky": RunnableLambda(flaky)}]
moa = create_moa(layers, aggregator="offline:consensus").compile(checkpointer=InMemorySaver())
config = {"configurable": {"thread_id": "1"}}

if __name__ == "__main__":
    try:
        moa.invoke({"messages": "Where is the cat?"}, config)
    except QuorumError as error:
        print(f"failed: {error}")
    print(moa.invoke(None, config)["messages"][-1].text)
