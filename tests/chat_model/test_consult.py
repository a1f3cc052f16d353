"""When the proposers of a `ChatMoA` are asked: once for a message of the user, in agents too."""

import asyncio
import copy
import pickle
import threading
from functools import reduce
from operator import add
from uuid import uuid4

import pytest
from fakes import FakeModel
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    ClearToolUsesEdit,
    ContextEditingMiddleware,
    HumanInTheLoopMiddleware,
    SummarizationMiddleware,
    dynamic_prompt,
)
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from pydantic import BaseModel
from scripted_mixtures import ChatMixture, Writer, calling, result_of, tool_call
from waiting import wait_for, wait_until

from moa_graph import AggregatorError, ChatMoA
from moa_graph.chat_model import recent_values
from moa_graph.chat_model.local_proposals import MAX_AGE_S


@tool
def look() -> str:
    """Look."""
    return "seen " * 50


def five_steps():
    return [*(calling() for _ in range(5)), "the answer"]


def summary_of(message):
    return message.response_metadata["moa"]


@pytest.mark.parametrize(
    ("consult", "panels"),
    [
        ({}, 1),
        ({"consult": "user_turn"}, 1),
        ({"consult": "every_call"}, 6),
        ({"consult": 1}, 6),
        ({"consult": 2}, 3),
        ({"consult": 5}, 2),
    ],
)
def test_tool_loop_of_five_steps_asks_as_many_panels_as_consult_says(consult, panels, invoke):
    panel = ChatMixture(*five_steps(), layers=2, width=3, **consult)
    result = invoke(create_agent(panel.moa, [look]), {"messages": "q"})
    assert result["messages"][-1].text == "the answer"
    assert (panel.proposer_calls, panel.written) == (6 * panels, 6)


def test_a_second_turn_asks_anew(invoke):
    panel = ChatMixture(*five_steps(), *five_steps())
    agent = create_agent(panel.moa, [look], checkpointer=InMemorySaver())
    for turn in (1, 2):
        invoke(agent, {"messages": "q"}, {"configurable": {"thread_id": "1"}})
        assert panel.asked == turn


def test_writer_reads_the_same_proposals_in_each_step(invoke):
    panel = ChatMixture(
        *five_steps(), answers_of={"p11": ["first", "second"], "p12": ["third", "fourth"]}
    )
    invoke(create_agent(panel.moa, [look]), {"messages": "q"})
    for messages in panel.writer.asked:
        assert "first" in messages[0].text
        assert "third" in messages[0].text


def test_summary_says_what_is_reused_and_that_it_costs_nothing(invoke):
    proposal = AIMessage("a proposal", usage_metadata=tokens(7))
    panel = ChatMixture(*five_steps(), answers_of={"p11": [proposal], "p12": [proposal]})
    for answer in panel.writer.answers[:-1]:
        answer.usage_metadata = tokens(1)
    answers = invoke(create_agent(panel.moa, [look]), {"messages": "q"})["messages"][1::2]
    summaries = [summary_of(each) for each in answers]
    assert [each["reused_proposals"] for each in summaries] == [False, *[True] * 5]
    assert [each["usage"] and each["usage"]["total_tokens"] for each in summaries[:-1]] == [
        2 * 14 + 2,
        *[2] * 4,
    ]
    assert [
        each.get("saved_usage") and each["saved_usage"]["total_tokens"] for each in summaries[1:-1]
    ] == [28] * 4
    assert all(each["answered"] == 2 for each in summaries)


def tokens(count):
    return {"input_tokens": count, "output_tokens": count, "total_tokens": 2 * count}


def test_failures_are_kept_with_the_panel(invoke):
    panel = ChatMixture(*five_steps(), answers_of={"p11": [ValueError("broken")]})
    result = invoke(create_agent(panel.moa, [look]), {"messages": "q"})
    assert panel.asked == 1
    for answer in result["messages"][1::2]:
        assert summary_of(answer)["failed"] == ["layer_1_p11"]
        assert "broken" in summary_of(answer)["errors"]["layer_1_p11"]


def test_host_of_an_agent_sees_the_same_stream(stream):
    panel = ChatMixture(*five_steps())
    seen = stream(create_agent(panel.moa, [look]), {"messages": "q"}, stream_mode="messages")
    chunks = [message.text for message, _ in seen if message.type == "AIMessageChunk"]
    assert [text for text in chunks if text] == ["the ", "answer"]
    assert panel.asked == 1


