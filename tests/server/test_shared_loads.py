"""The server loads each value of a thread's history once, not once for each step."""

import asyncio
from collections import Counter

from langchain_core.messages import AIMessage, HumanMessage
from serving import memory_store

from moa_graph import MoAConfig
from moa_graph.runs.store import build_run_config
from moa_graph.server.checkpoints import read_checkpoint_history

MIXTURE = MoAConfig.model_validate(
    {"name": "m", "layers": [["offline:lead"]], "aggregator": "offline:lead"}
)


class CountedLoads:
    """A serializer that counts how often it reads the same bytes."""

    def __init__(self, serializer):
        self.serializer, self.reads = serializer, Counter()

    def dumps_typed(self, value):
        return self.serializer.dumps_typed(value)

    def loads_typed(self, data):
        self.reads[data] += 1
        return self.serializer.loads_typed(data)


async def ask(saver, *questions):
    graph = MIXTURE.graph().compile(checkpointer=saver)
    for question in questions:
        await graph.ainvoke({"messages": question}, build_run_config("t", MIXTURE))


def test_history_reads_each_stored_value_once_and_shows_each_step_as_it_was():
    async def read():
        saver = memory_store().checkpointer
        await ask(saver, "One is one.", "Two is two.", "Three is three.")
        saver.serde = counted = CountedLoads(saver.serde)
        return await read_checkpoint_history(saver, "t", MIXTURE), counted.reads

    history, reads = asyncio.run(read())
    assert set(reads.values()) == {1}
    ends = [each for each in history.checkpoints.values() if each.label == "Answer"]
    asked = [
        [each.text for each in end.values["messages"] if isinstance(each, HumanMessage)]
        for end in ends
    ]
    questions = ["One is one.", "Two is two.", "Three is three."]
    assert asked == [questions, questions[:2], questions[:1]]
    assert all(isinstance(end.values["messages"][-1], AIMessage) for end in ends)


def test_allowlist_of_stored_types_holds_for_shared_loads(caplog):
    async def read():
        saver = memory_store().checkpointer
        await ask(saver, "One is one.")
        return await read_checkpoint_history(saver, "t", MIXTURE)

    assert asyncio.run(read()).checkpoints
    assert "allowlist" not in caplog.text
