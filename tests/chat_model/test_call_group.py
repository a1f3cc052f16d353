"""Calls at the same time that share one panel."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from fakes import FakeModel

from moa_graph import ChatMoA, QuorumError
from moa_graph.chat_model.call_group import CALL_GROUP, CallGroup

COUNT = 4


def group_config():
    return {"configurable": {CALL_GROUP: CallGroup()}}


@pytest.fixture(params=["threads", "event loop"])
def invoke_together(request):
    """Call a model several times at once, and give what each call returned or raised."""

    def attempt(invoke):
        try:
            return invoke()
        except Exception as error:  # is what the test looks at
            return error

    def call(model, config):
        if request.param == "threads":
            with ThreadPoolExecutor(COUNT) as pool:
                calls = [
                    pool.submit(attempt, lambda: model.invoke("q", config)) for _ in range(COUNT)
                ]
                return [each.result() for each in calls]

        async def gather():
            calls = (model.ainvoke("q", config) for _ in range(COUNT))
            return await asyncio.gather(*calls, return_exceptions=True)

        return asyncio.run(gather())

    return call


@pytest.mark.parametrize("consult", ["user_turn", "every_call", 2])
def test_proposers_are_asked_once_for_all_calls_of_a_group(consult, invoke_together):
    proposer, writer = FakeModel(answers=["a proposal"]), FakeModel(answers=["an answer"])
    model = ChatMoA([{"p": proposer}] * 2, writer, consult=consult)
    answers = invoke_together(model, group_config())
    assert [each.text for each in answers] == ["an answer"] * COUNT
    assert len(proposer.asked) == 2
    assert len(writer.asked) == COUNT
    reused = sorted(each.response_metadata["moa"]["reused_proposals"] for each in answers)
    assert reused == [False, True, True, True]
    invoke_together(model, group_config())
    assert len(proposer.asked) == 4


def test_failure_of_the_proposers_is_that_of_each_call(invoke_together):
    proposer = FakeModel(answers=[ValueError("no")])
    model = ChatMoA([{"p": proposer}], FakeModel())
    errors = invoke_together(model, group_config())
    assert all(isinstance(each, QuorumError) for each in errors)
    assert len(proposer.asked) == 1


async def test_call_that_is_cancelled_while_it_waits_harms_no_other():
    asked, go_on = asyncio.Event(), asyncio.Event()

    class Slow(FakeModel):
        async def _agenerate(self, messages, *args, **options):
            asked.set()
            await go_on.wait()
            return await super()._agenerate(messages, *args, **options)

    model, config = ChatMoA([{"p": Slow()}], FakeModel()), group_config()
    first = asyncio.create_task(model.ainvoke("q", config))
    await asked.wait()
    others = [asyncio.create_task(model.ainvoke("q", config)) for _ in range(2)]
    await asyncio.sleep(0)
    others[0].cancel()
    go_on.set()
    assert (await first).text == (await others[1]).text == "an answer"


async def test_cancelled_first_call_ends_the_others():
    asked = asyncio.Event()

    class Hanging(FakeModel):
        async def _agenerate(self, *_args, **_options):
            asked.set()
            await asyncio.Event().wait()

    model, config = ChatMoA([{"p": Hanging()}], FakeModel()), group_config()
    first = asyncio.create_task(model.ainvoke("q", config))
    await asked.wait()
    other = asyncio.create_task(model.ainvoke("q", config))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(RuntimeError, match="has ended"):
        await other
