"""OpenAI's Responses, as its clients ask for them over real HTTP."""

import asyncio
import json
import threading

import openai
import pytest
from langchain.agents import create_agent
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI, OpenAI
from openai.types.responses import Response
from pydantic import BaseModel
from serving import Serving, http
from waiting import wait_for

from moa_graph import MoAConfig
from moa_graph.server.openai_responses_tools import read_text_arguments
from moa_graph.server.service import ApiOptions, ServerLimits

WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "Tells the weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
PICTURE = "data:image/png;base64,AA=="
UNTAKEN = "not supported by the aggregator"
SEARCH = {"type": "web_search"}
GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: x"}
PATCH = {"type": "custom", "name": "apply_patch", "format": GRAMMAR}
SPAWN = {"type": "function", "name": "spawn", "parameters": {}}
MANY = {"type": "namespace", "name": "many", "tools": [SPAWN] * 65}
UNNAMED = {"type": "json_schema", "name": "n"}
NO_SUCH = {"type": "function", "name": "g"}
HEADER = "x-moa-ignored-parameters"


class City(BaseModel):
    name: str


def create(client, **options):
    return client.responses.create(**{"model": "mine", "input": "q"} | options)


def body_of(server, model):
    return server.calls_of(model)[-1].body


def said(**item):
    return {"type": "message", "role": "assistant", **item}


def test_answer_is_a_response(client_of_mine, server):
    server.model("w", reply="the final answer")
    response = create(client_of_mine(), metadata={"a": "b"}, instructions="Be brief.")
    assert response.output_text == "the final answer"
    assert (response.status, response.model, response.object) == ("completed", "mine", "response")
    assert (response.store, response.background, response.error) == (False, False, None)
    assert (response.metadata, response.instructions) == ({"a": "b"}, "Be brief.")
    (message,) = response.output
    assert (message.type, message.role, message.status) == ("message", "assistant", "completed")
    assert response.moa["answered"] == 2
    assert server.calls_of("a")[0].messages[0] == {"role": "system", "content": "Be brief."}
    Response.model_validate(response.model_dump(warnings=False))


def test_usage_is_the_runs_or_the_aggregators(client_of_mine, server):
    server.model("w", reply="two words")
    for whose, beside, paid in (("run", "aggregator_usage", 8), ("aggregator", "usage", 2)):
        response = create(client_of_mine(api=ApiOptions(usage=whose)))
        usage = response.usage
        assert usage.output_tokens == paid
        assert usage.total_tokens == usage.input_tokens + usage.output_tokens
        assert usage.input_tokens_details.cached_tokens == 0
        assert response.moa[beside]["completion_tokens"] == {"run": 2, "aggregator": 8}[whose]


def test_events_are_in_order_and_numbered(client_of_mine, server):
    server.model("w", reply="two words")
    events = list(create(client_of_mine(), stream=True))
    assert [event.sequence_number for event in events] == [*range(len(events))]
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [e.delta for e in events if e.type.endswith("delta")] == ["two ", "words"]
    assert {e.response.status for e in events[:2]} == {"in_progress"}
    response = events[-1].response
    assert response.output_text == "two words"
    assert response.output[0].id == events[2].item.id == events[4].item_id
    assert (response.usage.output_tokens, response.moa["answered"]) == (8, 2)
    assert {e.response.id for e in events if hasattr(e, "response")} == {response.id}


def test_words_arrive_while_the_aggregator_writes(client_of_mine, server):
    read = threading.Event()
    server.model("w", reply="one two", until_token=lambda position: position < 1 or read.is_set())
    stream = create(client_of_mine(), stream=True)
    assert next(e for e in stream if e.type == "response.output_text.delta").delta == "one "
    assert server.calls_of("w")[0].ended is None
    read.set()
    assert list(stream)[-1].type == "response.completed"


@pytest.mark.parametrize("stream", [False, True])
def test_answer_that_is_cut_off_is_incomplete(stream, client_of_mine, server):
    server.model("w", finish_reason="length")
    answer = create(client_of_mine(), stream=stream, max_output_tokens=16)
    if stream:
        *_, last = answer
        assert last.type == "response.incomplete"
        answer = last.response
    assert answer.status == answer.output[-1].status == "incomplete"
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert (answer.max_output_tokens, body_of(server, "w")["max_tokens"]) == (16, 16)


