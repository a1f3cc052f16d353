"""Stopping early: who decides, what is stored of it, and what follows."""

import asyncio
import sys
from uuid import uuid4

import pytest
from decisions import USAGE, FakeDecisions
from fakes import FakeModel
from forked import Forked, run_forked
from langchain_core.messages import AIMessage
from langchain_openai.decisions import DecisionResponse, OpenAIDecisions
from langgraph.checkpoint.memory import InMemorySaver

from moa_graph import Agent, Router, agreement, create_moa

CONFIG = {"configurable": {"thread_id": "1"}}


class Mixture:
    """Three layers of two proposers, of which each layer answers what it is given."""

    def __init__(self, *rows, writer=None, **options):
        rows = rows or (["42", "It is 42."], ["42", "42"], ["42", "42"])
        self.proposers = [[FakeModel(answers=[text]) for text in row] for row in rows]
        self.writer = writer or FakeModel(answers=["final"])
        layers = [dict(zip("ab", row, strict=True)) for row in self.proposers]
        self.builder = create_moa(layers, self.writer, **options)

    @property
    def asked(self):
        """How often each layer was asked, the aggregator last."""
        layers = [sum(len(each.asked) for each in row) for row in self.proposers]
        return [*layers, len(self.writer.asked)]

    def compile(self, **options):
        return self.builder.compile(**options)


def depth_of(state):
    return summary_of(state).get("depth")


def summary_of(state):
    return state["messages"][-1].response_metadata["moa"]


APART = ["41", "42"]


def test_without_it_all_layers_are_asked_and_nothing_is_told(invoke):
    mixture = Mixture()
    state = invoke(mixture.compile(), {"messages": "q"})
    assert mixture.asked == [2, 2, 2, 1]
    assert depth_of(state) is None


@pytest.mark.parametrize("early_stop", [agreement(0.9), 0.9, 1, lambda _: True])
def test_layers_that_agree_are_the_last_to_be_asked(early_stop, invoke):
    mixture = Mixture(early_stop=early_stop)
    state = invoke(mixture.compile(), {"messages": "q"})
    assert mixture.asked == [2, 0, 0, 1]
    assert state["messages"][-1].text == "final"
    assert set(state["proposals"]) == {"layer_1_a", "layer_1_b"}


def test_the_aggregator_reads_the_layer_that_was_the_last_to_be_asked(invoke):
    mixture = Mixture(early_stop=0.9)
    invoke(mixture.compile(), {"messages": "q"})
    [prompt] = mixture.writer.asked
    assert prompt[0].text.endswith("Responses from models:\n1. 42\n2. It is 42.")


def test_layers_that_differ_go_on_and_agree_later(invoke):
    mixture = Mixture(APART, ["42", "42"], ["42", "42"], early_stop=0.9)
    state = invoke(mixture.compile(), {"messages": "q"})
    assert mixture.asked == [2, 2, 0, 1]
    assert depth_of(state) == {
        "layers": 2,
        "of": 3,
        "why": "agreement 1.00, at least 0.9",
        "skipped": 2,
    }


def test_layers_that_never_agree_are_all_asked(invoke):
    mixture = Mixture(APART, APART, APART, early_stop=0.9)
    state = invoke(mixture.compile(), {"messages": "q"})
    assert mixture.asked == [2, 2, 2, 1]
    why = "agreement 0.50, below 0.9"
    assert depth_of(state) == {"layers": 3, "of": 3, "why": why, "skipped": 0}


def test_agents_that_were_not_asked_do_not_count_as_asked(invoke):
    summary = summary_of(invoke(Mixture(early_stop=0.9).compile(), {"messages": "q"}))
    assert summary["proposers"] == ["layer_1_a", "layer_1_b"]
    assert (summary["layers"], summary["asked"], summary["answered"]) == (1, 2, 2)
    assert summary["degraded"] is False
    assert summary["usage_unknown"] == ["layer_1_a", "layer_1_b", "aggregator"]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (True, "decide returned True"),
        ("they all say 42", "they all say 42"),
        ((True, "seen enough"), "seen enough"),
    ],
)
@pytest.mark.parametrize("is_async", [True, False])
def test_a_function_decides_sync_or_async_and_may_say_why(value, why, is_async, invoke):
    seen = []

    def decide(proposals):
        seen.append([each["content"] for each in proposals])
        return value

    async def decide_async(proposals):
        await asyncio.sleep(0)
        return decide(proposals)

    decide_async.__name__ = "decide"
    mixture = Mixture(early_stop=decide_async if is_async else decide)
    state = invoke(mixture.compile(), {"messages": "q"})
    assert mixture.asked == [2, 0, 0, 1]
    assert depth_of(state)["why"] == why
    assert seen == [["42", "It is 42."]]


