"""Mixtures of a real model answer, stream, and tell what the server counted."""

import pytest
from langchain_core.messages import AIMessage
from langchain_openai import ChatOpenAI

from moa_graph import ChatMoA, QuorumError, create_moa

pytestmark = pytest.mark.llm

QUESTION = "Why is the sky blue?"
REFUSE_SYSTEM = ["no_system", "alternating"]


@pytest.fixture
def mixture(agent):
    """Make a mixture of two proposers a layer, `a` and `b`, and the aggregator `w`."""

    def make(layers=1, aggregator=None, **options):
        layer = {name: agent(name) for name in ("a", "b")}
        return create_moa([layer] * layers, aggregator or agent("w"), **options).compile()

    return make


def usage_of(call):
    """Give what a server counted, in LangChain's words."""
    told = call.usage
    return {
        "input_tokens": told["prompt_tokens"],
        "output_tokens": told["completion_tokens"],
        "total_tokens": told["total_tokens"],
        "input_token_details": {"cache_read": told["prompt_tokens_details"]["cached_tokens"]},
        "output_token_details": {},
    }


def assert_counted(usage, calls):
    """See that a usage is the sum of what the server counted, call by call."""
    for name in ("input_tokens", "output_tokens", "total_tokens"):
        assert usage[name] == sum(usage_of(call)[name] for call in calls) > 0


@pytest.mark.parametrize(
    ("template", "context", "layers"),
    [("own", 1024, 2), ("gemma", 1024, 1)],
)
def test_mixture_answers(mixture, llama, layers, invoke):
    result = invoke(mixture(layers), {"messages": QUESTION})
    answer = result["messages"][-1]
    [written] = llama.calls_of("w")
    assert answer.text == written.text != ""
    account = answer.response_metadata["moa"]
    assert account["asked"] == account["answered"] == 2 * layers
    last = [llama.calls_of(name)[-1].text.strip() for name in ("a", "b")]
    assert written.messages[0]["content"].endswith(f"\n1. {last[0]}\n2. {last[1]}")
    assert len(llama.calls) == 2 * layers + 1


def test_usage_is_what_the_server_counted(mixture, llama, invoke):
    result = invoke(mixture(), {"messages": QUESTION})
    for name in ("a", "b"):
        [call] = llama.calls_of(name)
        assert result["proposals"][f"layer_1_{name}"]["usage"] == usage_of(call)
    [call] = llama.calls_of("w")
    answer = result["messages"][-1]
    assert answer.usage_metadata == usage_of(call)
    assert_counted(answer.response_metadata["moa"]["usage"], llama.calls)


def test_answer_streams_and_proposals_are_hidden(mixture, llama, stream):
    modes = ["messages", "values"]
    events = stream(mixture(), {"messages": QUESTION}, stream_mode=modes)
    seen = [event for mode, event in events if mode == "messages"]
    assert {metadata["langgraph_node"] for _, metadata in seen} == {"aggregator"}
    answer = events[-1][1]["messages"][-1]
    [written] = llama.calls_of("w")
    assert "".join(chunk.text for chunk, _ in seen) == answer.text == written.text != ""
    assert sum(bool(chunk.text) for chunk, _ in seen) > 1
    assert [call.model for call in llama.calls if call.streamed] == ["w"]
    assert_counted(answer.response_metadata["moa"]["usage"], llama.calls)


@pytest.fixture
def chat_model(llama):
    """The same as a chat model, of chat models that a host made."""

    def make(name):
        return ChatOpenAI(
            model=name,
            base_url=llama.url,
            api_key="none",
            max_tokens=16,
            temperature=0,
            max_retries=0,
            stream_usage=True,
        )

    return ChatMoA(layers=[{"a": make("a"), "b": make("b")}], aggregator=make("w"))


def test_chat_model_of_chat_models_answers(chat_model, llama, invoke):
    answer = invoke(chat_model, QUESTION)
    assert answer.text == llama.calls_of("w")[0].text != ""
    assert_counted(answer.usage_metadata, llama.calls)


def test_chat_model_of_chat_models_streams(chat_model, llama, stream):
    chunks = stream(chat_model, QUESTION)
    answer = sum(chunks[1:], chunks[0])
    assert answer.text == llama.calls_of("w")[0].text != ""
    assert sum(bool(chunk.text) for chunk in chunks) > 1
    assert_counted(answer.usage_metadata, llama.calls)
    assert len(llama.calls) == 3


@pytest.mark.parametrize("template", REFUSE_SYSTEM)
def test_proposers_answer_whatever_the_template(mixture, llama):
    """The first layer reads the conversation alone; its reader here asks no model."""
    result = mixture(aggregator="offline:consensus").invoke({"messages": QUESTION})
    for name in ("a", "b"):
        [call] = llama.calls_of(name)
        assert result["proposals"][f"layer_1_{name}"]["content"] == call.text.strip() != ""
        assert [message["role"] for message in call.messages] == ["user"]


@pytest.mark.parametrize("template", ["no_system"])
def test_refused_roles_are_asked_in_others_once_and_remembered(mixture, llama, invoke):
    for statuses in ([200, 200, 400, 200], [200, 200, 200]):
        llama.calls.clear()
        invoke(mixture(), {"messages": QUESTION})
        assert [call.status for call in llama.calls] == statuses
        [message] = llama.calls[-1].messages
        assert message["role"] == "user"
        assert message["content"].endswith(QUESTION)


@pytest.mark.parametrize("template", REFUSE_SYSTEM)
def test_roles_that_an_agent_is_said_to_take_are_not_refused(mixture, llama, agent):
    mixture(aggregator=agent("w", message_roles="no_system")).invoke({"messages": QUESTION})
    assert [call.status for call in llama.calls] == [200, 200, 200]


def test_question_that_is_too_long_is_told_in_the_servers_words(mixture, invoke):
    told = r"layer_1_a: .* exceeds the available context size \(1024 tokens\)"
    with pytest.raises(QuorumError, match=told):
        invoke(mixture(), {"messages": "word " * 1500})


@pytest.mark.parametrize(
    ("template", "references_in"), [("no_system", "user"), ("alternating", "system")]
)
def test_mixture_answers_without_a_system_role(mixture, references_in):
    result = mixture(references_in=references_in).invoke({"messages": QUESTION})
    assert isinstance(result["messages"][-1], AIMessage)


@pytest.mark.parametrize("template", ["gemma", "alternating"])
def test_messages_of_one_role_in_a_row_are_answered(mixture):
    graph = mixture(aggregator="offline:consensus")
    result = graph.invoke({"messages": [("user", "Be brief."), ("user", QUESTION)]})
    assert isinstance(result["messages"][-1], AIMessage)
