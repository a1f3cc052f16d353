"""The server as OpenAI's clients, LangChain's and curl see it: real clients, real HTTP."""

import asyncio
import json
import subprocess
import threading
from contextlib import contextmanager
from itertools import islice

import openai
import pytest
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI, DefaultHttpxClient, OpenAI
from serving import Serving

from moa_graph import MoAConfig
from moa_graph.graph import model_builder
from moa_graph.models.agent import build_model
from moa_graph.server.service import ServerLimits

ASKED = [{"role": "user", "content": "q"}]
KEY = "MARKED-9f3b77c1d2-KEY"
TOOL = {"type": "function", "function": {"name": "f"}}


@pytest.fixture
def mixture(server):
    """Make a mixture that asks the local server."""

    def make(name="mine", layers=(("a", "b"),), **options):
        def agent(model):
            return {"model": f"openai:{model}", "base_url": server.url, "max_retries": 0}

        return MoAConfig(
            name=name,
            layers=[{each: agent(each) for each in layer} for layer in layers],
            aggregator=agent("w"),
            fallbacks=[agent(each) for each in options.pop("fallbacks", ())],
            **options,
        )

    return make


@pytest.fixture
def serving(mixture):
    with Serving(mixture()) as running:
        yield running


@pytest.fixture
def client(serving):
    with client_of(serving) as client:
        yield client


@pytest.fixture(scope="module")
def refused():
    """A client of a server that asks nobody."""
    agent = "offline:lead"
    mixture = MoAConfig(name="mine", layers=[{"a": agent}], aggregator=agent)
    with Serving(mixture, limits=ServerLimits(messages=5)) as serving, client_of(serving) as client:
        yield client


def client_of(serving, **options):
    options = {"api_key": "any", "max_retries": 0} | options
    plain = DefaultHttpxClient(verify=False)  # certificates take a while to load
    return OpenAI(base_url=f"{serving.url}/v1", http_client=plain, **options)


def create(client, **options):
    return client.chat.completions.create(**{"model": "mine", "messages": ASKED} | options)


def test_openai_client_gets_an_answer(client, server):
    server.model("w", reply="the final answer")
    completion = create(client)
    assert completion.choices[0].message.content == "the final answer"
    assert completion.choices[0].message.role == "assistant"
    assert completion.choices[0].finish_reason == "stop"
    assert completion.object == "chat.completion"
    assert completion.model == "mine"
    assert not any(call.streamed for call in server.calls)


def test_usage_is_what_the_whole_run_was_paid(client, server):
    server.model("w", reply="final")
    completion = create(client)
    usages = [sum(len(str(m["content"]).split()) for m in call.messages) for call in server.calls]
    assert completion.usage.prompt_tokens == sum(usages)
    assert completion.usage.completion_tokens == 7
    assert completion.usage.total_tokens == sum(usages) + 7


def test_usage_that_nobody_knows_is_null(client, server):
    for name in "abw":
        server.model(name, usage=False)
    assert create(client).usage is None


def test_answer_says_how_it_came_about(client, server):
    server.model("b", always=400)
    account = create(client).moa
    assert (account["asked"], account["answered"], account["failed"]) == (2, 1, ["layer_1_b"])
    assert "scripted failure 400" in account["errors"]["layer_1_b"]


async def test_async_openai_client_gets_and_streams_an_answer(serving, server):
    server.model("w", reply="the final answer")
    async with AsyncOpenAI(base_url=f"{serving.url}/v1", api_key="any") as client:
        completion = await create(client)
        stream = await create(client, stream=True)
        parts = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert completion.choices[0].message.content == "".join(parts) == "the final answer"


def test_stream_is_role_then_words_then_reason_then_usage(client, server):
    server.model("w", reply="the final answer")
    whole = create(client)
    chunks = list(create(client, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].delta.content for c in chunks[1:-2]] == ["the ", "final ", "answer"]
    assert [c.choices[0].finish_reason for c in chunks[:-1]] == [None] * 4 + ["stop"]
    assert chunks[-2].moa["answered"] == 2
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1
    assert [call.model for call in server.calls if call.streamed] == ["w"]