@pytest.mark.parametrize("value", [False, "", (False, "not yet")])
def test_a_function_that_gives_no_reason_goes_on(value, invoke):
    mixture = Mixture(early_stop=lambda _: value)
    invoke(mixture.compile(), {"messages": "q"})
    assert mixture.asked == [2, 2, 2, 1]


@pytest.mark.parametrize("value", [None, 1, 0.9, [True], (True,)])
def test_a_function_that_gives_something_else_goes_on_and_it_is_told(value, invoke):
    mixture = Mixture(early_stop=lambda _: value)
    state = invoke(mixture.compile(), {"messages": "q"})
    assert mixture.asked == [2, 2, 2, 1]
    assert "`early_stop` failed: TypeError: <lambda> returned" in depth_of(state)["why"]


def test_a_function_that_raises_goes_on_and_it_is_told_without_keys(invoke, caplog):
    def decide(_):
        raise ValueError("no such key: sk-1234567890abcdefghijkl")

    mixture = Mixture(early_stop=decide)
    state = invoke(mixture.compile(), {"messages": "q"})
    assert mixture.asked == [2, 2, 2, 1]
    why = depth_of(state)["why"]
    assert "`early_stop` failed: ValueError: no such key" in why
    assert "sk-1234567890" not in why + caplog.text
    assert "`early_stop` failed after layer 1" in caplog.text


def test_a_function_cannot_change_the_proposals(invoke):
    def decide(proposals):
        proposals[0]["content"] = "changed"
        return True

    state = invoke(Mixture(early_stop=decide).compile(), {"messages": "q"})
    assert state["proposals"]["layer_1_a"]["content"] == "42"


def test_proposers_that_failed_are_not_shown_to_who_decides(invoke):
    rows = (["42", ValueError("down")], ["42", "42"], ["42", "42"])
    mixture = Mixture(*rows, early_stop=lambda proposals: str(len(proposals)))
    state = invoke(mixture.compile(), {"messages": "q"})
    assert depth_of(state)["why"] == "1"
    assert summary_of(state)["degraded"] is True


def test_a_lonely_answer_agrees_with_nobody(invoke):
    rows = (["42", ValueError("down")], ["42", "42"], ["42", "42"])
    mixture = Mixture(*rows, early_stop=0.9)
    invoke(mixture.compile(), {"messages": "q"})
    assert mixture.asked == [2, 2, 0, 1]


@pytest.mark.parametrize(("probability", "asked"), [(0.7, [2, 0, 0, 1]), (0.3, [2, 2, 2, 1])])
def test_a_decision_model_decides(probability, asked, invoke):
    judge = FakeDecisions(answers=[probability])
    mixture = Mixture(early_stop=judge)
    state = invoke(mixture.compile(), {"messages": "q"})
    assert mixture.asked == asked
    relation = "at least" if probability > 0.5 else "below"
    assert depth_of(state)["why"] == f"fake:judge: {probability:.2f}, {relation} 0.5"
    conversation, answers = judge.asked[0][0].values()
    assert [conversation[-1].text, *answers] == ["q", "42", "It is 42."]


def test_what_a_decision_model_takes_is_counted(invoke):
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    answers = [AIMessage("42", usage_metadata=usage)]
    layer = {name: FakeModel(answers=answers) for name in "ab"}
    moa = create_moa([layer] * 3, FakeModel(answers=answers), early_stop=FakeDecisions())
    summary = summary_of(invoke(moa.compile(), {"messages": "q"}))
    assert summary["usage"]["total_tokens"] == 3 * 2 + USAGE["total_tokens"]
    assert summary["usage_unknown"] == []
    [decision] = summary["decisions"]
    assert (decision["node"], decision["model"]) == ("layer_1_aggregator", "fake:judge")


