"""A mixture as a chat model: what LangChain's code sees of it."""

import asyncio
import copy
import pickle
import threading
from functools import reduce
from operator import add

import pytest
from fakes import FakeModel, Heard
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.load import dumps
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField, RunnableLambda
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt
from openai import APIConnectionError
from pydantic import BaseModel, SecretStr
from typing_extensions import TypedDict
from waiting import PATIENCE, wait_until

from moa_graph import (
    Agent,
    AggregatorError,
    ChatMoA,
    MoAConfig,
    QuorumError,
    create_moa,
)

ANSWER = "the final answer comes in many small words"
KEY = "sk-a-key-of-somebody"


def agent(server, name, **options):
    return Agent(model=f"openai:{name}", base_url=server.url, max_retries=0, **options)


@pytest.fixture
def moa(server):
    """A chat model of two layers over real HTTP."""
    server.model("writer", reply=ANSWER)

    def make(**options):
        layer = {"a": agent(server, "a"), "b": agent(server, "b")}
        return ChatMoA(**{"layers": [layer] * 2, "aggregator": agent(server, "writer")} | options)

    return make


def paid(server):
    """The tokens of all calls that the server answered, as its words are counted."""
    replies = {"writer": len(ANSWER.split())}
    asked = sum(len(m["content"].split()) for call in server.calls for m in call.messages)
    return asked, sum(replies.get(call.model, 3) for call in server.calls)


def test_mixture_takes_the_place_of_a_model_in_a_chain(moa, invoke):
    chain = ChatPromptTemplate([("user", "{question}")]) | moa() | StrOutputParser()
    assert invoke(chain, {"question": "q"}) == ANSWER


def test_chain_streams_the_answer_word_by_word(moa, stream):
    chain = ChatPromptTemplate([("user", "{question}")]) | moa() | StrOutputParser()
    pieces = [piece for piece in stream(chain, {"question": "q"}) if piece]
    assert "".join(pieces) == ANSWER
    assert len(pieces) == len(ANSWER.split())


def test_answer_counts_all_calls_and_says_how_it_came_about(moa, server, invoke):
    answer = invoke(moa(), "q")
    usage = answer.usage_metadata
    assert (usage["input_tokens"], usage["output_tokens"]) == paid(server)
    assert len(server.calls) == 5
    account = answer.response_metadata["moa"]
    assert (account["layers"], account["asked"], account["answered"]) == (2, 4, 4)
    assert account["usage"] == usage
    assert answer.response_metadata["model_name"] == "moa"


def test_stream_ends_with_the_same_usage_and_account(moa, server, stream):
    whole = moa().invoke("q")
    server.calls.clear()
    chunks = stream(moa(), "q")
    assert sum(chunk.usage_metadata is not None for chunk in chunks) == 1
    assert chunks[-1].chunk_position == "last"
    merged = reduce(add, chunks)
    assert merged.text == whole.text
    assert merged.usage_metadata == whole.usage_metadata
    for key in ("model_name", "finish_reason"):
        assert merged.response_metadata[key] == whole.response_metadata[key]
    for key in ("asked", "received", "aggregator", "usage"):
        assert merged.response_metadata["moa"][key] == whole.response_metadata["moa"][key]
    assert [call.model for call in server.calls if call.streamed] == ["writer"]


@pytest.mark.parametrize("role", ["proposer", "aggregator", "graph"])
def test_nested_mixture_is_counted_once(role, moa, server, stream):
    inner, writer = moa(layers=[[agent(server, "a")]], model_name="inner"), agent(server, "writer")
    if role == "graph":
        layers = [[create_moa([[agent(server, "a")]], writer)]]
    else:
        layers = [[inner if role == "proposer" else agent(server, "a")]]
    outer = moa(layers=layers, aggregator=inner if role == "aggregator" else writer)
    merged = reduce(add, stream(outer, "q"))
    assert merged.text == ANSWER
    usage = merged.usage_metadata
    assert (usage["input_tokens"], usage["output_tokens"]) == paid(server)
    assert merged.response_metadata["model_name"] == "moa"
    if role != "graph":  # what is inside a graph is left as it is
        assert sum(call.streamed for call in server.calls) == 1


