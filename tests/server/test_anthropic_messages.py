"""The server as Anthropic's client sees it: the real client, over real HTTP."""

import asyncio
import json
import threading

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic, DefaultHttpxClient
from pydantic import BaseModel
from serving import Serving, http
from waiting import wait_for

from moa_graph import MoAConfig
from moa_graph.server import anthropic_messages, app
from moa_graph.server.auth import ApiKey
from moa_graph.server.service import ApiOptions, ServerLimits

ASKED = [{"role": "user", "content": "q"}]
WEATHER = {
    "name": "weather",
    "description": "Tells the weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}
HEADER = "x-moa-ignored-parameters"
PIXEL = {"type": "base64", "media_type": "image/png", "data": "AA=="}


class City(BaseModel):
    name: str


@pytest.fixture
def client(serve_mine):
    """Make a client of a mixture that is served."""
    clients = []

    def start(api_key="any", **options):
        clients.append(client_of(serve_mine(**options), api_key=api_key))
        return clients[-1]

    yield start
    for each in clients:
        each.close()


@pytest.fixture(scope="module")
def offline():
    """A server that asks nobody, and its client."""
    agent = "offline:lead"
    mixture = MoAConfig(name="mine", layers=[{"a": agent}], aggregator=agent)
    limits = ServerLimits(messages=5, body=20_000)
    with Serving(mixture, limits=limits) as serving, client_of(serving) as client:
        yield client


def client_of(serving, **options):
    options = {"api_key": "any", "max_retries": 0} | options
    plain = DefaultHttpxClient(verify=False)  # certificates take a while to load
    return Anthropic(base_url=serving.url, http_client=plain, **options)


def create(client, **options):
    asked = {"model": "mine", "messages": ASKED, "max_tokens": 99}
    return client.messages.create(**asked | options)


def stream(client, **options):
    asked = {"model": "mine", "messages": ASKED, "max_tokens": 99}
    return client.messages.stream(**asked | options)


def ask(client, *, streamed, **options):
    """Get an answer, whole or put together from a stream."""
    if not streamed:
        return create(client, **options)
    with stream(client, **options) as events:
        return events.get_final_message()


def body_of(server, model):
    return server.calls_of(model)[-1].body


def words_read(server, models):
    calls = [call for model in models for call in server.calls_of(model)]
    return sum(len(str(m["content"]).split()) for call in calls for m in call.messages)


@pytest.mark.parametrize("streamed", [False, True])
def test_client_gets_an_answer(streamed, client, server):
    server.model("w", reply="the final answer")
    message = ask(client(), streamed=streamed, system="Be brief.")
    assert [block.text for block in message.content] == ["the final answer"]
    assert (message.role, message.model, message.type) == ("assistant", "mine", "message")
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)
    assert message.usage.input_tokens == words_read(server, "abw")
    assert message.usage.output_tokens == 3 + len(["a", "on", "q", "b", "on", "q"])
    assert body_of(server, "a")["messages"][0] == {"role": "system", "content": "Be brief."}
    assert body_of(server, "w")["max_tokens"] == 99


async def test_async_client_gets_and_streams_an_answer(serve_mine, server):
    server.model("w", reply="the final answer")
    async with AsyncAnthropic(base_url=serve_mine().url, api_key="any") as client:
        whole = await create(client)
        async with stream(client) as events:
            parts = [text async for text in events.text_stream]
            message = await events.get_final_message()
    assert parts == ["the ", "final ", "answer"]
    assert message.content[0].text == whole.content[0].text == "the final answer"
    assert message.usage == whole.usage


def test_stream_is_start_then_blocks_then_reason_then_stop(client, server):
    server.model("w", reply="one two")
    events = list(create(client(), stream=True))
    assert [event.type for event in events] == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 2,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    start, end = events[0].message, events[-2]
    assert (start.content, start.stop_reason, start.usage.output_tokens) == ([], None, 0)
    assert (end.delta.stop_reason, end.moa["answered"]) == ("end_turn", 2)