def test_tool_loop_asks_the_proposers_once(client_of_mine, server):
    server.model(
        "w",
        reply=lambda body: (
            "It rains."
            if body["messages"][-1]["role"] == "tool"
            else {"weather": {"city": "Oslo"}, "time": {}}
        ),
    )
    client = client_of_mine()
    tools = [WEATHER, {"type": "function", "name": "time", "parameters": {}}]
    response = create(client, tools=tools)
    calls = response.output
    assert [(call.type, call.name) for call in calls] == [
        ("function_call", "weather"),
        ("function_call", "time"),
    ]
    assert json.loads(calls[0].arguments) == {"city": "Oslo"}
    results = [
        {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
        for call in calls
    ]
    history = [{"role": "user", "content": "q"}, *calls, *results]
    answer = create(client, tools=tools, input=history)
    assert (answer.output_text, answer.moa["reused_proposals"]) == ("It rains.", True)
    assert len(server.calls_of("a")) == 1
    sent = body_of(server, "w")["messages"]
    assert [each["role"] for each in sent] == ["system", "user", "assistant", "tool", "tool"]
    assert [each["id"] for each in sent[2]["tool_calls"]] == [call.call_id for call in calls]


def test_calls_are_streamed_piece_by_piece(client_of_mine, server):
    server.model("w", reply={"weather": {"city": "Oslo"}, "time": {}})
    events = list(create(client_of_mine(), tools=[WEATHER], stream=True))
    assert [event.sequence_number for event in events] == [*range(len(events))]
    added = [event for event in events if event.type == "response.output_item.added"]
    assert [(event.output_index, event.item.name) for event in added] == [
        (0, "weather"),
        (1, "time"),
    ]
    pieces = [e for e in events if e.type == "response.function_call_arguments.delta"]
    assert len([e for e in pieces if e.output_index == 0]) > 1
    done = [e for e in events if e.type == "response.function_call_arguments.done"]
    assert [json.loads(event.arguments) for event in done] == [{"city": "Oslo"}, {}]
    assert [e.item for e in events if e.type == "response.output_item.done"] == [
        *events[-1].response.output
    ]


def test_words_before_a_call_are_an_item_of_their_own(client_of_mine, server):
    function = {"name": "weather", "arguments": "{}"}
    calls = [{"index": 0, "id": "c1", "type": "function", "function": function}]
    deltas = [{"content": "I look."}, {"tool_calls": calls}]
    events = [{"choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in deltas]
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    server.model("w", events=[*events, end, "data: [DONE]"])
    told = list(create(client_of_mine(), tools=[WEATHER], stream=True))
    kinds = [event.type.removeprefix("response.") for event in told]
    assert kinds.index("output_text.done") < kinds.index("function_call_arguments.delta")
    output = told[-1].response.output
    assert [(each.type, each.status) for each in output] == [
        ("message", "completed"),
        ("function_call", "completed"),
    ]


async def test_async_client_streams_by_its_helper(serve_mine, server):
    server.model("w", reply='{"name": "Oslo"}')
    async with AsyncOpenAI(base_url=f"{serve_mine().url}/v1", api_key="any") as client:
        manager = client.responses.stream(model="mine", input="q", text_format=City)
        async with asyncio.timeout(60), manager as stream:
            async for _ in stream:
                pass
            response = await stream.get_final_response()
        parsed = await client.responses.parse(model="mine", input="q", text_format=City)
    assert response.output_parsed == parsed.output_parsed == City(name="Oslo")
    form = body_of(server, "w")["response_format"]
    assert (form["type"], form["json_schema"]["name"]) == ("json_schema", "City")
    assert "response_format" not in body_of(server, "a")


def test_items_of_an_input_are_the_conversation(client_of_mine, server):
    given = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "input_text", "text": "see"}]},
        {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "x"},
        said(id="m", status="completed", content=[{"type": "output_text", "text": "said"}]),
        {"type": "web_search_call", "id": "ws", "status": "completed"},
        said(content=[{"type": "refusal", "refusal": "I cannot."}]),
        {"role": "user", "content": [{"type": "input_image", "image_url": PICTURE}]},
    ]
    create(client_of_mine(), input=given, instructions="Answer.")
    assert server.calls_of("a")[0].messages == [
        {"role": "system", "content": "Answer.\n\nBe brief."},
        {"role": "user", "content": [{"type": "text", "text": "see"}]},
        {"role": "assistant", "content": "said\n\nI cannot."},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": PICTURE}}]},
    ]


