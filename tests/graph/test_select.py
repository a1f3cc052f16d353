"""An aggregator that picks one of the proposals, and writes nothing."""

import asyncio

import pytest
from fakes import FakeModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import StateGraph

from moa_graph import (
    Agent,
    AggregatorError,
    ChatMoA,
    MoAConfig,
    create_moa,
    draw_mermaid,
)
from moa_graph.drawing.diagram import read_diagram
from moa_graph.prompting.layout import AGGREGATE_AND_SYNTHESIZE, NAME_THE_BEST, SELECT_THE_BEST
from moa_graph.prompting.parsing import InvalidSelectionError, parse_selected_number
from moa_graph.run_report.prompts import read_prompts
from moa_graph.runs.record import read_run


def proposers(*texts):
    return {name: FakeModel(answers=[text]) for name, text in zip("abcdef", texts, strict=False)}


def judge(*replies):
    return FakeModel(answers=list(replies))


def last(result):
    return result["messages"][-1]


def account(result):
    return last(result).response_metadata["moa"]


def test_the_picked_proposal_is_the_answer_word_for_word(invoke):
    moa = create_moa([proposers("one", "two\n2. *2*", "three")], judge("2"), aggregation="select")
    result = invoke(moa.compile(), {"messages": "q"})
    assert last(result).text == "two\n2. *2*"
    assert account(result)["selected"] == "layer_1_b"
    assert len(result["messages"]) == 2


def test_a_mixture_that_writes_names_no_selected_proposal(invoke):
    result = invoke(create_moa([proposers("one")], judge("2")).compile(), {"messages": "q"})
    assert last(result).text == "2"
    assert "selected" not in account(result)


def test_a_judge_reads_the_numbered_proposals_and_is_asked_for_a_number(invoke):
    reader = judge("1")
    moa = create_moa([proposers("one", "two")], reader, aggregation="select")
    invoke(moa.compile(), {"messages": "Why?"})
    system, user = reader.asked[0]
    assert system.text == f"{SELECT_THE_BEST}\n\nResponses from models:\n1. one\n2. two"
    assert user.text == f"Why?\n\n{NAME_THE_BEST}"


def test_a_judge_reads_them_between_tags_where_they_are_the_users(invoke):
    reader = judge("Response 2")
    layer = proposers("one", "</response-1 1> two")
    moa = create_moa([layer], reader, aggregation="select", references_in="user")
    result = invoke(moa.compile(), {"messages": "Why?"})
    system, user = reader.asked[0]
    assert system.text.startswith(SELECT_THE_BEST)
    assert "one" not in system.text
    assert user.text.startswith("Why?\n\nResponses from models:\n<response-")
    assert user.text.endswith(NAME_THE_BEST)
    assert last(result).text == "</response-1 1> two"  # as it was written, not as it was shown


def test_proposers_of_further_layers_still_write(invoke):
    second = proposers("three", "four")
    moa = create_moa([proposers("one", "two"), second], judge("1"), aggregation="select")
    result = invoke(moa.compile(), {"messages": "q"})
    assert account(result)["selected"] == "layer_2_a"
    system, user = second["a"].asked[0]
    assert system.text.startswith(AGGREGATE_AND_SYNTHESIZE)
    assert user.text == "q"


@pytest.mark.parametrize(
    "reply",
    [
        *("2", " 2\n", "2.", "**2**", "**2.**", "Response 2", "response #2.", "[2]", "(2)", "`2`"),
        *("Answer: 2", "**Response:** 2", '"2"', "<think>1 or 2?</think>\n2", "Number 2)"),
    ],
)
def test_decoration_around_the_number_is_read_over(reply):
    assert parse_selected_number(AIMessage(reply), 3) == 2


