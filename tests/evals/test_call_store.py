"""A call that was paid for is not made again."""

import asyncio
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableLambda
from waiting import after, take_turns, wait_until

from moa_graph import Agent
from moa_graph.evals.call_store import CallError, CallStore
from moa_graph.models.agent import build_model
from moa_graph.models.partial_answers import PartialAnswer, attach_partial_answer
from moa_graph.prompting.layout import PromptLayout
from moa_graph.runs.model_calls import call_listener


@pytest.fixture
def call_store(tmp_path):
    with CallStore(tmp_path / "out" / "ledger.sqlite") as opened:
        yield opened


def test_stored_answer_is_the_very_message_with_its_original_seconds(
    call_store, server, invoke, tmp_path
):
    agent, paid, heard = Agent(model="openai:m", base_url=server.url), [], []
    with call_listener(paid.append):
        first = invoke(call_store.wrap(build_model(agent), "openai:m"), "q")
    with CallStore(call_store.path) as again, call_listener(heard.append):
        second = invoke(again.wrap(build_model(agent), "openai:m"), "q")
    assert second == first
    assert second.usage_metadata["total_tokens"] > 0
    assert len(server.calls) == 1
    assert (paid[0].from_store, heard[0].from_store) == (False, True)
    assert heard[0].seconds == paid[0].seconds > 0
    assert heard[0].usage == first.usage_metadata


@pytest.mark.parametrize(
    "other",
    [
        {"label": "p:other"},
        {"options": {"temperature": 0.7, "base_url": "http://b/v1"}},
        {"options": {"temperature": 0.8, "base_url": "http://a/v1"}},
        {"sample": 2},
        {"asked": [SystemMessage("s"), HumanMessage("q")]},
        {"asked": "another"},
        {"asked": [HumanMessage("q", name="ada")]},
    ],
)
def test_what_changes_an_answer_is_another_call(call_store, model, other):
    fake = model(answers=["one", "two"])
    call = {"label": "p:m", "sample": 1, "asked": "q"}
    call |= {"options": {"temperature": 0.7, "base_url": "http://a/v1"}}

    def ask(label, options, sample, asked):
        return call_store.wrap(fake, label, options, sample).invoke(asked).text

    assert ask(**call) == "one"
    assert ask(**(call | other)) == "two"
    assert ask(**call) == "one"


def test_what_a_call_is_given_is_part_of_it(call_store, model):
    wrapped = call_store.wrap(model(answers=["one", "two"]), "p:m")
    assert wrapped.invoke("q").text == "one"
    assert wrapped.bind(stop=["x"]).invoke("q").text == "two"


def test_ids_and_metadata_of_messages_change_nothing(call_store, model):
    wrapped = call_store.wrap(model(answers=["one", "two"]), "p:m")
    history = AIMessage("hello", response_metadata={"moa": {"seconds": 1.5}}, id="x")
    wrapped.invoke([HumanMessage("q", id="1"), history, HumanMessage("r")])
    again = wrapped.invoke([HumanMessage("q"), AIMessage("hello"), HumanMessage("r", id="2")])
    assert again.text == "one"


def test_random_key_of_enclosed_references_changes_nothing(call_store, model):
    wrapped = call_store.wrap(model(answers=["one", "two", "three"]), "p:m")

    def ask(reference, seed):
        layout = PromptLayout(references_in="user")
        text = layout.template_references_text([reference], seed)
        return wrapped.invoke(layout.insert_references([HumanMessage("q")], text)).text

    assert ask("x", "0123") == "one"
    assert ask("x", "4567") == "one"
    assert ask("y", "4567") == "two"


def test_tags_that_a_user_wrote_tell_two_questions_apart(call_store, model):
    wrapped = call_store.wrap(model(answers=["one", "two", "three"]), "p:m")
    question = "What stands in <response-{} 1>?"
    assert wrapped.invoke(question.format("0123456789abcdef")).text == "one"
    assert wrapped.invoke(question.format("fedcba9876543210")).text == "two"
    assert wrapped.invoke("What stands in <response- 1>?").text == "three"
    assert wrapped.invoke(question.format("0123456789abcdef")).text == "one"


