"""Models that the config of a call completes stream, take tools and stay hidden as plain ones."""

import traceback

import pytest
from fakes import FakeModel
from langchain.agents import create_agent
from langchain.chat_models import init_chat_model
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from langchain_core.runnables import ConfigurableField, RunnableLambda
from langchain_openai import ChatOpenAI

from moa_graph import ChatMoA, MoAError, create_moa

KEY = "topsecret-0123456789"
CALL = {"weather": {"city": "Bergen"}}


def plain(name, url):
    return ChatOpenAI(model=name, base_url=url, api_key="x", max_retries=0)


def initialized(name, url, **options):
    given = {"base_url": url, "api_key": "x", "max_retries": 0, "model_provider": "openai"}
    return init_chat_model(name, **given, **options)


def with_fields(name, url):
    return plain(name, url).configurable_fields(model_name=ConfigurableField("model"))


MODELS = {
    "plain": plain,
    "init_chat_model": lambda *a: initialized(*a, configurable_fields=("model",)),
    "init_chat_model, any field": lambda *a: initialized(*a, configurable_fields="any"),
    "init_chat_model, prefix": lambda *a: initialized(
        *a, configurable_fields=("model",), config_prefix="my"
    ),
    "configurable_fields": with_fields,
    "configurable_alternatives": lambda *a: plain(*a).configurable_alternatives(
        ConfigurableField("which"), other=plain("other", a[1])
    ),
    "fields of fields": lambda *a: with_fields(*a).configurable_alternatives(
        ConfigurableField("which"), other=plain("other", a[1])
    ),
    "bound": lambda *a: initialized(*a, configurable_fields=("model",)).bind(stop=["never"]),
    "in a sequence": lambda *a: (lambda messages: messages) | with_fields(*a),
}


@pytest.fixture(params=MODELS)
def make(request, server):
    return lambda name: MODELS[request.param](name, server.url)


def weather(city: str) -> str:
    """Tell the weather."""
    return f"rain in {city}"


def test_the_answer_streams_and_proposers_stay_hidden(make, server, stream):
    server.model("writer", reply="one two three four five")
    graph = create_moa([{"a": make("proposer")}], make("writer")).compile()
    pieces = [m.text for m, _ in stream(graph, {"messages": "q"}, stream_mode="messages")]
    assert "".join(pieces) == "one two three four five"
    assert len(list(filter(None, pieces))) >= 5
    assert {call.model: call.streamed for call in server.calls} == {
        "proposer": False,
        "writer": True,
    }


def test_proposers_are_shown_where_that_is_wanted(make, server, stream):
    server.model("proposer", reply="six seven")
    graph = create_moa([{"a": make("proposer")}], make("w"), stream_proposals=True).compile()
    pieces = [m.text for m, _ in stream(graph, {"messages": "q"}, stream_mode="messages")]
    assert "six" in "".join(pieces)


def test_tools_are_called(make, server, invoke):
    server.model(
        "writer", reply=lambda body: CALL if body["messages"][-1]["role"] == "user" else "ok"
    )
    agent = create_agent(ChatMoA([{"a": make("proposer")}], make("writer")), [weather])
    messages = invoke(agent, {"messages": "q"})["messages"]
    assert [m.text for m in messages if m.type == "tool"] == ["rain in Bergen"]
    assert messages[-1].text == "ok"


@pytest.mark.parametrize("made_by", ["init_chat_model", "configurable_fields"])
def test_a_config_chooses_the_model_in_graph_and_chat_model(made_by, server, invoke):
    def make(name):
        return MODELS[made_by](name, server.url)

    for mixture, question in (
        (create_moa([{"a": make("p")}], make("w")).compile(), {"messages": "q"}),
        (ChatMoA([{"a": make("p")}], make("w")), "q"),
    ):
        server.calls.clear()
        invoke(mixture, question, {"configurable": {"model": "chosen"}})
        assert [call.model for call in server.calls] == ["chosen", "chosen"]
        assert not any(call.streamed for call in server.calls)


def test_a_model_without_a_default_is_made_by_the_config(server, invoke):
    model = init_chat_model(base_url=server.url, api_key="x", max_retries=0)
    config = {"configurable": {"model": "chosen", "model_provider": "openai"}}
    moa = ChatMoA([{"a": model}], model, lazy=True).bind_tools([weather])
    assert invoke(moa, "q", config).text
    assert [call.body.get("tools") is not None for call in server.calls] == [False, True]


def test_a_model_that_takes_no_tools_is_refused_at_once(server):
    model = FakeModel().configurable_fields(name=ConfigurableField("name"))
    with pytest.raises(NotImplementedError, match="FakeModel has no `bind_tools`"):
        ChatMoA([["offline:lead"]], model).bind_tools([weather])


def test_a_key_in_the_config_is_in_no_error(invoke):
    def refuse(_, config):
        raise PermissionError(f"wrong key {config['configurable']['api_key']}")

    model = RunnableLambda(refuse)
    config = {"configurable": {"api_key": KEY}}
    for layer, writer in ([[model], FakeModel()], [[FakeModel()], model]):
        with pytest.raises(MoAError, match=r"\*\*\*") as caught:
            invoke(create_moa([layer], writer).compile(), {"messages": "q"}, config)
        assert KEY not in "".join(traceback.format_exception(caught.value))


def test_langchains_cache_tells_what_was_configured_apart(server, invoke):
    server.model("x", reply="from x")
    server.model("y", reply="from y")
    moa = ChatMoA([["offline:lead"]], MODELS["init_chat_model"]("w", server.url))
    set_llm_cache(InMemoryCache())
    try:
        answers = [
            invoke(moa, "Hi. Who?", {"configurable": {"model": name, "thread_id": thread}}).text
            for name, thread in (("x", "1"), ("y", "1"), ("x", "2"))
        ]
    finally:
        set_llm_cache(None)
    assert answers == ["from x", "from y", "from x"]
    assert len(server.calls) == 2