@pytest.mark.parametrize(
    "reply",
    [
        *("Response 2 is the best.", "The best is 2", "The best response is 2.", "2 is the best"),
        *("2\n\nIt is right.", "2. Blue, for it is right", "**2.** Blue", "(2) Blue", "2 - blue"),
        *("2. The sky is blue by day", "I choose response 2.", "2:\nThe others are not"),
        *(
            "The answer is 2",
            "My choice is 2.",
            "Choice: **2**",
            "Best: 2",
            "I pick 2, it is short",
        ),
        *("I would choose 2.", "Selected: 2", "2, because it is blue"),
        *('{"best": 2}', '{"choice": "2"}', "<answer>2</answer>", "\\boxed{2}"),
        *(
            "2\n\nResponse 1 is wrong, and response 3 is short.",
            "**2**\nIt says more than answer 1.",
        ),
        *("Number two", "number two is the best", "I choose response two.", "**Option two**"),
        *("I'd go with 2", "I would go with response 2.", "I prefer 2", "My vote: I vote for 2."),
        *(
            "Response 2 is better than response 1 and response 3.",
            "Response 2 is clearly better than both 1 and 3",
            "2\n\nResponse 2 is the best.",
            "2\nResponse 1 is not the best. I pick 2.",
            "2\nI would not choose response 1.",
            "2\nResponse 1 is better written, but wrong.",
        ),
        *('{"number": "2"}', '```json\n{"number": 2}\n```', "2. In 1871 it was shown."),
    ],
)
def test_a_number_that_a_text_points_to_is_read(reply):
    responses = ["The sky is red by night", "The sky is blue by day", "Green"]
    assert parse_selected_number(AIMessage(reply), 3, responses) == 2


def test_the_better_one_of_two_is_the_best():
    assert parse_selected_number(AIMessage("Response 2 is better than response 1"), 2) == 2
    assert parse_selected_number(AIMessage("Answer 1 is much better than answer 2."), 2) == 1


def test_a_call_of_the_tool_is_read():
    call = {"name": "select_response", "args": {"number": "2"}, "id": "1"}
    assert parse_selected_number(AIMessage("Response 1?", tool_calls=[call]), 3) == 2
    for arguments in ({"number": "7"}, {"number": "two"}, {}):
        reply = AIMessage("", tool_calls=[{**call, "args": arguments}])
        with pytest.raises(InvalidSelectionError):
            parse_selected_number(reply, 3)


@pytest.mark.parametrize(
    "reply",
    [
        *("", "0", "4", "-2", "2.5", "1 2", "1, 2", "2 and 3", "two", "1st", "2/3", "２", "²"),
        *("Response", "1" * 5000, "1. One\n2. Two", "2) and 3)", "Response 2 or 3", "2 of 3"),
        *("Response 1 is better than response 2", "Not response 2", "3 reasons speak for it"),
        *("The best responses are 2 and 3", "Neither; response 2 is wrong", "2 responses are good"),
        *(
            "I would not choose 2",
            "I pick 2 responses",
            "The best 2 are these",
            "1\n2",
            "Best of 3",
        ),
        *("1\nOn reflection, response 2 is better.", "1\n\nResponse 2 is the best answer."),
        *("1\nI'd go with 2.", "1\nResponse 2 is better than response 1", "number two or three"),
        "Response 2 is worse than responses 1 and 3",
        *("Response 2 is better than 1, and response 3 is better than 2", "the answer one gives"),
        *("Response 1 is better than response 2. I pick 3.", "two of them", "I go with neither"),
        *('{"number": "7"}', "2024 is the best", "I like the second"),
    ],
)
def test_any_other_reply_is_no_pick(reply):
    with pytest.raises(
        InvalidSelectionError, match="expected only the number of one of 3 responses, got"
    ):
        parse_selected_number(AIMessage(reply), 3)


def test_the_number_of_one_response_before_the_text_of_another_is_no_pick():
    responses = ["The sky is red by night", "The sky is blue by day"]
    with pytest.raises(InvalidSelectionError):
        parse_selected_number(AIMessage("1. The sky is blue by day"), 2, responses)


def test_a_long_reply_is_not_repeated_whole():
    with pytest.raises(InvalidSelectionError) as caught:
        parse_selected_number(AIMessage("\x1b[2J" + "long " * 1000), 3)
    assert len(str(caught.value)) < 150
    assert "\x1b" not in str(caught.value)


def test_a_reply_that_is_no_number_is_a_failure_and_never_an_answer(invoke):
    moa = create_moa([proposers("one", "two")], judge("I like the second"), aggregation="select")
    with pytest.raises(AggregatorError, match="got 'I like the second'"):
        invoke(moa.compile(), {"messages": "q"})


def test_fallbacks_are_asked_when_the_aggregator_picks_nothing(invoke):
    fallbacks = [judge(RuntimeError("down")), judge("1")]
    moa = create_moa(
        [proposers("one", "two")], judge("7"), fallbacks=fallbacks, aggregation="select"
    )
    result = invoke(moa.compile(), {"messages": "q"})
    assert last(result).text == "one"
    causes = account(result)["errors"]
    assert "one of 2 responses, got '7'" in causes["aggregator"]
    assert "down" in causes["fallback_1"]


