"""Answers that are not whole, or none: what becomes of them, who is told, and what they cost."""

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver

from moa_graph import AGGREGATE_AND_SYNTHESIZE, Agent, AggregatorError, ChatMoA, create_moa
from moa_graph.prompting.finish_reasons import describe_ending, read_ending, single_reason
from moa_graph.prompting.layout import TRUNCATION_MARK
from moa_graph.prompting.usage import clean_usage
from moa_graph.runs.record import read_run
from moa_graph.runs.stored_errors import read_failed_calls, read_node_errors
from moa_graph.runs.stored_turns import current_turn_values

COUNTED = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}


@pytest.fixture
def agent(server):
    """Name a model of the server."""
    return lambda name, **options: Agent(
        model=f"openai:{name}", base_url=server.url, max_retries=0, **options
    )


def answer(text, reason="stop", usage=COUNTED, **more):
    return AIMessage(
        text, response_metadata={"finish_reason": reason}, usage_metadata=usage, **more
    )


def message(reason="stop", **fields):
    """A whole completion with one message."""
    return {"choices": [{"index": 0, "message": fields, "finish_reason": reason}]}


def chunk(text, reason=None, **more):
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}], **more}


ODD_USAGES = [
    ({"prompt_tokens": "3", "completion_tokens": "4", "total_tokens": "7"}, (3, 4)),
    ({"prompt_tokens": 2.5, "completion_tokens": 4, "total_tokens": 6.5}, (3, 4)),
    ({"prompt_tokens": 3, "total_tokens": 7}, (3, 4)),
    ({"completion_tokens": 4, "total_tokens": 7}, (3, 4)),
    ({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": None}, (3, 4)),
    ({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": -1}, (3, 4)),
    ({"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": "?"}, (3, 4)),
    (
        {
            "prompt_tokens": 3,
            "completion_tokens": 4,
            "prompt_tokens_details": {"cached_tokens": "2"},
            "completion_tokens_details": {"reasoning_tokens": None},
        },
        (3, 4),
    ),
    (  # xAI's: what was thought is no part of what was written
        {
            "prompt_tokens": 3,
            "completion_tokens": 4,
            "total_tokens": 16,
            "completion_tokens_details": {"reasoning_tokens": 9},
        },
        (3, 13),
    ),
    ({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 16}, (3, 13)),  # Gemini's
    (  # cached tokens that the total alone includes
        {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 115,
            "prompt_tokens_details": {"cached_tokens": 100},
        },
        (110, 5),
    ),
    (
        {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 115,
            "cache_read_input_tokens": 80,
            "cache_creation_input_tokens": 20,
        },
        (110, 5),
    ),
    (
        {"prompt_tokens": 50, "completion_tokens": 5, "total_tokens": 75, "cached_tokens": 20},
        (70, 5),
    ),
    (  # and thoughts, too
        {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 145,
            "prompt_tokens_details": {"cached_tokens": 100},
        },
        (110, 35),
    ),
    (  # cached tokens that the input includes, and thoughts in the total alone
        {
            "prompt_tokens": 100,
            "completion_tokens": 5,
            "total_tokens": 135,
            "prompt_tokens_details": {"cached_tokens": 80},
        },
        (100, 35),
    ),
    ({"prompt_tokens": -3, "completion_tokens": 4, "total_tokens": 1}, None),
    ({"prompt_tokens": 3}, None),
    ({"total_tokens": 7}, None),
    ({"prompt_tokens": "many", "completion_tokens": 4}, None),
    ({"prompt_tokens": True, "completion_tokens": [4]}, None),
    ({"prompt_tokens": 10**30, "completion_tokens": 4}, None),
    ({}, None),
    ([3, 4], None),
    ("7", None),
    (None, None),
]


@pytest.mark.parametrize(("told", "counted"), ODD_USAGES)
def test_odd_usage_breaks_no_run_and_is_added_right(told, counted, server, agent, invoke):
    server.model("odd", completion={"usage": told})
    server.model("w", completion={"usage": {"prompt_tokens": 10, "completion_tokens": 5}})
    moa = create_moa([[agent("odd")]], agent("w")).compile(checkpointer=InMemorySaver())
    state = invoke(moa, {"messages": "q"}, {"configurable": {"thread_id": "1"}})
    usage = state["proposals"]["layer_1_odd"]["usage"]
    assert (usage and (usage["input_tokens"], usage["output_tokens"])) == counted
    summary = state["messages"][-1].response_metadata["moa"]
    assert summary["usage"]["total_tokens"] == 15 + sum(counted or ())
    assert summary["usage_unknown"] == ([] if counted else ["layer_1_odd"])


@pytest.mark.parametrize(
    ("total", "told", "counts"),
    [
        (115, {"input_token_details": {"cache_read": 100}}, (110, 5, {"cache_read": 100})),
        (115, {"cache_read_input_tokens": 100}, (110, 5, {"cache_read": 100})),
        (
            115,
            {"cache_read_input_tokens": 90, "cache_creation_input_tokens": 10},
            (110, 5, {"cache_read": 90, "cache_creation": 10}),
        ),
        (65, {"input_token_details": {"cache_read": 100}}, (60, 5, {"cache_read": 60})),
        (15, {"input_token_details": {"cache_read": 8}}, (10, 5, {"cache_read": 8})),
    ],
)
def test_cached_tokens_in_the_total_alone_were_read_and_not_written(total, told, counts):
    usage = clean_usage({"input_tokens": 10, "output_tokens": 5, "total_tokens": total, **told})
    assert (usage["input_tokens"], usage["output_tokens"]) == counts[:2]
    assert usage["input_token_details"] == counts[2]
    assert clean_usage(usage) == usage


def test_cached_tokens_in_the_total_alone_are_priced_as_cached(server, agent, invoke):
    told = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115, "cached_tokens": 100}
    server.model("c", completion={"usage": told})
    moa = create_moa([[agent("c")]], agent("c")).compile()
    usage = invoke(moa, {"messages": "q"})["messages"][-1].usage_metadata
    assert usage["input_token_details"]["cache_read"] == 100
    assert (usage["input_tokens"], usage["output_tokens"]) == (110, 5)


@pytest.mark.parametrize(
    "details", [{"cache_read": "2"}, {"cache_read": -1}, {"cache_read": 900}, {"cache_read": None}]
)
def test_details_that_cannot_be_are_left_out_and_others_kept(details):
    usage = clean_usage({**COUNTED, "input_token_details": {**details, "audio": 1}})
    kept = {"cache_read": 2} if details["cache_read"] == "2" else {}
    assert usage["input_token_details"] == {**kept, "audio": 1}


@pytest.mark.parametrize(
    "text", ["\u200b", "\ufeff\n", "\u2060\u200d \u00ad", "\u3164", "\u200e\ufe0f", "\u2800"]
)
def test_answer_that_shows_nothing_is_empty(text, server, agent, invoke):
    server.model("blank", reply=text)
    graph = create_moa([[agent("blank"), agent("b")]], agent("blank"), fallbacks=[agent("f")])
    state = invoke(graph.compile(), {"messages": "q"})
    assert state["proposals"]["layer_1_blank"]["error"].startswith("empty answer")
    summary = state["messages"][-1].response_metadata["moa"]
    assert summary["errors"]["aggregator"].startswith("empty answer")


@pytest.mark.parametrize("text", ["\U0001f44d\ufe0f", "\u200bx", "\ue000", "\ufffd", "-"])
def test_answer_that_shows_a_character_is_none(text, server, agent, invoke):
    server.model("a", reply=text)
    state = invoke(create_moa([[agent("a")]], agent("a")).compile(), {"messages": "q"})
    assert state["messages"][-1].text == text


def test_odd_usage_of_a_package_breaks_no_run(invoke):
    def odd(_):
        made = AIMessage("fine")
        made.usage_metadata = {"input_tokens": "3", "output_tokens": 3.5, "total_tokens": None}
        return made

    moa = create_moa([{"a": RunnableLambda(odd)}], RunnableLambda(odd)).compile()
    state = invoke(moa, {"messages": "q"})
    assert state["messages"][-1].response_metadata["moa"]["usage"]["total_tokens"] == 14
    assert state["messages"][-1].usage_metadata["total_tokens"] == 7


@pytest.mark.parametrize("role", ["", None, "model", "user", "system", "tool", ...])
def test_role_of_an_answer_does_not_matter(role, server, agent, invoke):
    fields = {"content": "fine"} if role is ... else {"content": "fine", "role": role}
    server.model("r", completion=message(**fields))
    state = invoke(create_moa([[agent("r")]], agent("r")).compile(), {"messages": "q"})
    assert state["proposals"]["layer_1_r"]["content"] == "fine"
    assert state["messages"][-1].text == "fine"


@pytest.mark.parametrize(
    "asked",
    ["hi \ud83d there", [{"type": "text", "text": "hi \ud83d there"}], "hi \ud83d\ude80 there"],
)
def test_half_a_character_in_a_question_is_no_failure(asked, server, agent, invoke):
    moa = create_moa([[agent("a")]], agent("w")).compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    assert "w on" in invoke(moa, {"messages": [HumanMessage(asked)]}, config)["messages"][-1].text
    assert moa.get_state(config).next == ()


@pytest.mark.parametrize(
    ("reason", "ending"),
    [
        ("stop", "whole"),
        ("tool_calls", "whole"),
        ("end_turn", "whole"),
        ("COMPLETE", "whole"),
        (None, "whole"),
        ("length", "cut"),
        ("max_tokens", "cut"),
        ("MAX_TOKENS", "cut"),
        ("FinishReason.MAX_TOKENS", "cut"),
        ("content_filter", "filtered"),
        ("SAFETY", "filtered"),
        ("refusal", "refused"),
        ("error", "failed"),
        ("abort", "failed"),
    ],
)
def test_ending_is_read_from_the_word_of_any_provider(reason, ending):
    assert read_ending(reason) == ending
    assert (describe_ending(reason) is None) == (ending == "whole")


@pytest.mark.parametrize("reason", ["length", "stop", "tool_calls", "max_tokens"])
def test_reason_that_a_package_joined_is_one_reason(reason, invoke):
    writer = RunnableLambda(lambda _: answer("cut", reason * 2))
    assert single_reason(reason * 3) == reason
    state = invoke(create_moa([{"a": writer}], writer).compile(), {"messages": "q"})
    assert state["messages"][-1].response_metadata["finish_reason"] == reason
    assert state["proposals"]["layer_1_a"]["finish_reason"] == reason


@pytest.mark.parametrize("references_in", ["system", "user"])
@pytest.mark.parametrize("mark_truncated", [True, False])
def test_next_reader_is_told_of_a_cut_proposal_by_an_option(
    mark_truncated, references_in, model, invoke
):
    layer = {
        "whole": model(answers=["it is whole"]),
        "cut": model(answers=[answer("it is", "length")]),
    }
    writer = model()
    moa = create_moa([layer], writer, references_in=references_in, mark_truncated=mark_truncated)
    invoke(moa.compile(), {"messages": "q"})
    read = "\n".join(each.text for each in writer.asked[-1])
    assert read.count(TRUNCATION_MARK) == mark_truncated
    if mark_truncated:
        assert f"it is{TRUNCATION_MARK}" in read


def test_layout_of_the_paper_stays_to_the_letter_by_default(model, invoke):
    writer = model()
    invoke(
        create_moa([{"cut": model(answers=[answer("it is", "length")])}], writer).compile(),
        {"messages": "q"},
    )
    expected = f"{AGGREGATE_AND_SYNTHESIZE}\n\nResponses from models:\n1. it is"
    assert [each.text for each in writer.asked[-1]] == [expected, "q"]


def test_option_that_is_no_truth_value_is_refused(model):
    with pytest.raises(ValueError, match="`mark_truncated`='yes': expected True or False"):
        create_moa([[model()]], model(), mark_truncated="yes")


def test_answer_that_ended_in_an_error_is_a_failure_with_a_partial_text(model, invoke):
    layer = {
        "whole": model(),
        "broken": model(answers=[answer("<think>hm</think>half of", "error")]),
    }
    writer = model()
    state = invoke(create_moa([layer], writer).compile(), {"messages": "q"})
    proposal = state["proposals"]["layer_1_broken"]
    assert proposal["content"] == ""
    assert proposal["partial_content"] == "half of"
    assert "ended in an error" in proposal["error"]
    assert proposal["usage"] == COUNTED
    assert "half of" not in str(writer.asked)


def test_fallback_takes_the_place_of_an_answer_that_ended_in_an_error(model, invoke):
    broken, spare = model(answers=[answer("half of", "error")]), model(answers=[answer("whole")])
    proposer = model(answers=[answer("p")])
    state = invoke(create_moa([[proposer]], broken, fallbacks=[spare]).compile(), {"messages": "q"})
    assert state["messages"][-1].text == "whole"
    summary = state["messages"][-1].response_metadata["moa"]
    (failed,) = summary["failed_calls"]
    assert (failed["node"], failed["partial_content"]) == ("aggregator", "half of")
    assert summary["usage"]["total_tokens"] == 3 * 7
    assert read_run(state).tokens == 3 * 7


STREAMS_WITHOUT_END = {
    "nothing more": [],
    "an error": [{"error": {"message": "overloaded"}}],
    "an error event": ['event: error\ndata: {"message": "overloaded"}'],
}


@pytest.mark.parametrize("end", STREAMS_WITHOUT_END)
def test_broken_stream_of_a_proposer_is_a_failure_with_a_partial_text(end, server, agent, stream):
    usage = {"prompt_tokens": 3, "completion_tokens": 1}
    server.model("b", events=[chunk("half ", usage=usage), chunk("of"), *STREAMS_WITHOUT_END[end]])
    moa = create_moa([[agent("a"), agent("b")]], agent("w"), stream_proposals=True).compile()
    *_, (_, state) = [
        each
        for each in stream(moa, {"messages": "q"}, stream_mode=["messages", "values"])
        if each[0] == "values"
    ]
    proposal = state["proposals"]["layer_1_b"]
    assert (proposal["content"], proposal["partial_content"]) == ("", "half of")
    assert proposal["usage"]["total_tokens"] == 4
    assert state["messages"][-1].response_metadata["moa"]["failed"] == ["layer_1_b"]


@pytest.mark.parametrize("end", STREAMS_WITHOUT_END)
def test_fallback_takes_the_place_of_a_broken_stream(end, server, agent, stream):
    server.model("b", events=[chunk("half of"), *STREAMS_WITHOUT_END[end]])
    moa = create_moa([[agent("a")]], agent("b"), fallbacks=[agent("w")]).compile()
    events = stream(moa, {"messages": "q"}, stream_mode=["messages", "values"])
    state = [event for mode, event in events if mode == "values"][-1]
    assert state["messages"][-1].text.startswith("w on")
    summary = state["messages"][-1].response_metadata["moa"]
    assert summary["failed_calls"][0]["partial_content"] == "half of"
    assert summary["usage_unknown"] == ["aggregator"]


def test_layer_loses_its_quorum_by_answers_that_broke_off(server, agent, stream):
    server.model("b", events=[chunk("half of")])
    moa = create_moa([[agent("b")]], agent("w"), stream_proposals=True).compile()
    with pytest.raises(Exception, match=r"0 of 1 proposers answered.*broke off"):
        stream(moa, {"messages": "q"}, stream_mode="messages")
    assert not server.calls_of("w")


def test_empty_answer_of_a_writer_is_counted(server, agent, invoke):
    dear = {"prompt_tokens": 1000, "completion_tokens": 4000}
    whole = message("length", content="", reasoning_content="hm")
    server.model("dear", completion={**whole, "usage": dear})
    cheap = {"usage": {"prompt_tokens": 10, "completion_tokens": 5}}
    server.model("a", completion=cheap)
    server.model("w", completion=cheap)
    parts = {"layers": [[agent("a")]], "aggregator": agent("dear"), "fallbacks": [agent("w")]}
    state = invoke(create_moa(**parts).compile(), {"messages": "q"})
    assert state["messages"][-1].response_metadata["moa"]["usage"]["total_tokens"] == 5030
    assert invoke(ChatMoA(**parts), "q").usage_metadata["total_tokens"] == 5030
    run = read_run(
        state, prices={"openai:dear": (1000, 1000), "openai:a": (1, 1), "openai:w": (1, 1)}
    )
    assert run.cost == pytest.approx(5.00003)
    assert run.cost_is_complete


CALL = {"id": "1", "type": "function", "function": {"name": "search", "arguments": "{}"}}


def test_call_of_a_tool_that_a_writer_was_not_given_is_no_answer(server, agent, invoke):
    server.model("caller", completion=message("tool_calls", content=None, tool_calls=[CALL]))
    moa = create_moa([[agent("a")]], agent("caller"), fallbacks=[agent("w")]).compile()
    last = invoke(moa, {"messages": "q"})["messages"][-1]
    assert last.text.startswith("w on")
    (failed,) = last.response_metadata["moa"]["failed_calls"]
    assert failed["error"] == "empty answer (finish reason: tool_calls)"


def test_call_with_arguments_that_are_no_json_says_so(server, agent, invoke):
    broken = {**CALL, "function": {"name": "search", "arguments": "{no"}}
    server.model("caller", completion=message("tool_calls", content=None, tool_calls=[broken]))
    tool = {"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}
    moa = ChatMoA([[agent("a")]], agent("caller"), fallbacks=[agent("w")]).bind_tools([tool])
    answer = invoke(moa, "q")
    assert answer.text.startswith("w on")
    (failed,) = answer.response_metadata["moa"]["failed_calls"]
    assert failed["error"].endswith("the arguments of its call of 'search' are not a JSON object")


def test_call_of_a_tool_that_a_writer_was_given_is_an_answer(server, agent, invoke):
    server.model("caller", completion=message("tool_calls", content=None, tool_calls=[CALL]))
    tool = {"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}
    chat_model = ChatMoA(layers=[[agent("a")]], aggregator=agent("caller")).bind_tools([tool])
    assert [each["name"] for each in invoke(chat_model, "q").tool_calls] == ["search"]
    given = ChatOpenAI(model="caller", base_url=server.url, api_key="none").bind_tools([tool])
    state = invoke(create_moa([[agent("a")]], given).compile(), {"messages": "q"})
    assert state["messages"][-1].tool_calls


def test_error_of_all_writers_says_what_they_took(model, invoke):
    writers = [model(answers=[answer("", "length")]) for _ in range(2)]
    moa = create_moa([[model()]], writers[0], fallbacks=writers[1:]).compile()
    with pytest.raises(AggregatorError) as caught:
        invoke(moa, {"messages": "q"})
    assert [each["usage"] for each in caught.value.failed_calls] == [COUNTED, COUNTED]


def test_attempt_that_failed_before_is_counted_with_the_one_after_it(model, invoke):
    flaky = model(answers=[answer("", "length"), answer("fine")])
    moa = create_moa([{"flaky": flaky}], model(answers=[answer("w")])).compile(
        checkpointer=InMemorySaver()
    )
    config = {"configurable": {"thread_id": "1"}}
    with pytest.raises(Exception, match="empty answer"):
        invoke(moa, {"messages": "q"}, config)
    state = invoke(moa, None, config)
    assert state["proposals"]["layer_1_flaky"]["usage"]["total_tokens"] == 14
    assert state["messages"][-1].response_metadata["moa"]["usage"]["total_tokens"] == 21
    state = invoke(moa, {"messages": "again"}, config)  # another turn
    assert state["proposals"]["layer_1_flaky"]["usage"]["total_tokens"] == 7


def test_tokens_of_a_proposer_that_was_cut_off_are_unknown_not_none(server, agent, invoke):
    server.model("slow", until=lambda: False)
    moa = create_moa([[agent("a"), agent("slow", timeout=0.3)]], agent("w")).compile()
    state = invoke(moa, {"messages": "q"})
    summary = state["messages"][-1].response_metadata["moa"]
    assert summary["usage_unknown"] == ["layer_1_slow"]
    assert not read_run(state).usage_is_complete


@pytest.mark.parametrize("fault", [400, 401, 500, "reset"])
def test_refused_call_is_not_taken_for_a_paid_one(fault, server, agent, invoke):
    server.model("b", always=fault)
    state = invoke(create_moa([[agent("a"), agent("b")]], agent("w")).compile(), {"messages": "q"})
    unknown = state["messages"][-1].response_metadata["moa"]["usage_unknown"]
    assert unknown == (["layer_1_b"] if fault == "reset" else [])  # it may have begun to answer


FILTERED = {"hate": {"filtered": True, "severity": "high"}, "jailbreak": {"filtered": False}}
MISSING = {
    "a refusal": (
        message(content=None, refusal="I can't help with that."),
        "I can't help with that.",
    ),
    "a filter": (
        {
            "choices": [
                {**message("content_filter", content="")["choices"][0]}
                | {"content_filter_results": FILTERED}
            ]
        },
        '"severity": "high"',
    ),
    "a filtered prompt": (
        {
            **message("content_filter", content=None),
            "prompt_filter_results": [{"content_filter_results": FILTERED}],
        },
        '"severity": "high"',
    ),
    "an error beside the answer": (
        {
            "choices": [
                {
                    **message("error", content="half of")["choices"][0],
                    "error": {"message": "upstream is down"},
                }
            ]
        },
        "upstream is down",
    ),
}


@pytest.mark.parametrize("case", MISSING)
def test_what_a_provider_says_about_a_missing_answer_is_repeated(case, server, agent, invoke):
    completion, words = MISSING[case]
    server.model("r", completion=completion)
    state = invoke(create_moa([[agent("a"), agent("r")]], agent("w")).compile(), {"messages": "q"})
    proposal = state["proposals"]["layer_1_r"]
    assert words in proposal["error"]
    assert proposal["usage"]["output_tokens"] > 0
    assert proposal.get("partial_content", "") == ("half of" if "error" in case else "")


@pytest.mark.parametrize(
    "told",
    [
        {"additional_kwargs": {"refusal": "I won't."}, "content": ""},
        {"content": [{"type": "refusal", "refusal": "I won't."}]},
        {"content": "", "response_metadata": {"stop_reason": "refusal", "refusal": "I won't."}},
    ],
)
def test_refusal_of_any_package_is_repeated(told, model, invoke):
    layer = {"a": model(), "r": model(answers=[AIMessage(**told)])}
    state = invoke(create_moa([layer], model()).compile(), {"messages": "q"})
    assert "I won't." in state["proposals"]["layer_1_r"]["error"]


def test_key_in_what_a_provider_says_is_blotted_out(server, agent, invoke, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-secret-0123456789")
    server.model("r", completion=message(content=None, refusal="no: sk-secret-0123456789"))
    layer = [agent("a"), agent("r", api_key_env="MY_KEY")]
    state = invoke(create_moa([layer], agent("w")).compile(), {"messages": "q"})
    assert "no: " in state["proposals"]["layer_1_r"]["error"]
    assert "sk-secret" not in str(state)


def test_connection_that_is_closed_in_mid_stream_leaves_the_text_so_far(server, agent, stream):
    server.model("b", reply="one two three four", always="truncate")
    moa = create_moa([[agent("a")]], agent("b"), fallbacks=[agent("w")]).compile()
    events = stream(moa, {"messages": "q"}, stream_mode=["messages", "values"])
    state = [event for mode, event in events if mode == "values"][-1]
    (failed,) = state["messages"][-1].response_metadata["moa"]["failed_calls"]
    assert failed["error"].startswith("the answer broke off after ")
    assert "one two three four".startswith(failed["partial_content"])
    assert failed["may_be_billed"]


@pytest.fixture
def chat_openai(server):
    """Make LangChain's own chat model, as a user does."""
    options = {"base_url": server.url, "api_key": "none", "max_retries": 0, "stream_usage": True}
    return lambda name: ChatOpenAI(model=name, **options)


def test_chat_model_that_a_user_built_is_read_right_too(server, chat_openai, stream):
    counts = [{"prompt_tokens": "10", "completion_tokens": n} for n in (1, 2)]
    words = [chunk("ans ", usage=counts[0]), chunk("wer", "length", usage=counts[1])]
    server.model("m", events=[*words, chunk("", "length"), "data: [DONE]"])
    moa = create_moa([[chat_openai("m")]], chat_openai("m"), stream_proposals=True).compile()
    events = stream(moa, {"messages": "q"}, stream_mode=["messages", "values"])
    state = [event for mode, event in events if mode == "values"][-1]
    answer = state["messages"][-1]
    assert (answer.text, answer.usage_metadata["total_tokens"]) == ("ans wer", 12)
    assert answer.response_metadata["finish_reason"] == "length"
    assert state["proposals"]["layer_1_m"]["usage"]["total_tokens"] == 12


def test_broken_stream_of_a_chat_model_that_a_user_built_is_a_failure(server, chat_openai, stream):
    server.model("b", events=[chunk("half of")])
    moa = create_moa([[chat_openai("a")]], chat_openai("b"), fallbacks=[chat_openai("w")]).compile()
    events = stream(moa, {"messages": "q"}, stream_mode=["messages", "values"])
    state = [event for mode, event in events if mode == "values"][-1]
    assert state["messages"][-1].text.startswith("w on")


def test_stored_error_tells_what_failed_aggregators_took(server, agent, invoke):
    server.model("w", always="empty")
    server.model("f", always=400)
    graph = create_moa([["offline:lead"]], agent("w"), fallbacks=[agent("f")]).compile(
        checkpointer=InMemorySaver()
    )
    config = {"configurable": {"thread_id": "1"}}
    with pytest.raises(AggregatorError) as raised:
        invoke(graph, {"messages": "Why is the sky blue?"}, config)
    snapshot = graph.get_state(config)
    [first, second] = read_failed_calls(snapshot)
    assert (first["node"], second["node"]) == ("aggregator", "fallback_1")
    assert first["usage"] == raised.value.failed_calls[0]["usage"]
    assert first["usage"]["input_tokens"] > 0
    assert (second["usage"], second["may_be_billed"]) == (None, False)
    assert read_node_errors(snapshot) == {"aggregator": str(raised.value)}
    assert read_run(current_turn_values(graph, snapshot)).tokens >= first["usage"]["total_tokens"]
