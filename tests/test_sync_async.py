"""A flow does the same, run by the sync and by the async driver."""

import asyncio

import pytest

from moa_graph.sync_async import Step, run_async, run_sync


def run_both(make_flow):
    return run_sync(make_flow()), asyncio.run(run_async(make_flow()))


def double_step(number):
    async def double_async(value):
        return value * 2

    return Step(lambda value: value * 2, double_async, (number,))


def failing_step(error):
    def fail():
        raise error

    async def fail_async():
        raise error

    return Step(fail, fail_async)


def test_a_flow_is_sent_what_its_calls_return():
    def flow():
        four = yield double_step(2)
        return (yield double_step(four))

    assert run_both(flow) == (8, 8)


def test_what_a_call_raises_can_be_caught_at_the_yield():
    def flow():
        try:
            yield failing_step(OSError("gone"))
        except OSError as error:
            return str(error), (yield double_step(1))

    assert run_both(flow) == (("gone", 2), ("gone", 2))


@pytest.mark.parametrize("error", [KeyError("a"), KeyboardInterrupt()])
def test_what_a_flow_does_not_catch_is_raised_after_its_finally(error):
    closed = []

    def flow():
        try:
            yield failing_step(error)
        finally:
            closed.append(True)

    with pytest.raises(type(error)):
        run_sync(flow())
    assert closed == [True]


def test_a_cancellation_is_raised_in_the_flow():
    events = []

    async def run():
        waiting = asyncio.Event()

        async def wait():
            waiting.set()
            await asyncio.Event().wait()

        def flow():
            try:
                yield Step(list, wait)
            except asyncio.CancelledError:
                events.append("cancelled")
                raise
            finally:
                events.append("closed")

        task = asyncio.create_task(run_async(flow()))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert events == ["cancelled", "closed"]