def test_aggregator_that_cannot_stream_answers_in_one_chunk(moa, server, stream):
    chain = ChatOpenAI(model="writer", base_url=server.url, api_key="x") | StrOutputParser()
    chunks = stream(moa(aggregator=chain), "q")
    assert reduce(add, chunks).text == ANSWER
    assert sum(bool(chunk.text) for chunk in chunks) == 1


def test_failed_proposer_is_left_out(moa, server, invoke):
    server.model("b", always=500)
    account = invoke(moa(), "q").response_metadata["moa"]
    assert account["failed"] == ["layer_1_b", "layer_2_b"]


def test_lost_quorum_and_lost_aggregator_surface_as_they_are(moa, server, invoke, stream):
    server.model("b", always=500)
    with pytest.raises(QuorumError, match="layer_1_b"):
        invoke(moa(quorum=2), "q")
    server.model("writer", always=500)
    with pytest.raises(AggregatorError, match="aggregator: "):
        stream(moa(), "q")


def test_fallback_answers_before_a_stream_has_begun(moa, server, stream):
    server.model("writer", always=500)
    server.model("spare", reply=ANSWER)
    merged = reduce(add, stream(moa(fallbacks=[agent(server, "spare")]), "q"))
    assert merged.text == ANSWER
    assert list(merged.response_metadata["moa"]["errors"]) == ["aggregator"]


def test_stream_that_breaks_off_before_a_word_goes_on_with_the_fallback(moa, server, stream):
    begun = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
    server.model("writer", events=[{"object": "chat.completion.chunk", "choices": [begun]}])
    server.model("spare", reply=ANSWER)
    merged = reduce(add, stream(moa(fallbacks=[agent(server, "spare")]), "q"))
    assert merged.text == ANSWER
    assert list(merged.response_metadata["moa"]["errors"]) == ["aggregator"]


def test_extra_body_of_a_call_stands_beside_what_the_model_sends(moa, server, invoke):
    writer = Agent(model="openai:writer", base_url=server.url, max_tokens=7)
    invoke(moa(aggregator=writer).bind(extra_body={"top_k": 3}), "q")
    body = server.calls_of("writer")[0].body
    assert (body["max_tokens"], body["top_k"]) == (7, 3)


@pytest.fixture
def breaking(server):
    """Have the writer break off its answer when somebody has heard its first words."""
    heard = Heard()
    server.model(
        "writer",
        reply=ANSWER,
        always="truncate",
        until_token=lambda position: position < 2 or len(heard.words) > 1,
    )
    return {"callbacks": [heard]}


@pytest.mark.parametrize("spare", ["streaming", "whole"])
def test_stream_that_breaks_off_raises_rather_than_to_go_on_with_another(
    spare, moa, server, stream, breaking
):
    other = agent(server, "spare")
    if spare == "whole":
        other = ChatOpenAI(model="spare", base_url=server.url, api_key="x") | StrOutputParser()
    seen = []
    with pytest.raises(AggregatorError, match="aggregator: ") as caught:
        stream(moa(fallbacks=[other]) | RunnableLambda(seen.append), "q", breaking)
    assert seen == []
    assert isinstance(caught.value, APIConnectionError)  # as without a fallback
    assert isinstance(caught.value.__cause__, APIConnectionError)


def test_handlers_of_a_broken_stream_see_both_and_the_answer_is_the_fallback_s(
    moa, server, invoke, breaking
):
    server.model("spare", reply="another answer")
    answer = invoke(moa(fallbacks=[agent(server, "spare")], streaming=True), "q", breaking)
    assert answer.text == "another answer"
    assert {"the ", "another "} <= {*breaking["callbacks"][0].words}


async def test_closed_stream_cancels_the_calls(moa, server):
    server.model("writer", reply=ANSWER, until_token=lambda position: position < 1)
    chunks = moa().astream("q")
    async for chunk in chunks:
        if chunk.text:
            break
    await chunks.aclose()
    call = server.calls_of("writer")[0]
    await wait_until(lambda: call.ended)
    assert not call.answered


