"""Samples of one agent come from one request where it says so, and stay nodes of their own."""

import asyncio
import itertools

import pytest
from clock import Clock
from fakes import FakeModel
from langchain_core.caches import InMemoryCache as LangChainCache
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_openai import ChatOpenAI
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import CachePolicy
from waiting import wait_until

from moa_graph import RETRY, Agent, MoAConfig, QuorumError, create_moa
from moa_graph.graph import deadlines, joint_samples
from moa_graph.runs.record import read_run

NODES = ["layer_1_a", "layer_1_a_2", "layer_1_a_3"]
CONFIG = {"configurable": {"thread_id": "1"}}


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """Wait long for samples that are to come: a busy machine starts threads late."""
    monkeypatch.setattr(joint_samples, "COLLECTION_TIMEOUT_S", 60.0)


@pytest.fixture
def hurried(monkeypatch):
    """Wait shortly for samples of which nobody knows whether they come."""
    monkeypatch.setattr(joint_samples, "COLLECTION_TIMEOUT_S", 0.05)


@pytest.fixture
def sampled(server):
    """Make an agent with three samples."""

    def make(samples=3, name="m", **options):
        options = {"max_retries": 0, "joint_samples": True} | options
        return Agent(model=f"openai:{name}", base_url=server.url, samples=samples, **options)

    return make


@pytest.fixture
def numbered(server):
    """Have a model number its answers: `1 word`, `2 word word`, ..."""

    def make(name="m", **behaviour):
        numbers = itertools.count(1)

        def reply(_):
            number = next(numbers)
            return f"{number}{' word' * number}"

        return server.model(name, reply=reply, **behaviour)

    return make


def graph_of(agent, layers=1, **options):
    compiled = {k: options.pop(k) for k in ("checkpointer", "cache") if k in options}
    return create_moa([{"a": agent}] * layers, FakeModel(answers=["done"]), **options).compile(
        **compiled
    )


def counts_of(server, model="m"):
    return [call.body.get("n", 1) for call in server.calls_of(model)]


def contents(result, nodes=NODES):
    return [result["proposals"][node]["content"] for node in nodes]


def test_proposal_says_that_its_tokens_are_a_share_of_a_request(server, sampled, numbered, invoke):
    numbered()
    numbered("other")
    alone = Agent(model="openai:other", base_url=server.url, max_retries=0)
    layer = {"a": sampled(), "b": alone}
    result = invoke(create_moa([layer], FakeModel(answers=["done"])).compile(), {"messages": "q"})
    shared = {node: p.get("joint_samples") for node, p in result["proposals"].items()}
    assert shared == {**dict.fromkeys(NODES, 3), "layer_1_b": None}
    assert read_run(result).calls[1].joint_samples == 3


def test_samples_of_a_layer_are_one_request(server, sampled, numbered, invoke):
    numbered()
    result = invoke(graph_of(sampled()), {"messages": "q"})
    [call] = server.calls_of("m")
    assert call.body["n"] == 3
    assert sorted(contents(result)) == ["1 word", "2 word word", "3 word word word"]
    assert result["messages"][-1].response_metadata["moa"]["answered"] == 3


def test_each_layer_asks_anew(server, sampled, numbered, invoke):
    numbered()
    invoke(graph_of(sampled(), layers=2), {"messages": "q"})
    assert counts_of(server) == [3, 3]
    assert "1 word" in str(server.calls[1].messages)


def test_requests_without_the_option_are_separate(server, sampled, invoke):
    invoke(graph_of(sampled(joint_samples=False)), {"messages": "q"})
    assert len(server.calls) == 3
    assert not any("n" in call.body for call in server.calls)


def test_request_is_the_separate_one_with_n(server, sampled, invoke):
    options = {"temperature": 0.7, "max_tokens": 9, "stop": ["x"], "system": "Be kind."}
    for joint in (False, True):
        invoke(graph_of(sampled(joint_samples=joint, **options)), {"messages": "q"})
    *separate, joint = [call.body for call in server.calls]
    assert [each | {"n": 3} for each in separate] == [joint] * 3


def test_samples_of_other_agents_are_other_requests(server, sampled, invoke):
    layer = {"a": sampled(2), "b": sampled(2, temperature=0.1), "c": sampled(1)}
    invoke(create_moa([layer], FakeModel(answers=["done"])).compile(), {"messages": "q"})
    asked = sorted(
        (call.body.get("temperature", 1), call.body.get("n", 1)) for call in server.calls
    )
    assert asked == [(0.1, 2), (1, 1), (1, 2)]


