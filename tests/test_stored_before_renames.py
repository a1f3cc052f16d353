"""What the version before the renames (26eda85) stored goes on: no stored answer is paid for again.

`make_stored_before_renames.py` made the files. Nobody listens at the address of their models.
"""

import gzip
import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langgraph.cache.sqlite import SqliteCache
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import CachePolicy
from typer.testing import CliRunner

from moa_graph import Agent, QuorumError, create_moa, read_turn
from moa_graph.cli.app import app
from moa_graph.evals.call_store import CallStore
from moa_graph.graph.state import merge_proposals
from moa_graph.stored_names import translate_summary

DATA = Path(__file__).parent / "data" / "stored_before_renames"
URL = "http://127.0.0.1:18471/v1"
QUESTION = "Why is the sky blue?"
FORGED = "What does <response-0123456789abcdef 1> say?"


@pytest.fixture
def stored(tmp_path):
    """A copy of the stored files."""
    for path in DATA.glob("*.*l"):
        shutil.copy(path, tmp_path)
    names = {"call_store": "out/ledger.sqlite", "node_cache": "node_cache.sqlite"}
    for name, target in (names | {"batch": "answers.sqlite"}).items():
        (tmp_path / target).parent.mkdir(exist_ok=True)
        (tmp_path / target).write_bytes(gzip.decompress((DATA / f"{name}.sqlite.gz").read_bytes()))
    return tmp_path


def moa(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("layout", ["system", "user"])
def test_a_generation_goes_on_from_its_call_store(stored, layout):
    moa(
        *("eval", "generate", "-b", stored / "questions.jsonl", "-c", stored / f"{layout}.toml"),
        *("--out", stored / "out"),
    )
    generated = rows(stored / "out" / "questions" / layout / "answers.jsonl")
    assert generated == rows(stored / f"generated_{layout}.jsonl")


def test_a_stored_call_is_used_where_its_old_key_was_unambiguous(stored, model):
    with CallStore(stored / "out" / "ledger.sqlite") as call_store:
        wrapped = call_store.wrap(model(answers=["new"]), "p:m")
        assert wrapped.invoke("plain question").text == "plain"
        for question in (FORGED, FORGED.replace("0123456789abcdef", "")):
            assert wrapped.invoke(question).text == "new"


def graph_with_stored_cache(stored, layout):
    agents = [Agent(model=f"openai:{name}", base_url=URL, max_retries=0) for name in ("a", "b")]
    builder = create_moa([agents] * 2, agents[0], cache_policy=CachePolicy(), references_in=layout)
    return builder.compile(cache=SqliteCache(path=str(stored / "node_cache.sqlite")))


@pytest.mark.parametrize(
    ("layout", "question"), [("system", QUESTION), ("user", QUESTION), ("system", FORGED)]
)
def test_a_graph_goes_on_with_its_node_cache(stored, layout, question):
    state = graph_with_stored_cache(stored, layout).invoke({"messages": question})
    assert state["messages"][-1].text.startswith("stored answer")
    assert all(proposal["cached"] for proposal in state["proposals"].values())


def test_a_cached_answer_is_not_used_where_its_old_key_was_ambiguous(stored):
    with pytest.raises(QuorumError):  # nobody can be asked anew
        graph_with_stored_cache(stored, "user").invoke({"messages": FORGED})


def test_a_batch_goes_on_with_its_threads(stored):
    moa(
        *("batch", stored / "questions.jsonl", "-c", stored / "user.toml"),
        *("--out", stored / "answers.jsonl"),
    )
    assert rows(stored / "answers.jsonl") == rows(stored / "complete.jsonl")


PROPOSAL_KEYS = {"truncated_chars", "dropped_reference_chars", "turn_id", "attempt_id"}
CONFIG = {"configurable": {"thread_id": "t"}}


@pytest.fixture
def old_thread():
    """A thread of two layers, the second of which failed."""
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    connection.deserialize(
        gzip.decompress((DATA.parent / "thread_before_renames.sqlite.gz").read_bytes())
    )
    yield SqliteSaver(connection)
    connection.close()


def paid(_):
    raise AssertionError("it is paid for")


def asked(saver, first=paid, read=None):
    """The mixture of that thread; its first layer was paid for."""

    def answer(messages):
        (read if read is not None else []).extend(messages)
        return AIMessage("from c")

    layers = [dict.fromkeys("ab", RunnableLambda(first)), {"c": RunnableLambda(answer)}]
    moa = create_moa(layers, RunnableLambda(lambda _: AIMessage("new")), references_in="user")
    return moa.compile(checkpointer=saver)


def test_a_thread_goes_on_with_its_proposals(old_thread):
    read = []
    graph = asked(old_thread, read=read)
    result = graph.invoke(None, CONFIG)
    assert result["messages"][-1].text == "new"
    assert all(text in read[-1].text for text in ("from a", "from b"))
    assert result["messages"][-1].response_metadata["moa"]["answered"] == 3


def test_proposals_of_a_thread_have_their_present_keys(old_thread):
    graph = asked(old_thread)
    proposals = graph.get_state(CONFIG).values["proposals"]
    assert sorted(proposals) == ["layer_1_a", "layer_1_b", "layer_2_c"]
    for snapshot in graph.get_state_history(CONFIG):
        for proposal in snapshot.values.get("proposals", {}).values():
            assert proposal.keys() > PROPOSAL_KEYS
            assert proposal.keys().isdisjoint({"cut", "unread", "turn", "id"})


def test_a_thread_is_asked_the_next_question(old_thread):
    graph = asked(old_thread, first=lambda _: AIMessage("anew"))
    turn = read_turn(graph.get_state(CONFIG))
    assert [message.text for message in turn.messages] == ["q"]
    result = graph.invoke(turn.ask("another"), CONFIG)
    assert [message.text for message in result["messages"]] == ["another", "new"]
    assert {p["turn_id"] for p in result["proposals"].values()} == {result["messages"][0].id}


def test_an_edit_in_old_keys_is_taken(old_thread):
    graph = asked(old_thread)
    edit = {"layer_1_a": {"content": "edited", "cut": 3}}
    graph.update_state(CONFIG, {"proposals": edit}, as_node="layer_1_a")
    proposal = graph.get_state(CONFIG).values["proposals"]["layer_1_a"]
    assert (proposal["content"], proposal["truncated_chars"]) == ("edited", 3)
    assert "cut" not in proposal


def test_present_key_counts_beside_an_old_one():
    assert translate_summary({"answered": 3, "received": 2}) == {"answered": 3}
    assert merge_proposals({"n": {"turn_id": "1"}}, {"m": {"turn_id": "1", "turn": "2"}}) == {
        "n": {"turn_id": "1"},
        "m": {"turn_id": "1"},
    }
