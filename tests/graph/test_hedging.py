"""Hedged requests: a second one where the first gives nothing, over real HTTP."""

import asyncio
from threading import Event

import pytest
from clock import Clock
from fakes import FakeModel
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableLambda
from langchain_openai import ChatOpenAI
from langgraph.cache.memory import InMemoryCache
from langgraph.types import CachePolicy
from openai import InternalServerError
from waiting import after, take_turns, wait_for, wait_until

from moa_graph import Agent, AggregatorError, MoAConfig, create_moa
from moa_graph.batch.input import batch_name
from moa_graph.graph import deadlines
from moa_graph.runs.record import read_run

SOON = 0.05  # seconds: a test waits for what comes then, not for the time
NEVER = 600.0


@pytest.fixture
def agent(server):
    """An agent of the local server that its client does not ask again."""

    def make(name, **options):
        return Agent(model=f"openai:{name}", base_url=server.url, **({"max_retries": 0} | options))

    return make


@pytest.fixture
def sent_twice(server):
    """Whether the second request of a model has arrived."""
    return lambda name: lambda: len(server.calls_of(name)) > 1


def ask(invoke, graph, *handlers):
    return invoke(graph.compile(), {"messages": "q"}, {"callbacks": [*handlers]})


def told(result):
    return result["messages"][-1].response_metadata["moa"]


def test_second_request_answers_in_the_place_of_one_that_hangs(server, agent, invoke):
    server.model("slow", faults=["hang"])
    result = ask(invoke, create_moa([[agent("slow", hedge=SOON), agent("fine")]], agent("w")))
    proposal = result["proposals"]["layer_1_slow"]
    assert proposal["content"] == "slow on q"
    assert proposal["hedged"]
    assert "hedged" not in result["proposals"]["layer_1_fine"]
    first, second = server.calls_of("slow")
    assert first.body == second.body
    assert told(result)["hedged"] == ["layer_1_slow"]


def test_tokens_of_the_request_that_was_given_up_are_unknown(server, agent, invoke):
    server.model("slow", faults=["hang"])
    result = ask(invoke, create_moa([[agent("slow", hedge=SOON)]], agent("w")))
    proposal = result["proposals"]["layer_1_slow"]
    assert proposal["usage"]["total_tokens"] == 4
    assert proposal["may_be_billed"]
    assert told(result)["usage_unknown"] == ["layer_1_slow"]
    run = read_run(result, prices={"openai:slow": (1, 1), "openai:w": (1, 1)})
    assert (run.usage_is_complete, run.cost_is_complete) == (False, False)
    assert [call.hedged for call in run.calls] == [True, False]


async def test_connection_of_the_request_that_lost_is_closed(server, agent):
    server.model("slow", faults=["hang"])
    await create_moa([[agent("slow", hedge=SOON)]], agent("w")).compile().ainvoke({"messages": "q"})
    first, second = server.calls_of("slow")
    await wait_until(lambda: first.ended)
    assert (first.answered, second.answered) == (False, True)


async def test_first_request_may_still_answer_first(server, agent, sent_twice):
    server.model("slow", faults=[None, "hang"], until=sent_twice("slow"))
    graph = create_moa([[agent("slow", hedge=SOON)]], agent("w")).compile()
    result = await graph.ainvoke({"messages": "q"})
    assert result["proposals"]["layer_1_slow"]["content"] == "slow on q"
    assert result["proposals"]["layer_1_slow"]["hedged"]
    first, second = server.calls_of("slow")
    await wait_until(lambda: second.ended)
    assert (first.answered, second.answered) == (True, False)


def test_call_that_answers_in_time_is_made_once(server, agent, invoke):
    result = ask(invoke, create_moa([[agent("a", hedge=NEVER)]], agent("w", hedge=NEVER)))
    assert [call.model for call in server.calls] == ["a", "w"]
    assert "hedged" not in result["proposals"]["layer_1_a"]
    assert "hedged" not in told(result)


def test_failure_that_comes_in_time_is_retried_by_the_client_and_not_hedged(server, agent, invoke):
    server.model("a", faults=[503])
    result = ask(invoke, create_moa([[agent("a", hedge=NEVER, max_retries=1)]], agent("w")))
    assert len(server.calls_of("a")) == 2
    assert "hedged" not in result["proposals"]["layer_1_a"]