def test_usage_is_streamed_only_if_asked_for(client):
    assert all(chunk.choices and not chunk.usage for chunk in create(client, stream=True))


def test_words_arrive_while_the_aggregator_writes(client, server):
    read = threading.Event()
    rest = {"until_token": lambda position: position < 1 or read.is_set()}
    server.model("w", reply="one two three four five", **rest)
    stream = create(client, stream=True)
    assert next(c for c in stream if c.choices[0].delta.content).choices[0].delta.content == "one "
    assert server.calls_of("w")[0].ended is None
    read.set()
    assert "five" in [chunk.choices[0].delta.content for chunk in stream]


def test_finish_reason_is_the_aggregators(client, server):
    server.model("w", finish_reason="length")
    assert create(client).choices[0].finish_reason == "length"
    assert list(create(client, stream=True))[-1].choices[0].finish_reason == "length"


@pytest.mark.parametrize("stream", [True, False])
def test_thoughts_are_no_part_of_the_answer(stream, client, server):
    server.model("w", reply="<think> one two </think> three four")
    if stream:
        chunks = create(client, stream=True)
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == "three four"
    else:
        assert create(client).choices[0].message.content == "three four"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("pieces", "answer"),
    [
        (["go \ud83d", "\ude80 up"], "go \U0001f680 up"),
        (["half \ud83d"], "half ?"),
        (["[THINK]SECRET", "[/THINK]ans"], "ans"),
        (["Write <think", "> first."], "Write <think> first."),
    ],
)
def test_answer_is_the_same_streamed_and_whole(pieces, answer, stream, client, server):
    choices = [{"index": 0, "delta": {"content": each}, "finish_reason": None} for each in pieces]
    end = {"index": 0, "delta": {}, "finish_reason": "stop"}
    events = [{"choices": [choice]} for choice in [*choices, end]]
    server.model("w", reply="".join(pieces), events=[*events, "data: [DONE]"])
    if stream:
        chunks = create(client, stream=True)
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == answer
    else:
        assert create(client).choices[0].message.content == answer


def test_reason_that_comes_twice_is_one_reason(client, server):
    ends = [{"index": 0, "delta": {"content": "cut"}, "finish_reason": "length"}] * 2
    server.model("w", events=[*({"choices": [end]} for end in ends), "data: [DONE]"])
    assert list(create(client, stream=True))[-1].choices[0].finish_reason == "length"


def test_stream_that_ends_before_its_end_is_an_error(client, server):
    choice = {"index": 0, "delta": {"content": "half of"}, "finish_reason": None}
    server.model("w", events=[{"choices": [choice]}])
    with pytest.raises(openai.APIError, match="broke off"):
        list(create(client, stream=True))


def test_mixtures_are_listed_as_models(mixture):
    with Serving(mixture("one"), mixture("two")) as serving, client_of(serving) as client:
        assert [model.id for model in client.models.list()] == ["one", "two"]
        assert client.models.retrieve("two").id == "two"
        assert create(client, model="two").model == "two"
        with pytest.raises(openai.NotFoundError, match="expected one of: one, two"):
            client.models.retrieve("three")


def test_chat_openai_gets_and_streams_an_answer(serving, server, invoke):
    server.model("w", reply="the final answer")
    model = ChatOpenAI(model="mine", base_url=f"{serving.url}/v1", api_key="any", stream_usage=True)
    answer = invoke(model, "q")
    assert answer.text == "the final answer"
    chunks = list(model.stream("q"))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert whole.text == "the final answer"
    assert len([chunk for chunk in chunks if chunk.text]) == 3
    assert whole.usage_metadata["total_tokens"] == answer.usage_metadata["total_tokens"]