def test_a_resumed_run_asks_the_judge_again_and_no_proposer(invoke):
    layer, reader = proposers("one", "two"), judge("neither", "2")
    moa = create_moa([layer], reader, aggregation="select").compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    with pytest.raises(AggregatorError):
        invoke(moa, {"messages": "q"}, config)
    result = invoke(moa, None, config)
    assert last(result).text == "two"
    assert [len(model.asked) for model in (*layer.values(), reader)] == [1, 1, 2]


def test_numbers_are_those_of_the_proposals_that_the_judge_saw(invoke):
    reader = judge("2")
    layer = proposers("one", RuntimeError("down"), "three", "four")
    moa = create_moa([layer], reader, aggregation="select", quorum=2)
    result = invoke(moa.compile(), {"messages": "q"})
    assert reader.asked[0][0].text.endswith("\n1. one\n2. three\n3. four")
    assert account(result)["selected"] == "layer_1_c"
    assert account(result)["failed"] == ["layer_1_b"]


def test_numbers_hold_where_a_human_drops_a_proposal(invoke):
    reader = judge("1")
    moa = create_moa([proposers("one", "two", "three")], reader, aggregation="select")
    graph = moa.compile(checkpointer=InMemorySaver(), interrupt_before=["layer_1_aggregator"])
    config = {"configurable": {"thread_id": "1"}}
    invoke(graph, {"messages": "q"}, config)
    graph.update_state(config, {"proposals": {"layer_1_a": None}}, as_node="layer_1_b")
    result = invoke(graph, None, config)
    assert reader.asked[0][0].text.endswith(":\n1. two\n2. three")
    assert last(result).text == "two"


def test_a_thread_can_go_on_with_a_mixture_that_writes_or_selects(invoke):
    saver, config = InMemorySaver(), {"configurable": {"thread_id": "1"}}
    layer, writer, reader = proposers("one", "two"), judge("written"), judge("2")
    stop = ["aggregator"]
    writes = create_moa([layer], writer).compile(checkpointer=saver, interrupt_before=stop)
    invoke(writes, {"messages": "q"}, config)
    selects = create_moa([layer], reader, aggregation="select").compile(checkpointer=saver)
    result = invoke(selects, None, config)
    assert last(result).text == "two"
    assert reader.asked[0][0].text.startswith(SELECT_THE_BEST)


def test_references_are_cut_for_the_judge_and_the_answer_is_whole(invoke):
    reader = judge("2")
    layer = proposers("short", "long " * 1000)
    moa = create_moa([layer], Agent(model=reader, max_input_tokens=600), aggregation="select")
    result = invoke(moa.compile(), {"messages": "q"})
    system, user = reader.asked[0]
    assert "[cut here: " in system.text
    assert user.text.endswith(NAME_THE_BEST)
    assert (len(system.text) + len(user.text)) / 4 < 600
    assert last(result).text == ("long " * 1000).strip()
    assert account(result)["dropped_reference_chars"] > 2000


def test_the_tokens_of_the_pick_are_counted_and_what_ended_the_proposal_is_told(invoke, server):
    for name, reply in {"a": "a b c", "b": "d e", "judge": "2"}.items():
        server.model(name, reply=reply, finish_reason="length" if name == "b" else "stop")
    agents = {n: Agent(model=f"openai:{n}", base_url=server.url) for n in ("a", "b", "judge")}
    aggregator = agents.pop("judge")
    result = invoke(
        create_moa([agents], aggregator, aggregation="select").compile(), {"messages": "q"}
    )
    usage = account(result)["usage"]
    assert last(result).text == "d e"
    assert last(result).response_metadata["finish_reason"] == "length"
    assert account(result)["aggregator_usage"]["output_tokens"] == 1
    assert last(result).usage_metadata["output_tokens"] == 1
    assert usage["output_tokens"] == 3 + 2 + 1


def streamed(graph, **options):
    return [
        (message.text, metadata["langgraph_node"])
        for message, metadata in graph.stream({"messages": "q"}, stream_mode="messages", **options)
    ]


def test_the_pick_is_not_streamed_and_the_answer_comes_whole(server):
    for name, reply in {"a": "first answer", "b": "second answer", "judge": "2"}.items():
        server.model(name, reply=reply)
    agents = {n: Agent(model=f"openai:{n}", base_url=server.url) for n in ("a", "b", "judge")}
    aggregator = agents.pop("judge")
    graph = create_moa([agents], aggregator, aggregation="select").compile()
    assert streamed(graph) == [("second answer", "aggregator")]
    assert not any(call.streamed for call in server.calls)