@pytest.mark.parametrize("kind", ["name", "object", "bound"])
def test_client_does_not_ask_the_second_request_again(kind, server, agent, invoke):
    server.model("a", faults=[503])
    chat = ChatOpenAI(model="a", base_url=server.url, api_key="x", max_retries=3)
    model = {"name": "openai:a", "object": chat, "bound": chat.bind(stop=["END"])}[kind]
    named = {"base_url": server.url, "max_retries": 3} if kind == "name" else {}
    graph = create_moa([[Agent(model=model, hedge=SOON, **named)]], agent("w"))
    second = graph.spec.layers[0].agent_nodes[0].hedge_model
    with pytest.raises(InternalServerError):
        invoke(second, "q")
    assert len(server.calls_of("a")) == 1


def test_two_failures_are_one_and_tell_the_first_cause(server, agent, invoke, sent_twice):
    server.model("a", faults=[500, 503], until=sent_twice("a"))
    result = ask(invoke, create_moa([[agent("a", hedge=SOON), agent("b")]], agent("w")))
    proposal = result["proposals"]["layer_1_a"]
    assert "500" in proposal["error"]
    assert proposal["hedged"]
    assert told(result)["failed"] == ["layer_1_a"]
    assert len(server.calls_of("a")) == 2


def test_empty_answer_waits_for_the_other_request(server, agent, invoke, sent_twice):
    server.model("a", faults=["empty", None], until=sent_twice("a"))
    result = ask(invoke, create_moa([[agent("a", hedge=SOON)]], agent("w")))
    assert result["proposals"]["layer_1_a"]["content"] == "a on q"


async def test_grace_cuts_both_requests_off(server, agent, sent_twice):
    server.model("slow", always="hang")
    server.model("fine", until=sent_twice("slow"))
    layer = [agent("slow", hedge=SOON), agent("fine")]
    graph = create_moa([layer], agent("w"), quorum=1, grace=0).compile()
    result = await graph.ainvoke({"messages": "q"})
    assert result["proposals"]["layer_1_slow"]["error"].startswith("cut off: the quorum was")
    await wait_until(lambda: all(call.ended for call in server.calls_of("slow")))
    assert len(server.calls_of("slow")) == 2


async def test_cancelled_run_closes_both_connections(server, agent, sent_twice):
    server.model("slow", always="hang")
    graph = create_moa([[agent("slow", hedge=SOON)]], agent("w")).compile()
    run = asyncio.ensure_future(graph.ainvoke({"messages": "q"}))
    await wait_until(sent_twice("slow"))
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    await wait_until(lambda: all(call.ended for call in server.calls_of("slow")))


def test_node_that_runs_alone_sends_its_second_request(server, agent, invoke):
    server.model("slow", faults=["hang"])
    graph = create_moa([[agent("slow", hedge=SOON), agent("fine")]], agent("w")).compile()
    result = invoke(graph, {"messages": "q"}, {"max_concurrency": 1})
    assert told(result)["answered"] == 2


def test_next_fallback_is_asked_beside_an_aggregator_that_hangs(server, agent, invoke):
    server.model("w", faults=["hang"])
    writer = agent("w", hedge=SOON)
    result = ask(invoke, create_moa([[agent("a")]], writer, fallbacks=[agent("f"), agent("g")]))
    summary = told(result)
    assert result["messages"][-1].text == "f on q"
    assert [call.model for call in server.calls] == ["a", "w", "f"]
    assert (summary["aggregator"], summary["hedged"]) == ("openai:f", ["aggregator"])
    assert summary["errors"] == {"aggregator": "cut off: fallback_1 answered first"}
    assert summary["usage_unknown"] == ["aggregator"]
    assert [each["may_be_billed"] for each in summary["failed_calls"]] == [True]
    run = read_run(result)
    assert run.calls[-1].hedged
    assert not run.usage_is_complete


async def test_aggregator_that_answers_first_has_its_fallback_cut_off(server, agent):
    server.model("w", until=lambda: server.calls_of("f"))
    server.model("f", faults=["hang"])
    graph = create_moa([[agent("a")]], agent("w", hedge=SOON), fallbacks=[agent("f")]).compile()
    result = await graph.ainvoke({"messages": "q"})
    assert told(result)["aggregator"] == "openai:w"
    assert told(result)["errors"] == {"fallback_1": "cut off: aggregator answered first"}
    await wait_until(lambda: server.calls_of("f")[0].ended)