def test_mixture_can_be_an_agent_of_another(mixture, serving):
    mine = {"model": "openai:mine", "base_url": f"{serving.url}/v1"}
    outer = MoAConfig(layers=[{"inner": mine}], aggregator=mine).graph().compile()
    assert outer.invoke({"messages": "q"})["messages"][-1].text == "w on q"


@pytest.mark.process
def test_curl_gets_and_streams_an_answer(serving, server):
    server.model("w", reply="the final answer")
    whole = json.loads(curl(serving, {"model": "mine", "messages": ASKED}))
    assert whole["choices"][0]["message"]["content"] == "the final answer"
    lines = curl(serving, {"model": "mine", "messages": ASKED, "stream": True}).split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    assert all(line.startswith("data: ") for line in lines[:-1])
    deltas = [json.loads(line[6:])["choices"][0]["delta"] for line in lines[:-2]]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert deltas[-1] == {}


def curl(serving, body, *options):
    address = f"{serving.url}/v1/chat/completions"
    command = ["curl", "-sN", address, "-H", "Content-Type: application/json", "-d", "@-", *options]
    return subprocess.run(command, input=json.dumps(body), capture_output=True, text=True).stdout


def test_requests_run_at_the_same_time(serving, server):
    for name in "ab":
        server.model(name, until=lambda: len(server.calls) >= 2 * 5)

    async def ask():
        async with AsyncOpenAI(base_url=f"{serving.url}/v1", api_key="any") as client:
            return await asyncio.gather(*(create(client) for _ in range(5)))

    assert len(asyncio.run(ask())) == 5


def test_models_are_built_once_for_all_requests_of_a_kind(mixture, monkeypatch):
    built = []

    def build(agent):
        built.append(agent)
        return build_model(agent)

    monkeypatch.setattr(model_builder, "build_model", build)
    with Serving(mixture()) as serving, client_of(serving) as client:
        for options in ({}, {}, {"temperature": 0.1}, {"temperature": 0.1}, {}):
            create(client, **options)
    assert len(built) == 6


def test_conversation_reaches_the_models_as_it_is(client, server):
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    parts = [{"type": "text", "text": "see"}, picture]
    conversation = [
        {"role": "user", "content": "first", "name": "ada"},
        {"role": "assistant", "content": "said", "refusal": None, "tool_calls": None},
        {"role": "user", "content": parts},
    ]
    create(client, messages=[{"role": "developer", "content": "Be brief."}, *conversation])
    asked = server.calls_of("a")[0].messages
    assert asked[0] == {"role": "system", "content": "Be brief."}
    assert asked[1] == {"role": "user", "content": "first", "name": "ada"}
    assert asked[2] == {"role": "assistant", "content": "said"}
    assert asked[3]["content"] == parts
    assert server.calls_of("w")[0].messages[1:] == asked[1:]


def test_answer_of_the_server_can_be_sent_back(client, server):
    message = create(client).choices[0].message
    create(client, messages=[*ASKED, message.model_dump(), {"role": "user", "content": "more"}])
    assert [m["content"] for m in server.calls_of("a")[1].messages] == ["q", "w on q", "more"]


def test_sampling_options_are_the_final_answers(mixture, server):
    server.model("w", always=500)
    with (
        Serving(mixture(temperature=0.7, max_tokens=99, fallbacks=["v"])) as serving,
        client_of(serving) as client,
    ):
        create(client, temperature=0.1, top_p=0.5, max_completion_tokens=7, stop=["END", "."])
    for name in "wv":
        body = server.calls_of(name)[0].body
        assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0.1, 0.5, 7)
        assert body["stop"] == ["END", "."]
    proposer = server.calls_of("a")[0].body
    assert (proposer["temperature"], proposer["max_tokens"]) == (0.7, 99)
    assert not {"top_p", "stop"} & proposer.keys()


