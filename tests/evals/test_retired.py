"""Which models of a plan are retired."""

import json
from datetime import date
from importlib.metadata import version
from pathlib import Path

import pytest

from moa_graph import Agent
from moa_graph.evals.benchmarks.registry import benchmark_for
from moa_graph.evals.retired import describe_retired

BEFORE, AFTER = date(2026, 10, 1), date(2026, 11, 1)


def describe(model, today=AFTER, **options):
    return describe_retired([Agent(model=model, **options)], today)


@pytest.mark.parametrize("measured", ["alpaca_eval", "mt_bench", "flask"])
def test_published_judges_are_told_to_be_shut_down(measured):
    judge = benchmark_for(measured).judging_method.official_label
    (told,) = describe(judge)
    assert told.startswith(f"{judge}: was shut down on 2026-10-23 (OpenAI's page of deprecations")
    assert "is to be shut down on 2026-10-23" in describe(judge, BEFORE)[0]


def test_model_that_the_price_data_call_deprecated_is_told(monkeypatch):
    genai_prices = pytest.importorskip("genai_prices.data_snapshot")
    (provider,) = (p for p in genai_prices.get_snapshot().providers if p.id == "openai")
    (model,) = (m for m in provider.models if m.id == "gpt-4.1")
    assert describe("openai:gpt-4.1") == []
    monkeypatch.setattr(model, "deprecated", True)
    told = f"openai:gpt-4.1: is deprecated (genai-prices {version('genai-prices')})"
    assert describe("openai:gpt-4.1") == [told]


def test_model_that_the_price_data_do_not_know_may_be_retired():
    pytest.importorskip("genai_prices")
    (told,) = describe("together:Qwen/Qwen1.5-72B-Chat")
    assert "is not among the models that genai-prices" in told
    assert told.endswith("knows of together; perhaps retired")


def test_model_that_others_serve_or_nobody_prices_is_not_told():
    assert describe("openai:gpt-4", base_url="http://localhost:1/v1") == []
    assert describe("offline:lead") == []


def test_estimate_says_what_is_retired(evaluate):
    plan = Path(__file__).parents[2] / "examples" / "table2.toml"
    notes = json.loads(evaluate("estimate", plan, "--json").stdout)["notes"]
    retired = [note for note in notes if note.startswith("Retired: ")]
    for model in ("openai:gpt-4", "openai:gpt-4-1106-preview", "openai:gpt-4o-2024-05-13"):
        assert any(note.startswith(f"Retired: {model}: ") for note in retired)