def test_answer_says_how_it_came_about(client, server):
    server.model("b", always=400)
    account = create(client()).moa
    assert (account["asked"], account["answered"], account["failed"]) == (2, 1, ["layer_1_b"])
    assert account["aggregator_usage"]["output_tokens"] == 3


@pytest.mark.parametrize("streamed", [False, True])
def test_usage_can_be_the_aggregators(streamed, client, server):
    server.model("w", reply="two words", cached=4)
    client = client(serving={"api": ApiOptions(usage="aggregator")})
    usage = ask(client, streamed=streamed).usage
    assert usage.cache_read_input_tokens == 4
    assert usage.input_tokens + 4 == words_read(server, "w")
    assert usage.output_tokens == 2


def test_usage_that_nobody_knows_is_none(client, server):
    for name in "abw":
        server.model(name, usage=False)
    message = create(client())
    assert (message.usage.input_tokens, message.usage.output_tokens) == (0, 0)
    assert message.moa["usage_unknown"] == ["layer_1_a", "layer_1_b", "aggregator"]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("length", "max_tokens"),
        ("content_filter", "refusal"),
        ("stop_sequence", "stop_sequence"),
        ("stop", "end_turn"),
    ],
)
def test_reason_is_the_aggregators(reason, expected, streamed, client, server):
    server.model("w", reply="cut", finish_reason=reason)
    assert ask(client(), streamed=streamed).stop_reason == expected


@pytest.mark.parametrize("streamed", [False, True])
def test_proposers_are_asked_once_in_a_tool_loop_of_one_key(streamed, client, server):
    def reply(body):
        done = sum(message["role"] == "tool" for message in body["messages"])
        return {"weather": {"city": f"Oslo {done}"}} if done < 2 else "It rains."

    client = client()
    server.model("w", reply=reply)
    conversation, message = ASKED, None
    while not message or message.stop_reason == "tool_use":
        before = conversation
        message = ask(client, streamed=streamed, messages=conversation, tools=[WEATHER])
        calls = [block for block in message.content if block.type == "tool_use"]
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": "rain", "is_error": True}
            for call in calls
        ]
        beside = {"type": "text", "text": "Go on."}
        said = {"role": "assistant", "content": [each.model_dump() for each in message.content]}
        conversation = [*conversation, said, {"role": "user", "content": [*results, beside]}]
        if calls:
            assert calls[0].input == {"city": f"Oslo {len(before) // 2}"}
    assert message.content[0].text == "It rains."
    assert len(server.calls_of("w")) == 3
    assert len(server.calls_of("a")) == len(server.calls_of("b")) == 1
    roles = [each["role"] for each in body_of(server, "w")["messages"]]
    assert roles == ["system", "user", *["assistant", "tool", "user"] * 2]
    for other, is_reused in (
        (client, True),
        (client.with_options(api_key="of another"), False),
        (Anthropic(base_url=client.base_url, auth_token="any", api_key=None), True),
    ):
        answer = create(other, tools=[WEATHER], messages=before)
        assert answer.moa["reused_proposals"] is is_reused


@pytest.mark.parametrize("streamed", [False, True])
def test_tool_runner_goes_on_without_a_stored_thread(streamed, client, server):
    @anthropic.beta_tool
    def weather(city: str) -> str:
        """Tell the weather."""
        return f"It rains in {city}."

    replies = iter([{"weather": {"city": "Oslo"}}, "Rain."])
    server.model("w", reply=lambda _: next(replies))
    asked = {"model": "mine", "messages": ASKED, "max_tokens": 99, "tools": [weather]}
    runner = client().beta.messages.tool_runner(**asked, stream=streamed)
    message = runner.until_done()
    assert message.content[0].text == "Rain."
    assert body_of(server, "w")["messages"][-1]["content"] == "It rains in Oslo."


