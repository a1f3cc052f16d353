"""The node cache: the same question costs nothing twice, and nothing else is taken for it."""

import asyncio
import sqlite3
import threading
from contextlib import closing

import pytest
from fakes import FakeModel
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from langgraph.cache.memory import InMemoryCache
from langgraph.cache.sqlite import SqliteCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import CachePolicy
from waiting import PATIENCE

from moa_graph import RETRY, Agent, create_moa
from moa_graph.graph import cache_calls
from moa_graph.runs.record import read_run

QUESTION = {"messages": "Why is the sky blue?"}


@pytest.fixture(autouse=True)
def _patience(monkeypatch):
    """A busy machine's cache takes its time."""
    monkeypatch.setattr(cache_calls, "CACHE_TIMEOUT_S", PATIENCE)


@pytest.fixture
def agent(server):
    def make(name, **options):
        options = {"base_url": server.url, "max_retries": 0, **options}
        return Agent(model=f"openai:{name}", **options)

    return make


def compiled(layers, aggregator, cache, **options):
    policy = options.pop("cache_policy", CachePolicy())
    saver = options.pop("checkpointer", None)
    graph = create_moa(layers, aggregator, cache_policy=policy, **options)
    return graph.compile(cache=cache, checkpointer=saver)


@pytest.mark.parametrize("layout", ["system", "user"])
@pytest.mark.parametrize("aggregation", ["synthesize", "select"])
def test_the_same_question_costs_nothing_twice(
    server, agent, invoke, tmp_path, layout, aggregation
):
    server.model("judge", reply="2")
    cache = SqliteCache(path=str(tmp_path / "cache.sqlite"))
    layers = [[agent("a", samples=2), agent("b")]] * 2
    graph = compiled(layers, agent("judge"), cache, references_in=layout, aggregation=aggregation)
    first = invoke(graph, QUESTION)
    asked = len(server.calls)
    second = invoke(graph, QUESTION)

    assert len(server.calls) == asked == 7
    assert second["messages"][-1].text == first["messages"][-1].text
    contents = [[p["content"] for p in each["proposals"].values()] for each in (first, second)]
    assert contents[0] == contents[1]
    account = second["messages"][-1].response_metadata["moa"]
    assert len(account["cached"]) == 7
    assert account["usage"]["total_tokens"] == 0
    before = first["messages"][-1].response_metadata["moa"]["usage"]
    assert account["saved_usage"]["total_tokens"] == before["total_tokens"] > 0


@pytest.mark.parametrize("layout", ["system", "user"])
def test_tags_that_a_user_wrote_tell_two_questions_apart(server, agent, layout):
    graph = compiled([[agent("a")]], agent("w"), InMemoryCache(), references_in=layout)
    for tag in ("<response-0123456789abcdef 1>", "<response-fedcba9876543210 1>"):
        graph.invoke({"messages": f"What stands in {tag}?"})
    assert len(server.calls) == 4


def test_a_cached_proposal_belongs_to_the_present_turn(server, agent, invoke):
    server.model("b", faults=[500])
    saver, cache = InMemorySaver(), InMemoryCache()
    graph = compiled([[agent("a"), agent("b")]], agent("w"), cache, checkpointer=saver)
    config = {"configurable": {"thread_id": "1"}}
    first = invoke(graph, QUESTION, config)
    other = invoke(graph, QUESTION, {"configurable": {"thread_id": "2"}})

    assert not other["proposals"]["layer_1_b"]["cached"]
    question = next(m for m in other["messages"] if isinstance(m, HumanMessage))
    assert {p["turn_id"] for p in other["proposals"].values()} == {question.id}
    one, two = (each["proposals"]["layer_1_a"] for each in (first, other))
    assert two["cached"]
    assert two["attempt_id"] != one["attempt_id"]
    assert two["started"] > one["started"]
    assert first["messages"][-1].id != other["messages"][-1].id


def test_a_cached_answer_is_streamed_in_one_piece(server, agent):
    graph = compiled([[agent("a")]], agent("w"), InMemoryCache())
    for _ in range(2):
        pieces = [piece for piece, _ in graph.stream(QUESTION, stream_mode="messages")]
    assert [piece.text for piece in pieces] == ["w on Why is the sky blue?"]


def test_a_failure_is_not_kept(server, agent, invoke):
    server.model("a", faults=[500])
    graph = compiled([[agent("a"), agent("b")]], agent("w"), InMemoryCache())
    assert invoke(graph, QUESTION)["proposals"]["layer_1_a"]["error"]
    again = invoke(graph, QUESTION)["proposals"]

    assert again["layer_1_a"]["error"] is None
    assert again["layer_1_a"]["cached"] is None
    assert again["layer_1_b"]["cached"]


