"""Intervals and comparisons of length-controlled win rates, and with which table they are that."""

import hashlib
import json
import math
import random
from dataclasses import replace

import numpy as np
import pytest
from evaldata import FOLDER, needs_evaldata, read_lines
from judged import answered

from moa_graph.evals.benchmarks.alpaca_eval import baselines as tables
from moa_graph.evals.benchmarks.alpaca_eval.score import length_controlled_win_rate
from moa_graph.evals.benchmarks.registry import benchmark_for
from moa_graph.evals.intervals import mean_interval
from moa_graph.evals.scoring import compare_all, have_headline, name_metric, score_system
from moa_graph.evals.statistics import Comparison, compare, correct_for_multiple

LENGTH_CONTROLLED = "length-controlled win rate, %"
OTHER = "win rate adjusted for length by another table than AlpacaEval's, %"


def synthetic(count=120, seed=0, strength=0.4):
    """Make up a model whose longer answers are preferred, and the gamed baselines."""
    rng = np.random.default_rng(seed)
    difficulty = np.random.default_rng(7).normal(size=count)
    longer = rng.normal(100, 300, count)
    chance = 1 / (1 + np.exp(-(strength + 0.5 * difficulty + np.tanh(longer / 300))))
    gamed = {
        "preference": np.clip(np.random.default_rng(8).beta(1, 4, 2 * count), 0, 1),
        "std_delta_len": np.repeat([1.0, -1.0], count),
        "instruction_difficulty": np.tile(difficulty, 2),
    }
    preferences = 1 + np.clip(chance + rng.normal(0, 0.25, count), 0, 1)
    return [preferences, 2000 + longer, np.full(count, 2000.0), difficulty], gamed


def refit(columns, gamed, rows):
    return length_controlled_win_rate(*[each[rows] for each in columns], gamed)


def test_contributions_average_to_the_win_rate():
    columns, gamed = synthetic()
    fitted = length_controlled_win_rate(*columns, gamed)
    assert fitted.contributions.mean() == pytest.approx(fitted.win_rate)
    level = np.full(9, 1.5)
    tie = length_controlled_win_rate(level, level, level, np.zeros(9), gamed)
    assert set(tie.contributions) == {50.0}


def test_spread_of_contributions_is_that_of_refits():
    columns, gamed = synthetic()
    fitted = length_controlled_win_rate(*columns, gamed)
    rng = np.random.default_rng(1)
    refits = [refit(columns, gamed, rng.integers(0, 120, 120)).win_rate for _ in range(60)]
    error = fitted.contributions.std(ddof=1) / math.sqrt(120)
    assert error == pytest.approx(np.std(refits, ddof=1), rel=0.3)
    assert error > 1.3 * fitted.standard_error, "the published error is of another thing"


@pytest.mark.slow
@needs_evaldata
def test_paired_refits_of_published_judgements_spread_as_contributions_do():
    lines = (FOLDER / "gamed_baselines_synthetic.csv").read_text("utf-8").splitlines()
    names = lines[0].split(",")
    rows = [dict(zip(names, line.split(","), strict=True)) for line in lines[1:]]
    gamed = {
        name: np.array([float(row[name]) for row in rows])
        for name in ("preference", "std_delta_len", "instruction_difficulty")
    }
    difficulty = gamed["instruction_difficulty"][:805]
    models = [m for m in read_lines("preferences.jsonl.gz") if len(m["preference"]) == 805][:2]
    systems = [
        [np.array(m[key], dtype=float) for key in ("preference", "len_model", "len_ref")]
        + [difficulty]
        for m in models
    ]
    first, second = (length_controlled_win_rate(*each, gamed).contributions for each in systems)
    error = (first - second).std(ddof=1) / math.sqrt(805)
    rng, differences = np.random.default_rng(0), []
    for _ in range(20):
        drawn = rng.integers(0, 805, 805)
        rates = [refit(each, gamed, drawn).win_rate for each in systems]
        differences.append(rates[0] - rates[1])
    assert error == pytest.approx(np.std(differences, ddof=1), rel=0.25)


def test_interval_covers_the_mean_of_many_benchmarks_as_often_as_it_says():
    instructions, _ = synthetic(2000, seed=3)
    _, gamed = synthetic(120)
    rng = np.random.default_rng(5)
    fits = [refit(instructions, gamed, rng.choice(2000, 120)) for _ in range(80)]
    mean = np.mean([each.win_rate for each in fits])
    intervals = [mean_interval(each.contributions) for each in fits]
    covered = sum(low <= mean <= high for low, high in intervals)
    assert covered >= 71  # of 80; 76 are expected