@pytest.mark.parametrize("streamed", [False, True])
def test_parallel_calls_and_their_results(streamed, client, server):
    client = client()
    server.model("w", reply={"weather": {"city": "Oslo"}, "time": {}})
    tools = [WEATHER, {"name": "time", "input_schema": {"type": "object"}}]
    message = ask(client, streamed=streamed, tools=tools)
    assert message.stop_reason == "tool_use"
    calls = message.content
    assert [(each.type, each.name, each.input) for each in calls] == [
        ("tool_use", "weather", {"city": "Oslo"}),
        ("tool_use", "time", {}),
    ]
    server.model("w", reply="It rains at noon.")
    results = [
        {"type": "tool_result", "tool_use_id": each.id, "content": content}
        for each, content in zip(calls, ["rain", [{"type": "text", "text": "noon"}]], strict=True)
    ]
    said = [
        *ASKED,
        {"role": "assistant", "content": [each.model_dump() for each in calls]},
        {"role": "user", "content": results},
    ]
    answer = ask(client, streamed=streamed, tools=tools, messages=said)
    assert answer.content[0].text == "It rains at noon."
    _, _, asked, *told = body_of(server, "w")["messages"]
    assert [each["id"] for each in asked["tool_calls"]] == [each.id for each in calls]
    assert [(each["tool_call_id"], each["content"]) for each in told] == [
        (calls[0].id, "rain"),
        (calls[1].id, "noon"),
    ]


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ({"type": "any"}, {"tool_choice": "required"}),
        (
            {"type": "tool", "name": "weather"},
            {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
        ),
        (
            {"type": "auto", "disable_parallel_tool_use": True},
            {"parallel_tool_calls": False},
        ),
    ],
)
def test_choice_of_a_tool_reaches_the_aggregator(choice, sent, client, server):
    create(client(), tools=[WEATHER], tool_choice=choice)
    body = body_of(server, "w")
    assert {name: body.get(name) for name in sent} == sent
    assert body["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "Tells the weather of a city.",
                "parameters": WEATHER["input_schema"],
            },
        }
    ]
    assert "- weather: Tells the weather" in body_of(server, "a")["messages"][0]["content"]


def test_images_reach_the_models(client, server):
    image = {"type": "image", "source": PIXEL}
    create(
        client(), messages=[{"role": "user", "content": [{"type": "text", "text": "see"}, image]}]
    )
    for model in "abw":
        parts = next(
            m["content"] for m in body_of(server, model)["messages"] if m["role"] == "user"
        )
        assert parts[1] == {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}


@pytest.mark.parametrize("streamed", [False, True])
def test_client_parses_an_answer_of_a_schema(streamed, client, server):
    server.model("w", reply='{"name": "Oslo"}')
    client, asked = client(), {"model": "mine", "messages": ASKED, "max_tokens": 9}
    if streamed:
        with client.messages.stream(**asked, output_format=City) as events:
            message = events.get_final_message()
    else:
        message = client.messages.parse(**asked, output_format=City)
    assert message.parsed_output == City(name="Oslo")
    form = body_of(server, "w")["response_format"]
    assert form["json_schema"]["schema"]["properties"]["name"]["type"] == "string"
    assert form["json_schema"]["strict"] is True
    assert "response_format" not in body_of(server, "a")


@pytest.mark.parametrize("streamed", [False, True])
def test_aggregator_without_tools_answers_in_words_and_says_so(streamed, client):
    client = client(aggregator="offline:consensus")
    options = {"tools": [WEATHER, SEARCH], "metadata": {"user_id": "u"}, "max_tokens": 2000}
    options["extra_body"] = {"top_k": 3, "thinking": {"type": "enabled", "budget_tokens": 1024}}
    response = client.messages.with_raw_response.create(
        model="mine", messages=ASKED, stream=streamed, **options
    )
    assert response.headers[HEADER] == (
        "metadata, thinking, tools.web_search_20250305, tools, top_k"
    )
    assert list(response.parse()) if streamed else response.parse().content[0].text