async def test_cancelled_call_cancels_the_proposers(moa, server):
    server.model("a", always="hang")
    running = asyncio.create_task(moa().ainvoke("q"))
    await wait_until(lambda: server.calls_of("a"))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    call = server.calls_of("a")[0]
    await wait_until(lambda: call.ended)
    assert not call.answered


class Runs(BaseCallbackHandler):
    """Notes which runs begin inside which."""

    def __init__(self):
        self.parents, self.names, self.tokens = {}, {}, []

    def on_chat_model_start(self, *_, run_id, parent_run_id=None, metadata=None, **__):
        self.parents[run_id], self.names[run_id] = parent_run_id, metadata["ls_model_name"]

    def on_chain_start(self, *_, run_id, parent_run_id=None, **__):
        self.parents[run_id] = parent_run_id

    def on_llm_new_token(self, token, *, run_id, **_):
        self.tokens.append((self.names[run_id], token))

    def root(self, run_id):
        while parent := self.parents[run_id]:
            run_id = parent
        return self.names[run_id]


def test_callbacks_see_the_calls_inside_as_parts_of_the_model_s(moa, invoke, stream):
    for call in (invoke, stream):
        runs = Runs()
        call(moa(), "q", {"callbacks": [runs]})
        assert sorted(runs.names.values()) == ["a", "a", "b", "b", "moa", "writer"]
        assert {runs.root(run) for run in runs.names} == {"moa"}


def test_tokens_are_told_of_within_invoke_where_streaming_is_wanted(moa, invoke):
    runs = Runs()
    assert invoke(moa(streaming=True), "q", {"callbacks": [runs]}).text == ANSWER
    assert "".join(token for name, token in runs.tokens if name == "moa") == ANSWER


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"layers": []}, r"`layers`: expected a list of layers.*got \[\]"),
        ({"layers": [["gpt-4o"]]}, r"`layers\[0\]`\[0\]: expected 'provider:model'"),
        ({"quorum": 5}, "`quorum`=5: expected a number of proposers from 1 to 2"),
        ({"references_in": "tool"}, "`references_in`='tool': expected"),
        ({"aggregator": Agent(model="offline:lead", samples=2)}, "an aggregator is called once"),
        ({"aggregator": "openai:gpt-4o"}, "needs a key: set the environment variable"),
    ],
)
def test_mistakes_are_told_at_construction_as_create_moa_tells_them(options, error):
    good = {"layers": [["offline:lead", "offline:bm25"]], "aggregator": "offline:consensus"}
    with pytest.raises(ValueError, match=error) as told:
        ChatMoA(**good | options)
    with pytest.raises(ValueError, match=error) as by_graph:
        create_moa(**good | options)
    assert str(told.value) == str(by_graph.value)


def test_unknown_option_is_refused():
    with pytest.raises(ValueError, match="unknown option 'temperature'; expected one of: layers"):
        ChatMoA(layers=[["offline:lead"]], aggregator="offline:lead", temperature=0.7)


@pytest.mark.parametrize(
    ("given", "missing"), [({"layers": [["openai:x"]]}, "aggregator"), ({}, "layers")]
)
def test_missing_option_is_named_in_one_sentence(given, missing):
    with pytest.raises(ValueError, match=f"^`{missing}` is missing; expected `layers` and") as told:
        ChatMoA(**given)
    assert "pydantic" not in str(told.value)


def test_layers_and_aggregator_need_no_names_as_in_create_moa():
    moa = ChatMoA([["offline:lead"]], "offline:consensus", quorum=1)
    assert (moa.layers, moa.aggregator, moa.quorum) == ([["offline:lead"]], "offline:consensus", 1)


def test_lazy_model_needs_its_keys_at_the_first_call():
    moa = ChatMoA(layers=[["openai:gpt-4o"]], aggregator="openai:gpt-4o", lazy=True)
    with pytest.raises(ValueError, match="OPENAI_API_KEY"):
        moa.invoke("q")


def test_configuration_makes_a_chat_model():
    moa = MoAConfig.load("offline").chat_model(quorum=0.9)
    assert (moa.model_name, moa.quorum) == ("offline", 0.9)
    assert "tree" in moa.invoke("Where is it? It is under the tree.").text


