"""Metrics, read as Prometheus reads them."""

import asyncio

import pytest
from decisions import FakeDecisions
from fakes import FakeModel
from langchain_core.messages import AIMessage
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families
from waiting import wait_until

from moa_graph import Agent, ChatMoA, QuorumError, Router, create_moa
from moa_graph.telemetry.metrics import MeasuredMixture, RunMetrics
from moa_graph.telemetry.observed_runs import RunObserver

ASKED = {"messages": "q"}
LABELS = ("mixture", "layer", "agent", "outcome", "kind", "error")
USAGE = {
    "input_tokens": 10,
    "output_tokens": 4,
    "total_tokens": 14,
    "input_token_details": {"cache_read": 3},
}


class Counted:
    """Metrics of the mixture `mine`, and what they say."""

    def __init__(self, *layers, fallbacks=0, helpers=(), prices=None):
        names = [f"layer_{number}_{a}" for number, layer in enumerate(layers, 1) for a in layer]
        names += ["aggregator", *(f"fallback_{number + 1}" for number in range(fallbacks))]
        measured = {"mine": MeasuredMixture([*names, *helpers], prices or {})}
        self.metrics = RunMetrics(measured)
        self.config = {"callbacks": [RunObserver([self.metrics])]}

    def values(self, name):
        """The samples of a name, by the values of their labels."""
        content, content_type = self.metrics.encode()
        assert content_type.startswith("text/plain")
        return {
            tuple(map(sample.labels.get, filter(sample.labels.get, LABELS))): sample.value
            for family in text_string_to_metric_families(content.decode())
            for sample in family.samples
            if sample.name == name
        }


def mixture(*layers, aggregator=None, name="mine", **options):
    aggregator = aggregator or FakeModel(answers=["final"])
    return create_moa([*layers], aggregator, **options).compile(name=name)


def test_runs_and_calls_are_counted_by_mixture_layer_and_agent(invoke):
    counted = Counted(["a", "b"], ["c"])
    moa = mixture({"a": FakeModel(), "b": FakeModel()}, {"c": FakeModel()})
    for _ in range(2):
        invoke(moa, ASKED, counted.config)
    assert counted.values("moa_runs_total") == {("mine", "answered"): 2}
    assert counted.values("moa_run_duration_seconds_count") == {("mine",): 2}
    calls = {
        ("mine", "1", "a"): 2,
        ("mine", "1", "b"): 2,
        ("mine", "2", "c"): 2,
        ("mine", "aggregator", "aggregator"): 2,
    }
    assert counted.values("moa_call_duration_seconds_count") == calls
    totals = {(*labels, "answered"): count for labels, count in calls.items()}
    assert counted.values("moa_calls_total") == totals
    assert not counted.values("moa_call_failures_total")


def test_tokens_and_cost_are_those_of_all_calls(invoke):
    answer = AIMessage("an answer", usage_metadata=USAGE)
    counted = Counted(["a"], prices={"fake": (100, 1000)})
    moa = mixture({"a": FakeModel(answers=[answer])}, aggregator=FakeModel(answers=[answer]))
    invoke(moa, ASKED, counted.config)
    assert counted.values("moa_tokens_total") == {
        ("mine", "input"): 20,
        ("mine", "output"): 8,
        ("mine", "cache_read"): 6,
    }
    (cost,) = counted.values("moa_cost_dollars_total").values()
    assert cost == pytest.approx((20 * 100 + 8 * 1000) / 1e6)
    assert not counted.values("moa_unpriced_calls_total")


def test_failures_are_counted_by_status_or_class(invoke, server):
    server.model("m", always=503)
    counted = Counted(["status", "empty", "class", "a"])
    layer = {
        "status": Agent(model="openai:m", base_url=server.url, max_retries=0),
        "empty": FakeModel(answers=[""]),
        "class": FakeModel(answers=[ZeroDivisionError()]),
        "a": FakeModel(),
    }
    invoke(mixture(layer, quorum=1), ASKED, counted.config)
    assert counted.values("moa_call_failures_total") == {
        ("mine", "1", "status", "503"): 1,
        ("mine", "1", "empty", "EmptyAnswerError"): 1,
        ("mine", "1", "class", "ZeroDivisionError"): 1,
    }
    assert counted.values("moa_calls_total")["mine", "1", "class", "failed"] == 1
    assert counted.values("moa_runs_total") == {("mine", "degraded"): 1}


def test_a_failed_aggregator_and_the_fallback_in_its_place_are_both_counted(invoke):
    counted = Counted(["a"], fallbacks=1)
    moa = mixture(
        {"a": FakeModel()},
        aggregator=FakeModel(answers=[ValueError()]),
        fallbacks=[FakeModel(answers=["final"])],
    )
    invoke(moa, ASKED, counted.config)
    calls = counted.values("moa_calls_total")
    assert calls["mine", "aggregator", "aggregator", "failed"] == 1
    assert calls["mine", "aggregator", "fallback_1", "answered"] == 1
    assert counted.values("moa_runs_total") == {("mine", "degraded"): 1}


def test_a_lost_quorum_is_a_failed_run(invoke):
    counted = Counted(["a"])
    with pytest.raises(QuorumError):
        invoke(mixture({"a": FakeModel(answers=[ValueError()])}), ASKED, counted.config)
    assert counted.values("moa_runs_total") == {("mine", "failed"): 1}