def test_a_decision_model_that_fails_goes_on(invoke):
    mixture = Mixture(early_stop=FakeDecisions(answers=[ValueError("down")]))
    state = invoke(mixture.compile(), {"messages": "q"})
    assert mixture.asked == [2, 2, 2, 1]
    assert depth_of(state)["why"] == "`early_stop` failed: ValueError: down"


@pytest.mark.parametrize("value", [0, 1.5, "agreement", object(), True, agreement])
def test_what_cannot_decide_is_refused(value):
    with pytest.raises(ValueError, match=r"`early_stop`=.*expected"):
        Mixture(early_stop=value)


def test_shadow_asks_all_and_tells_what_would_have_been_saved(invoke):
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    layer = {name: FakeModel(answers=[AIMessage("42", usage_metadata=usage)]) for name in "ab"}
    moa = create_moa([layer] * 3, FakeModel(), early_stop=0.9, shadow=True).compile()
    state = invoke(moa, {"messages": "q"})
    assert len(state["proposals"]) == 6
    assert depth_of(state) == {
        "layers": 3,
        "of": 3,
        "why": "only recorded: `shadow`",
        "skipped": 0,
        "shadow": {
            "layers": 1,
            "skipped": 4,
            "why": "agreement 1.00, at least 0.9",
            "usage": {"input_tokens": 4, "output_tokens": 4, "total_tokens": 8},
        },
    }


def test_shadow_that_would_have_saved_nothing_says_why(invoke):
    mixture = Mixture(APART, APART, APART, early_stop=0.9, shadow=True)
    depth = depth_of(invoke(mixture.compile(), {"messages": "q"}))
    assert (depth["why"], depth.get("shadow")) == ("agreement 0.50, below 0.9", None)


def test_selecting_picks_of_the_last_layer_that_was_asked(invoke):
    mixture = Mixture(writer=FakeModel(answers=["2"]), early_stop=0.9, aggregation="select")
    state = invoke(mixture.compile(), {"messages": "q"})
    assert (state["messages"][-1].text, summary_of(state)["selected"]) == ("It is 42.", "layer_1_b")


def test_fallbacks_read_the_same_proposals(invoke):
    fallback = FakeModel(answers=["from the fallback"])
    mixture = Mixture(
        writer=FakeModel(answers=[ValueError("down")]), early_stop=0.9, fallbacks=[fallback]
    )
    assert invoke(mixture.compile(), {"messages": "q"})["messages"][-1].text == "from the fallback"
    assert fallback.asked[0][0].text.endswith("1. 42\n2. It is 42.")


def test_a_second_turn_is_decided_anew(invoke):
    rows = [[FakeModel(answers=["41", "42"]), FakeModel(answers=["42"])] for _ in range(3)]
    layers = [dict(zip("ab", row, strict=True)) for row in rows]
    moa = create_moa(layers, FakeModel(), early_stop=0.9).compile(checkpointer=InMemorySaver())
    first = invoke(moa, {"messages": "q"}, CONFIG)
    second = invoke(moa, {"messages": "again"}, CONFIG)
    assert [depth_of(each)["layers"] for each in (first, second)] == [3, 1]
    assert set(second["proposals"]) == {"layer_1_a", "layer_1_b"}


def test_the_decision_is_stored_and_a_resumed_run_takes_it(invoke):
    calls = []
    mixture = Mixture(early_stop=lambda _: calls.append(1) or True)
    moa = mixture.compile(checkpointer=InMemorySaver(), interrupt_before=["aggregator"])
    invoke(moa, {"messages": "q"}, CONFIG)
    snapshot = moa.get_state(CONFIG)
    assert snapshot.next == ("aggregator",)
    assert snapshot.values["depth"]["layer_1_aggregator"]["stop"] is True
    assert invoke(moa, None, CONFIG)["messages"][-1].text == "final"
    assert (calls, mixture.asked) == ([1], [2, 0, 0, 1])