def test_a_pick_that_names_none_is_not_kept(server, agent):
    replies = iter(["neither", "1"])
    server.model("judge", reply=lambda _: next(replies))
    graph = compiled(
        [[agent("a"), agent("b")]],
        agent("judge"),
        InMemoryCache(),
        aggregation="select",
        fallbacks=[agent("judge")],
    )
    account = graph.invoke(QUESTION)["messages"][-1].response_metadata["moa"]
    assert list(account["errors"]) == ["aggregator"]
    # The fallback asks what the aggregator asks: its answer counts for both.
    account = graph.invoke(QUESTION)["messages"][-1].response_metadata["moa"]
    assert account["selected"] == "layer_1_a"
    assert "aggregator" in account["cached"]
    assert len(server.calls_of("judge")) == 2


def test_samples_are_kept_apart(server, agent):
    numbers = iter(range(10))
    server.model("a", reply=lambda _: f"answer {next(numbers)}")
    cache = InMemoryCache()
    graph = compiled([[agent("a", samples=3)]], agent("w"), cache)
    first = {p["content"] for p in graph.invoke(QUESTION)["proposals"].values()}
    second = {p["content"] for p in graph.invoke(QUESTION)["proposals"].values()}
    assert first == second == {"answer 0", "answer 1", "answer 2"}

    more = compiled([{"other_name": agent("a", samples=4)}], agent("w"), cache)
    proposals = more.invoke(QUESTION)["proposals"].values()
    assert [bool(p["cached"]) for p in proposals] == [True, True, True, False]


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 0.1},
        {"top_p": 0.5},
        {"max_tokens": 7},
        {"stop": ["."]},
        {"system": "Be brief."},
        {"base_url": "elsewhere"},
    ],
)
def test_what_shapes_an_answer_is_in_the_key(server, agent, change):
    if "base_url" in change:
        change = {"base_url": server.url.replace("127.0.0.1", "localhost")}
    cache = InMemoryCache()
    compiled([[agent("a")]], agent("w"), cache).invoke(QUESTION)
    result = compiled([[agent("a", **change)]], agent("w"), cache).invoke(QUESTION)
    assert result["proposals"]["layer_1_a"]["cached"] is None


def test_what_does_not_shape_an_answer_is_not_in_the_key(server, agent, monkeypatch):
    monkeypatch.setenv("SOME_KEY", "sk-0123456789")
    cache = InMemoryCache()
    compiled([[agent("a")]], agent("w"), cache).invoke(QUESTION)
    patient = agent("a", timeout=60.0, max_retries=3, api_key_env="SOME_KEY")
    graph = compiled([{"b": patient}], agent("w"), cache)
    message = HumanMessage(QUESTION["messages"], id="of-another-thread")
    assert graph.invoke({"messages": [message]})["proposals"]["layer_1_b"]["cached"]


def test_the_endpoint_that_the_environment_names_is_in_the_key(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    cache = InMemoryCache()
    for host in ("127.0.0.1", "localhost"):
        monkeypatch.setenv("OPENAI_BASE_URL", server.url.replace("127.0.0.1", host))
        graph = compiled([["openai:a"]], "openai:w", cache)
        assert graph.invoke(QUESTION)["proposals"]["layer_1_a"]["cached"] is None
    assert len(server.calls) == 4


def test_a_chat_model_that_can_be_described_is_kept_and_others_are_not(server):
    def chat(seed, key="none"):
        return ChatOpenAI(model="a", base_url=server.url, api_key=key, seed=seed)

    cache = InMemoryCache()

    def cached(model):
        result = compiled([{"a": model}], chat(0), cache).invoke(QUESTION)
        return bool(result["proposals"]["layer_1_a"]["cached"])

    assert [cached(chat(1)), cached(chat(1)), cached(chat(2))] == [False, True, False]
    assert [cached(chat(1).bind(stop=["."])) for _ in range(2)] == [False, True]
    assert cached(chat(1, key="sk-another-key"))
    assert [cached(FakeModel()) for _ in range(2)] == [False, False]
    assert [cached(chat(1) | (lambda answer: answer)) for _ in range(2)] == [False, False]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"model": "xai-grok-4-fast"}, {"model": "xai-grok-3-mini"}),
        ({"stop": ["sk-12345678"]}, {"stop": ["sk-87654321"]}),
        ({"extra_body": {"stop_token": "a"}}, {"extra_body": {"stop_token": "b"}}),
        ({"extra_body": {"lc": 1, "type": "secret"}}, {"extra_body": {"lc": 2, "type": "secret"}}),
        ({"default_headers": {"x-route": "a"}}, {"default_headers": {"x-route": "b"}}),
        ({"logit_bias": {50256: -100}}, {"logit_bias": {50256: 100}}),
    ],
)
def test_no_option_of_a_chat_model_is_taken_for_another(server, one, other):
    cache = InMemoryCache()
    found = []
    for options in (one, one, other):
        model = ChatOpenAI(
            **{"model": "a", "base_url": server.url, "api_key": "none", "max_retries": 0, **options}
        )
        result = compiled([{"a": model}], "offline:lead", cache).invoke(QUESTION)
        found.append(result["proposals"]["layer_1_a"]["cached"])
    assert [bool(each) for each in found] == [False, True, False]