def test_parameters_reach_the_aggregator_alone(client, server):
    sampling = {"temperature": 0.1, "top_p": 0.5, "top_k": 3}  # newer clients name them no more
    options = {"stop_sequences": ["END"], "output_config": {"effort": "low"}}
    create(client(), extra_body=sampling, **options)
    sent = body_of(server, "w")
    assert (sent["reasoning_effort"], sent["stop"]) == ("low", ["END"])
    assert (sent["temperature"], sent["top_p"], sent["top_k"]) == (0.1, 0.5, 3)
    assert not {"temperature", "top_p", "top_k", "stop", "max_tokens"} & body_of(server, "a").keys()


@pytest.mark.parametrize("streamed", [False, True])
def test_answer_that_is_begun_is_gone_on_with(streamed, client, server):
    server.model("w", reply="The best answer is (B)")
    begun = [*ASKED, {"role": "assistant", "content": "The best answer is ("}]
    assert ask(client(), streamed=streamed, messages=begun).content[0].text == "B)"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"tools": [WEATHER], "tool_choice": {"type": "any"}}, "tool_choice: not supported by"),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {}}}},
            "output_config.format: not supported by the aggregator of 'mine'",
        ),
    ],
)
def test_answer_that_cannot_be_what_it_must_be_is_refused_by_name(options, says, offline):
    with pytest.raises(anthropic.BadRequestError, match=says) as caught:
        create(offline, **options)
    assert caught.value.body["error"]["type"] == "invalid_request_error"


def test_strict_server_names_what_the_aggregator_does_not_take_in_the_clients_words(client):
    client = client(aggregator="offline:lead", serving={"api": ApiOptions(strict=True)})
    with pytest.raises(anthropic.BadRequestError, match="effort: not supported"):
        create(client, output_config={"effort": "low"})


def told(response):
    """Read an error in Anthropic's shape; the header tells its request's id, too."""
    body = response.json()
    assert body.keys() == {"type", "error", "request_id"}
    assert body["type"] == "error"
    assert body["error"].keys() == {"type", "message"}
    assert body["request_id"] == response.headers["request-id"]
    assert response.headers["x-request-id"] == response.headers["request-id"]
    return body["error"]["type"]


BODY = {"model": "mine", "max_tokens": 9, "messages": ASKED}


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "kind"),
    [
        ("POST", "/v1/messages", {}, 400, "invalid_request_error"),
        ("POST", "/v1/messages", BODY | {"model": "nope"}, 404, "not_found_error"),
        ("POST", "/v1/messages", BODY | {"messages": ASKED * 6}, 400, "invalid_request_error"),
        ("POST", "/v1/messages", "x" * 20_001, 413, "request_too_large"),
        ("POST", "/v1/messages", "[1," * 5_000, 413, "request_too_large"),
        ("POST", "/v1/messages", "[" * 300, 400, "invalid_request_error"),
        ("POST", "/v1/messages", "{", 400, "invalid_request_error"),
        ("GET", "/v1/messages", "", 405, "invalid_request_error"),
        ("POST", "/v1/messages/batches", {}, 404, "not_found_error"),
        ("POST", "/v1/messages/count_tokens", {}, 400, "invalid_request_error"),
        (
            "POST",
            "/v1/messages/count_tokens",
            BODY | {"model": "nope"},
            404,
            "not_found_error",
        ),
        ("GET", "/v1/models/nope", "", 404, "not_found_error"),
    ],
)
def test_errors_have_anthropics_shape(method, path, content, status, kind, offline):
    text = content if isinstance(content, str) else json.dumps(content)
    headers = {"content-type": "application/json", "anthropic-version": "2023-06-01"}
    response = http.request(method, f"{offline.base_url}{path}", content=text, headers=headers)
    assert (response.status_code, told(response)) == (status, kind)


def test_id_of_a_request_is_the_clients(offline):
    headers = {"x-request-id": "mine-1"}
    response = http.post(f"{offline.base_url}/v1/messages", json={}, headers=headers)
    assert response.json()["request_id"] == "mine-1"
    answer = offline.messages.with_raw_response.create(**BODY)
    assert answer.request_id.startswith("req_")


