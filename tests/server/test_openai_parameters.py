"""Which parameters of a request have an effect, and how a client learns that others have none."""

import logging

import openai
import pytest
from openai import DefaultHttpxClient, OpenAI
from serving import Serving

from moa_graph import MoAConfig
from moa_graph.server.service import ApiOptions

ASKED = [{"role": "user", "content": "q"}]
HEADER = "x-moa-ignored-parameters"


@pytest.fixture
def client(server):
    """Make a client of a mixture that is served; by default `w` writes."""
    running = []

    def agent(model):
        return {"model": f"openai:{model}", "base_url": server.url, "max_retries": 0}

    def start(aggregator=None, fallbacks=(), api=None, **options):
        mixture = MoAConfig(
            name="mine",
            layers=[{"a": agent("a")}],
            aggregator=aggregator or agent("w"),
            fallbacks=[agent(each) if ":" not in each else each for each in fallbacks],
            **options,
        )
        serving = Serving(mixture, api=api).__enter__()
        plain = DefaultHttpxClient(verify=False)  # certificates take a while to load
        url = f"{serving.url}/v1"
        client = OpenAI(base_url=url, http_client=plain, api_key="any", max_retries=0)
        running.append((serving, client))
        return client

    yield start
    for serving, client in running:
        client.close()
        serving.__exit__()


def create(client, **options):
    return client.chat.completions.create(**{"model": "mine", "messages": ASKED} | options)


def ignored_by(client, **body):
    completions = client.chat.completions.with_raw_response
    stream = body.pop("stream", False)
    response = completions.create(model="mine", messages=ASKED, stream=stream, extra_body=body)
    answer = response.parse()
    assert list(answer) if stream else answer.choices
    return response.headers.get(HEADER)


def test_parameters_reach_the_aggregator_and_its_fallback_alone(client, server):
    server.model("w", always=500)
    given = {"reasoning_effort": "low", "verbosity": "high", "top_k": 3, "max_tokens": 7}
    given |= {"frequency_penalty": 0.5, "presence_penalty": -1.0}
    assert ignored_by(client(fallbacks=["v"]), **given) is None
    for model in "wv":
        sent = server.calls_of(model)[0].body
        assert {name: sent.get(name) for name in given} == given
    assert not given.keys() & server.calls_of("a")[0].body.keys()


@pytest.mark.parametrize("stream", [False, True])
def test_parameters_without_effect_are_named_in_a_header(stream, client):
    body = {"min_p": 0.1, "chat_template_kwargs": {"thinking": False}, "user": "ada", "seed": 1}
    assert ignored_by(client(), stream=stream, **body) == "min_p, chat_template_kwargs, user, seed"


def test_parameters_that_say_what_is_so_anyway_are_not_named(client):
    body = {"n": 1, "store": False, "service_tier": "auto", "min_p": None, "metadata": {}}
    body |= {"frequency_penalty": 0, "response_format": {"type": "text"}, "logprobs": False}
    body |= {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True, "top_logprobs": 0}
    assert ignored_by(client(), **body) is None


def test_parameters_that_the_aggregator_does_not_take_are_named(client):
    given = {"temperature": 0.1, "verbosity": "low", "max_tokens": 9, "top_k": 2}
    named = ignored_by(client(aggregator="offline:lead"), **given)
    assert named == "temperature, top_k, verbosity"


def test_preference_that_a_fallback_does_not_take_is_left_out(client, server):
    assert ignored_by(client(fallbacks=["offline:lead"]), verbosity="low") == "verbosity"
    assert "verbosity" not in server.calls_of("w")[0].body


def test_parameter_without_effect_is_logged_once(client, caplog):
    caplog.set_level(logging.WARNING, "moa_graph.server")
    client = client()
    for _ in range(3):
        ignored_by(client, min_p=0.1, **{"bad\r\nname: \u00e9" + "x" * 100: 1})
    told = [record.getMessage() for record in caplog.records if "no effect" in record.getMessage()]
    assert len(told) == 2
    assert "'min_p'" in told[0]
    assert "'bad??name??" in told[1]
    assert "x" * 60 not in told[1]


def test_many_unknown_parameters_make_no_large_header(client):
    named = ignored_by(client(), **{f"unknown_{number}": 1 for number in range(500)})
    assert len(named.split(", ")) == 32


@pytest.mark.parametrize(
    ("body", "says", "code"),
    [
        ({"min_p": 0.1}, "'min_p' is not a parameter of this server", "unknown_parameter"),
        ({"temperature": 0.1}, "temperature: not supported by the aggr", "unsupported_parameter"),
        ({"verbosity": "low"}, "verbosity: not supported by the aggr", "unsupported_parameter"),
    ],
)
def test_strict_server_refuses_what_has_no_effect(body, says, code, client, server):
    client = client(aggregator="offline:lead", api=ApiOptions(strict=True))
    with pytest.raises(openai.BadRequestError, match=says) as caught:
        create(client, extra_body=body)
    assert (caught.value.param, caught.value.code) == (*body, code)
    assert not server.calls


def test_strict_server_takes_what_needs_no_effect(client):
    assert ignored_by(client(api=ApiOptions(strict=True)), user="ada", seed=1) == "user, seed"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("whose", "beside", "other"),
    [("run", "aggregator_usage", "aggregator"), ("aggregator", "usage", "run")],
)
def test_usage_is_the_runs_or_the_aggregators_and_the_other_is_beside_it(
    whose, beside, other, stream, client, server
):
    server.model("a", reply="1")
    server.model("w", reply="two words")
    options = {"stream_options": {"include_usage": True}} if stream else {}
    answer = create(client(api=ApiOptions(usage=whose)), stream=stream, **options)
    if stream:
        *_, end, last = answer
        usage, extension = last.usage, end.moa
    else:
        usage, extension = answer.usage, answer.moa
    read = [sum(len(str(m["content"]).split()) for m in call.messages) for call in server.calls]
    tokens = {"run": (sum(read), 3), "aggregator": (read[1], 2)}
    assert (usage.prompt_tokens, usage.completion_tokens) == tokens[whose]
    told = extension[beside]
    assert (told["prompt_tokens"], told["completion_tokens"]) == tokens[other]
    assert told["total_tokens"] == sum(tokens[other])