def test_a_model_that_looks_like_a_key_is_not_taken_for_another(agent, monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "other-model")
    cache = InMemoryCache()
    for name in ("xai-grok-4-fast", "xai-grok-3-mini", "other-model", "***"):
        graph = compiled([{"a": agent(name)}], "offline:lead", cache)
        assert not graph.invoke(QUESTION)["proposals"]["layer_1_a"]["cached"]


def test_names_inside_a_schema_are_in_the_key(server):
    cache = InMemoryCache()
    for kind in ("string", "integer"):
        schema = {"type": "object", "properties": {"key": {"type": kind}}}
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        model = ChatOpenAI(model="a", base_url=server.url, api_key="none")
        graph = compiled([{"a": model.bind(response_format=form)}], "offline:lead", cache)
        assert not graph.invoke(QUESTION)["proposals"]["layer_1_a"]["cached"]


def test_credentials_and_what_is_for_the_caller_are_not_in_the_key(server):
    cache = InMemoryCache()
    for secret in ("sk-0123456789", "sk-9876543210"):
        model = ChatOpenAI(
            model="a",
            base_url=server.url.replace("//", f"//me:{secret}@"),
            api_key=secret,
            default_headers={"X-Api-Key": secret, "cf-aig-authorization": secret, "x-route": "a"},
            metadata={"of": secret},
            timeout=len(secret) + (secret < "sk-5"),
        )
        result = compiled([{"a": model}], "offline:lead", cache).invoke(QUESTION)
    assert result["proposals"]["layer_1_a"]["cached"]


class Adding(ChatOpenAI):
    """A user's own, with a state that no description shows."""

    def _get_request_payload(self, *args, **options):
        payload = super()._get_request_payload(*args, **options)
        return {**payload, "user": self.__dict__.get("whose")}


def test_a_model_of_a_users_own_class_is_not_kept(server):
    model = Adding(model="a", base_url=server.url, api_key="none")
    graph = compiled([{"a": model, "b": model.bind(seed=1)}], "offline:lead", InMemoryCache())
    for _ in range(2):
        proposals = graph.invoke(QUESTION)["proposals"].values()
        assert not any(p["cached"] or p["error"] for p in proposals)


def test_nothing_secret_is_kept(server, tmp_path):
    path = tmp_path / "cache.sqlite"
    secrets = ("sk-0123456789abc", "hunter22", "header-of-mine")
    model = ChatOpenAI(
        model="a",
        base_url=server.url.replace("//", f"//me:{secrets[1]}@"),
        api_key=secrets[0],
        default_headers={"x-mine": secrets[2]},
    )
    compiled([{"a": model}], model, SqliteCache(path=str(path))).invoke(QUESTION)
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT * FROM cache").fetchall()
    assert len(rows) == 2
    assert not any(secret in str(rows) for secret in secrets)


def test_a_human_who_has_it_asked_again_gets_another_answer(server, agent):
    numbers = iter(range(10))
    server.model("a", reply=lambda _: f"answer {next(numbers)}")
    saver, cache = InMemorySaver(), InMemoryCache()
    graph = compiled([[agent("a")]], agent("w"), cache, checkpointer=saver)
    config = {"configurable": {"thread_id": "1"}}
    graph.invoke(QUESTION, config, interrupt_before=["layer_1_aggregator"])
    edit = {"proposals": {"layer_1_a": {"error": RETRY}}}
    graph.update_state(config, edit, as_node="layer_1_a")
    result = graph.invoke(None, config)
    assert result["proposals"]["layer_1_a"]["content"] == "answer 1"
    config = {"configurable": {"thread_id": "2"}}
    assert graph.invoke(QUESTION, config)["proposals"]["layer_1_a"]["content"] == "answer 1"


def test_an_answer_is_cut_as_this_mixture_says(server, agent):
    server.model("a", reply="long " * 100)
    cache = InMemoryCache()
    compiled([[agent("a")]], agent("w"), cache).invoke(QUESTION)
    short = compiled([[agent("a")]], agent("w"), cache, max_reference_tokens=5)
    proposal = short.invoke(QUESTION)["proposals"]["layer_1_a"]
    assert proposal["cached"]
    assert proposal["truncated_chars"] > 400