@pytest.mark.parametrize("path", ["/moa/v1/messages", "/v1/messages"])
def test_errors_have_anthropics_shape_behind_a_prefix(path, serve_mine):
    response = http.post(f"{serve_mine(serving={'root_path': '/moa'}).url}{path}", json={})
    assert (response.status_code, told(response)) == (400, "invalid_request_error")


def test_other_paths_keep_openais_shape(offline):
    response = http.post(f"{offline.base_url}/v1/chat/completions", json={})
    assert response.json()["error"]["code"] is None
    assert "request-id" not in response.headers
    assert http.get(f"{offline.base_url}/v1/models").json()["object"] == "list"


@pytest.mark.parametrize(
    ("bad", "fault", "error", "kind"),
    [
        ("ab", 500, anthropic.InternalServerError, "api_error"),
        ("w", 500, anthropic.InternalServerError, "api_error"),
        ("w", 401, anthropic.InternalServerError, "api_error"),
        ("w", 429, anthropic.RateLimitError, "rate_limit_error"),
    ],
)
def test_run_without_an_answer_tells_the_causes(bad, fault, error, kind, client, server):
    for name in bad:
        server.model(name, always=fault, retry_after=7)
    client = client().with_options(max_retries=2)
    with pytest.raises(error) as caught:
        create(client)
    with pytest.raises(anthropic.APIStatusError) as streamed:
        list(create(client, stream=True))
    assert caught.value.body["error"]["type"] == kind
    assert f"scripted failure {fault}" in caught.value.body["error"]["message"]
    assert streamed.value.body["error"] == caught.value.body["error"]
    assert streamed.value.body["request_id"] == streamed.value.response.headers["request-id"]
    # The client did not have the run paid for thrice.
    assert len(server.calls_of("a")) == (2 if bad == "ab" else 1)


@pytest.mark.parametrize("streamed", [False, True])
def test_prompt_that_is_too_long_is_said_to_be_so(streamed, client, server):
    server.model("w", context=30)
    asked = [{"role": "user", "content": "word " * 50}]
    with pytest.raises(anthropic.APIStatusError, match="prompt is too long: ") as caught:
        ask(client(), streamed=streamed, messages=asked)
    assert caught.value.body["error"]["type"] == "invalid_request_error"


def test_stream_that_breaks_off_is_an_error(client, server):
    server.model("w", always="truncate", reply="half of this is lost")
    with pytest.raises(anthropic.APIStatusError, match="broke off") as caught:
        list(create(client(), stream=True))
    assert caught.value.body["error"]["type"] == "api_error"


def test_server_that_is_busy_or_stops_says_so(serve_mine, server):
    server.model("w", until=lambda: False)
    serving = serve_mine(serving={"limits": ServerLimits(runs=1)})
    errors = []

    def wait():
        with pytest.raises(anthropic.APIStatusError) as caught:
            list(create(first, stream=True))
        errors.append(caught.value)

    with client_of(serving) as first, client_of(serving) as second:
        waiting = threading.Thread(target=wait)
        waiting.start()
        wait_for(lambda: server.calls_of("w"))
        with pytest.raises(anthropic.RateLimitError) as busy:
            create(second)
        serving.stop()
        waiting.join()
    assert told(busy.value.response) == "rate_limit_error"
    assert busy.value.response.headers["retry-after"]
    assert errors[0].body["error"]["type"] == "overloaded_error"


@pytest.mark.parametrize("streamed", [False, True])
async def test_client_that_hangs_up_cancels_the_run(streamed, serve_mine, server):
    server.model("w", until=lambda: False)
    async with AsyncAnthropic(base_url=serve_mine().url, api_key="any", max_retries=0) as client:
        if streamed:
            events = await create(client, stream=True)
            await asyncio.to_thread(wait_for, lambda: server.calls_of("w"))
            await events.close()
        else:
            asked = asyncio.ensure_future(create(client))
            await asyncio.to_thread(wait_for, lambda: server.calls_of("w"))
            asked.cancel()
        await asyncio.to_thread(wait_for, lambda: server.calls_of("w")[0].ended)
    assert not server.calls_of("w")[0].answered


