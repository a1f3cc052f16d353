"""Tools and answers of a form, as OpenAI's client asks for them over real HTTP."""

import asyncio
import json

import openai
import pytest
from langchain.agents import create_agent
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI
from openai.lib.streaming.chat import ChatCompletionStreamState
from pydantic import BaseModel

from moa_graph.server.service import ApiOptions

ASKED = [{"role": "user", "content": "q"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "default": None}},
        },
    },
}
CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
}
ANSWERED = [
    *ASKED,
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "It rains in Oslo."},
]


class City(BaseModel):
    name: str


@pytest.fixture
def client(client_of_mine):
    return client_of_mine


def create(client, **options):
    return client.chat.completions.create(**{"model": "mine", "messages": ASKED} | options)


def body_of(server, model):
    return server.calls_of(model)[-1].body


@pytest.mark.parametrize("stream", [False, True])
def test_proposers_are_asked_once_in_a_tool_loop_of_one_key(client, server, stream):
    def reply(body):
        done = sum(message["role"] == "tool" for message in body["messages"])
        return {"weather": {"city": "Oslo"}} if done < 5 else "It rains."

    def go_on(client, conversation):
        answer = create(client, tools=[WEATHER], messages=conversation, stream=stream)
        if stream:
            state = ChatCompletionStreamState()
            for chunk in answer:
                state.handle_chunk(chunk)
            answer = state.get_final_completion()
        message = answer.choices[0].message
        calls = message.tool_calls or ()
        results = [{"role": "tool", "tool_call_id": c.id, "content": "rain"} for c in calls]
        return message.content, [*conversation, message.model_dump(exclude_none=True), *results]

    client = client()
    server.model("w", reply=reply)
    conversation, content = ASKED, None
    while not content:
        before = conversation
        content, conversation = go_on(client, conversation)
    assert content == "It rains."
    assert len(server.calls_of("w")) == 6
    assert len(server.calls_of("a")) == len(server.calls_of("b")) == 1
    for other, is_reused in ((client, True), (client.with_options(api_key="of another"), False)):
        answer = create(other, tools=[WEATHER], messages=before)
        assert answer.moa["reused_proposals"] is is_reused
    assert len(server.calls_of("a")) == 2


def test_call_of_a_tool_is_given_and_its_result_is_answered(client, server):
    client = client()
    server.model("w", reply={"weather": {"city": "Oslo"}})
    choice = create(client, tools=[WEATHER]).choices[0]
    (call,) = choice.message.tool_calls
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert (call.type, call.function.name) == ("function", "weather")
    assert json.loads(call.function.arguments) == {"city": "Oslo"}
    server.model("w", reply="It rains.")
    result = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
    answer = create(client, tools=[WEATHER], messages=[*ASKED, choice.message, result])
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (
        "It rains.",
        "stop",
    )
    sent = body_of(server, "w")["messages"]
    assert [each["role"] for each in sent] == ["system", "user", "assistant", "tool"]
    assert sent[2]["tool_calls"][0]["id"] == sent[3]["tool_call_id"] == call.id


def test_tools_reach_the_aggregator_and_its_fallback_and_proposers_read_of_them(
    client, server, local_agent
):
    server.model("w", always=500)
    client = client(fallbacks=[local_agent("v")])
    create(client, tools=[WEATHER], parallel_tool_calls=False)
    for model in "wv":
        sent = body_of(server, model)
        assert sent["tools"] == [WEATHER]
        assert sent["parallel_tool_calls"] is False
        assert "tool_choice" not in sent
    proposer = body_of(server, "a")
    assert not {"tools", "parallel_tool_calls"} & proposer.keys()
    assert "- weather: Tells the weather of a city." in proposer["messages"][0]["content"]


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("required", "required"),
        (
            {"type": "function", "function": {"name": "weather"}},
            {"type": "function", "function": {"name": "weather"}},
        ),
    ],
)
def test_choice_of_a_tool_reaches_the_aggregator(choice, sent, client, server):
    create(client(), tools=[WEATHER], tool_choice=choice)
    assert body_of(server, "w")["tool_choice"] == sent