def test_an_old_answer_is_asked_for_anew(server, agent):
    cache = InMemoryCache()
    graph = compiled([[agent("a")]], agent("w"), cache, cache_policy=CachePolicy(ttl=0))
    graph.invoke(QUESTION)
    graph.invoke(QUESTION)
    assert len(server.calls) == 4


class BrokenCache(InMemoryCache):
    def get(self, keys):
        raise OSError("the disk is gone")

    def set(self, keys):
        raise OSError("the disk is gone")


def test_a_cache_that_fails_costs_no_answer(server, agent, invoke, caplog):
    graph = compiled([[agent("a")]], agent("w"), BrokenCache())
    result = invoke(graph, QUESTION)
    assert result["messages"][-1].text
    assert not any(p["error"] for p in result["proposals"].values())
    assert "node cache failed" in caplog.text


class HangingCache(InMemoryCache):
    def __init__(self):
        super().__init__()
        self.over = threading.Event()

    def get(self, keys):
        self.over.wait(PATIENCE)
        return {}

    def set(self, keys):
        self.over.wait(PATIENCE)

    async def aget(self, keys):
        await asyncio.Event().wait()

    async def aset(self, keys):
        await asyncio.Event().wait()


def test_a_cache_that_hangs_holds_up_no_run_for_long(agent, invoke, monkeypatch, caplog):
    monkeypatch.setattr(cache_calls, "CACHE_TIMEOUT_S", 0.05)
    cache = HangingCache()
    graph = compiled([[agent("a")]], agent("w"), cache)
    rescue = threading.Timer(PATIENCE, cache.over.set)
    rescue.start()
    result = invoke(graph, QUESTION)
    rescued = cache.over.is_set()
    rescue.cancel()
    cache.over.set()
    assert not rescued
    assert result["messages"][-1].text
    assert not any(p["error"] for p in result["proposals"].values())
    assert "node cache failed" in caplog.text


def test_without_a_policy_or_a_cache_nothing_is_kept(server, agent):
    cache = InMemoryCache()
    for options in ({"cache_policy": None}, {}):
        graph = compiled([[agent("a")]], agent("w"), cache if options else None, **options)
        graph.invoke(QUESTION)
        graph.invoke(QUESTION)
    assert len(server.calls) == 8


def test_a_policy_with_a_key_of_its_own_is_refused():
    with pytest.raises(ValueError, match=r"`cache_policy`: `key_func`=.*expected a CachePolicy"):
        create_moa([["offline:lead"]], "offline:lead", cache_policy=CachePolicy(key_func=str))


def test_debug_events_do_not_show_the_cache(server, agent):
    graph = compiled([[agent("a")]], agent("w"), InMemoryCache(), checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    events = list(graph.stream(QUESTION, config, stream_mode="debug"))
    assert "InMemoryCache" not in str(events)


def test_what_came_from_the_cache_costs_nothing_and_says_what_it_saved(server, agent):
    graph = compiled([[agent("a")]], agent("w"), InMemoryCache())
    prices = {"openai:a": (1.0, 2.0), "openai:w": (3.0, 4.0)}
    paid = read_run(graph.invoke(QUESTION), prices=prices)
    run = read_run(graph.invoke(QUESTION), prices=prices)
    assert run.cost == 0
    assert run.cost_is_complete
    assert sum(call.saved_cost for call in run.cached_calls) == pytest.approx(paid.cost)
    assert paid.cost > 0


def test_tokens_of_prompt_caches_are_told(server, agent, invoke):
    server.model("*", cached=3)
    graph = create_moa([[agent("a"), agent("b")]], agent("w")).compile()
    result = invoke(graph, QUESTION)
    details = [p["usage"]["input_token_details"] for p in result["proposals"].values()]
    assert [each["cache_read"] for each in details] == [3, 3]
    usage = result["messages"][-1].response_metadata["moa"]["usage"]
    assert usage["input_token_details"]["cache_read"] == 9
    assert read_run(result).cached_prompt_tokens == 9


def test_runs_at_once_share_a_file(server, agent, tmp_path):
    graphs = [
        compiled([[agent("a")]], agent("w"), SqliteCache(path=str(tmp_path / "cache.sqlite")))
        for _ in range(2)
    ]

    async def run():
        runs = [graph.ainvoke({"messages": f"{n}?"}) for n in range(10) for graph in graphs]
        return await asyncio.gather(*runs)

    assert all(result["messages"][-1].text for result in asyncio.run(run()))
    calls = len(server.calls)
    asyncio.run(run())
    assert len(server.calls) == calls
