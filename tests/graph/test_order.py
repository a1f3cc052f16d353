"""For every order of arrival, failure, retry and resume, the final state is the same."""

import asyncio
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from waiting import take_turns

from moa_graph import AggregatorError, QuorumError, create_moa
from moa_graph.graph.state import merge_proposals

NAMES = ("d", "a", "c", "b")
TURNS = 120  # of the loop: about as many as a run takes


class Script:
    """A model that takes turns of the loop and fails as often as told, and says what it read."""

    def __init__(self, name, delay, failures):
        self.name, self.delay, self.left, self.asked = name, delay, failures, 0

    async def __call__(self, messages):
        self.asked += 1
        await take_turns(self.delay)
        self.left -= 1
        if self.left >= 0:
            raise OSError(f"{self.name} is down")
        return AIMessage(f"{self.name} read {len(str([m.content for m in messages]))}")

    def runnable(self):
        def no_sync(_):
            raise NotImplementedError

        return RunnableLambda(no_sync, self.__call__)


def final(state):
    """What of a state must not depend on chance."""
    keys = ("layer", "agent", "content", "error", "truncated_chars")
    proposals = {
        node: {key: proposal[key] for key in keys} for node, proposal in state["proposals"].items()
    }
    return proposals, [message.content for message in state["messages"]]


async def run(delays, failures, *, cancel_after=None):
    """Run to the end, resuming as often as it takes; every proposer must answer."""
    numbers = count()
    scripts = [
        {
            name: Script(f"{name}{layer}", delays[next(numbers)], failures[layer][name])
            for name in NAMES
        }
        for layer in (0, 1)
    ]
    writer = Script("w", 1, failures[2])
    layers = [{name: script.runnable() for name, script in layer.items()} for layer in scripts]
    graph = create_moa(layers, writer.runnable(), quorum=1.0).compile(checkpointer=InMemorySaver())
    config, inputs = {"configurable": {"thread_id": "1"}}, {"messages": "q"}
    for attempt in range(20):
        task = asyncio.create_task(graph.ainvoke(inputs, config))
        if cancel_after is not None and attempt == 0:
            await take_turns(cancel_after)
            task.cancel()
        try:
            return final(await task), scripts, writer
        except (QuorumError, AggregatorError, asyncio.CancelledError):
            inputs = None if (await graph.aget_state(config)).values else inputs
    raise AssertionError("never ended")


def asked(layer):
    return {name: script.asked for name, script in layer.items()}


STEADY = [dict.fromkeys(NAMES, 0)] * 2 + [0]
delays = st.lists(st.integers(0, 8), min_size=8, max_size=8)
layer_failures = st.fixed_dictionaries({name: st.integers(0, 2) for name in NAMES})


@settings(max_examples=40, deadline=None)
@given(delays, st.tuples(layer_failures, layer_failures, st.integers(0, 2)))
def test_order_failures_and_resumes_leave_no_trace(delays, failures):
    steady, *_ = asyncio.run(run([0] * 8, STEADY))
    state, scripts, writer = asyncio.run(run(delays, failures))
    assert state == steady
    for layer, expected in zip(scripts, failures, strict=False):
        assert asked(layer) == {name: expected[name] + 1 for name in NAMES}
    assert writer.asked == failures[2] + 1


@settings(max_examples=40, deadline=None)
@given(delays, st.integers(0, TURNS))
def test_cancelling_and_resuming_leaves_no_trace(delays, moment):
    steady, *_ = asyncio.run(run([0] * 8, STEADY))
    state, *_ = asyncio.run(run(delays, STEADY, cancel_after=moment))
    assert state == steady


writes = st.lists(
    st.dictionaries(
        st.sampled_from(NAMES),
        st.none()
        | st.fixed_dictionaries(
            {"turn_id": st.just("1"), "content": st.text(max_size=3), "error": st.none()}
        ),
        max_size=3,
    ),
    max_size=6,
)


@given(writes, st.integers(0, 6))
def test_taking_in_writes_one_by_one_or_in_batches_is_the_same(updates, cut):
    """What a saver that replays writes relies on."""

    def fold(state, some):
        for update in some:
            state = merge_proposals(state, update)
        return state

    assert fold(fold({}, updates[:cut]), updates[cut:]) == fold({}, updates)


@given(
    st.permutations([{name: {"turn_id": "1", "content": name, "error": None}} for name in NAMES])
)
def test_order_of_arrival_does_not_matter(updates):
    state = {}
    for update in updates:
        state = merge_proposals(state, update)
    assert state == {name: {"turn_id": "1", "content": name, "error": None} for name in NAMES}


@pytest.mark.parametrize("names", [NAMES, sorted(NAMES), NAMES[::-1]])
def test_references_keep_their_configured_order(names):
    async def read():
        scripts = {name: Script(name, 10 - place, 0) for place, name in enumerate(names)}
        seen = []

        async def write(messages):
            seen.extend(messages)
            return AIMessage("final")

        layer = {name: script.runnable() for name, script in scripts.items()}
        await create_moa([layer], RunnableLambda(str, write)).compile().ainvoke({"messages": "q"})
        return seen[0].content

    prompt = asyncio.run(read())
    positions = [prompt.index(f". {name} read") for name in names]
    assert positions == sorted(positions)
