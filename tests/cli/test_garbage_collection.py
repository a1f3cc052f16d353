"""Full passes of the garbage collector stop all runs: they are short, rare, and of little use."""

import asyncio
import gc

import pytest

from moa_graph import Agent, create_moa
from moa_graph.cli.garbage_collection import FULL_PASS_INTERVAL, make_full_passes_rare

RUNS = 5


@pytest.fixture
def own_collector():
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


@pytest.mark.usefixtures("own_collector")
def test_full_passes_are_rare_and_leave_out_what_is_imported():
    young, middle, _ = gc.get_threshold()
    make_full_passes_rare()
    assert gc.get_threshold() == (young, middle, FULL_PASS_INTERVAL)
    assert gc.get_freeze_count() > 10 * len(gc.get_objects())


def test_run_leaves_no_reference_cycles(server):
    agents = {name: Agent(model=f"openai:{name}", base_url=server.url) for name in "ab"}
    mixture = create_moa([agents] * 2, agents["a"]).compile()

    async def count_garbage():
        await mixture.ainvoke({"messages": "q"})
        gc.collect()
        gc.disable()
        try:
            for _ in range(RUNS):
                await mixture.ainvoke({"messages": "q"})
            return gc.collect()
        finally:
            gc.enable()

    assert asyncio.run(count_garbage()) < 100 * RUNS  # other threads of the tests leave some