# The situations of which each way to know a turn gets some wrong: how many panels are right.


def test_clock_in_the_system_prompt_opens_no_turn(invoke):
    @dynamic_prompt
    def clock(_):
        return f"It is {uuid4()}."

    panel = ChatMixture(*five_steps())
    invoke(create_agent(panel.moa, [look], middleware=[clock]), {"messages": "q"})
    assert panel.asked == 1


def test_summary_in_the_middle_of_a_loop_opens_no_turn(invoke):
    summary = SummarizationMiddleware(
        FakeModel(answers=["so far"]), trigger=("messages", 6), keep=("messages", 2)
    )
    panel = ChatMixture(*five_steps())
    result = invoke(create_agent(panel.moa, [look], middleware=[summary]), {"messages": "q"})
    assert "so far" in result["messages"][0].text
    assert panel.asked == 1


def test_human_message_behind_the_result_of_a_tool_opens_no_turn(invoke):
    class Reminder(AgentMiddleware):
        def before_model(self, state, runtime):  # LangChain's names
            is_result = isinstance(state["messages"][-1], ToolMessage)
            return {"messages": [HumanMessage("Remember the rules.")]} if is_result else None

    panel = ChatMixture(*five_steps())
    result = invoke(create_agent(panel.moa, [look], middleware=[Reminder()]), {"messages": "q"})
    assert [each.type for each in result["messages"][:4]] == ["human", "ai", "tool", "human"]
    assert panel.asked == 1


@pytest.mark.parametrize("ids", ["unique", "call_0"])
def test_context_that_is_edited_leaves_turns_as_they_are(ids, invoke):
    editing = ContextEditingMiddleware(edits=[ClearToolUsesEdit(trigger=100, keep=1)])
    panel = ChatMixture(*numbered(five_steps(), ids), *numbered(five_steps(), ids))
    agent = create_agent(panel.moa, [look], middleware=[editing], checkpointer=InMemorySaver())
    for number, question in enumerate(("first", "second"), 1):
        invoke(agent, {"messages": question}, {"configurable": {"thread_id": "1"}})
        assert panel.asked == number
    assert any("[cleared]" in each.text for each in panel.writer.asked[-1])


def numbered(answers, ids):
    """Number the tool calls of each answer anew, as some servers do."""
    if ids == "unique":
        return answers
    return [
        calling(tool_call(tool_call_id="call_0")) if isinstance(a, AIMessage) else a
        for a in answers
    ]


@pytest.mark.parametrize("ids", ["unique", "call_0"])
def test_same_question_asked_anew_asks_anew(ids, invoke):
    panel = ChatMixture(*numbered(five_steps(), ids), *numbered(five_steps(), ids))
    agent = create_agent(panel.moa, [look])
    for number in (1, 2):
        invoke(agent, {"messages": "q"})
        assert panel.asked == number


@pytest.mark.parametrize("ids", ["unique", "call_0", "the-same-long-id-00112233"])
def test_two_talks_that_end_alike_have_proposals_of_their_own(ids, invoke):
    def answer():
        return calling(tool_call(tool_call_id=None if ids == "unique" else ids))

    first, second = answer(), answer()
    panel = ChatMixture(
        first, second, "sunny", "windy", answers_of={"p11": ["of the first", "of the second"]}
    )
    talks = [
        [HumanMessage(f"Shall I {verb}?"), AIMessage("Sure?"), HumanMessage("yes")]
        for verb in ("go", "stay")
    ]
    for talk in talks:
        invoke(panel.moa, talk)
    for talk, called in zip(talks, (first, second), strict=True):
        invoke(panel.moa, [*talk, *result_of(called)])
    assert panel.asked == 2
    texts = [messages[0].text for messages in panel.writer.asked]
    assert ["of the first" in text for text in texts] == [True, False, True, False]
    assert ["of the second" in text for text in texts] == [False, True, False, True]