def test_aggregator_without_a_fallback_is_asked_once_more(server, agent, invoke):
    server.model("w", faults=["hang"])
    result = ask(invoke, create_moa([[agent("a")]], agent("w", hedge=SOON)))
    summary = told(result)
    assert result["messages"][-1].text == "w on q"
    assert len(server.calls_of("w")) == 2
    assert (summary["hedged"], summary["usage_unknown"]) == (["aggregator"], ["aggregator"])
    assert "failed_calls" not in summary
    assert not read_run(result).usage_is_complete


def test_failures_of_a_hedged_aggregator_are_told_in_order(server, agent, invoke):
    server.model("w", faults=[500], until=lambda: server.calls_of("f"))
    server.model("f", faults=[503])
    server.model("g", faults=[400])
    writers = [agent("f"), agent("g")]
    with pytest.raises(AggregatorError) as raised:
        ask(invoke, create_moa([[agent("a")]], agent("w", hedge=SOON), fallbacks=writers))
    assert list(raised.value.failures) == ["aggregator", "fallback_1", "fallback_2"]
    assert [each["node"] for each in raised.value.failed_calls] == list(raised.value.failures)
    assert raised.value.__cause__.status_code == 500
    assert [len(server.calls_of(name)) for name in "wfg"] == [1, 1, 1]


def test_judge_that_selects_is_hedged(server, agent, invoke):
    server.model("w", faults=["hang"], reply='{"selected": "1"}')
    graph = create_moa([[agent("a")]], agent("w", hedge=SOON), aggregation="select")
    result = ask(invoke, graph)
    assert result["messages"][-1].text == "a on q"
    first, second = server.calls_of("w")
    assert first.body == second.body


class ReadAnswers(BaseCallbackHandler):
    """Notes the answers that clients have read."""

    def __init__(self):
        self.texts = []

    def on_llm_end(self, response, **_):
        self.texts.append(response.generations[0][0].text)


def test_pick_that_cannot_be_read_waits_for_the_fallback(server, agent, invoke):
    server.model("w", reply="neither of them", until=lambda: server.calls_of("f"))
    read = ReadAnswers()
    # What was read has to be found wrong before the other answers, too.
    server.model("f", reply="1", until=after(lambda: "neither of them" in read.texts, looks=25))
    writers = {"fallbacks": [agent("f")], "aggregation": "select"}
    graph = create_moa([[agent("a")]], agent("w", hedge=SOON), **writers).compile()
    result = invoke(graph, {"messages": "q"}, {"callbacks": [read]})
    summary = told(result)
    assert result["messages"][-1].text == "a on q"
    assert (summary["aggregator"], summary["hedged"]) == ("openai:f", ["aggregator"])
    assert summary["errors"]["aggregator"].endswith("1 responses, got 'neither of them'")
    assert summary["usage_unknown"] == []
    [failed] = summary["failed_calls"]
    assert failed["usage"]["output_tokens"] == 3


def one_after_the_other(server, name, read):
    """Answer one of two requests when both have arrived, and the other when that has been read."""
    released, is_read = [], after(lambda: read.texts, looks=25)

    def may_answer():
        if released or len(server.calls_of(name)) < 2:
            return bool(released) and is_read()
        released.append("the first")
        return True

    return may_answer


def test_pick_that_cannot_be_read_waits_for_the_second_request(server, agent, invoke):
    replies, read = iter(["neither", "1"]), ReadAnswers()
    may_answer = one_after_the_other(server, "w", read)
    server.model("w", reply=lambda _: next(replies), until=may_answer)
    graph = create_moa([[agent("a")]], agent("w", hedge=SOON), aggregation="select")
    result = ask(invoke, graph, read)
    assert result["messages"][-1].text == "a on q"
    assert told(result)["aggregator_usage"]["output_tokens"] == 2


def test_two_picks_that_cannot_be_read_are_one_failure(server, agent, invoke, sent_twice):
    server.model("w", reply="neither", until=sent_twice("w"))
    graph = create_moa([[agent("a")]], agent("w", hedge=SOON), aggregation="select")
    with pytest.raises(AggregatorError, match="got 'neither'"):
        ask(invoke, graph)
    assert len(server.calls_of("w")) == 2


def test_call_of_a_tool_is_no_proposal_and_waits_for_the_other_request(server, agent, invoke):
    replies, read = iter([{"search": {"q": "x"}}, "found"]), ReadAnswers()
    may_answer = one_after_the_other(server, "a", read)
    server.model("a", reply=lambda _: next(replies), until=may_answer)
    result = ask(invoke, create_moa([[agent("a", hedge=SOON)]], agent("w")), read)
    assert result["proposals"]["layer_1_a"]["content"] == "found"