def test_tokens_add_up_to_those_of_the_request(server, sampled, numbered, invoke):
    numbered(cached=1)
    with get_usage_metadata_callback() as told:
        result = invoke(graph_of(sampled()), {"messages": "three words here"})
    proposals = [result["proposals"][node] for node in NODES]
    usages = [proposal["usage"] for proposal in proposals]
    assert sum(usage["input_tokens"] for usage in usages) == 3
    assert sorted(usage["input_tokens"] for usage in usages) == [0, 0, 3]
    assert sum(usage["output_tokens"] for usage in usages) == 2 + 3 + 4
    by_length = sorted(proposals, key=lambda each: len(each["content"]))
    written = [each["usage"]["output_tokens"] for each in by_length]
    assert written == sorted(written)
    summary = result["messages"][-1].response_metadata["moa"]
    assert summary["usage"]["total_tokens"] == 12
    assert [each["total_tokens"] for each in told.usage_metadata.values()] == [12]


def test_tokens_of_choices_that_a_server_does_not_count_are_not_known(server, sampled, invoke):
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    server.model("m", completion={"usage": usage, "timings": {"predicted_n": 2}})
    result = invoke(graph_of(sampled()), {"messages": "q"})
    usages = [result["proposals"][node]["usage"] for node in NODES]
    assert sorted(usages, key=bool)[:2] == [None, None]
    summary = result["messages"][-1].response_metadata["moa"]
    assert summary["usage"]["total_tokens"] == 7
    assert len(summary["usage_unknown"]) >= 2


def test_server_that_refuses_n_is_asked_separately_and_that_is_remembered(
    server, sampled, numbered, invoke
):
    numbered(choices=1)
    result = invoke(graph_of(sampled(), layers=2), {"messages": "q"})
    assert counts_of(server) == [3, *[1] * 6]
    assert len(set(contents(result))) == 3
    assert result["messages"][-1].response_metadata["moa"]["failed"] == []


def test_server_that_takes_fewer_choices_is_asked_for_as_many(server, sampled, numbered, invoke):
    numbered(choices=2)
    result = invoke(graph_of(sampled(5)), {"messages": "q"})
    assert counts_of(server)[0] == 5
    assert sorted(counts_of(server)[1:]) == [1, 2, 2]
    assert len({each["content"] for each in result["proposals"].values()}) == 5


def test_server_that_ignores_n_is_asked_for_the_rest(server, sampled, numbered, invoke):
    numbered(ignores_n=True)
    result = invoke(graph_of(sampled(), layers=2), {"messages": "q"})
    assert counts_of(server) == [3, *[1] * 5]
    assert len(set(contents(result))) == 3


def test_request_that_is_refused_for_another_reason_fails_as_separate_ones_do(
    server, sampled, invoke
):
    server.model("m", always=400)
    with pytest.raises(QuorumError) as raised:
        invoke(graph_of(sampled()), {"messages": "q"})
    assert list(raised.value.failures) == NODES
    assert counts_of(server) == [3, 1, 1, 1]


def test_choice_that_fails_is_a_failure_of_its_sample_alone(server, sampled, numbered, invoke):
    numbered(
        choice_parts={
            0: {"error": {"message": "the GPU fell over"}, "message": {"content": "begun"}},
            1: {"message": {"role": "assistant", "content": ""}},
        }
    )
    result = invoke(graph_of(sampled(4), quorum=1), {"messages": "q"})
    proposals = result["proposals"].values()
    errors = sorted(each["error"] for each in proposals if each["error"])
    assert len(errors) == 2
    assert errors[0].startswith("empty answer")
    assert errors[1].startswith("the answer ended in an error")
    assert "the GPU fell over" in errors[1]
    assert [p["partial_content"] for p in proposals if p.get("partial_content")] == ["begun"]
    assert counts_of(server) == [4]
    whole = result["messages"][-1].response_metadata["moa"]["usage"]
    assert whole["output_tokens"] == sum(each["usage"]["output_tokens"] for each in proposals)


def test_failed_samples_are_asked_again_together(server, sampled, numbered, invoke):
    behaviour = numbered(choice_parts={1: {"message": {"content": ""}}, 2: {"message": {}}})
    graph = graph_of(sampled(4), quorum=4, checkpointer=InMemorySaver())
    with pytest.raises(QuorumError):
        invoke(graph, {"messages": "q"}, CONFIG)
    behaviour.choice_parts.clear()
    result = invoke(graph, None, CONFIG)
    assert counts_of(server) == [4, 2]
    assert result["messages"][-1].text == "done"


def test_request_that_fails_fails_all_samples_and_resuming_makes_one(
    server, sampled, numbered, invoke
):
    numbered(faults=[500])
    graph = graph_of(sampled(), checkpointer=InMemorySaver())
    with pytest.raises(QuorumError):
        invoke(graph, {"messages": "q"}, CONFIG)
    invoke(graph, None, CONFIG)
    assert counts_of(server) == [3, 3]