def test_sampling_options_of_one_request_are_not_the_next_ones(client, server):
    create(client, temperature=0.1, stop="END")
    create(client)
    first, second = (call.body for call in server.calls_of("w"))
    assert (first["temperature"], first["stop"]) == (0.1, ["END"])
    assert not {"temperature", "stop"} & second.keys()


def test_harmless_fields_are_accepted(client):
    harmless = {"user": "u", "seed": 1, "store": False, "metadata": {"a": "b"}, "n": 1}
    harmless |= {"service_tier": "auto", "logprobs": False, "response_format": {"type": "text"}}
    harmless |= {"frequency_penalty": 0, "parallel_tool_calls": True, "presence_penalty": 0.0}
    assert create(client, **harmless).choices


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("functions", [{"name": "f", "parameters": {}}]),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "alloy", "format": "mp3"}),
        ("logit_bias", {"50256": -100}),
        ("web_search_options", {}),
    ],
)
def test_what_is_not_supported_is_refused_by_name(field, value, refused):
    with pytest.raises(openai.BadRequestError, match=f"{field}: not supported") as caught:
        create(refused, **{field: value})
    assert (caught.value.param, caught.value.code) == (field, "unsupported_parameter")


def with_message(**message):
    return {"messages": [{"role": "user", "content": "q"} | message]}


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({"model": 5}, "model", "expected a string, got 5"),
        ({"model": None}, "model", "got null"),
        ({"messages": []}, "messages", "empty; expected at least one"),
        ({"messages": "q"}, "messages", 'expected a list of messages, got "q"'),
        ({"messages": ["q"]}, "messages[0]", 'expected an object, got "q"'),
        (with_message(role="function"), "messages[0].role", "'user', 'assistant' or 'tool'"),
        (with_message(content=5), "messages[0].content", "a string or a list of parts, got 5"),
        (with_message(content=None), "messages[0].content", "got null"),
        (with_message(content=[]), "messages[0].content", "empty"),
        (with_message(content=[{"type": "text"}]), "messages[0].content[0].text", "missing"),
        (
            with_message(content=[{"type": "input_audio"}]),
            "messages[0].content[0]",
            "'refusal', 'reasoning', 'thinking', 'redacted_thinking', got 'input_audio'",
        ),
        (with_message(name=5), "messages[0].name", "got 5"),
        (with_message(tool_calls=[{}]), "messages[0].tool_calls[0].id", "missing"),
        (with_message(function_call={"name": "f"}), "messages[0].function_call", "`tool_calls`"),
        (with_message(role="tool"), "messages[0].tool_call_id", "expected the `id` of the call"),
        (with_message(role="tool", tool_call_id="c"), "messages[0].tool_call_id", "no call 'c'"),
        ({"tools": "f"}, "tools", 'expected a list, got "f"'),
        ({"tools": [{"type": "custom"}]}, "tools[0].type", "expected 'function', got \"custom\""),
        ({"tools": [{"type": "function"}]}, "tools[0].function", "missing"),
        ({"tool_choice": "required"}, "tool_choice", "requires `tools`"),
        ({"tool_choice": "any"}, "tool_choice", "expected 'none', 'auto' or 'required'"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}},
            "tool_choice",
            "no tool 'g' in `tools`; expected one of: f",
        ),
        ({"response_format": {"type": "xml"}}, "response_format", "'json_schema', got 'xml'"),
        (
            {"response_format": {"type": "json_schema"}},
            "response_format.json_schema",
            "required, but missing",
        ),
        ({"top_logprobs": 2}, "top_logprobs", "requires `logprobs`"),
        ({"reasoning_effort": "huge"}, "reasoning_effort", "'high', 'xhigh' or 'max'"),
        ({"verbosity": 1}, "verbosity", "'low', 'medium' or 'high', got 1"),
        ({"frequency_penalty": 3}, "frequency_penalty", "less than or equal to 2, got 3"),
        ({"messages": ASKED * 6}, "messages", "got 6; expected at most 5"),
        ({"temperature": 9}, "temperature", "less than or equal to 2, got 9"),
        ({"temperature": "hot"}, "temperature", 'got "hot"'),
        ({"top_p": 0}, "top_p", "greater than 0"),
        ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1, got 0"),
        ({"max_tokens": 1.5}, "max_tokens", "got 1.5"),
        ({"stop": [""]}, "stop[0]", "at least 1 character"),
        ({"stop": ""}, "stop", "at least 1 character"),
        ({"stop": ["END"] * 65}, "stop", "at most 64"),
        ({"stream": "yes"}, "stream", 'got "yes"'),
        ({"stream_options": 1}, "stream_options", "expected an object, got 1"),
        ({"top_k": "few"}, "top_k", 'got "few"'),
    ],
)
def test_mistake_names_its_place(body, param, says, refused):
    with pytest.raises(openai.BadRequestError) as caught:
        create(refused, extra_body=body)
    assert caught.value.param == param
    assert says in caught.value.message
    assert caught.value.type == "invalid_request_error"