def test_result_of_a_call_may_have_parts(client_of_mine, server):
    call = {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"}
    output = [{"type": "input_text", "text": "rain"}]
    result = {"type": "function_call_output", "call_id": "c", "output": output}
    create(client_of_mine(), input=[{"role": "user", "content": "q"}, call, result])
    assert body_of(server, "w")["messages"][-1]["content"] == [{"type": "text", "text": "rain"}]


def test_parameters_reach_the_aggregator_alone(client_of_mine, server):
    given = {"temperature": 0.1, "top_p": 0.5, "reasoning": {"effort": "low"}}
    given |= {"text": {"verbosity": "high", "format": {"type": "json_object"}}}
    server.model("w", reply="{}")
    response = create(client_of_mine(), **given, tools=[WEATHER], parallel_tool_calls=False)
    sent = body_of(server, "w")
    assert (sent["temperature"], sent["top_p"], sent["reasoning_effort"]) == (0.1, 0.5, "low")
    assert (sent["verbosity"], sent["response_format"]) == ("high", {"type": "json_object"})
    assert (sent["parallel_tool_calls"], response.parallel_tool_calls) == (False, False)
    assert not {"temperature", "verbosity", "tools"} & body_of(server, "a").keys()
    assert (response.reasoning.effort, response.text.verbosity) == ("low", "high")
    (tool,) = response.tools
    assert (tool.name, tool.parameters) == ("weather", WEATHER["parameters"])


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("required", "required"),
        (
            {"type": "function", "name": "weather"},
            {"type": "function", "function": {"name": "weather"}},
        ),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "weather"}],
            },
            "required",
        ),
    ],
)
def test_choice_of_a_tool_reaches_the_aggregator(choice, sent, client_of_mine, server):
    server.model("w", reply={"weather": {}})
    create(client_of_mine(), tools=[WEATHER], tool_choice=choice)
    assert body_of(server, "w")["tool_choice"] == sent


def test_what_codex_sends_begins_a_turn(client_of_mine, server):
    tools = [WEATHER | {"strict": False}, {"type": "web_search"}]
    tools += [PATCH, {"type": "namespace", "name": "agents", "tools": [SPAWN, SEARCH]}]
    body = {"tools": tools, "tool_choice": "auto", "store": False, "prompt_cache_key": "k"}
    body |= {"reasoning": {"effort": "medium", "summary": "auto"}, "stream": True}
    body |= {"include": ["reasoning.encrypted_content"], "parallel_tool_calls": False}
    raw = client_of_mine().responses.with_raw_response.create(model="mine", input="q", **body)
    assert list(raw.parse())[-1].type == "response.completed"
    assert raw.headers[HEADER] == "tools.web_search, reasoning.summary, prompt_cache_key"
    names = [tool["function"]["name"] for tool in body_of(server, "w")["tools"]]
    assert names == ["weather", "apply_patch", "spawn"]


@pytest.mark.parametrize("stream", [False, True])
def test_custom_tool_is_given_a_text(stream, client_of_mine, server):
    server.model(
        "w",
        reply=lambda body: (
            "Done."
            if body["messages"][-1]["role"] == "tool"
            else {"apply_patch": {"input": "*** Begin"}}
        ),
    )
    client = client_of_mine()
    answer = create(client, tools=[PATCH], stream=stream)
    if stream:
        events = list(answer)
        written = [e for e in events if e.type.startswith("response.custom_tool_call_input")]
        assert [getattr(e, "delta", None) or e.input for e in written] == ["*** Begin"] * 2
        answer = events[-1].response
    (call,) = answer.output
    assert (call.type, call.name, call.input) == ("custom_tool_call", "apply_patch", "*** Begin")
    (sent,) = body_of(server, "w")["tools"]
    text = sent["function"]["parameters"]["properties"]["input"]
    assert (text["type"], "start: x" in text["description"]) == ("string", True)
    result = {"type": "custom_tool_call_output", "call_id": call.call_id, "output": "ok"}
    history = [{"role": "user", "content": "q"}, call.model_dump(), result]
    answer = create(client, tools=[PATCH], input=history)
    assert (answer.output_text, answer.moa["reused_proposals"]) == ("Done.", True)
    (sent,) = body_of(server, "w")["messages"][2]["tool_calls"]
    assert json.loads(sent["function"]["arguments"]) == {"input": "*** Begin"}