def test_sample_that_is_asked_for_again_is_a_request_of_its_own(server, sampled, numbered, invoke):
    numbered()
    graph = graph_of(sampled(), checkpointer=InMemorySaver())
    before = invoke(graph, {"messages": "q"}, CONFIG)
    update = {"proposals": {NODES[1]: {"error": RETRY}}}
    fork = graph.update_state(CONFIG, update, as_node="layer_1_aggregator")
    after = invoke(graph, None, fork)
    assert counts_of(server) == [3, 1]
    assert [a == b for a, b in zip(contents(before), contents(after), strict=True)] == [1, 0, 1]


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_stopped_layer_asks_only_for_samples_that_are_not_stored(
    server, sampled, numbered, hurried, lost
):
    numbered()
    saver, agent = InMemorySaver(), sampled()

    def build(other):
        layer = {"a": agent, "b": other}
        return create_moa([layer], FakeModel(answers=["done"])).compile(checkpointer=saver)

    async def stop():
        stuck = FakeModel(answers=["b"], until=lambda: False)
        run = asyncio.create_task(build(stuck).ainvoke({"messages": "q"}, CONFIG))
        await wait_until(lambda: _stored(saver) == 3)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)

    asyncio.run(stop())
    _forget(saver, lost)
    result = asyncio.run(build(FakeModel(answers=["b"])).ainvoke(None, CONFIG))
    assert counts_of(server) == [3, *([lost] if lost else [])]
    assert len({*contents(result)}) == 3
    assert result["messages"][-1].text == "done"


def _stored(saver):
    newest = saver.get_tuple(CONFIG)
    if newest is None:
        return 0
    return len([1 for _, channel, _ in newest.pending_writes or () if channel == "proposals"])


def _forget(saver, count):
    """Lose what some nodes wrote, as a process does that is killed before it stores them."""
    writes = saver.writes["1", "", saver.get_tuple(CONFIG).checkpoint["id"]]
    proposals = [key for key, write in writes.items() if write[1] == "proposals"]
    for task, _ in proposals[:count]:
        for key in [key for key in writes if key[0] == task]:
            del writes[key]


def test_choices_from_langchains_cache_cost_nothing(server, numbered, invoke):
    numbered()
    model = ChatOpenAI(model="m", base_url=server.url, api_key="none", cache=LangChainCache())
    graph = graph_of(Agent(model=model, samples=3, joint_samples=True))
    before, after = (invoke(graph, {"messages": "q"}) for _ in range(2))
    assert counts_of(server) == [3]
    assert sorted(contents(before)) == sorted(contents(after))
    summary = after["messages"][-1].response_metadata["moa"]
    assert summary["cached"] == NODES
    assert summary["usage"]["total_tokens"] == 0
    saved = before["messages"][-1].response_metadata["moa"]["usage"]["total_tokens"]
    assert summary["saved_usage"]["total_tokens"] == saved


def test_cached_samples_are_not_asked_for(server, sampled, numbered, invoke):
    numbered()
    cache = InMemoryCache()
    options = {"cache": cache, "cache_policy": CachePolicy()}
    invoke(graph_of(sampled(2), **options), {"messages": "q"})
    result = invoke(graph_of(sampled(4), **options), {"messages": "q"})
    assert counts_of(server) == [2, 2]
    assert len({each["content"] for each in result["proposals"].values()}) == 4
    assert len(result["messages"][-1].response_metadata["moa"]["cached"]) == 2


def test_streamed_proposals_are_asked_for_separately(server, sampled, stream):
    graph = graph_of(sampled(), stream_proposals=True)
    parts = stream(graph, {"messages": "q"}, stream_mode="messages")
    assert counts_of(server) == [1, 1, 1]
    assert {metadata["langgraph_node"] for _, metadata in parts} >= set(NODES)


def test_hidden_samples_are_one_request_where_a_host_streams(server, sampled, numbered, stream):
    numbered()
    parts = stream(graph_of(sampled()), {"messages": "q"}, stream_mode=["messages", "values"])
    assert counts_of(server) == [3]
    assert not server.calls[0].streamed
    assert len(set(contents(parts[-1][1]))) == 3


@pytest.mark.parametrize("most", [1, 2])
def test_bounded_concurrency_ends(server, sampled, numbered, invoke, hurried, most):
    numbered()
    result = invoke(graph_of(sampled()), {"messages": "q"}, {"max_concurrency": most})
    assert sum(counts_of(server)) == 3
    assert len(set(contents(result))) == 3


