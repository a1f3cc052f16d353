"""Plans of comparisons, and what they are going to take."""

import json
import re

import pytest
from compared import ROWS, write_plan

from moa_graph import MoAConfig
from moa_graph.evals.plan import EvalPlan
from moa_graph.evals.preflight import estimate_comparison


@pytest.fixture
def load(tmp_path):
    """Load a plan with one benchmark from its text."""

    def load(text, benchmark='[[benchmarks]]\nname = "alpaca_eval"\n'):
        (tmp_path / "plan.toml").write_text(f"{text}\n{benchmark}")
        return EvalPlan.load(tmp_path / "plan.toml")

    return load


def test_a_system_is_a_preset_a_file_a_model_or_a_table(load, tmp_path):
    (tmp_path / "own.toml").write_text('layers = [["offline:lead"]]\naggregator = "offline:mmr"')
    plan = load("""
        [systems]
        lite = "moa-lite"
        file = "own.toml"
        model = "openai:gpt-4o"
        agent = { model = "openai:gpt-4o", temperature = 0.5 }
        mixture = { layers = [["offline:lead", "offline:bm25"]], aggregator = "offline:mmr" }
    """)
    assert list(plan.configs) == ["lite", "file", "model", "agent", "mixture"]
    assert plan.configs["lite"].layers == MoAConfig.load("moa-lite").layers
    assert plan.configs["file"].aggregator.label == "offline:mmr"
    alone = plan.configs["agent"]
    assert (alone.labels(), alone.aggregator.temperature) == (["openai:gpt-4o"], 0.5)
    assert not alone.layers


def test_recorded_file_is_found_beside_the_plan(load, tmp_path):
    (tmp_path / "r.json").write_text('[{"instruction": "q", "output": "a"}]', encoding="utf-8")
    plan = load('[systems]\nr = "recorded:r.json"')
    assert plan.configs["r"].labels() == [f"recorded:{tmp_path / 'r.json'}"]


def test_variants_are_systems_by_their_names(load):
    plan = load("""
        [systems]
        six = "offline"
        [[variants]]
        of = "six"
        analyses = ["depth"]
    """)
    assert [point.variant.x for point in plan.points] == [1, 2, 3, 4]
    assert set(plan.configs) == {"six", *(point.variant.name for point in plan.points)}


def test_names_that_cannot_be_told_apart_are_refused(load):
    with pytest.raises(ValueError, match="two systems would be called 'a-b-alone': expected"):
        load("""
            [systems.two]
            layers = [["a b", "a-b"]]
            aggregator = "offline:lead"
            agents = { "a b" = { model = "offline:lead" }, a-b = { model = "offline:mmr" } }
            [[variants]]
            of = "two"
            analyses = ["collaborativeness"]
        """)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "x: unknown key; expected one of: systems, benchmarks, variants"),
        ("", "systems: empty"),
        ('[systems]\na = "nope"', "systems.a: expected a preset"),
        ('[systems]\na = "nope.toml"', "systems.a: no preset or file"),
        ("[systems]\na = 1", "systems.a: expected a preset"),
        ('[systems]\na = { model = "x" }', "systems.a: model: expected 'provider:model'"),
        ('[systems]\na = { model = "p:m", api_key = "sk-1" }', "systems.a: api_key: unknown key"),
        ('[systems]\n"a/b" = "p:m"', "expected letters, digits"),
        ('concurrency = 0\n[systems]\na = "p:m"', "concurrency: "),
        ('judge = "gpt"\n[systems]\na = "p:m"', "judge gpt"),
        ('correlation = ["b"]\n[systems]\na = "p:m"', "correlation: no system 'b'; expected one"),
        ('[systems]\na = "p:m"\n[published]\nb = "MoA"', "published: no system 'b'"),
        ('[[variants]]\nof = "offline"\nanalyses = ["all"]', "variants[0].analyses[0]: "),
        ('[[variants]]\nof = "nope"\nanalyses = ["depth"]', "variants[0].of: no preset or file"),
        ("= 1", "not valid TOML"),
    ],
)
def test_mistakes_name_their_place(load, text, message, tmp_path):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        load(text)
    assert str(caught.value).startswith(f"{tmp_path / 'plan.toml'}: ")
    assert "sk-1" not in str(caught.value)


def test_mistake_in_a_benchmark_names_its_keys(load):
    with pytest.raises(ValueError, match=r"benchmarks\[0\]\.file: unknown key; .*\bdata\b"):
        load('[systems]\na = "p:m"', '[[benchmarks]]\nname = "flask"\nfile = "x"')


def test_plan_without_benchmarks_is_refused(load):
    with pytest.raises(ValueError, match="benchmarks: required, but missing"):
        load('[systems]\na = "p:m"', "")


@pytest.fixture
def estimate(tmp_path):
    """Estimate a plan of systems over prompts of one's own, judged by the stand-in."""

    def estimate(systems, **options):
        lines = "".join(json.dumps(row) + "\n" for row in ROWS)
        (tmp_path / "questions.jsonl").write_text(lines)
        (tmp_path / "plan.toml").write_text(
            f'judge = "offline:overlap"\n[[benchmarks]]\nname = "questions.jsonl"\n'
            f"[systems]\n{systems}"
        )
        return estimate_comparison(
            EvalPlan.load(tmp_path / "plan.toml"), tmp_path / "out", **options
        )

    return estimate