def test_without_a_choice_nobody_reads_of_tools(client, server):
    create(client(), tools=[WEATHER], tool_choice="none")
    assert "tools" not in body_of(server, "w")
    assert "weather" not in json.dumps([call.messages for call in server.calls])


def test_calls_are_streamed_piece_by_piece(client, server):
    server.model("w", reply={"weather": {"city": "Oslo"}, "time": {}})
    chunks = list(create(client(), tools=[WEATHER], stream=True))
    pieces = [piece for c in chunks for piece in c.choices[0].delta.tool_calls or ()]
    assert [piece.function.name for piece in pieces if piece.id] == ["weather", "time"]
    assert len({piece.id for piece in pieces if piece.id}) == 2
    written = ["".join(p.function.arguments for p in pieces if p.index == i) for i in (0, 1)]
    assert [json.loads(each) for each in written] == [{"city": "Oslo"}, {}]
    assert len(pieces) > 4
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    assert chunks[-1].moa["answered"] == 2


async def test_async_client_streams_calls(serve_mine, server):
    server.model("w", reply={"weather": {"city": "Oslo"}})
    async with AsyncOpenAI(base_url=f"{serve_mine().url}/v1", api_key="any") as client:
        manager = client.chat.completions.stream(model="mine", messages=ASKED, tools=[WEATHER])
        async with asyncio.timeout(60), manager as stream:
            completion = await stream.get_final_completion()
        whole = await create(client, tools=[WEATHER])
    (streamed,) = completion.choices[0].message.tool_calls
    (call,) = whole.choices[0].message.tool_calls
    assert json.loads(streamed.function.arguments) == json.loads(call.function.arguments)


def test_stream_of_calls_that_breaks_off_is_an_error(client, server, local_agent):
    server.model("w", always="truncate", reply={"weather": {"city": "Oslo"}})
    server.model("v", reply={"weather": {"city": "Bergen"}})
    client = client(fallbacks=[local_agent("v")])
    with pytest.raises(openai.APIError) as caught:
        list(create(client, tools=[WEATHER], stream=True))
    assert caught.value.code == "broken_off"


@pytest.mark.parametrize("arguments", ["", '{"city": ', "[1]", '{"city": "Oslo"}'])
def test_history_of_calls_is_sent_on_whatever_their_arguments_are(arguments, client, server):
    call = CALL | {"function": {"name": "weather", "arguments": arguments}}
    history = [ASKED[0], ANSWERED[1] | {"tool_calls": [call]}, ANSWERED[2]]
    create(client(), tools=[WEATHER], messages=history)
    sent = body_of(server, "w")["messages"]
    assert sent[-2]["tool_calls"][0]["function"]["arguments"] == (arguments or "{}")
    assert sent[-1] == {"role": "tool", "tool_call_id": "c1", "content": "It rains in Oslo."}
    read = json.dumps(body_of(server, "a")["messages"])
    assert "I call weather with" in read
    assert "It rains in Oslo." in read


@pytest.mark.parametrize("content", [None, "", [{"type": "text", "text": "rain"}]])
def test_result_may_be_empty_or_in_parts(content, client, server):
    history = [*ANSWERED[:2], ANSWERED[2] | {"content": content}]
    create(client(), tools=[WEATHER], messages=history)
    assert body_of(server, "w")["messages"][-1]["content"] == (content or "")


def test_earlier_refusal_is_text_of_the_assistant(client, server):
    refusal = {"role": "assistant", "content": [{"type": "refusal", "refusal": "I cannot."}]}
    create(client(), messages=[*ASKED, refusal, *ASKED])
    assert body_of(server, "w")["messages"][2]["content"] == "I cannot."