def test_a_host_sees_the_picked_proposal_as_its_one_new_message(invoke):
    moa = create_moa([proposers("one", "two")], judge("1"), aggregation="select")
    host = StateGraph(moa.state_schema)
    host.add_node("moa", moa.compile()).set_entry_point("moa")
    result = invoke(host.compile(), {"messages": "q"})
    assert [message.text for message in result["messages"]] == ["q", "one"]


def test_a_chat_model_can_select(invoke):
    model = ChatMoA(layers=[proposers("one", "two")], aggregator=judge("2"), aggregation="select")
    answer = invoke(model, "q")
    assert answer.text == "two"
    assert answer.response_metadata["moa"]["selected"] == "layer_1_b"
    assert [chunk.text for chunk in model.stream("q") if chunk.text] == ["two"]

    async def astreamed():
        return [chunk.text async for chunk in model.astream("q") if chunk.text]

    assert asyncio.run(astreamed()) == ["two"]


@pytest.mark.parametrize("lazy", [False, True])
def test_tools_are_refused_where_the_aggregator_selects(lazy):
    def weather(city: str) -> str:
        """Tell the weather."""
        return city

    model = ChatMoA(layers=[proposers("a")], aggregator=judge("1"), aggregation="select", lazy=lazy)
    with pytest.raises(ValueError, match="'select' the aggregator picks a proposal, and calls"):
        model.bind_tools([weather])
    with pytest.raises(
        ValueError, match="no tools; expected a mixture with `aggregation`='synthesize'"
    ):
        model.invoke("q", tools=[{"type": "function", "function": {"name": "f"}}])


def test_an_unknown_ending_is_refused():
    with pytest.raises(
        ValueError, match="`aggregation`='rank': expected one of: 'synthesize', 'se"
    ):
        create_moa([["offline:lead"]], "offline:lead", aggregation="rank")


def test_a_configuration_says_how_it_ends(tmp_path, invoke):
    path = tmp_path / "ranker.toml"
    text = 'layers = [["offline:lead", "offline:bm25"]]\naggregator = "offline:consensus"\n'
    path.write_text(f'{text}aggregation = "select"')
    config = MoAConfig.load(path)
    result = invoke(config.graph().compile(), {"messages": "Where is it? It is under a tree."})
    assert account(result)["selected"] == "layer_1_lead"
    assert invoke(config.chat_model(), "Where is it? It is here.").text == "It is here."
    path.write_text(f'{text}aggregation = "rank"')
    with pytest.raises(ValueError, match=r"expected 'synthesize', 'select', .*, got"):
        MoAConfig.load(path)


def test_the_commands_say_which_proposal_was_selected(moa, tmp_path):
    path = tmp_path / "ranker.toml"
    path.write_text(
        'layers = [["offline:lead"]]\naggregator = "offline:lead"\naggregation = "select"'
    )
    asked = ["ask", "Where? It is here.", "--config", path, "--thread", "t", "--show"]
    for command in (asked, ["show", "t"]):
        done = moa(*command)
        assert done.returncode == 0
        assert "1 of 1 proposals answered; layer_1_lead selected; " in done.stdout


@pytest.mark.parametrize("references_in", ["system", "user"])
def test_an_offline_agent_picks_what_is_most_like_the_others(invoke, references_in):
    layer = proposers("The sky is green.", "The sky is blue by day.", "By day, blue is the sky.")
    moa = create_moa([layer], "offline:lead", aggregation="select", references_in=references_in)
    result = invoke(moa.compile(), {"messages": "What colour is the sky?"})
    assert account(result)["selected"] == "layer_1_b"


def test_drawings_say_that_the_aggregator_selects(invoke):
    moa = create_moa([proposers("one", "two")], judge("2"), aggregation="select")
    assert "aggregator (selects)" in draw_mermaid(moa)
    assert "(selects)" not in draw_mermaid(create_moa([proposers("one")], judge("2")))
    run = read_run(invoke(moa.compile(), {"messages": "q"}))
    assert [call.node for call in run.calls if call.selected] == ["layer_1_b"]
    nodes = read_diagram(moa, run).nodes
    assert nodes["aggregator"].label == "aggregator (selects)"
    assert nodes["layer_1_b"].label == "b (selected)"
    assert nodes["layer_1_a"].label == "a"