def test_a_human_overrules_a_decision(invoke):
    mixture = Mixture(early_stop=lambda proposals: proposals[0]["layer"] == 1)
    moa = mixture.compile(checkpointer=InMemorySaver(), interrupt_before=["aggregator"])
    invoke(moa, {"messages": "q"}, CONFIG)
    update = {"depth": {"layer_1_aggregator": {"stop": False, "why": "look again"}}}
    moa.update_state(CONFIG, update, as_node="layer_1_aggregator")
    assert moa.get_state(CONFIG).next == ("layer_2_a", "layer_2_b")
    invoke(moa, None, CONFIG)
    state = invoke(moa, None, CONFIG)
    assert mixture.asked == [2, 2, 2, 1]
    assert depth_of(state)["layers"] == 3


def test_a_human_stops_a_run(invoke):
    mixture = Mixture(APART, APART, APART, early_stop=0.9)
    moa = mixture.compile(checkpointer=InMemorySaver(), interrupt_after=["layer_1_aggregator"])
    invoke(moa, {"messages": "q"}, CONFIG)
    update = {"depth": {"layer_1_aggregator": {"stop": True, "why": "good enough"}}}
    moa.update_state(CONFIG, update, as_node="layer_1_aggregator")
    state = invoke(moa, None, CONFIG)
    assert mixture.asked == [2, 0, 0, 1]
    assert depth_of(state)["why"] == "good enough"


def test_an_edit_as_a_layer_aggregator_that_has_decided_keeps_the_decision(invoke):
    mixture = Mixture(early_stop=0.9)
    moa = mixture.compile(checkpointer=InMemorySaver(), interrupt_before=["aggregator"])
    invoke(moa, {"messages": "q"}, CONFIG)
    edit = {"proposals": {"layer_1_a": {"content": "edited"}}}
    moa.update_state(CONFIG, edit, as_node="layer_1_aggregator")
    invoke(moa, None, CONFIG)
    assert mixture.asked == [2, 0, 0, 1]
    assert "1. edited\n2. It is 42." in mixture.writer.asked[0][0].text


def test_an_edit_as_a_layer_aggregator_that_has_not_decided_has_it_decide(invoke):
    mixture = Mixture(APART, ["42", "42"], ["42", "42"], early_stop=0.9)
    before = ["layer_1_aggregator"]
    moa = mixture.compile(checkpointer=InMemorySaver(), interrupt_before=before)
    invoke(moa, {"messages": "q"}, CONFIG)
    edit = {"proposals": {"layer_1_a": {"content": "42"}}}
    moa.update_state(CONFIG, edit, as_node="layer_1_aggregator")
    invoke(moa, None, CONFIG)
    state = invoke(moa, None, CONFIG)
    assert mixture.asked == [2, 0, 0, 1]
    assert depth_of(state)["layers"] == 1


def test_a_layer_without_its_quorum_asks_again_before_anything_is_decided(invoke):
    flaky = FakeModel(answers=[ValueError("down"), "42"])
    layer = {"a": flaky, "b": FakeModel(answers=["42"])}
    moa = create_moa([layer] * 3, FakeModel(answers=["final"]), quorum=2, early_stop=0.9)
    compiled = moa.compile(checkpointer=InMemorySaver())
    with pytest.raises(Exception, match="layer 1: 1 of 2 proposers answered"):
        invoke(compiled, {"messages": "q"}, CONFIG)
    state = invoke(compiled, None, CONFIG)
    assert depth_of(state)["layers"] == 1
    assert len(flaky.asked) == 2


def test_leftovers_of_later_layers_are_not_told_of(invoke):
    """Layer 1 is asked again of a turn that had all its layers."""
    rows = [[FakeModel(answers=["41", "42"]), FakeModel(answers=["42"])] for _ in range(3)]
    layers = [dict(zip("ab", row, strict=True)) for row in rows]
    moa = create_moa(layers, FakeModel(), early_stop=0.9).compile(checkpointer=InMemorySaver())
    invoke(moa, {"messages": "q"}, CONFIG)
    history = list(moa.get_state_history(CONFIG))
    before_answer = next(each for each in history if each.next == ("aggregator",))
    edit = {"proposals": {"layer_1_a": {"content": "42"}}}
    config = moa.update_state(before_answer.config, edit, as_node="layer_1_b")
    state = invoke(moa, None, config)
    assert depth_of(state)["layers"] == 1
    assert summary_of(state)["asked"] == 2