def test_options_of_a_call_are_the_writer_s_alone(moa, server, invoke):
    server.model("writer", always=500)
    model = moa(fallbacks=[agent(server, "spare")], stop=["END"])
    invoke(model, "q", temperature=0.3)
    invoke(model, "q", stop=["HALT"])
    for name in ("writer", "spare"):
        first, second = server.calls_of(name)
        assert (first.body["temperature"], first.body["stop"]) == (0.3, ["END"])
        assert second.body["stop"] == ["HALT"]
    for call in [*server.calls_of("a"), *server.calls_of("b")]:
        assert not call.body.keys() & {"temperature", "stop"}


def test_messages_are_left_as_they_are_and_may_repeat(moa, server, invoke):
    again = HumanMessage("again")
    invoke(moa(), [again, AIMessage("yes"), again])
    assert again.id is None
    assert [m["content"] for m in server.calls_of("a")[0].messages] == ["again", "yes", "again"]


class Joke(BaseModel):
    """A joke."""

    setup: str
    punchline: str


class JokeDict(TypedDict):
    """A joke."""

    setup: str
    punchline: str


TOLD = {"setup": "Why?", "punchline": "Because."}


@pytest.mark.parametrize("schema", [Joke, JokeDict, Joke.model_json_schema()])
def test_structured_output_in_every_form(schema, moa, server, invoke, stream):
    server.model("writer", reply={"Joke" if schema is not JokeDict else "JokeDict": TOLD})
    wanted = Joke(**TOLD) if schema is Joke else TOLD
    model = moa().with_structured_output(schema)
    assert invoke(model, "a joke") == wanted
    assert stream(model, "a joke")[-1] == wanted
    assert server.calls_of("writer")[0].body["tool_choice"] == "required"
    assert "- Joke" in server.calls_of("a")[0].messages[0]["content"]
    assert '"punchline"' in server.calls_of("a")[0].messages[0]["content"]
    raw = invoke(moa().with_structured_output(schema, include_raw=True), "a joke")
    assert (raw["parsed"], raw["parsing_error"]) == (wanted, None)
    assert raw["raw"].usage_metadata["output_tokens"] > 0


def test_batch_answers_side_by_side(moa, server):
    server.model("writer", reply=lambda body: body["messages"][-1]["content"])
    assert [m.text for m in moa().batch(["1", "2", "3"])] == ["1", "2", "3"]


async def test_layers_of_calls_side_by_side_do_not_share_their_time():
    """Though the node of a graph that calls them has one thread and one checkpoint."""
    gone_on = threading.Event()
    layer = [FakeModel(name="slow", until=gone_on.is_set), FakeModel(name="quick")]
    patient = ChatMoA(layers=[layer], aggregator=FakeModel(), quorum=1, grace=PATIENCE)
    hasty = ChatMoA(layers=[layer], aggregator=FakeModel(), quorum=1, grace=0.1)

    async def go_on():
        answer = await hasty.ainvoke("q")
        gone_on.set()
        return answer

    async def host(_):
        return {"messages": await asyncio.gather(patient.ainvoke("q"), go_on())}

    builder = StateGraph(MessagesState)
    builder.add_node("host", host)
    builder.add_edge(START, "host")
    graph = builder.compile(checkpointer=InMemorySaver())
    state = await graph.ainvoke({"messages": "q"}, {"configurable": {"thread_id": "1"}})
    failed = [message.response_metadata["moa"]["failed"] for message in state["messages"][1:]]
    assert failed == [[], ["layer_1_slow"]]


@pytest.mark.parametrize(
    "same",
    [
        copy.copy,
        copy.deepcopy,
        lambda model: pickle.loads(pickle.dumps(model)),
        lambda model: model.model_copy(),
        lambda model: model.with_config(tags=["mine"]),
        lambda model: model.with_retry(),
        lambda model: model.with_fallbacks([FakeModel()]),
        lambda model: model.bind(stop=["x"]).with_config(run_name="mine"),
    ],
)
def test_model_works_in_every_wrapping(same, moa, stream):
    first = moa()
    first.invoke("q")
    assert reduce(add, stream(same(first), "q")).text == ANSWER