@pytest.mark.parametrize("stream", [False, True])
def test_tools_of_a_namespace_are_called_by_it(stream, client_of_mine, server):
    server.model("w", reply={"spawn": {}, "one__weather": {}, "weather": {}})
    tools = [WEATHER, {"type": "namespace", "name": "one", "tools": [WEATHER, SPAWN]}]
    client = client_of_mine()
    answer = create(client, tools=tools, stream=stream)
    output = (list(answer)[-1].response if stream else answer).output
    named = [(call.name, getattr(call, "namespace", None)) for call in output]
    assert named == [("spawn", "one"), ("weather", "one"), ("weather", None)]
    results = [
        {"type": "function_call_output", "call_id": call.call_id, "output": "ok"} for call in output
    ]
    history = [{"role": "user", "content": "q"}, *output, *results]
    create(client, tools=tools, input=history)
    calls = body_of(server, "w")["messages"][2]["tool_calls"]
    assert [c["function"]["name"] for c in calls] == ["spawn", "one__weather", "weather"]


def test_text_of_a_custom_tool_is_what_was_written_if_it_is_no_json():
    assert read_text_arguments('{"input": "x"}') == "x"
    for text in ("*** Begin", "[1]", "5", '{"input": 5}', '{"other": "x"}', ""):
        assert read_text_arguments(text) == text


@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_are_those_of_the_answer(stream, client_of_mine, server):
    token = {"token": "yes", "logprob": -0.1, "top_logprobs": [{"token": "no", "logprob": -2.0}]}
    logprobs = {"content": [token]}
    choice = {"index": 0, "delta": {"content": "yes"}, "logprobs": logprobs}
    end = {"index": 0, "delta": {}, "finish_reason": "stop"}
    events = [{"choices": [choice]}, {"choices": [end]}, "data: [DONE]"]
    server.model("w", reply="yes", logprobs=lambda _: logprobs, events=events)
    options = {"include": ["message.output_text.logprobs"], "top_logprobs": 2, "stream": stream}
    answer = create(client_of_mine(), **options)
    response = list(answer)[-1].response if stream else answer
    (told,) = response.output[0].content[0].logprobs
    assert (told.token, told.logprob, told.top_logprobs[0].token) == ("yes", -0.1, "no")
    assert body_of(server, "w")["top_logprobs"] == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("previous_response_id", "resp_1"),
        ("conversation", "conv_1"),
        ("background", True),
        ("prompt", {"id": "pmpt_1"}),
    ],
)
def test_what_needs_stored_state_is_refused_by_name(field, value, client_of_mine):
    with pytest.raises(openai.BadRequestError, match=f"{field}: not supported") as caught:
        create(client_of_mine(), **{field: value})
    assert (caught.value.param, caught.value.code) == (field, "unsupported_parameter")


def test_responses_are_not_stored(client_of_mine):
    client = client_of_mine()
    response = create(client, store=True)
    assert response.store is False
    for ask in (
        lambda: client.responses.retrieve(response.id),
        lambda: client.responses.delete(response.id),
        lambda: client.responses.cancel(response.id),
        lambda: client.responses.input_items.list(response.id),
    ):
        with pytest.raises(openai.NotFoundError, match="stores no responses"):
            ask()