def test_it_streams_the_answer_and_the_decision(stream):
    moa = Mixture(early_stop=0.9).compile()
    parts = stream(moa, {"messages": "q"}, stream_mode="updates")
    [update] = [part["layer_1_aggregator"] for part in parts if "layer_1_aggregator" in part]
    assert update["depth"]["layer_1_aggregator"]["stop"] is True
    assert [*parts[-1]] == ["aggregator"]
    words = stream(moa, {"messages": "q"}, stream_mode="messages")
    assert [chunk.text for chunk, _ in words if chunk.text] == ["final "]


def test_a_mixture_of_one_layer_decides_nothing(invoke):
    mixture = Mixture(["42", "42"], early_stop=0.9)
    state = invoke(mixture.compile(), {"messages": "q"})
    assert (mixture.asked, depth_of(state)) == ([2, 1], None)


def test_requests_are_the_same_with_and_without_it(invoke):
    """Of a run that never stops: to the letter."""
    prompts = []
    for options in ({}, {"early_stop": 0.9}, {"early_stop": 0.9, "shadow": True}):
        mixture = Mixture(APART, APART, APART, **options)
        invoke(mixture.compile(), {"messages": "q"})
        models = [*(each for row in mixture.proposers for each in row), mixture.writer]
        asked = [[m.model_dump(exclude={"id"}) for m in each.asked[0]] for each in models]
        prompts.append(asked)
    assert prompts[0] == prompts[1] == prompts[2]


def test_an_agent_with_a_timeout_of_its_own_is_no_matter(invoke):
    layers = [{"a": Agent(model=FakeModel(answers=["42"]), samples=3)}] * 2
    moa = create_moa(layers, FakeModel(answers=["final"]), early_stop=agreement(1)).compile()
    depth = depth_of(invoke(moa, {"messages": "q"}))
    assert (depth["layers"], depth["skipped"]) == (1, 3)


KILLED = """
import sys
from pathlib import Path
from threading import Event

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.sqlite import SqliteSaver

from moa_graph import Router, create_moa

folder, option, step = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
USAGE = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}

def note(name):
    with (folder / "calls").open("a") as file:
        file.write(f"{name}\\n")

def propose(_):
    note("proposer")
    return AIMessage("42", usage_metadata=USAGE)

def decide(_):
    note("decide")
    return "seen enough"

def is_hard(_):
    note("decide")
    return False

def write(_):
    note("writer")
    if step == "first":
        print("writing", flush=True)
        Event().wait()
    return "final"

layer = {name: RunnableLambda(propose) for name in "ab"}
config = {"configurable": {"thread_id": "1"}}
writer = RunnableLambda(write)
options = {
    "early_stop": {"early_stop": decide},
    "router": {"router": Router(is_hard, easy=writer)},
    "max_cost": {"max_cost": 0, "prices": {"propose": (1, 1), "write": (1, 1)}},
}
with SqliteSaver.from_conn_string(str(folder / "runs.sqlite")) as saver:
    builder = create_moa([layer] * 3, writer, **options[option])
    moa = builder.compile(checkpointer=saver)
    given = {"messages": "q"} if step == "first" else None
    state = moa.invoke(given, config, durability="sync")
    print(state["messages"][-1].response_metadata["moa"]["depth"]["why"])
"""


@pytest.mark.process
@pytest.mark.parametrize(
    ("option", "why", "calls"),
    [
        ("early_stop", "seen enough", ["proposer", "proposer", "decide"]),
        ("router", "is_hard returned False", ["decide"]),
        ("max_cost", "max_cost $0.00: $0.0000040 spent", ["proposer", "proposer"]),
    ],
)
def test_a_killed_run_goes_on_with_the_decision_that_was_stored(option, why, calls, tmp_path):
    command = [sys.executable, "-c", KILLED, tmp_path, option]
    with Forked([*command, "first"]) as process:
        assert process.stdout.readline() == "writing\n"
        process.kill()
    done = run_forked([*command, "second"])
    assert done.stdout.startswith(why)
    assert (tmp_path / "calls").read_text().split() == [*calls, "writer", "writer"]


def ranking():
    """Make a voter that ranks the second of two responses first."""
    return FakeModel(answers=["2 > 1"])