async def test_a_cancelled_run_and_its_calls_are_counted_and_not_timed():
    counted, hanging = Counted(["a"]), FakeModel(until=lambda: False)
    task = asyncio.ensure_future(mixture({"a": hanging}).ainvoke(ASKED, counted.config))
    await wait_until(lambda: hanging.asked)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert counted.values("moa_runs_total") == {("mine", "cancelled"): 1}
    assert counted.values("moa_calls_total") == {("mine", "1", "a", "cancelled"): 1}
    assert not counted.values("moa_run_duration_seconds_count")
    assert not counted.values("moa_call_duration_seconds_count")


async def test_a_straggler_is_cut_off():
    counted = Counted(["a", "slow"])
    moa = mixture({"a": FakeModel(), "slow": FakeModel(until=lambda: False)}, deadline=0.2)
    await moa.ainvoke(ASKED, counted.config)
    assert counted.values("moa_calls_total")["mine", "1", "slow", "cut_off"] == 1


def test_a_nested_mixture_is_counted_once(invoke):
    answer = AIMessage("an answer", usage_metadata=USAGE)
    counted = Counted(["a"])
    inner = mixture({"x": FakeModel(answers=[answer])}, aggregator=FakeModel(answers=[answer]))
    invoke(mixture({"a": inner}), ASKED, counted.config)
    assert counted.values("moa_runs_total") == {("mine", "answered"): 1}
    assert counted.values("moa_tokens_total")["mine", "input"] == 20


def test_reused_proposals_are_no_calls():
    counted = Counted(["a"])
    model = ChatMoA([{"a": FakeModel()}], FakeModel(answers=["", "final"]), model_name="mine")
    with pytest.raises(Exception, match="no final answer"):
        model.invoke("q", counted.config)
    model.invoke("q", counted.config)
    assert counted.values("moa_calls_total")["mine", "1", "a", "answered"] == 1
    assert counted.values("moa_runs_total") == {("mine", "failed"): 1, ("mine", "answered"): 1}


@pytest.mark.parametrize("finalists", [1, 2])
def test_voters_are_calls_and_the_winner_of_a_vote_is_none(finalists, invoke):
    counted = Counted(["a", "b"], helpers=["vote_r"])
    layer, voters = {"a": FakeModel(), "b": FakeModel()}, {"r": FakeModel(answers=["1 > 2"])}
    options = {"aggregation": "vote", "voters": voters, "finalists": finalists}
    invoke(mixture(layer, **options), ASKED, counted.config)
    calls = counted.values("moa_calls_total")
    assert calls["mine", "vote", "r", "answered"] == 1
    assert (("mine", "aggregator", "aggregator", "answered") in calls) is (finalists > 1)
    assert counted.values("moa_runs_total") == {("mine", "answered"): 1}


def test_a_window_is_a_call(invoke):
    counted = Counted(["a", "b"], helpers=["window_1"])
    options = {"aggregation": "sequential", "references_per_window": 1}
    invoke(mixture({"a": FakeModel(), "b": FakeModel()}, **options), ASKED, counted.config)
    calls = {labels[1:] for labels in counted.values("moa_calls_total")}
    assert ("window", "window_1", "answered") in calls
    assert counted.values("moa_runs_total") == {("mine", "answered"): 1}


def test_names_that_are_not_configured_are_no_labels(invoke):
    counted = Counted(["a"])
    invoke(mixture({"stranger": FakeModel()}), ASKED, counted.config)
    invoke(mixture({"a": FakeModel()}, name="foreign"), ASKED, counted.config)
    assert counted.values("moa_runs_total") == {("mine", "answered"): 1, ("other", "answered"): 1}
    assert counted.values("moa_calls_total") == {
        ("mine", "other", "other", "answered"): 1,
        ("mine", "aggregator", "aggregator", "answered"): 1,
        ("other", "other", "other", "answered"): 2,
    }


def test_metrics_are_in_no_registry_but_their_own():
    Counted(["a"])
    assert not [family for family in REGISTRY.collect() if family.name.startswith("moa_")]


def test_models_that_decide_how_deep_a_turn_goes_are_counted(invoke):
    counted = Counted(
        ["a"], ["a"], helpers=["router", "layer_1_aggregator"], prices={"fake:judge": (1e5, 1e5)}
    )
    router = Router(FakeDecisions(answers=["full"]), easy=FakeModel())
    layers = [{"a": FakeModel()}] * 2
    invoke(
        mixture(*layers, router=router, early_stop=FakeDecisions(answers=[0.1])),
        ASKED,
        counted.config,
    )
    calls = counted.values("moa_calls_total")
    assert calls["mine", "router", "router", "answered"] == 1
    assert calls["mine", "1", "layer_1_aggregator", "answered"] == 1
    assert counted.values("moa_tokens_total") == {("mine", "input"): 20, ("mine", "output"): 2}
    assert sum(counted.values("moa_cost_dollars_total").values()) == pytest.approx(2.2)


def test_a_decision_that_failed_is_counted_as_such(invoke):
    counted = Counted(["a"], ["a"], helpers=["layer_1_aggregator"])
    judge = FakeDecisions(answers=[ZeroDivisionError()])
    invoke(mixture(*[{"a": FakeModel()}] * 2, early_stop=judge), ASKED, counted.config)
    failures = counted.values("moa_call_failures_total")
    assert failures == {("mine", "1", "layer_1_aggregator", "ZeroDivisionError"): 1}
    assert counted.values("moa_runs_total") == {("mine", "answered"): 1}