def test_calls_that_systems_share_count_once(estimate):
    agent = 'model = "openai:gpt-4o", max_tokens = 100'
    found = estimate(f"""
        one = {{ {agent} }}
        two = {{ layers = [{{ a = {{ {agent} }} }}], aggregator = {{ {agent} }} }}
        hot = {{ {agent}, temperature = 1.5 }}
    """)
    assert [each.calls for each in found.estimates] == [20, 20, 20, 0]


def test_calls_that_differ_only_in_how_long_is_waited_count_once(estimate):
    found = estimate("""
        a = { model = "openai:m", temperature = 0.5 }
        patient = { model = "openai:m", temperature = 0.5, timeout = 60.0, max_retries = 9 }
        warmer = { model = "openai:m", temperature = 0.9 }
    """)
    assert [each.calls for each in found.estimates] == [20, 0, 20, 0]


def test_free_calls_are_as_many_as_the_run_makes(estimate, evaluate, tmp_path):
    mixture = '{ layers = [["offline:lead", "offline:bm25"]], aggregator = "offline:consensus" }'
    found = estimate(f'alone = "offline:lead"\none = {mixture}\ntwo = {mixture}')
    done = evaluate("run", tmp_path / "plan.toml", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert f"now {found.total.free:,} calls" in done.stdout


def test_a_router_is_asked_for_each_question_before_the_layers(estimate):
    model = "openai:gpt-4o-2024-05-13"
    plain = f'layers = [["{model}"]], aggregator = "{model}"'
    router = 'router = { model = "openai:gpt-4o-mini", easy = "openai:gpt-4.1-nano" }'
    found = estimate(f"plain = {{ {plain} }}\nrouted = {{ {plain}, {router} }}")
    assert [each.calls for each in found.estimates] == [40, 20, 0]
    assert "openai:gpt-4.1-nano" in found.prices
    assert any("openai:gpt-4.1-nano instead" in note for note in found.notes)


def test_unknown_price_is_never_zero(estimate):
    total = estimate('a = { model = "openai:nobody-knows", max_tokens = 9 }').total
    assert (total.cost, total.most_cost, total.unpriced) == (None, None, {"openai:nobody-knows"})


def test_without_max_tokens_there_is_no_bound(estimate):
    total = estimate('a = "openai:gpt-4o"').total
    assert total.unbounded == {"openai:gpt-4o"}
    assert total.tokens.upper_bound == total.most_cost == float("inf")
    assert 0 < total.cost < 1


def test_cost_is_that_of_the_tokens(estimate):
    agent = '{ model = "openai:a", max_tokens = 100 }'
    found = estimate(f'a = {agent}\n[prices]\n"openai:a" = [0, 1_000_000]', answer_tokens=10)
    assert (found.total.cost, found.total.most_cost) == (20 * 10, 20 * 100)


def test_data_that_cannot_be_had_are_assumed_and_that_is_said(load, monkeypatch, tmp_path):
    def fetch(*_):
        raise ValueError("no network")

    monkeypatch.setattr("moa_graph.evals.benchmarks.protocol.fetch_pinned_file", fetch)
    found = estimate_comparison(load('[systems]\na = "openai:gpt-4o-2024-05-13"'), tmp_path / "out")
    assert [each.calls for each in found.estimates] == [805, 805]
    assert found.notes[0].startswith("alpaca_eval: the data are not here")


def test_preflight_asks_nobody_and_needs_no_key(evaluate, server, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    path = write_plan(tmp_path, server)
    told = evaluate("estimate", path)
    assert told.returncode == 0, told.stderr
    assert "judge openai:judge" in told.stdout
    assert "variants" in told.stdout
    assert not server.calls
    assert not (tmp_path / "out").exists()


def test_preflight_as_json_has_no_infinity(evaluate, tmp_path):
    (tmp_path / "p.txt").write_text("one\n")
    (tmp_path / "plan.toml").write_text(
        'judge = "offline:overlap"\n[systems]\na = "openai:gpt-4o"\n'
        '[[benchmarks]]\nname = "p.txt"\n'
    )
    told = json.loads(evaluate("estimate", tmp_path / "plan.toml", "--json").stdout)
    assert told["total"]["most_cost"] is None
    assert told["total"]["unbounded"] == ["openai:gpt-4o"]
    assert told["total"]["cost"] > 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('[[benchmarks]]\nname = "alpaca_eval"\n', "benchmarks: 'alpaca_eval' occurs twice"),
        ('[published]\na = "Nope"\n', "published.a: the paper has no 'Nope'; expected one of: "),
        ('[systems.b]\nmodel = "recorded:no.json"\n', "systems.b: recorded outputs: "),
    ],
)
def test_mistake_that_would_show_late_is_told_at_once(tmp_path, more, message):
    path = tmp_path / "plan.toml"
    head = '[systems]\na = "offline:lead"\n[[benchmarks]]\nname = "alpaca_eval"\n'
    path.write_text(f"{head}{more}", encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(message)):
        EvalPlan.load(path)


def test_gamed_table_that_is_not_there_is_told_at_once(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text(
        'gamed_baselines = "no.csv"\n[systems]\na = "offline:lead"\n'
        '[[benchmarks]]\nname = "alpaca_eval"\n',
        encoding="utf-8",
    )
    with pytest.raises(ValueError, match=r"gamed_baselines: no file .*no\.csv"):
        EvalPlan.load(path)