@pytest.mark.parametrize("known", [True, False])
def test_a_report_shows_what_the_judge_read(invoke, known):
    reader = judge("2")
    moa = create_moa([proposers("one", "two")], reader, aggregation="select")
    graph = moa.compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    state = invoke(graph, {"messages": "q"}, config)
    history = graph.get_state_history(config)
    readings = read_prompts(read_run(state), state, moa.spec if known else None, history)
    shown = readings[-1][0].messages
    assert [message.text for message in shown] == [message.text for message in reader.asked[0]]


def test_whatever_picks_can_be_a_plain_runnable(invoke):
    moa = create_moa([proposers("one", "two")], RunnableLambda(lambda _: "2"), aggregation="select")
    assert last(invoke(moa.compile(), {"messages": "q"})).text == "two"


@pytest.fixture
def selecting(server):
    """A mixture over HTTP whose judge is asked for a number, and the requests to that judge."""
    for name, reply in {"a": "first answer", "b": "second answer", "judge": "2"}.items():
        server.model(name, reply=reply)
    agents = {n: Agent(model=f"openai:{n}", base_url=server.url) for n in ("a", "b")}
    judged_by = Agent(model="openai:judge", base_url=server.url, max_retries=0)
    graph = create_moa([agents], judged_by, aggregation="select").compile()
    return graph, lambda: [call.body for call in server.calls if call.model == "judge"]


def test_a_model_that_takes_a_response_format_is_held_to_the_numbers(selecting, server, invoke):
    graph, requests = selecting
    server.model("judge", reply='{"number": "1"}')
    assert last(invoke(graph, {"messages": "q"})).text == "first answer"
    [body] = requests()
    form = body["response_format"]
    assert form["type"] == "json_schema"
    assert form["json_schema"]["strict"]
    assert form["json_schema"]["schema"]["properties"]["number"]["enum"] == ["1", "2"]


@pytest.mark.parametrize("status", [400, 422])
def test_a_server_that_refuses_the_form_is_asked_in_words_from_then_on(
    selecting, server, invoke, status
):
    graph, requests = selecting
    server.model("judge", reply="2", faults=[status])
    for _ in range(2):
        assert last(invoke(graph, {"messages": "q"})).text == "second answer"
    assert ["response_format" in body for body in requests()] == [True, False, False]


def test_another_failure_of_a_judge_is_not_asked_again(selecting, server, invoke):
    graph, requests = selecting
    server.model("judge", always=503)
    with pytest.raises(AggregatorError):
        invoke(graph, {"messages": "q"})
    assert len(requests()) == 1


class ToolJudge(FakeModel):
    bound: list = []  # noqa: RUF012  # pydantic copies it

    def bind_tools(self, tools, **options):
        return self.model_copy(update={"bound": [*self.bound, (tools, options)]})

    def _answer(self, messages):
        self.asked.append(messages)
        [([schema], options)] = self.bound
        assert options == {"tool_choice": "any"}
        number = schema["properties"]["number"]["enum"][-1]
        call = {"name": schema["title"], "args": {"number": number}, "id": "1"}
        return AIMessage("", tool_calls=[call])


def test_a_model_that_takes_tools_is_held_to_the_numbers_by_one(invoke):
    moa = create_moa([proposers("one", "two", "three")], ToolJudge(), aggregation="select")
    result = invoke(moa.compile(), {"messages": "q"})
    assert last(result).text == "three"
    assert last(result).tool_calls == []


def test_a_model_with_tools_of_its_own_is_asked_in_words(invoke):
    reader = judge("2")
    moa = create_moa([proposers("one", "two")], reader.bind(tools=["own"]), aggregation="select")
    assert last(invoke(moa.compile(), {"messages": "q"})).text == "two"


@pytest.mark.parametrize("where", ["agent", "model"])
def test_a_judge_that_may_answer_few_tokens_is_asked_in_words(server, invoke, where):
    server.model("judge", reply="2")
    if where == "agent":
        reader = Agent(model="openai:judge", base_url=server.url, max_tokens=4)
    else:
        reader = ChatOpenAI(model="judge", base_url=server.url, api_key="x", max_tokens=4)
    moa = create_moa([proposers("one", "two")], reader, aggregation="select")
    assert last(invoke(moa.compile(), {"messages": "q"})).text == "two"
    assert "response_format" not in server.calls[0].body