@pytest.mark.parametrize("stream", [False, True])
def test_items_of_recent_answers_can_be_referred_to(stream, client_of_mine, server):
    server.model("w", reply=lambda body: "said" if len(body["messages"]) > 2 else {"weather": {}})
    client = client_of_mine()
    answer = create(client, tools=[WEATHER], stream=stream)
    (call,) = (list(answer)[-1].response if stream else answer).output
    history = [
        {"role": "user", "content": "q"},
        {"type": "item_reference", "id": call.id},
        {"type": "function_call_output", "call_id": call.call_id, "output": "rain"},
    ]
    (message,) = create(client, tools=[WEATHER], input=history).output
    history = [*history, {"id": message.id}, {"role": "user", "content": "more"}]
    create(client, input=history)
    sent = body_of(server, "w")["messages"]
    assert [each["role"] for each in sent[1:]] == ["user", "assistant", "tool", "assistant", "user"]
    assert sent[4]["content"] == "said"
    with pytest.raises(openai.BadRequestError, match="no item") as caught:
        create(client.with_options(api_key="another"), input=history)
    assert (caught.value.param, caught.value.code) == ("input[1].id", "not_stored")


def test_items_of_an_answer_that_is_not_to_be_stored_are_not_kept(client_of_mine):
    client = client_of_mine()
    (message,) = create(client, store=False).output
    with pytest.raises(openai.BadRequestError, match="no item"):
        create(client, input=[{"type": "item_reference", "id": message.id}])


@pytest.fixture(scope="module")
def refused():
    """A client of a server that asks nobody."""
    mixture = MoAConfig(name="mine", layers=[["offline:lead"]], aggregator="offline:lead")
    with (
        Serving(mixture, limits=ServerLimits(messages=5)) as serving,
        OpenAI(base_url=f"{serving.url}/v1", api_key="any", max_retries=0) as client,
    ):
        yield client


def with_item(**item):
    return {"input": [item]}


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({"input": []}, "input", "empty; expected at least one"),
        ({"input": 5}, "input", "got 5"),
        ({"input": ["q"]}, "input[0]", "expected an object"),
        (with_item(type="compaction"), "input[0]", "web_search_call, got {"),
        ({"input": [{"role": "user", "content": "q"}] * 6}, "input", "got 6; expected at most 5"),
        (with_item(role="tool", content="q"), "input[0].role", "'user', 'assistant'"),
        (with_item(role="user"), "input[0].content", "missing"),
        (with_item(role="user", content=5), "input[0].content", "got 5"),
        (
            with_item(role="user", content=[{"type": "input_file"}]),
            "input[0].content[0]",
            "'input_image', 'refusal', got 'input_file'",
        ),
        (
            with_item(role="user", content=[{"type": "input_image", "file_id": "f"}]),
            "input[0].content[0].image_url",
            "missing",
        ),
        (with_item(type="item_reference", id="m"), "input[0].id", "no item 'm'"),
        (with_item(id="m"), "input[0].id", "no item 'm'"),
        (with_item(type="item_reference"), "input[0]", 'got {"type":"item_reference"}'),
        (with_item(type=["a"]), "input[0]", "got"),
        (with_item(type="function_call"), "input[0].call_id", "missing"),
        (
            with_item(type="function_call_output", call_id="c", output="x"),
            "input[0].call_id",
            "no call 'c'",
        ),
        (with_item(type="reasoning"), "input", "expected a message"),
        (
            with_item(type="function_call", call_id="c", name="f", arguments="{}"),
            "input",
            "calls tools; expected their results",
        ),
        ({"tools": [{"type": "function"}]}, "tools[0].name", "missing"),
        ({"tools": [{}]}, "tools[0].type", "missing"),
        ({"tools": [MANY, MANY]}, "tools", "got 130; expected at most 128"),
        ({"tools": [{"type": "custom"}]}, "tools[0].name", "missing"),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "function", "name": "g"}},
            "tool_choice",
            "weather",
        ),
        (
            {"tools": [{"type": "web_search"}], "tool_choice": "required"},
            "tool_choice",
            "it has none",
        ),
        ({"tool_choice": SEARCH}, "tool_choice.type", "'custom' or 'function'"),
        (
            {"tools": [WEATHER], "tool_choice": "required"},
            "tool_choice",
            UNTAKEN,
        ),
        ({"text": {"format": {"type": "json_object"}}}, "text.format", UNTAKEN),
        ({"text": {"format": {"type": "xml"}}}, "text.format", "got 'xml'"),
        (
            {"text": {"format": {"type": "json_schema", "name": "n"}}},
            "text.format.schema",
            "missing",
        ),
        ({"include": ["message.output_text.logprobs"]}, "include", UNTAKEN),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort", "'xhigh' or 'max'"),
        ({"max_output_tokens": 0}, "max_output_tokens", "got 0"),
        ({"stream": "yes"}, "stream", 'got "yes"'),
        ({"model": "nope"}, "model", "no model 'nope'"),
    ],
)
def test_mistake_names_its_place(body, param, says, refused):
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)) as caught:
        create(refused, extra_body=body)
    assert caught.value.param == param
    assert says in caught.value.message


