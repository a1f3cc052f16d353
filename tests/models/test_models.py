"""Models by name, over real HTTP: what reaches the wire, and what comes back."""

import asyncio
import sys

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_together import ChatTogether

from moa_graph import Agent, create_moa
from moa_graph.models.agent import build_model


@pytest.fixture
def agent(server):
    """An agent of the local server."""

    def make(name, provider="openai", **options):
        return Agent(model=f"{provider}:{name}", base_url=server.url, **options)

    return make


@pytest.mark.parametrize("provider", ["openai", "together"])
def test_options_reach_the_wire_for_every_role(provider, server, agent, invoke):
    first = agent("first", provider, temperature=0.7, max_tokens=2048)
    second = agent("second", provider, temperature=0.0, max_tokens=7)
    writer = agent("writer", provider, temperature=0.3, max_tokens=99, system="Be brief.")
    invoke(create_moa([{"a": first, "b": second}] * 2, writer).compile(), {"messages": "q"})
    sent = {
        (call.model, call.body["temperature"], call.body["max_tokens"]) for call in server.calls
    }
    assert sent == {("first", 0.7, 2048), ("second", 0.0, 7), ("writer", 0.3, 99)}
    assert len(server.calls) == 5
    assert server.calls_of("writer")[0].messages[0]["content"].startswith("Be brief.\n\nYou have")


@pytest.mark.parametrize("provider", ["openai", "together"])
def test_top_p_and_stop_reach_the_wire(provider, server, agent, invoke):
    first = agent("first", provider, top_p=0.9, stop=["END"])
    invoke(create_moa([[first]], agent("writer", provider)).compile(), {"messages": "q"})
    body = server.calls_of("first")[0].body
    assert (body["top_p"], body["stop"]) == (0.9, ["END"])
    assert not {"top_p", "stop"} & server.calls_of("writer")[0].body.keys()