def test_options_can_be_configured_and_changed(moa):
    model = moa().configurable_fields(model_name=ConfigurableField("name"))
    config = {"configurable": {"name": "other"}}
    assert model.invoke("q", config).response_metadata["model_name"] == "other"
    changed = moa().model_copy(update={"layers": [["offline:lead"]]})
    assert changed.invoke("q").response_metadata["moa"]["asked"] == 1


def test_retry_asks_again_after_a_lost_quorum(moa, server):
    server.model("a", faults=[500])
    model = moa(quorum=2).with_retry(wait_exponential_jitter=False)
    assert model.invoke("q").text == ANSWER


def test_cache_tells_mixtures_apart(server):
    cache = InMemoryCache()
    layers = [[agent(server, "a", temperature=t)] for t in (0.1, 0.1, 0.9)]
    for layer in layers:
        ChatMoA(layers=[layer], aggregator=agent(server, "w"), cache=cache).invoke("q")
    assert len(server.calls_of("w")) == 2


def test_keys_are_in_nothing_that_is_traced(server, monkeypatch):
    monkeypatch.setenv("SOME_KEY", "another-key-of-mine")
    model = ChatOpenAI(model="a", base_url=server.url, api_key=KEY, default_headers={"x": KEY})
    named = agent(server, "w", api_key_env="SOME_KEY")
    moa = ChatMoA(layers=[[model, model | StrOutputParser()]], aggregator=named)
    traced = []

    class Tracer(BaseCallbackHandler):
        def on_chat_model_start(self, serialized, messages, **told):
            if not told["parent_run_id"]:  # what ChatOpenAI tells of itself is its own
                traced.append(repr((serialized, told)))

    class KeyCache(InMemoryCache):
        def lookup(self, prompt, llm_string):
            traced.append(llm_string)

    moa.cache = KeyCache()
    moa.invoke("q", {"callbacks": [Tracer()]})
    assert len(traced) == 2
    for text in (repr(moa), dumps(moa), *traced):
        assert KEY not in text
        assert "another-key" not in text


def test_error_of_a_writer_that_is_called_with_options_repeats_no_key():
    class Leaky(FakeModel):
        api_key: SecretStr = SecretStr("plain-secret")

    writer = Leaky(answers=[ValueError("wrong key: plain-secret")])
    with pytest.raises(AggregatorError, match=r"wrong key: \*\*\*"):
        ChatMoA(layers=[["offline:lead"]], aggregator=writer).invoke("q", stop=["x"])


def test_proposer_that_waits_for_a_human_is_refused(moa):
    with pytest.raises(RuntimeError, match="was interrupted"):
        moa(layers=[[RunnableLambda(interrupt)]]).invoke("q")


def test_first_token_does_not_wait_for_the_answer(moa, server):
    seen = threading.Event()
    rest = {"until_token": lambda position: position < 1 or seen.is_set()}
    server.model("writer", reply=ANSWER, **rest)
    chunks = moa().stream("q")
    first = next(chunk for chunk in chunks if chunk.text)
    assert isinstance(first, AIMessageChunk)
    assert first.text == "the "
    seen.set()
    assert first.text + "".join(chunk.text for chunk in chunks) == ANSWER


class TokenModel(FakeModel):
    """Streams its pieces as they are."""

    pieces: list[str]

    def _generate(self, *_, **__):
        message = AIMessage("".join(self.pieces))
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(self, *_, **__):
        for piece in self.pieces:
            yield ChatGenerationChunk(message=AIMessageChunk(content=piece))


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        (["<th", "ink>SECRET", "</think>", "ans"], "ans"),
        (["[THINK]SECRET[/TH", "INK]", "ans"], "ans"),
        (["ans ", "<think>SECRET</think>", "wer"], "ans wer"),
        (["go \ud83d", "\ude80 up"], "go \U0001f680 up"),
        (["Write <think", "> first."], "Write <think> first."),
    ],
)
def test_thoughts_of_any_model_are_no_part_of_a_stream(pieces, shown, stream):
    moa = ChatMoA(layers=[[FakeModel()]], aggregator=TokenModel(pieces=pieces))
    assert "".join(chunk.text for chunk in stream(moa, "q")) == shown