@pytest.mark.process
@pytest.mark.parametrize("missing", ["model", "messages"])
def test_missing_field_is_named(missing, serving):
    body = {"model": "mine", "messages": ASKED}
    del body[missing]
    error = json.loads(curl(serving, body))["error"]
    assert error["message"] == f"{missing}: required, but missing"
    assert error["param"] == missing


def test_unknown_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError, match="no model 'nope'; expected one of: mine") as e:
        create(client, model="nope")
    assert (e.value.code, e.value.param) == ("model_not_found", "model")


@pytest.mark.process
@pytest.mark.parametrize("fault", [500, "echo key"])
@pytest.mark.parametrize(
    ("bad", "code", "cause"),
    [("ab", "quorum_lost", "layer_1_b: "), ("w", "no_final_answer", "aggregator: ")],
)
def test_run_without_an_answer_tells_the_causes_and_no_key(
    bad, code, cause, fault, server, monkeypatch
):
    monkeypatch.setenv("TEST_API_KEY", KEY)
    for name in bad:
        server.model(name, always=fault)
    options = {"base_url": server.url, "api_key_env": "TEST_API_KEY", "max_retries": 0}
    agents = {name: {"model": f"openai:{name}", **options} for name in "abw"}
    mixture = MoAConfig(layers=[{"a": agents["a"], "b": agents["b"]}], aggregator=agents["w"])
    with Serving(mixture) as serving, client_of(serving, max_retries=2) as client:
        with pytest.raises(openai.InternalServerError) as caught:
            create(client, model="moa")
        with pytest.raises(openai.APIError) as streamed:
            list(create(client, model="moa", stream=True))
        raw = curl(serving, {"model": "moa", "messages": ASKED, "stream": True})
    assert (caught.value.status_code, caught.value.code) == (502, code)
    assert cause in caught.value.message
    assert streamed.value.body == caught.value.body
    # The client did not have the run paid for thrice; who has proposals is not asked for more.
    assert len(server.calls_of("a")) == {"quorum_lost": 3, "no_final_answer": 2}[code]
    assert "[DONE]" not in raw
    assert json.loads(raw.strip().split("\n\n")[-1][6:])["error"]["code"] == code
    assert KEY not in raw + str(caught.value.body) + str(streamed.value.body)
    assert server.calls[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.fixture
def refusing(server):
    """Serve a mixture whose agents do not retry; `bad` are refused by their provider."""

    @contextmanager
    def serve(bad, status, retry_after=None):
        for name in bad:
            server.model(name, always=status, retry_after=retry_after)
        options = {"base_url": server.url, "max_retries": 0}
        agents = {name: {"model": f"openai:{name}", **options} for name in "abw"}
        mixture = MoAConfig(layers=[{"a": agents["a"], "b": agents["b"]}], aggregator=agents["w"])
        with Serving(mixture) as serving, client_of(serving, max_retries=2) as client:
            yield client

    return serve


@pytest.mark.parametrize("bad", ["ab", "w"])
def test_providers_limit_is_passed_on_with_the_time_to_wait(bad, refusing, server):
    with refusing(bad, 429, retry_after=7) as client:
        with pytest.raises(openai.RateLimitError) as caught:
            create(client, model="moa")
        with pytest.raises(openai.APIError) as streamed:
            list(create(client, model="moa", stream=True))
    assert (caught.value.code, caught.value.type) == ("rate_limit_exceeded", "requests")
    assert float(caught.value.response.headers["retry-after"]) == 7
    assert streamed.value.body == caught.value.body
    # The client did not have a run paid for thrice; proposals without an answer were reused.
    assert len(server.calls_of("a")) == (1 if bad == "w" else 2)


def test_limit_without_a_time_to_wait_tells_none(refusing):
    with refusing("w", 429) as client, pytest.raises(openai.RateLimitError) as caught:
        create(client, model="moa")
    assert "retry-after" not in caught.value.response.headers


@pytest.mark.parametrize("bad", ["ab", "w"])
@pytest.mark.parametrize("status", [401, 403])
def test_key_that_a_provider_refuses_is_not_said_to_be_the_clients(bad, status, refusing):
    with (
        refusing(bad, status) as client,
        pytest.raises(openai.InternalServerError, match="the key in this request is not") as caught,
    ):
        create(client, model="moa")
    assert caught.value.status_code == 502
    assert f"a provider refused the key that this server sends, with status {status}" in str(
        caught.value
    )


@pytest.mark.process
@pytest.mark.parametrize("small", ["ab", "w"])
def test_prompt_that_is_too_long_is_a_bad_request(small, mixture, server):
    for name in small:
        server.model(name, context=30)
    with Serving(mixture()) as serving, client_of(serving, max_retries=2) as client:
        asked = [{"role": "user", "content": "word " * 50}]
        with pytest.raises(openai.BadRequestError) as caught:
            create(client, messages=asked)
        with pytest.raises(openai.APIError) as streamed:
            list(create(client, messages=asked, stream=True))
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")
    assert "maximum context length is 30 tokens" in caught.value.message
    assert "the prompt does not fit: shorten the conversation" in caught.value.message
    assert streamed.value.code == caught.value.code


def test_fallback_answers_a_stream_that_had_not_begun(mixture, server):
    server.model("w", always=500)
    server.model("v", reply="the fallback's answer")
    with Serving(mixture(fallbacks=["v"])) as serving, client_of(serving) as client:
        chunks = list(create(client, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "the fallback's answer"
    assert chunks[-1].moa["aggregator"] == "openai:v"


def test_broken_stream_without_a_fallback_says_so(mixture, server):
    server.model("w", always="truncate", reply="half of this is lost")
    with Serving(mixture()) as serving, client_of(serving) as client:
        with pytest.raises(openai.APIError, match="no final answer") as caught:
            list(create(client, stream=True))
        assert caught.value.code == "broken_off"
        with pytest.raises(openai.APIError) as caught:
            create(client)
        assert caught.value.code == "no_final_answer"


def test_broken_stream_is_an_error_and_never_half_of_two_answers(mixture, server):
    read = threading.Event()
    half = {"until_token": lambda position: position < 3 or read.is_set()}
    server.model("w", always="truncate", reply="half of this is lost", **half)
    server.model("v", reply="another answer", until_token=lambda position: position < 1)
    with Serving(mixture(fallbacks=["v"])) as serving, client_of(serving) as client:
        chunks = create(client, stream=True)
        text = [chunk.choices[0].delta.content for chunk in islice(chunks, 4)]
        read.set()
        with pytest.raises(openai.APIError, match="broke off") as caught:
            next(chunks)
        assert "".join(text) == "half of this "
        assert caught.value.code == "broken_off"
        whole = create(client)
    assert whole.choices[0].message.content == "another answer"
    assert not server.calls_of("v")[0].answered  # nobody pays for what nobody reads