def test_failure_is_written_down_and_asked_again(call_store, model, invoke):
    wrapped = call_store.wrap(model(answers=[OSError("no route"), "now"]), "p:m")
    with pytest.raises(CallError, match="OSError: no route"):
        invoke(wrapped, "q")
    assert invoke(wrapped, "q").text == "now"
    with closing(sqlite3.connect(call_store.path)) as db:
        rows = db.execute("SELECT label, error FROM failures").fetchall()
    assert rows == [("p:m", "OSError: no route")]


@pytest.mark.parametrize("text", ["", " \n", "<think>hm</think>"])
def test_empty_answer_is_a_failure(call_store, model, text):
    heard = []
    usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    wrapped = call_store.wrap(model(answers=[AIMessage(text, usage_metadata=usage), "now"]), "p:m")
    with call_listener(heard.append), pytest.raises(CallError, match="empty answer"):
        wrapped.invoke("q")
    assert heard[0].usage["total_tokens"] == 3
    assert wrapped.invoke("q").text == "now"


def test_probabilities_alone_are_an_answer(call_store, model):
    answer = AIMessage("", response_metadata={"logprobs": {"content": [{"logprob": -0.5}]}})
    wrapped = call_store.wrap(model(answers=[answer]), "p:judge")
    assert wrapped.invoke("q") == wrapped.invoke("q")


async def test_call_that_is_under_way_is_shared(call_store, model):
    go_on = threading.Event()
    fake = model(answers=["one", "two"], until=go_on.is_set)
    calls = [asyncio.create_task(call_store.wrap(fake, "p:m").ainvoke("q")) for _ in range(5)]
    await wait_until(lambda: fake.asked)
    await take_turns()  # the others wait for it
    go_on.set()
    assert {answer.text for answer in await asyncio.gather(*calls)} == {"one"}
    assert len(fake.asked) == 1


def test_call_that_is_under_way_is_shared_by_threads(call_store, model):
    begun, texts = [], []
    fake = model(answers=["one", "two"], until=after(lambda: len(begun) == 5))
    wrapped = call_store.wrap(fake, "p:m")

    def ask():
        begun.append("a thread")
        texts.append(wrapped.invoke("q").text)

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == ["one"] * 5


async def two_who_ask(call_store, fake):
    """Have one make a call, and another wait for it."""
    first = asyncio.create_task(call_store.wrap(fake, "p:m").ainvoke("q"))
    await wait_until(lambda: fake.asked)
    second = asyncio.create_task(call_store.wrap(fake, "p:m").ainvoke("q"))
    await take_turns()
    return first, second


async def test_cancelled_call_is_made_by_the_next_in_line(call_store, model):
    go_on = threading.Event()
    fake = model(answers=["one", "two"], until=go_on.is_set)
    first, second = await two_who_ask(call_store, fake)
    first.cancel()
    await wait_until(lambda: len(fake.asked) == 2)
    go_on.set()
    assert (await second).text == "two"


async def test_one_who_waits_and_is_cancelled_leaves_the_call_alone(call_store, model):
    go_on = threading.Event()
    fake = model(until=go_on.is_set)
    first, second = await two_who_ask(call_store, fake)
    second.cancel()
    await asyncio.wait([second])
    go_on.set()
    assert (await first).text == "an answer"
    assert len(fake.asked) == 1


def test_free_models_are_not_stored(call_store, model):
    wrapped = call_store.wrap(model(answers=["one", "two"]), "offline:lead")
    assert [wrapped.invoke("q").text for _ in range(2)] == ["one", "two"]