def test_openai_itself_is_sent_its_own_word_for_the_bound(server, invoke, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    agent = Agent(model="openai:gpt-4o", max_tokens=5)
    invoke(create_moa([[agent]], agent).compile(), {"messages": "q"})
    assert {call.body["max_completion_tokens"] for call in server.calls} == {5}
    assert {call.headers["authorization"] for call in server.calls} == {"Bearer sk-mine"}


def test_what_is_not_set_is_not_sent(server, agent, invoke):
    invoke(create_moa([[agent("a")]], agent("b")).compile(), {"messages": "q"})
    for call in server.calls:
        assert not {"temperature", "max_tokens", "max_completion_tokens"} & set(call.body)


def test_samples_are_calls(server, agent, invoke):
    invoke(create_moa([[agent("a", samples=6)]], agent("b")).compile(), {"messages": "q"})
    assert len(server.calls_of("a")) == 6


def test_key_comes_from_the_named_variable(server, agent, invoke, monkeypatch):
    monkeypatch.setenv("VLLM_KEY", "secret-1")
    model = agent("a", api_key_env="VLLM_KEY")
    invoke(create_moa([[model]], model).compile(), {"messages": "q"})
    assert {call.headers["authorization"] for call in server.calls} == {"Bearer secret-1"}


def test_key_of_a_provider_is_not_sent_to_another_server(server, agent, invoke, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    invoke(create_moa([[agent("a")]], agent("b")).compile(), {"messages": "q"})
    assert not any("sk-mine" in call.headers["authorization"] for call in server.calls)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("provider", ["openai", "together"])
async def test_usage_is_known_streamed_or_not(stream, provider, server, agent):
    server.model("a", reply="one two three")
    server.model("b", reply="final words")
    graph = create_moa([[agent("a", provider)]], agent("b", provider)).compile()
    if stream:
        modes = ["messages", "values"]
        last = [each async for each in graph.astream({"messages": "q"}, stream_mode=modes)][-1][1]
    else:
        last = await graph.ainvoke({"messages": "q"})
    assert last["proposals"]["layer_1_a"]["usage"]["output_tokens"] == 3
    message = last["messages"][-1]
    assert message.usage_metadata["output_tokens"] == 2
    assert message.response_metadata["moa"]["usage"]["output_tokens"] == 5
    assert message.response_metadata["finish_reason"] == "stop"
    assert server.calls_of("b")[0].streamed is stream


def test_error_of_a_provider_is_kept_and_siblings_go_on(server, agent, invoke):
    server.model("bad", always=400)
    server.model("good", reply="fine", until=lambda: any(c.ended for c in server.calls_of("bad")))
    result = invoke(
        create_moa([[agent("bad"), agent("good")]], agent("w")).compile(), {"messages": "q"}
    )
    assert "scripted failure 400" in result["proposals"]["layer_1_bad"]["error"]
    assert server.calls_of("w")[0].messages[0]["content"].endswith("models:\n1. fine")


def test_nodes_share_connections(server, agent):
    """The same endpoint is not given a pool of connections by every node."""
    models = [build_model(agent(name)) for name in "abc"]

    async def ask():
        for model in models:
            await model.ainvoke("q")

    for model in models:
        model.invoke("q")
    asyncio.run(ask())
    assert len(server.calls) == 6
    assert len(server.connections) == 2


@pytest.mark.parametrize("kind", ["name", "ChatOpenAI", "ChatTogether"])
def test_two_event_loops_share_a_graph(kind, server, agent):
    models = {
        "name": agent("a"),
        "ChatOpenAI": ChatOpenAI(model="a", base_url=server.url, api_key="x", max_retries=0),
        "ChatTogether": ChatTogether(model="a", base_url=server.url, api_key="x", max_retries=0),
    }
    graph = create_moa([[models[kind]] * 2] * 2, models[kind]).compile()
    for _ in range(4):
        answer = asyncio.run(graph.ainvoke({"messages": "q"}))
        assert answer["messages"][-1].text == "a on q"


def test_models_of_the_user_are_left_as_they_were(server):
    mine = ChatOpenAI(model="a", base_url=server.url, api_key="x")
    client, hidden = mine.root_async_client, mine.disable_streaming
    create_moa([[mine]], mine)
    assert mine.root_async_client is client
    assert mine.disable_streaming is hidden


@pytest.mark.parametrize("aggregation", ["synthesize", "select"])
def test_model_object_that_is_set_to_stream_can_be_any_agent(aggregation, server, invoke):
    server.model("m", reply="1")
    mine = ChatOpenAI(model="m", base_url=server.url, api_key="x", streaming=True, max_retries=0)
    graph = create_moa([[mine], [mine]], mine, aggregation=aggregation).compile()
    result = invoke(graph, {"messages": "q"})
    assert result["messages"][-1].text == "1"
    assert mine.streaming
    hidden = server.calls[:2] if aggregation == "synthesize" else server.calls
    assert not any(call.streamed for call in hidden)


@pytest.mark.parametrize(
    ("model", "variable"),
    [("openai:gpt-4o", "OPENAI_API_KEY"), ("together:a/b", "TOGETHER_API_KEY")],
)
def test_missing_key_is_one_line_that_names_the_variable(model, variable):
    with pytest.raises(ValueError, match=f"set the environment variable {variable}$"):
        create_moa([[model]], model)


def test_lazy_graph_asks_nobody_where_a_key_is_missing(server, agent, invoke):
    graph = create_moa([[agent("a")]], "openai:gpt-4o", lazy=True).compile()
    with pytest.raises(ValueError, match="OPENAI_API_KEY"):
        invoke(graph, {"messages": "q"})
    assert server.calls == []


def test_other_providers_come_from_langchain():
    with pytest.raises(ImportError, match="langchain-anthropic"):
        create_moa([["anthropic:claude"]], "offline:consensus")


def test_without_langchain_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "langchain", None)
    with pytest.raises(ImportError, match="pip install langchain langchain-google-genai"):
        create_moa([["google_genai:gemini"]], "offline:consensus")


def test_other_providers_get_the_options(server, invoke, monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", server.url)
    monkeypatch.setenv("OPENAI_API_VERSION", "2025-01-01")
    agent = Agent(
        model="azure_openai:gpt-4o",
        temperature=0.5,
        max_tokens=5,
        api_key_env="AZURE_OPENAI_API_KEY",
    )
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "azure-key")
    invoke(create_moa([[agent]], agent).compile(), {"messages": "q"})
    for call in server.calls:
        assert call.body["temperature"] == 0.5
        assert 5 in {call.body.get("max_tokens"), call.body.get("max_completion_tokens")}
        assert call.headers["api-key"] == "azure-key"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 3}, "less than or equal to 2"),
        ({"samples": 0}, "greater than or equal to 1"),
        ({"max_tokens": 0}, "greater than or equal to 1"),
        ({"base_url": "localhost:1"}, "expected a URL"),
        ({"base_url": "http://me:pw@host/v1"}, "without a password"),
        ({"api_key_env": "sk-abc"}, "expected the name of an environment variable"),
        (
            {"api_key": "sk-abc"},
            r"^Agent\(\): `api_key`: unknown option \(did you mean 'api_key_env'\?\)",
        ),
    ],
)
def test_senseless_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message) as error:
        Agent(model="openai:gpt-4o", **options)
    assert "sk-abc" not in str(error.value)


@pytest.mark.parametrize("option", [{"temperature": 0.5}, {"max_tokens": 5}, {"stop": ["."]}])
def test_options_that_a_runnable_would_not_obey_are_refused(option, model):
    with pytest.raises(ValueError, match="has no effect on 'fake'"):
        create_moa([[Agent(model=model(), **option)]], model())


def test_offline_agents_are_chat_models():
    assert isinstance(build_model(Agent(model="offline:lead")), BaseChatModel)