@pytest.mark.parametrize("layers", [1, 3])
def test_a_vote_is_held_behind_all_layers_alone(layers, invoke):
    rows = [["42", "42"] if layers == 1 else APART, APART, APART]
    ranker = ranking()
    mixture = Mixture(*rows, early_stop=0.9, aggregation="vote", voters={"r": ranker})
    state = invoke(mixture.compile(), {"messages": "q"})
    is_early = layers == 1
    assert depth_of(state)["layers"] == layers
    assert (len(ranker.asked), len(mixture.writer.asked)) == ((0, 1) if is_early else (1, 0))
    assert state["messages"][-1].text == (
        "final" if is_early else rows[2][summary_of(state)["selected"] == "layer_3_b"]
    )
    assert ("vote" in summary_of(state)) is not is_early


def test_a_router_sends_past_a_vote(invoke):
    easy, ranker = FakeModel(answers=["easy"]), ranking()
    router = Router(lambda _: False, easy=easy)
    mixture = Mixture(router=router, aggregation="vote", voters={"r": ranker})
    state = invoke(mixture.compile(), {"messages": "q"})
    assert (state["messages"][-1].text, mixture.asked, ranker.asked) == ("easy", [0] * 4, [])
    assert "vote" not in summary_of(state)


def test_prose_is_compared_once_for_the_decision_and_the_summary(invoke, monkeypatch):
    compared = []

    def count(texts):
        compared.append(list(texts))
        return 1.0

    monkeypatch.setattr("moa_graph.graph.agreement.measure_likeness", count)
    prose = [f"The oak stands behind the house since {uuid4()}, and gives shade."] * 2
    state = invoke(Mixture(prose, prose, early_stop=0.9).compile(), {"messages": "q"})
    assert depth_of(state)["layers"] == 1
    assert compared == [prose]


def test_a_decision_model_without_an_answer_is_paid_for(invoke):
    mixture = Mixture(early_stop=FakeDecisions(answers=[None]))
    summary = summary_of(invoke(mixture.compile(), {"messages": "q"}))
    assert mixture.asked == [2, 2, 2, 1]
    assert "`early_stop` failed: LookupError: judge gave no answer" in summary["depth"]["why"]
    told = [(each["usage"], each["error_type"]) for each in summary["decisions"]]
    assert told == [(USAGE, "LookupError")] * 2
    assert summary["usage"]["total_tokens"] == 2 * USAGE["total_tokens"]


def test_in_sequence_the_layer_that_is_the_last_is_read_at_once(invoke):
    mixture = Mixture(early_stop=0.9, aggregation="sequential", references_per_window=1)
    state = invoke(mixture.compile(), {"messages": "q"})
    assert mixture.asked == [2, 0, 0, 1]
    assert "1. 42\n2. It is 42." in mixture.writer.asked[0][0].text
    assert summary_of(state)["usage_unknown"] == ["layer_1_a", "layer_1_b", "aggregator"]


class FakeOpenAIDecisions(OpenAIDecisions):
    """The decision model of `langchain_openai`, without a network."""

    def _decide(self, request):
        [name] = request["questions"]
        told = {"type": "predicate", "probability": 0.9}
        return DecisionResponse(model=self.model, answers={name: told})

    async def _adecide(self, request):
        return self._decide(request)


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_openais_decision_model_decides_too(invoke):
    mixture = Mixture(early_stop=FakeOpenAIDecisions(model="gpt-6-luna", api_key="x"))
    state = invoke(mixture.compile(), {"messages": "q"})
    assert mixture.asked == [2, 0, 0, 1]
    assert depth_of(state)["why"] == "openai:gpt-6-luna: 0.90, at least 0.5"
    assert "layer_1_aggregator" in summary_of(state)["usage_unknown"]


def test_an_early_end_has_no_analysis(invoke):
    analyst = FakeModel(answers=["no analysis"])
    mixture = Mixture(early_stop=0.9, analysis=analyst, order="shuffled")
    state = invoke(mixture.compile(), {"messages": "q"})
    assert (mixture.asked, analyst.asked) == ([2, 0, 0, 1], [])
    assert sorted(summary_of(state)["references_read"]) == ["layer_1_a", "layer_1_b"]