@pytest.mark.parametrize("said", ["so", ""])
def test_thoughts_of_earlier_answers_are_left_out(said, client, server):
    parts = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": said}]
    answer = {"role": "assistant", "content": parts if said else parts[:1]}
    create(client(), messages=[*ASKED, answer, *ASKED])
    assert body_of(server, "w")["messages"][2]["content"] == said


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_tools_that_are_not_allowed_are_not_offered(mode, client, server):
    allowed = {"mode": mode, "tools": [{"type": "function", "function": {"name": "weather"}}]}
    other = {"type": "function", "function": {"name": "other"}}
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    create(client(), tools=[other, WEATHER], tool_choice=choice)
    sent = body_of(server, "w")
    assert [each["function"]["name"] for each in sent["tools"]] == ["weather"]
    assert sent.get("tool_choice", "auto") == mode


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "options", [{"aggregator": "offline:consensus"}, {"aggregation": "select"}]
)
def test_aggregator_that_cannot_call_tools_answers_in_words(options, stream, client, server):
    for model in "ab":
        server.model(model, reply="It rains in Oslo.")
    server.model("w", reply="1")
    response = client(**options).chat.completions.with_raw_response.create(
        model="mine", messages=ANSWERED, tools=[WEATHER], tool_choice="auto", stream=stream
    )
    assert response.headers["x-moa-ignored-parameters"] == "tools"
    answer = response.parse()
    if stream:
        text = "".join(chunk.choices[0].delta.content or "" for chunk in answer)
    else:
        text = answer.choices[0].message.content
    assert "It rains in Oslo." in text
    assert "You cannot call them" not in json.dumps(body_of(server, "a"))
    assert {m["role"] for call in server.calls for m in call.messages} <= {
        "system",
        "user",
        "assistant",
    }


@pytest.mark.parametrize(
    ("parameter", "request_options"),
    [
        ("tool_choice", {"tools": [WEATHER], "tool_choice": "required"}),
        (
            "tool_choice",
            {
                "tools": [WEATHER],
                "tool_choice": {"type": "function", "function": {"name": "weather"}},
            },
        ),
        ("response_format", {"response_format": {"type": "json_object"}}),
        ("logprobs", {"logprobs": True}),
    ],
)
@pytest.mark.parametrize(
    "options", [{"aggregator": "offline:consensus"}, {"aggregation": "select"}]
)
def test_answer_that_cannot_be_what_it_must_be_is_refused_by_name(
    options, parameter, request_options, client, server
):
    client = client(**options)
    with pytest.raises(openai.BadRequestError, match=parameter) as caught:
        create(client, **request_options)
    assert (caught.value.param, caught.value.code) == (parameter, "unsupported_parameter")
    assert not server.calls


def test_strict_server_refuses_tools_that_would_be_ignored(client, server):
    client = client(aggregator="offline:consensus", api=ApiOptions(strict=True))
    with pytest.raises(openai.BadRequestError, match="tools: not supported by the aggregator"):
        create(client, tools=[WEATHER])


def test_fallback_that_cannot_do_what_a_request_needs_is_not_asked(client, server):
    server.model("w", always=500)
    client = client(fallbacks=["offline:consensus"])
    with pytest.raises(openai.InternalServerError, match="no final answer"):
        create(client, tools=[WEATHER])
    assert create(client).choices[0].message.content


@pytest.mark.parametrize("stream", [False, True])
def test_response_format_reaches_the_aggregator_as_it_is(stream, client, server):
    server.model("w", reply='{"name": "Oslo"}')
    schema = {"name": "city", "schema": City.model_json_schema(), "strict": True}
    form = {"type": "json_schema", "json_schema": schema}
    client = client()
    answer = create(client, response_format=form, tools=[WEATHER], max_tokens=9, stream=stream)
    if stream:
        text = "".join(chunk.choices[0].delta.content or "" for chunk in answer)
    else:
        text = answer.choices[0].message.content
    assert text == '{"name": "Oslo"}'
    sent = body_of(server, "w")
    assert (sent["response_format"], sent["max_tokens"]) == (form, 9)
    assert sent["tools"] == [WEATHER]
    assert "response_format" not in body_of(server, "a")
    create(client, response_format={"type": "json_object"})
    assert body_of(server, "w")["response_format"] == {"type": "json_object"}


