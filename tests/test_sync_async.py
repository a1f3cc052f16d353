"""A flow does the same, run by the sync and by the async driver."""

import asyncio

import pytest

from moa_graph.sync_async import Step, iterate_async, iterate_sync, run_async, run_sync


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


def iterate_both(make_flow):
    async def collect():
        return [each async for each in iterate_async(make_flow())]

    return list(iterate_sync(make_flow())), asyncio.run(collect())


def test_a_stream_flow_gives_its_values_and_makes_its_steps():
    def flow():
        number = 1
        while number < 8:
            number = yield double_step(number)
            yield str(number)

    assert iterate_both(flow) == (["2", "4", "8"], ["2", "4", "8"])


def test_a_value_of_a_stream_flow_is_given_before_its_next_step_is_made():
    made = []

    def flow():
        yield "first"
        yield Step(made.append, None, (1,))

    values = iterate_sync(flow())
    assert next(values) == "first"
    assert made == []


def test_what_a_step_of_a_stream_flow_raises_can_be_caught_at_the_yield():
    def flow():
        try:
            yield failing_step(OSError("gone"))
        except OSError as error:
            yield str(error)

    assert iterate_both(flow) == (["gone"], ["gone"])


def closing_flow(closed):
    async def close_async():
        await asyncio.sleep(0)
        closed.append("async")

    def flow():
        try:
            yield "first"
            yield "second"
        finally:
            yield Step(lambda: closed.append("sync"), close_async)

    return flow()


def test_a_stream_flow_that_is_closed_makes_the_steps_of_its_finally():
    closed = []
    values = iterate_sync(closing_flow(closed))
    assert next(values) == "first"
    values.close()
    assert closed == ["sync"]
    assert list(values) == []


async def test_an_async_stream_flow_that_is_closed_makes_the_steps_of_its_finally():
    closed = []
    values = iterate_async(closing_flow(closed))
    assert await anext(values) == "first"
    await values.aclose()
    assert closed == ["async"]


async def test_a_cancellation_is_raised_in_a_stream_flow_which_still_closes():
    events, waiting = [], asyncio.Event()

    async def wait():
        waiting.set()
        await asyncio.Event().wait()

    async def close():
        await asyncio.sleep(0)
        events.append("closed")

    def flow():
        try:
            yield Step(list, wait)
        except asyncio.CancelledError:
            events.append("cancelled")
            raise
        finally:
            yield Step(list, close)

    task = asyncio.ensure_future(anext(iterate_async(flow())))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert events == ["cancelled", "closed"]