@pytest.fixture
def judged_systems(tmp_path, evaluate):
    """Two systems of eight instructions that count as the published ones, and a table."""
    folders = []
    for name, size in (("long", 40), ("short", 1)):
        folder = answered(
            tmp_path, "alpaca_eval", lambda q, size=size: q + "!" * size * int(q[-1]), name=name
        )
        folders.append(folder)
    done = evaluate("judge", *folders, "--judge", "offline:overlap")
    assert done.returncode == 0, done.stderr
    for folder in folders:
        path = folder / "judging.json"
        manifest = json.loads(path.read_text())
        path.write_text(json.dumps({**manifest, "data": {**manifest["data"], "revision": "1"}}))
    chance = random.Random(0)
    rows = [
        f"{n},{chance.random()},{chance.gauss()},{chance.gauss()}"
        for _ in range(2)
        for n in range(8)
    ]
    table = tmp_path / "gamed.csv"
    table.write_text(
        "\n".join(["index,preference,std_delta_len,instruction_difficulty", *rows]) + "\n"
    )
    return folders, table


def publish(table, monkeypatch):
    """Have a table count as the published one, by its hash."""
    sha256 = hashlib.sha256(table.read_bytes()).hexdigest()
    pinned = replace(tables.BASELINES_FILE, sha256=sha256)
    monkeypatch.setattr(tables, "BASELINES_FILE", pinned)


def test_only_the_published_table_makes_a_length_controlled_win_rate(judged_systems, monkeypatch):
    folders, table = judged_systems
    other = score_system(folders[0], tables.read_baselines(table))
    benchmark = benchmark_for("alpaca_eval")
    assert name_metric([other]) == OTHER
    assert "length-controlled %" not in benchmark.report_cells(other.figures)
    assert any("is not AlpacaEval's table: no length-controlled" in each for each in other.labels)
    publish(table, monkeypatch)
    own = score_system(folders[0], tables.read_baselines(table))
    assert name_metric([own]) == LENGTH_CONTROLLED
    assert "length-controlled %" in benchmark.report_cells(own.figures)
    assert not any("table" in each for each in own.labels)


def test_another_table_is_told_wherever_its_figures_stand(judged_systems, evaluate, tmp_path):
    _, table = judged_systems
    scored = evaluate("score", tmp_path / "out", "--gamed-baselines", table)
    assert scored.returncode == 0, scored.stderr
    assert "length-adjusted (other table) %" in scored.stdout
    assert "length-controlled %" not in scored.stdout
    told = json.loads(
        evaluate("score", tmp_path / "out", "--gamed-baselines", table, "--json").stdout
    )
    assert {each["gamed_baselines"]["is_published"] for each in told["systems"]} == {False}
    assert {each["quality"]["metric"] for each in told["systems"]} == {OTHER}
    written = evaluate("report", tmp_path / "out", "--gamed-baselines", table)
    assert written.returncode == 0, written.stderr
    folder = tmp_path / "out" / "report"
    for page in (folder / "index.html", *folder.glob("*-quality.svg")):
        assert "AlpacaEval" in page.read_text()
    assert '"n">length-controlled %</th>' not in (folder / "index.html").read_text()


def test_verdict_names_the_headline_and_agrees_with_it(judged_systems, monkeypatch):
    folders, table = judged_systems
    publish(table, monkeypatch)
    scores = [score_system(folder, tables.read_baselines(table)) for folder in folders]
    assert have_headline(scores)
    (found,) = compare_all([(scores[0], scores[1])], is_headline=True)
    headlines = [each.figures.length_controlled.win_rate for each in scores]
    assert found.difference == pytest.approx(headlines[0] - headlines[1])
    assert f"in {LENGTH_CONTROLLED} (95 % interval" in found.verdict
    (raw,) = compare_all([(scores[0], scores[1])], is_headline=False)
    assert "in win rate, % (95 % interval" in raw.verdict


def comparison(p_value):
    return Comparison(("a", "b"), 1.0, 0.5, 1.5, 0.95, p_value, 20, 0)


def test_several_comparisons_are_corrected_as_holm_does():
    found = correct_for_multiple([comparison(p) for p in (0.03, 0.001, 0.02, 0.9)])
    assert [each.corrected_p_value for each in found] == pytest.approx([0.06, 0.004, 0.06, 0.9])
    assert [each.better for each in found] == [None, "a", None, None]
    assert "p = 0.030, corrected for 4 comparisons = 0.060" in found[0].verdict


def test_single_comparison_needs_no_correction():
    (found,) = correct_for_multiple([comparison(0.03)])
    assert (found.better, found.corrected_p_value) == ("a", None)
    assert "corrected" not in found.verdict


def test_equal_systems_are_rarely_called_better_among_many():
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(40):
        systems = [dict(enumerate(rng.normal(size=30))) for _ in range(5)]
        pairs = [(a, b) for i, a in enumerate(systems) for b in systems[i + 1 :]]
        found = correct_for_multiple([compare(a, b, resamples=499) for a, b in pairs])
        wrong += any(each.better for each in found)
    assert wrong <= 6  # of 40; 2 are expected, and without the correction about 12