def test_silent_stream_has_pings(client, server):
    pinged = threading.Event()
    server.model("w", reply="answer", until=pinged.is_set)
    client = client(serving={"limits": ServerLimits(keep_alive=0.01)})
    with client.messages.with_streaming_response.create(**BODY, stream=True) as response:
        lines = []
        for line in response.iter_lines():
            lines.append(line)
            if line == "event: ping":
                pinged.set()
    assert 'data: {"type": "ping"}' in lines
    assert "event: message_stop" in lines


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": "k2"},
        {"authorization": "Bearer k2"},
        {"x-api-key": "k2", "authorization": "Bearer of somebody else"},
    ],
)
def test_key_is_taken_from_either_header(headers, serve_mine):
    url = serve_mine(serving={"api_keys": [ApiKey("k1", "ada"), ApiKey("k2", "bob")]}).url
    assert http.post(f"{url}/v1/messages", json=BODY, headers=headers).status_code == 200
    assert http.get(f"{url}/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers", [{}, {"x-api-key": "k"}, {"x-api-key": ""}, {"x-api-key": "\xfc".encode("latin-1")}]
)
def test_without_the_key_nobody_is_let_in(headers, serve_mine):
    url = serve_mine(serving={"api_key": "k1"}).url
    response = http.post(f"{url}/v1/messages", json=BODY, headers=headers)
    assert (response.status_code, told(response)) == (401, "authentication_error")
    assert response.headers["x-should-retry"] == "false"  # Claude Code would, ten times
    foreign = {"x-api-key": "k1", "origin": "https://example.org"}
    response = http.post(f"{url}/v1/messages", json=BODY, headers=foreign)
    assert (response.status_code, told(response)) == (403, "permission_error")


def test_mixtures_are_listed_as_models(serve_mine, local_agent):
    small = local_agent("w", max_input_tokens=4096)
    with client_of(serve_mine(aggregator=small)) as client:
        (model,) = client.models.list()
        assert (model.id, model.type, model.display_name) == ("mine", "model", "mine")
        assert model.created_at.year > 2000
        assert model.max_input_tokens == 4096
        assert client.models.retrieve("mine") == model
        with pytest.raises(anthropic.NotFoundError, match="expected one of: mine"):
            client.models.retrieve("nope")


def test_tokens_of_a_conversation_are_estimated(offline):
    def count(**options):
        asked = {"model": "mine", "messages": ASKED} | options
        return offline.messages.count_tokens(**asked).input_tokens

    asked = count()
    assert 0 < asked < 20
    assert count(system="Answer in a few words.") > asked + 4
    assert count(tools=[WEATHER]) > asked + 20
    image = {"type": "image", "source": PIXEL}
    assert count(messages=[{"role": "user", "content": [image]}]) < 20


def test_package_is_imported_before_a_request(monkeypatch):
    imported = []
    monkeypatch.setattr(app, "import_module", imported.append)
    app.preload_dialects().join()
    assert imported == [anthropic_messages.__name__]


def test_server_without_the_package_names_the_extra(monkeypatch, offline):
    monkeypatch.setattr(app, "find_spec", lambda _: None)
    assert app.preload_dialects() is None
    mixture = MoAConfig.load("offline")
    with Serving(mixture) as serving, client_of(serving, max_retries=2) as client:
        for call in (client.messages.create, client.messages.count_tokens):
            with pytest.raises(anthropic.InternalServerError, match=r"moa_graph\[anthropic\]"):
                call(**BODY) if call == client.messages.create else call(
                    model="offline", messages=ASKED
                )
        assert [model.id for model in client.models.list()] == ["offline"]