async def stream(graph):
    """Give the texts of the aggregator's messages by their ids."""
    texts = {}
    async for chunk, _ in graph.astream({"messages": "q"}, stream_mode="messages"):
        texts[chunk.id] = texts.get(chunk.id, "") + chunk.text
    return [text for text in texts.values() if text]


async def test_stream_that_gives_no_token_is_hedged_and_only_the_winner_is_seen(server, agent):
    server.model("w", faults=["hang"])
    graph = create_moa([[agent("a")]], agent("w", hedge=SOON)).compile()
    assert await stream(graph) == ["w on q"]
    await wait_until(lambda: all(call.ended for call in server.calls_of("w")))
    assert [call.streamed for call in server.calls_of("w")] == [True, True]


async def test_stream_that_has_begun_is_not_hedged(server, agent, monkeypatch):
    clock, begun, may_go_on = Clock(monkeypatch, deadlines), Event(), Event()
    server.model("w", until_token=lambda before: before < 2 or may_go_on.is_set())
    graph = create_moa([[agent("a")]], agent("w", hedge=10)).compile()
    texts = {}
    async for chunk, _ in graph.astream({"messages": "q"}, stream_mode="messages"):
        texts[chunk.id] = texts.get(chunk.id, "") + chunk.text
        if chunk.text and not begun.is_set():
            begun.set()
            clock.advance(11)
            await take_turns()
            may_go_on.set()
    assert list(filter(None, texts.values())) == ["w on q"]
    assert len(server.calls_of("w")) == 1


def test_sync_stream_that_lost_breaks_off_at_its_first_token_and_nobody_sees_it(server, agent):
    def is_answered():
        return any(call.answered for call in server.calls_of("f"))

    server.model("w", until_token=lambda before: before == 0 and is_answered())
    graph = create_moa([[agent("a")]], agent("w", hedge=SOON), fallbacks=[agent("f")]).compile()
    chunks = [chunk for chunk, _ in graph.stream({"messages": "q"}, stream_mode="messages")]
    assert "".join(chunk.text for chunk in chunks) == "f on q"
    wait_for(lambda: server.calls_of("w")[0].ended)
    assert not server.calls_of("w")[0].answered


def test_one_answer_of_a_hedged_call_is_cached(server, agent, invoke):
    server.model("slow", faults=["hang"])
    graph = create_moa([[agent("slow", hedge=SOON)]], agent("w"), cache_policy=CachePolicy())
    compiled = graph.compile(cache=InMemoryCache())
    results = [invoke(compiled, {"messages": "q"}) for _ in range(2)]
    assert len(server.calls_of("slow")) == 2
    again = results[1]["proposals"]["layer_1_slow"]
    assert again["cached"]["usage"]["total_tokens"] == 4
    assert not again.keys() & {"hedged", "may_be_billed"}


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("offline:lead", "`hedge`=1.0 has no effect on 'offline:lead'"),
        (RunnableLambda(str), "expected a chat model, whose call is one request"),
        (create_moa([["offline:lead"]], "offline:lead").compile(), "which may make many"),
    ],
    ids=["offline", "function", "graph"],
)
def test_what_makes_no_request_or_many_is_not_hedged(model, reason):
    with pytest.raises(ValueError, match=reason):
        Agent(model=model, hedge=1.0)


def test_chat_model_whose_client_cannot_be_kept_from_retrying_is_refused():
    class Retrying(FakeModel):
        max_retries: int = 2

    with pytest.raises(ValueError, match="set it up with `max_retries=0`"):
        create_moa([[Agent(model=Retrying(), hedge=1.0)]], "offline:lead")
    create_moa([[Agent(model=Retrying(max_retries=0), hedge=1.0)]], "offline:lead")


def test_hedge_stands_in_a_file_and_does_not_rename_a_batch(tmp_path):
    text = 'layers = [[{{ model = "openai:a"{} }}]]\naggregator = "offline:lead"\n'
    configs = []
    for number, option in enumerate(("", ", hedge = 2.5")):
        path = tmp_path / f"{number}.toml"
        path.write_text(text.format(option))
        configs.append(MoAConfig.load(path))
    plain, hedged = configs
    (layer_agent,) = hedged.layers[0].values()
    assert layer_agent.hedge == 2.5
    name = tmp_path / "out.jsonl"
    assert batch_name(name, plain) == batch_name(name, hedged)