def test_runs_beside_each_other_have_requests_of_their_own(server, sampled):
    graph = graph_of(sampled())

    async def run():
        return await asyncio.gather(*(graph.ainvoke({"messages": f"q{i}"}) for i in range(4)))

    asyncio.run(run())
    assert counts_of(server) == [3] * 4
    assert {call.messages[-1]["content"] for call in server.calls} == {"q0", "q1", "q2", "q3"}


def test_roles_that_are_refused_are_changed_for_all_samples(server, sampled, invoke):
    server.model("m", faults=[400])
    agent = sampled(system="Be kind.", message_roles="no_system")
    invoke(graph_of(agent), {"messages": "q"})
    assert counts_of(server)[0] == 3
    assert "system" not in {m["role"] for call in server.calls for m in call.messages}


def test_samples_are_asked_for_together_again_in_roles_that_the_model_takes(
    server, sampled, numbered, invoke
):
    numbered(refuses_system=True)
    result = invoke(graph_of(sampled(system="Be kind.")), {"messages": "q"})
    assert counts_of(server) == [3, 3]
    assert len(set(contents(result))) == 3


def test_samples_are_asked_for_together_again_with_a_shorter_prompt(
    server, sampled, numbered, invoke
):
    numbered(context=600)
    server.model("long", reply="word " * 2_000)
    first = Agent(model="openai:long", base_url=server.url)
    graph = create_moa([[first], {"a": sampled()}], FakeModel(answers=["done"])).compile()
    result = invoke(graph, {"messages": "q"})
    assert counts_of(server) == [3, 3]
    assert result["proposals"]["layer_2_a"]["refused_prompt"]
    assert len(set(contents(result, [node.replace("1", "2", 1) for node in NODES]))) == 3


def test_samples_that_are_refused_for_good_end(server, sampled, invoke, hurried):
    server.model("m", context=1)
    with pytest.raises(QuorumError, match="0 of 3 proposers answered"):
        invoke(graph_of(sampled()), {"messages": "a question of words"})


def test_chat_model_of_the_users_own_takes_n(server, invoke):
    model = ChatOpenAI(model="m", base_url=server.url, api_key="none", temperature=0.5)
    agents = [
        Agent(model=each, samples=2, joint_samples=True)
        for each in (model, model.bind(stop=["x"]), model.with_retry())
    ]
    for agent in agents:
        invoke(graph_of(agent), {"messages": "q"})
    assert counts_of(server) == [2, 2, 2]
    assert server.calls[1].body["stop"] == ["x"]


def test_request_that_is_cut_off_is_cut_off_for_all_samples(server, sampled, monkeypatch):
    clock = Clock(monkeypatch, deadlines)
    server.model("m", until=lambda: False)
    layer = {"a": sampled(2), "b": FakeModel(answers=["b"])}
    graph = create_moa([layer], FakeModel(answers=["done"]), quorum=1, grace=5.0).compile()

    async def run():
        task = asyncio.create_task(graph.ainvoke({"messages": "q"}))
        await wait_until(lambda: len(server.calls) == 1)
        clock.advance(6.0)
        return await task

    result = asyncio.run(run())
    server.settle()
    [call] = server.calls
    assert call.body["n"] == 2
    assert not call.answered
    for node in NODES[:2]:
        assert "the grace of 5 s over" in result["proposals"][node]["error"]
        assert result["proposals"][node]["may_be_billed"]


def test_cancelled_run_cancels_its_request(server, sampled):
    server.model("m", until=lambda: False)
    graph = graph_of(sampled())

    async def run():
        task = asyncio.create_task(graph.ainvoke({"messages": "q"}))
        await wait_until(lambda: len(server.calls) == 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await wait_until(lambda: server.calls[0].ended)

    asyncio.run(run())
    assert not server.calls[0].answered


@pytest.mark.parametrize(
    "model", ["offline:lead", "anthropic:claude-sonnet-4-5", FakeModel(answers=["x"])]
)
def test_model_that_takes_no_n_is_refused(model):
    with pytest.raises(ValueError, match="`joint_samples`=True has no effect on"):
        Agent(model=model, samples=3, joint_samples=True)


def test_aggregator_with_joint_samples_is_refused(sampled):
    with pytest.raises(ValueError, match="`joint_samples`=True: an aggregator is called once"):
        create_moa([["offline:lead"]], sampled(1))


def test_toml_says_it(server, tmp_path, invoke):
    path = tmp_path / "x.toml"
    path.write_text(
        'layers = [["m"]]\naggregator = "offline:lead"\n[agents.m]\nmodel = "openai:m"\n'
        f'base_url = "{server.url}"\nsamples = 3\njoint_samples = true\n'
    )
    invoke(MoAConfig.load(path).graph().compile(), {"messages": "q"})
    assert counts_of(server) == [3]
