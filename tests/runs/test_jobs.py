"""Many items: so many at a time, counted, within a budget."""

import asyncio

import pytest
from langchain_core.messages import AIMessage
from waiting import PATIENCE, take_turns, wait_until

from moa_graph.evals.call_store import CallStore
from moa_graph.runs.job_progress import JobProgress
from moa_graph.runs.jobs import run_jobs

PRICES = {"p:m": (0.0, 1_000_000.0)}  # a dollar a token written


@pytest.fixture
def asking(tmp_path, model):
    """Make work that asks a model once for each item; each answer has so many tokens."""
    ledger = CallStore(tmp_path / "ledger.sqlite")

    def make(*, answers=None, usage=True, until=None):
        tokens = {"input_tokens": 3, "output_tokens": 1, "total_tokens": 4} if usage else None
        default = [AIMessage("yes", usage_metadata=tokens)]
        wrapped = ledger.wrap(model(answers=answers or default, until=until), "p:m")

        async def work(item):
            return (await wrapped.ainvoke(str(item))).text

        return work

    yield make
    ledger.close()


async def test_everything_is_done_counted_and_kept(asking):
    kept = {}
    progress = await run_jobs(range(20), asking(), kept.__setitem__, concurrency=3, prices=PRICES)
    assert {item: outcome.result for item, outcome in kept.items()} == dict.fromkeys(
        range(20), "yes"
    )
    assert progress == JobProgress(20, done=20, calls=20, tokens=80, spent=20.0, highest_call=1.0)
    assert progress.describe_calls() == "20 calls, 80 tokens, $20.00"


async def test_stored_answers_cost_nothing(asking):
    work, kept = asking(), {}
    await run_jobs(range(3), work, kept.__setitem__, prices=PRICES)
    progress = await run_jobs(range(3), work, kept.__setitem__, prices=PRICES)
    assert progress == JobProgress(3, done=3)
    assert [call.from_store for outcome in kept.values() for call in outcome.calls] == [True] * 3


async def test_no_more_than_the_allowed_number_is_under_way():
    running, most, four = [], [], asyncio.Barrier(4)

    async def work(item):
        running.append(item)
        async with asyncio.timeout(PATIENCE), four:
            most.append(len(running))
            await take_turns()
        running.remove(item)

    progress = await run_jobs(range(12), work, lambda *_: None, concurrency=4)
    assert (progress.done, most) == (12, [4] * 12)


async def test_failure_is_the_items_own(asking):
    kept = {}
    work = asking(answers=["yes", OSError("no route"), "yes"])
    progress = await run_jobs(range(3), work, kept.__setitem__, concurrency=1)
    assert (progress.done, progress.failed, progress.left) == (2, 1, 0)
    assert kept[1].error == "OSError: no route"
    assert kept[1].result is None


async def test_no_item_is_begun_when_the_money_is_spent(asking):
    kept = {}
    progress = await run_jobs(
        range(10), asking(), kept.__setitem__, concurrency=1, max_cost=3, prices=PRICES
    )
    assert list(kept) == [0, 1, 2]
    assert progress.stopped == "budget of $3.00 exhausted ($3.00 spent)"
    assert progress.left == 7


@pytest.mark.parametrize("concurrency", [1, 8])
async def test_jobs_side_by_side_do_not_exceed_the_budget(asking, concurrency):
    progress = await run_jobs(
        range(20),
        asking(),
        lambda *_: None,
        concurrency=concurrency,
        max_cost=5.5,
        prices=PRICES,
    )
    assert (progress.done, progress.spent, progress.left) == (5, 5.0, 15)
    assert progress.stopped == (
        "budget of $5.50 exhausted ($5.00 spent, the next one may cost $1.00)"
    )


async def test_unknown_cost_stops_what_has_a_limit_and_is_never_zero(asking):
    kept = {}
    work = asking(usage=False)
    progress = await run_jobs(
        range(10), work, kept.__setitem__, concurrency=1, max_cost=3, prices=PRICES
    )
    assert len(kept) == 1
    assert "the cost is unknown" in progress.stopped
    assert progress.format_spent() == "cost unknown"


async def test_money_in_part_unknown_is_at_least():
    assert JobProgress(1, spent=0.5, unpriced=1).format_spent() == "at least $0.5000"


async def test_limit_that_is_reached_by_the_last_item_stops_nothing(asking):
    progress = await run_jobs(
        range(2), asking(), lambda *_: None, concurrency=1, max_cost=2, prices=PRICES
    )
    assert progress.stopped is None


async def test_result_that_cannot_be_kept_ends_the_work(asking):
    def keep(*_):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        await run_jobs(range(3), asking(), keep)


async def test_cancelled_work_keeps_what_is_done(asking):
    kept, go_on = {}, False
    work = asking(until=lambda: len(kept) < 4 or go_on)
    task = asyncio.create_task(run_jobs(range(50), work, kept.__setitem__, concurrency=2))
    await wait_until(lambda: len(kept) >= 4)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    before, go_on = len(kept), True
    await take_turns()
    assert len(kept) == before < 50


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"max_cost": -1}])
async def test_senseless_options_are_refused(options):
    with pytest.raises(ValueError, match=f"`{next(iter(options))}`="):
        await run_jobs([], None, None, **options)