def test_edited_question_asks_anew(invoke):
    panel = ChatMixture(*five_steps(), *five_steps())
    agent = create_agent(panel.moa, [look], checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    question = HumanMessage("q", id="q")
    invoke(agent, {"messages": [question]}, config)
    start = [*agent.get_state_history(config)][-1].config
    invoke(agent, {"messages": [HumanMessage("another", id="q")]}, start)
    assert panel.asked == 2


class City(BaseModel):
    """A city."""

    name: str


def test_structured_answer_that_is_asked_for_again_opens_no_turn(invoke):
    wrong, right = (calling(tool_call("City", **args)) for args in ({}, {"name": "Oslo"}))
    panel = ChatMixture(calling(), wrong, right)
    agent = create_agent(panel.moa, [look], response_format=ToolStrategy(City))
    assert invoke(agent, {"messages": "q"})["structured_response"] == City(name="Oslo")
    assert panel.asked == 1


def test_question_behind_a_structured_answer_opens_a_turn(invoke):
    panel = ChatMixture(*(calling(tool_call("City", name=name)) for name in ("Oslo", "Rome")))
    saver = InMemorySaver()
    response_format = ToolStrategy(City, tool_message_content="done")
    agent = create_agent(panel.moa, [look], response_format=response_format, checkpointer=saver)
    for number in (1, 2):
        invoke(agent, {"messages": "q"}, {"configurable": {"thread_id": "1"}})
        assert panel.asked == number


def test_question_behind_a_result_that_is_returned_directly_opens_a_turn(invoke):
    @tool(return_direct=True)
    def show() -> str:
        """Show."""
        return "shown"

    panel = ChatMixture(*(calling(tool_call("show")) for _ in range(2)))
    agent = create_agent(panel.moa, [show, look], checkpointer=InMemorySaver())
    for number in (1, 2):
        invoke(agent, {"messages": "q"}, {"configurable": {"thread_id": "1"}})
        assert panel.asked == number


def test_edited_tool_call_opens_no_turn(invoke):
    panel = ChatMixture(calling(), "the answer")
    human = HumanInTheLoopMiddleware({"look": True})
    agent = create_agent(panel.moa, [look], middleware=[human], checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    invoke(agent, {"messages": "q"}, config)
    edited = {"type": "edit", "edited_action": {"name": "look", "args": {}}}
    result = invoke(agent, Command(resume={"decisions": [edited]}), config)
    assert result["messages"][-1].text == "the answer"
    assert panel.asked == 1


# Retries.


def test_retry_after_a_failed_writer_asks_the_writer_alone(invoke):
    panel = ChatMixture(ValueError("busy"), "the answer")
    answer = invoke(panel.moa.with_retry(wait_exponential_jitter=False), "q")
    assert answer.text == "the answer"
    assert summary_of(answer)["reused_proposals"]
    assert (panel.asked, panel.written) == (1, 2)


def test_retry_of_an_aggregator_that_selects_asks_it_alone(invoke):
    panel = ChatMixture(
        ValueError("busy"), "2", answers_of={"p12": ["the second"]}, aggregation="select"
    )
    answer = invoke(panel.moa.with_retry(wait_exponential_jitter=False), "q")
    assert answer.text == "the second"
    assert (panel.asked, panel.written) == (1, 2)


def test_fallback_answers_from_reused_proposals(invoke):
    called, spare = calling(), FakeModel(answers=["of the fallback"])
    panel = ChatMixture(called, ValueError("busy"), fallbacks=[spare])
    invoke(panel.moa, "q")
    answer = invoke(panel.moa, [HumanMessage("q"), *result_of(called)])
    assert answer.text == "of the fallback"
    assert panel.asked == 1
    assert "a proposal" in spare.asked[0][0].text


def test_retry_in_a_tool_loop_asks_the_writer_alone(invoke):
    called = calling()
    panel = ChatMixture(called, ValueError("busy"), "the answer")
    invoke(panel.moa, "q")
    loop = [HumanMessage("q"), *result_of(called)]
    with pytest.raises(AggregatorError):
        invoke(panel.moa, loop)
    assert invoke(panel.moa, loop).text == "the answer"
    assert panel.asked == 1


def test_after_the_retry_has_its_answer_the_same_question_asks_anew(invoke):
    panel = ChatMixture(ValueError("busy"), "the answer")
    for asked in (1, 1, 2):
        if panel.written:
            invoke(panel.moa, "q")
        else:
            with pytest.raises(AggregatorError):
                invoke(panel.moa, "q")
        assert panel.asked == asked


def test_another_question_after_a_failed_writer_asks_anew(invoke):
    panel = ChatMixture(ValueError("busy"), "the answer")
    with pytest.raises(AggregatorError):
        invoke(panel.moa, "q")
    invoke(panel.moa, "another")
    assert panel.asked == 2


def test_stream_that_is_left_before_its_answer_leaves_the_panel_to_a_retry():
    panel = ChatMixture("a long answer")
    chunks = panel.moa.stream("q")
    next(chunks)
    chunks.close()
    assert panel.moa.invoke("q").text == "a long answer"
    assert panel.asked == 1


async def test_cancelled_writer_leaves_the_panel_to_a_retry():
    gone_on = threading.Event()
    panel = ChatMixture("the answer", writes=gone_on.is_set)
    running = asyncio.create_task(panel.moa.ainvoke("q"))
    await wait_until(lambda: panel.written)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    gone_on.set()
    assert (await panel.moa.ainvoke("q")).text == "the answer"
    assert panel.asked == 1


def test_lost_quorum_is_asked_for_anew(invoke):
    panel = ChatMixture(
        "the answer", answers_of={"p11": [ValueError("busy"), "a proposal"]}, quorum=2
    )
    assert invoke(panel.moa.with_retry(wait_exponential_jitter=False), "q").text == "the answer"
    assert panel.asked == 2


# Who shares proposals.


def test_bound_copies_share_the_proposals_of_a_turn(invoke):
    called = calling()
    panel = ChatMixture(called, calling(tool_call("City", name="Oslo")), "the answer")
    invoke(panel.moa.bind_tools([look]), "q")
    loop = [HumanMessage("q"), *result_of(called)]
    assert invoke(panel.moa.with_structured_output(City), loop) == City(name="Oslo")
    invoke(panel.moa.with_config(tags=["mine"]).bind(stop=["x"]), loop)
    invoke(panel.moa.model_copy(), loop)
    assert panel.asked == 1


def test_answer_to_a_stream_is_found_by_the_next_call(stream):
    called = calling()
    panel = ChatMixture(called, "the answer")
    first = reduce(add, stream(panel.moa, "q"))
    assert [each["id"] for each in first.tool_calls] == [called.tool_calls[0]["id"]]
    answer = reduce(add, stream(panel.moa, [HumanMessage("q"), *result_of(called)]))
    assert answer.text == "the answer"
    assert summary_of(answer)["reused_proposals"]
    assert panel.asked == 1


def test_proposals_belong_to_a_scope_where_the_caller_names_one(invoke):
    called = calling()
    panel = ChatMixture(called, "the answer")
    ada, bob = ({"configurable": {"proposal_scope": name}} for name in ("ada", "bob"))
    invoke(panel.moa, "q", ada)
    loop = [HumanMessage("q"), *result_of(called)]
    for config, asked in ((bob, 2), (ada, 2), (bob, 2), (None, 3)):
        invoke(panel.moa, loop, config)
        assert panel.asked == asked


@pytest.mark.parametrize(
    ("other", "asked"),
    [
        ({}, 1),
        ({"langgraph_request_id": "2", "run_id": "2"}, 1),
        ({"thread_id": "2"}, 2),
        ({"user": "bob"}, 2),
    ],
)
def test_retry_finds_proposals_in_its_own_thread_and_of_its_own_user(other, asked, invoke):
    panel = ChatMixture(ValueError("busy"), "the answer")
    config = {"thread_id": "1", "user": "ada", "langgraph_request_id": "1"}
    with pytest.raises(AggregatorError):
        invoke(panel.moa, "q", {"configurable": config})
    invoke(panel.moa, "q", {"configurable": config | other})
    assert panel.asked == asked


def test_tools_that_change_in_place_are_those_of_the_call():
    given = []

    class Spy(Writer):
        def bind_tools(self, tools, **_):
            given.append(tools[0]["function"]["name"])
            return self

    moa = ChatMoA([[FakeModel()]], Spy(answers=["the answer"]))
    definition = {"type": "function", "function": {"name": "first"}}
    for name in ("first", "second", "first"):
        definition["function"]["name"] = name
        moa.invoke("q", tools=[definition])
    assert given == ["first", "second"]


def test_changed_options_ask_anew(invoke):
    called = calling()
    panel = ChatMixture(called, "the answer")
    invoke(panel.moa, "q")
    changed = panel.moa.model_copy(update={"prompt": "Judge them."})
    invoke(changed, [HumanMessage("q"), *result_of(called)])
    assert panel.asked == 2


@pytest.mark.parametrize(
    ("make_copy", "asked"),
    [(copy.copy, 1), (lambda model: model.model_copy(), 1), (copy.deepcopy, 0)],
)
def test_shallow_copies_share_proposals_and_deep_ones_have_their_own(make_copy, asked):
    called = calling()
    panel = ChatMixture(called, "the answer")
    panel.moa.invoke("q")
    copied = make_copy(panel.moa)
    answer = copied.invoke([HumanMessage("q"), *result_of(called)])
    assert summary_of(answer)["reused_proposals"] is bool(asked)


def test_pickled_model_asks_for_itself():
    moa = ChatMoA([["offline:lead"]], "offline:consensus")
    moa.invoke("Where is it? It is under the tree.")
    loaded = pickle.loads(pickle.dumps(moa))
    assert loaded.consult == "user_turn"
    assert not summary_of(loaded.invoke("Where is it?"))["reused_proposals"]


# Calls side by side.


async def test_calls_of_one_turn_side_by_side_ask_one_panel():
    """Another process may have asked the first one, or this one has forgotten it."""
    gone_on = threading.Event()
    panel = ChatMixture("the answer", until=gone_on.is_set)
    loop = [HumanMessage("q"), *result_of(calling())]
    running = [asyncio.create_task(panel.moa.ainvoke(loop)) for _ in range(3)]
    await wait_until(lambda: panel.proposer_calls == 2)
    gone_on.set()
    answers = await asyncio.gather(*running)
    assert panel.asked == 1
    assert sorted(summary_of(each)["reused_proposals"] for each in answers) == [False, True, True]


def test_threads_of_one_turn_side_by_side_ask_one_panel():
    gone_on = threading.Event()
    panel = ChatMixture("the answer", until=gone_on.is_set)
    loop = [HumanMessage("q"), *result_of(calling())]
    threads = [threading.Thread(target=panel.moa.invoke, args=[loop]) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_for(lambda: panel.proposer_calls == 2)
    gone_on.set()
    for thread in threads:
        thread.join()
    assert (panel.asked, panel.written) == (1, 3)


async def test_call_that_waits_asks_when_the_other_is_cancelled_or_fails():
    gone_on = threading.Event()
    panel = ChatMixture("the answer", until=gone_on.is_set)
    loop = [HumanMessage("q"), *result_of(calling())]
    first, second, third = (asyncio.create_task(panel.moa.ainvoke(loop)) for _ in range(3))
    await wait_until(lambda: panel.proposer_calls == 2)
    third.cancel()
    first.cancel()
    await wait_until(lambda: panel.proposer_calls == 4)
    gone_on.set()
    assert (await second).text == "the answer"
    assert first.cancelled()
    assert third.cancelled()


async def test_same_question_asked_side_by_side_asks_as_often():
    panel = ChatMixture("the answer")
    await panel.moa.abatch(["q", "q", "q"])
    assert panel.asked == 3


# What is kept.


def test_turn_is_forgotten_after_a_while(monkeypatch, invoke):
    now = 1000.0
    monkeypatch.setattr(recent_values, "monotonic", lambda: now)
    called = [calling() for _ in range(3)]
    panel = ChatMixture(*called, "the answer")
    talk = [HumanMessage("q")]
    for number, answer in enumerate(called):
        invoke(panel.moa, talk)
        talk += result_of(answer)
        now += MAX_AGE_S + 1 if number == 2 else MAX_AGE_S - 1
    assert panel.asked == 1
    invoke(panel.moa, talk)
    assert panel.asked == 2


def test_values_are_bounded_in_number_the_least_recently_used_go_first():
    values = recent_values.RecentValues(2, 60)
    for key in "ab":
        values.set(key, key)
    values.get("a")
    values.set("c", "c")
    assert [values.get(key) for key in "abc"] == ["a", None, "c"]
    assert values.pop("a") == "a"
    assert values.pop("a") is None


def test_system_messages_between_results_are_no_part_of_a_turn(invoke):
    called = calling()
    panel = ChatMixture(called, "the answer")
    invoke(panel.moa, [SystemMessage("a"), HumanMessage("q")])
    invoke(
        panel.moa, [HumanMessage("q"), *result_of(called), SystemMessage("b"), HumanMessage("c")]
    )
    assert panel.asked == 1


@pytest.mark.parametrize("value", ["always", 0, -1, True, 1.5, None])
def test_mistaken_consult_is_refused(value):
    with pytest.raises(ValueError, match=r"`consult`=.*: expected 'user_turn', 'every_call', or"):
        ChatMoA([["offline:lead"]], "offline:lead", consult=value)


def test_a_langchain_cache_tells_ways_to_consult_apart():
    described = [
        ChatMoA([["offline:lead"]], "offline:lead", **options).asdict()
        for options in ({}, {"consult": "user_turn"}, {"consult": "every_call"})
    ]
    assert described[0] == described[1] != described[2]
