"""Many calls on one event loop go on a few at a time."""

import asyncio
from collections import Counter

import pytest
from langchain_core.runnables import RunnableLambda
from waiting import wait_until

from moa_graph import create_moa
from moa_graph.fair_scheduling import MAX_TURNS, wait_for_turn


class Passes:
    """Counts the passes of the running event loop."""

    def __init__(self):
        self.number, self._loop = 0, asyncio.get_running_loop()
        self._loop.call_soon(self._count)

    def _count(self):
        self.number += 1
        self._handle = self._loop.call_soon(self._count)

    def stop(self):
        self._handle.cancel()


async def test_few_go_on_in_one_pass_of_the_event_loop_and_in_the_order_of_arrival():
    passes, order, began = Passes(), [], Counter()

    async def go_on(number):
        await wait_for_turn()
        order.append(number)
        began[passes.number] += 1

    await asyncio.gather(*map(go_on, range(50)))
    passes.stop()
    assert order == list(range(50))
    assert max(began.values()) <= MAX_TURNS


async def test_one_that_is_cancelled_takes_no_turn_from_others():
    tasks = [asyncio.ensure_future(wait_for_turn()) for _ in range(50)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks[1::2])
    await wait_for_turn()
    assert all(task.done() for task in tasks)


def test_every_event_loop_has_turns_of_its_own():
    for _ in range(2):
        asyncio.run(asyncio.wait_for(_many_turns(), None))


async def _many_turns():
    await asyncio.gather(*(wait_for_turn() for _ in range(20)))


@pytest.mark.parametrize("checkpointer", [None, False])
async def test_runs_that_begin_together_ask_their_models_a_few_at_a_time(checkpointer):
    passes, began = Passes(), Counter()

    async def answer(_):
        began[passes.number] += 1
        return "yes"

    model = RunnableLambda(answer)
    graph = create_moa([dict.fromkeys("abcdef", model)], model).compile(checkpointer)
    await asyncio.gather(*(graph.ainvoke({"messages": "q"}) for _ in range(30)))
    passes.stop()
    assert sum(began.values()) == 30 * 7
    assert max(began.values()) <= MAX_TURNS


async def test_a_stream_that_is_closed_ends_its_run():
    asked, cancelled = asyncio.Event(), asyncio.Event()

    async def hang(_):
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def answer(_):
        return "yes"

    graph = create_moa([{"a": RunnableLambda(answer), "b": RunnableLambda(hang)}], "offline:lead")
    parts = graph.compile().astream({"messages": "q"}, stream_mode="updates")
    assert "layer_1_a" in await anext(parts)
    await wait_until(asked.is_set)
    await parts.aclose()
    await wait_until(cancelled.is_set)