def test_offline_mixture_answers_and_names_what_has_no_effect(refused):
    raw = refused.responses.with_raw_response.create(
        model="mine",
        input="Where is it? It is here.",
        tools=[WEATHER],
        temperature=0.1,
        text={"verbosity": "low"},
    )
    assert raw.parse().output_text
    assert raw.headers[HEADER] == "tools, temperature, text.verbosity"


def test_strict_server_refuses_what_has_no_effect(client_of_mine):
    client = client_of_mine(api=ApiOptions(strict=True))
    with pytest.raises(openai.BadRequestError, match='got "web_search"'):
        create(client, tools=[{"type": "web_search"}])
    with pytest.raises(openai.BadRequestError, match="'min_p' is not a parameter"):
        create(client, extra_body={"min_p": 1})


def test_run_without_an_answer_tells_the_cause(client_of_mine, server):
    server.model("w", always=500)
    client = client_of_mine()
    with pytest.raises(openai.InternalServerError, match="scripted failure 500") as caught:
        create(client)
    assert (caught.value.status_code, caught.value.code) == (502, "no_final_answer")
    *_, error, failed = create(client, stream=True)
    assert (error.type, error.code) == ("error", "no_final_answer")
    assert error.message == caught.value.body["message"]
    assert (failed.type, failed.response.status) == ("response.failed", "failed")
    assert failed.response.error.message == error.message
    assert failed.sequence_number == error.sequence_number + 1
    assert len(server.calls_of("a")) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_input_that_is_too_long_is_named(stream, client_of_mine, server):
    server.model("w", context=1)
    if stream:
        *_, error, failed = create(client_of_mine(), stream=True)
        assert failed.response.error.code == "context_length_exceeded"
    else:
        with pytest.raises(openai.BadRequestError) as caught:
            create(client_of_mine())
        error = caught.value
    assert (error.code, error.param) == ("context_length_exceeded", "input")


def test_client_that_hangs_up_cancels_its_run(serve_mine, server):
    server.model("w", reply="one two", until_token=lambda position: position < 1)
    body = {"model": "mine", "input": "q", "stream": True}
    with http.stream("POST", f"{serve_mine().url}/v1/responses", json=body) as response:
        assert next(line for line in response.iter_lines() if "output_text.delta" in line)
    wait_for(lambda: server.calls_of("w")[0].ended)
    assert not server.calls_of("w")[0].answered


def test_events_have_their_names(serve_mine):
    body = {"model": "mine", "input": "q", "stream": True}
    text = http.post(f"{serve_mine().url}/v1/responses", json=body).text
    events = [each.split("\n") for each in text.strip().split("\n\n")]
    assert all(
        name == f"event: {json.loads(data.removeprefix('data: '))['type']}" for name, data in events
    )


@pytest.mark.parametrize("stream", [False, True])
def test_langchains_agent_runs_over_responses(stream, serve_mine, server):
    def weather(city: str) -> str:
        """Tell the weather of a city."""
        return f"rain in {city}"

    server.model(
        "w",
        reply=lambda body: (
            "It rains." if body["messages"][-1]["role"] == "tool" else {"weather": {"city": "Oslo"}}
        ),
    )
    url = f"{serve_mine().url}/v1"
    options = {"use_responses_api": True, "streaming": stream, "max_retries": 0}
    model = ChatOpenAI(model="mine", base_url=url, api_key="any", **options)
    agent = create_agent(model, [weather])
    messages = agent.invoke({"messages": "How is the weather in Oslo?"})["messages"]
    assert [each.type for each in messages] == ["human", "ai", "tool", "ai"]
    assert (messages[2].text, messages[3].text) == ("rain in Oslo", "It rains.")
    assert messages[3].usage_metadata["output_tokens"] > 0
    assert len(server.calls_of("a")) == 1