def test_aggregator_that_has_tools_by_responses_alone_gets_them_and_the_form(
    client, server, monkeypatch
):
    monkeypatch.setenv("OPENAI_API_BASE", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    server.model("gpt-6-any", always=400)
    aggregator = {"model": "openai:gpt-6-any", "max_retries": 0}
    schema = {"name": "city", "schema": City.model_json_schema(), "strict": True}
    form = {"type": "json_schema", "json_schema": schema}
    with pytest.raises(openai.InternalServerError, match="scripted failure 400"):
        create(client(aggregator=aggregator), tools=[WEATHER], response_format=form)
    sent = body_of(server, "gpt-6-any")
    assert sent["tools"] == [{"type": "function", **WEATHER["function"]}]
    told = sent["text"]["format"]
    assert (told["type"], told["strict"]) == ("json_schema", True)
    assert told["schema"]["properties"] == schema["schema"]["properties"]


def test_agent_s_loop_runs_over_the_server(serve_mine, server):
    def write(body):
        is_done = body["messages"][-1]["role"] == "tool"
        return "It rains." if is_done else {"weather": {"city": "Oslo"}}

    def weather(city: str) -> str:
        """Tell the weather of a city."""
        return f"rain in {city}"

    server.model("w", reply=write)
    model = ChatOpenAI(
        model="mine", base_url=f"{serve_mine().url}/v1", api_key="any", max_retries=0
    )
    agent = create_agent(model, [weather])
    messages = agent.invoke({"messages": "How is the weather in Oslo?"})["messages"]
    assert [each.type for each in messages] == ["human", "ai", "tool", "ai"]
    assert (messages[2].text, messages[3].text) == ("rain in Oslo", "It rains.")
    assert "rain in Oslo" in json.dumps(server.calls_of("w")[-1].messages)
    assert len(server.calls_of("a")) == 1  # the proposers are asked once for a turn


def test_client_parses_an_answer_of_a_schema(client, server):
    server.model("w", reply='{"name": "Oslo"}')
    completion = client().chat.completions.parse(model="mine", messages=ASKED, response_format=City)
    assert completion.choices[0].message.parsed == City(name="Oslo")


def test_json_that_is_cut_off_is_an_answer_that_says_so(client, server):
    server.model("w", reply='{"name": "Os', finish_reason="length")
    answer = create(client(), response_format={"type": "json_object"})
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (
        '{"name": "Os',
        "length",
    )


@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_are_those_of_the_answer(stream, client, server):
    token = {"token": "yes", "logprob": -0.1, "top_logprobs": [{"token": "no", "logprob": -2.0}]}
    logprobs = {"content": [token]}
    chunk = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "w"}
    choice = {"index": 0, "delta": {"role": "assistant", "content": "yes"}, "logprobs": logprobs}
    end = {"index": 0, "delta": {}, "finish_reason": "stop"}
    events = [chunk | {"choices": [choice]}, chunk | {"choices": [end]}, "data: [DONE]"]
    server.model("w", reply="yes", logprobs=lambda _: logprobs, events=events)
    answer = create(client(), logprobs=True, top_logprobs=2, stream=stream)
    choices = [chunk.choices[0] for chunk in answer] if stream else answer.choices
    sent = body_of(server, "w")
    assert (sent["logprobs"], sent["top_logprobs"]) == (True, 2)
    (told,) = [choice.logprobs for choice in choices if choice.logprobs]
    assert (told.content[0].token, told.content[0].top_logprobs[0].logprob) == ("yes", -2.0)


def test_log_probabilities_of_another_form_are_left_out(client, server):
    server.model("w", reply="yes", logprobs=lambda _: {"tokens": ["yes"], "content": [{"a": 1}]})
    answer = create(client(), logprobs=True)
    assert (answer.choices[0].message.content, answer.choices[0].logprobs) == ("yes", None)