def test_no_key_and_no_option_is_in_the_file(call_store, server, monkeypatch):
    monkeypatch.setenv("MY_SERVER", "quite-secret-value")
    agent = Agent(model="openai:m", base_url=server.url, api_key_env="MY_SERVER", max_retries=0)
    server.model("m", faults=["echo key", "echo key in 200"])
    options = {"base_url": f"{server.url}?token=hidden-token"}
    wrapped = call_store.wrap(build_model(agent), "openai:m", options)
    for _ in range(2):
        with pytest.raises(CallError) as caught:
            wrapped.invoke("q")
        assert "quite-secret-value" not in str(caught.value)
        assert caught.value.__cause__ is None
    wrapped.invoke("q")
    files = call_store.path.parent.iterdir()
    whole = b"".join(path.read_bytes() for path in files)
    assert b"quite-secret-value" not in whole
    assert b"hidden-token" not in whole


def test_file_that_is_no_call_store_is_refused(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes, and there is nothing else in here" * 100)
    with pytest.raises(ValueError, match=r"notes\.txt: cannot be used as a call store"):
        CallStore(path)


def test_nothing_more_is_asked_when_the_file_cannot_be_written(call_store, model):
    fake = model()
    with closing(sqlite3.connect(call_store.path)) as db:
        db.execute("DROP TABLE answers")
        db.execute("CREATE TABLE answers (key TEXT, message TEXT, started REAL, seconds REAL)")
    with pytest.raises(CallError, match="cannot be written"):
        call_store.wrap(fake, "p:m").invoke("q")
    with pytest.raises(CallError, match="cannot be written"):
        call_store.wrap(fake, "p:m").invoke("r")
    assert len(fake.asked) == 1


def test_what_is_known_of_a_model_is_known_of_its_calls(call_store, model):
    known = model()
    object.__setattr__(known, "profile", {"max_input_tokens": 7})
    assert call_store.wrap(known, "p:m").profile == {"max_input_tokens": 7}
    assert call_store.wrap(RunnableLambda(str), "p:m").profile is None


def test_calls_are_counted_for_the_node_that_makes_them(call_store, model, invoke):
    heard = []
    with call_listener(heard.append):
        config = {"metadata": {"langgraph_node": "layer_1_a"}}
        invoke(call_store.wrap(model(), "p:m"), "q", config)
    assert [record.node for record in heard] == ["layer_1_a"]


def test_answer_with_a_value_that_json_lacks_is_kept(call_store, model):
    answer = AIMessage("one", response_metadata={"at": Path("/x")})
    wrapped = call_store.wrap(model(answers=[answer, "two"]), "p:m")
    assert [wrapped.invoke("q").text for _ in range(2)] == ["one", "one"]


@pytest.mark.parametrize(
    ("error", "is_billed"), [(TimeoutError("no answer"), True), (ValueError("no"), False)]
)
def test_failure_tells_whether_the_model_may_have_been_at_work(
    error, is_billed, call_store, model, invoke
):
    heard = []
    wrapped = call_store.wrap(model(answers=[error]), "p:m")
    with call_listener(heard.append), pytest.raises(CallError):
        invoke(wrapped, "q")
    assert [record.may_be_billed for record in heard] == [is_billed]


def test_answer_of_no_use_has_told_its_tokens(call_store, model, invoke):
    def refuse(_):
        raise TimeoutError("of no use")

    heard, usage = [], {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    answer = AIMessage("one", usage_metadata=usage)
    wrapped = call_store.wrap(model(answers=[answer]), "p:m", check=refuse)
    with call_listener(heard.append), pytest.raises(CallError, match="of no use"):
        invoke(wrapped, "q")
    assert [(record.usage, record.may_be_billed) for record in heard] == [(usage, False)]


def test_call_that_broke_off_has_told_its_tokens(call_store, model, invoke):
    heard, usage = [], {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    error = ConnectionError("broke off")
    attach_partial_answer(error, PartialAnswer("on", usage))
    wrapped = call_store.wrap(model(answers=[error]), "p:m")
    with call_listener(heard.append), pytest.raises(CallError, match="broke off"):
        invoke(wrapped, "q")
    assert [(record.usage, record.may_be_billed) for record in heard] == [(usage, False)]
