"""A bench of known truth: figures come out as computed in closed form or by direct simulation."""

import json
import re
import shutil
from collections import Counter

import numpy as np
import pytest
from packages import add_package
from simulated import (
    picked,
    question,
    reset,
    truth,
)
from typer.testing import CliRunner

from moa_graph.cli.app import app
from moa_graph.config.model import MoAConfig
from moa_graph.evals.judging.proposal_scores import read_proposal_scores
from moa_graph.evals.report.comparison_info import find_judged_folders, read_comparison_info
from moa_graph.evals.report.results import read_sections
from moa_graph.models.providers import ENTRY_POINT_GROUP

pytestmark = pytest.mark.slow

QUESTIONS = 24
AGENTS = {"good": "p=0.8,rho=0.3", "fair": "p=0.6,rho=0.3", "poor": "p=0.3,rho=0.3"}
PLAN = """
[systems.mixture]
layers = [["good", "fair", "poor"]]
aggregator = "simulated:pick=0.9"
[systems.mixture.agents]
{agents}
[systems.deep]
layers = [["good", "fair", "poor"], ["good", "fair", "poor"]]
aggregator = "simulated:pick=0.9"
[systems.deep.agents]
{agents}
[[variants]]
of = "deep"
analyses = ["early_stop"]
[[variants]]
of = "mixture"
analyses = ["equal_cost", "leave_one_out"]
model = "fair"
samples = [5]
[[benchmarks]]
name = "questions.jsonl"
scorer = "number"
[prices]
"simulated:p=0.8,rho=0.3" = [1, 100]
"simulated:p=0.6,rho=0.3" = [1, 10]
"simulated:p=0.3,rho=0.3" = [1, 10]
"simulated:pick=0.9" = [1, 10]
"""


def moa(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A whole comparison of simulated models, done once."""
    folder = tmp_path_factory.mktemp("bench")
    reset()
    with pytest.MonkeyPatch.context() as patch:
        add_package(patch, folder / "site", ENTRY_POINT_GROUP, {"simulated": "simulated:SIMULATED"})
        rows = [{"question": question(n), "expected": truth(n)} for n in range(QUESTIONS)]
        (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        agents = "".join(f'{name} = "simulated:{model}"\n' for name, model in AGENTS.items())
        (folder / "plan.toml").write_text(PLAN.format(agents=agents))
        moa("eval", "run", folder / "plan.toml")
        yield folder


@pytest.fixture(scope="module")
def section(bench):
    comparison = read_comparison_info(bench / "out")
    folders, _ = find_judged_folders(bench / "out", comparison)
    [section] = read_sections(folders, comparison, "none")
    return section


@pytest.fixture(scope="module")
def stored(bench):
    """Whether each proposal of the mixture is right, by question and agent."""
    [layer] = read_proposal_scores(bench / "out" / "questions" / "mixture").values()
    return {
        item: {node.removeprefix("layer_1_"): score.points for node, score in scores.items()}
        for item, scores in layer.items()
    }


def quality(section, system):
    return next(each.quality.value for each in section.measurements if each.system == system)


def test_accuracies_are_near_the_truth(section, stored):
    for name, p in (("good", 0.8), ("fair", 0.6), ("poor", 0.3)):
        alone = quality(section, f"mixture-{name}-alone")
        assert alone == pytest.approx(100 * np.mean([each[name] for each in stored.values()]))
        assert alone == pytest.approx(100 * p, abs=100 * 3.5 * (p * (1 - p) / QUESTIONS) ** 0.5)


def test_a_mixture_that_picks_is_bounded_by_what_any_proposer_knows(section, stored):
    any_right = 100 * np.mean([max(each.values()) for each in stored.values()])
    assert quality(section, "mixture") <= any_right + 1e-9
    diversity = section.diversities["mixture"]
    assert diversity.all_wrong == pytest.approx(100 - any_right)
    expected = 100 * picked(0.9, (0.8, 0.6, 0.3), 0.3)
    assert quality(section, "mixture") == pytest.approx(expected, abs=25)


def test_samples_put_to_the_vote_are_counted_as_by_hand(bench, section):
    system = "mixture-vote-of-5-fair"
    path = bench / "out" / "questions" / system / "proposals.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    right = 0
    for row in rows:
        answers = [each["content"] for each in row["turns"][0]["proposals"].values()]
        assert len(answers) == 5
        right += Counter(answers).most_common(1)[0][0] == f"The answer is {truth(row['id'])}."
    assert quality(section, system) == pytest.approx(100 * right / QUESTIONS)


def test_leaving_out_asks_no_proposer_anew(bench):
    def contents(system):
        path = bench / "out" / "questions" / system / "proposals.jsonl"
        for line in path.read_text().splitlines():
            row = json.loads(line)
            for node, each in row["turns"][0]["proposals"].items():
                yield (row["id"], node), each["content"]

    whole = dict(contents("mixture"))
    without = dict(contents("mixture-without-poor"))
    assert len(without) == 2 * QUESTIONS
    assert without.items() <= whole.items()


def test_what_a_proposer_adds_is_the_difference_to_the_mixture_without_it(section):
    added = {each.proposer: each.gain for each in section.contributions["mixture"].each}
    for name, gain in added.items():
        difference = quality(section, "mixture") - quality(section, f"mixture-without-{name}")
        assert gain.value == pytest.approx(difference)
        assert gain.low <= gain.value <= gain.high
    assert added["good"].value > added["poor"].value
    assert section.contributions["mixture"].advice.startswith("Of mixture, ")


def test_costs_are_those_of_the_tokens(section):
    comparison = section.cost_comparisons[0]
    assert comparison.amount_kind == "cost"
    costs = {rival.name: rival.amount for rival in comparison.rivals}
    assert costs["mixture-good-alone"] == pytest.approx((4 * 1 + 4 * 100) / 1e6, rel=0.01)
    assert costs["mixture-vote-of-5-fair"] == pytest.approx(5 * costs["mixture-fair-alone"])
    assert [rival.amount for rival in comparison.rivals] == sorted(costs.values())


def test_the_first_sentence_names_the_cheapest_system_that_is_not_worse(bench, section):
    comparison = section.cost_comparisons[0]
    cheaper = [
        r for r in comparison.rivals if r.amount < (comparison.cheapest or comparison).amount
    ]
    assert all(rival.difference.low < -5 for rival in cheaper)
    assert "the strongest of its models alone" in comparison.sentence
    moa("eval", "report", bench / "out")
    page = (bench / "out" / "report" / "index.html").read_text()
    assert page.index(comparison.sentence[:60]) < page.index("<h2")
    curve = page[page.index("What stopping early would save: deep") :].partition("<h3")[0]
    assert re.search(r'aria-label="questions: accuracy, %, of deep .* from never: ', curve)
    assert re.findall(r'<tr><th scope="row" class="r">(.*?)<', curve) == [
        "never",
        "1.00",
        "0.66",
        "0.33",
    ]


def test_the_curve_is_what_stopping_by_hand_comes_to(bench, section):
    def rows(system):
        path = bench / "out" / "questions" / system / "proposals.jsonl"
        return {row["id"]: row for row in map(json.loads, path.read_text().splitlines())}

    def is_right(row):
        return row["turns"][0]["answer"] == f"The answer is {truth(row['id'])}."

    def agreement(row):
        proposals = row["turns"][0]["proposals"].values()
        answers = [each["content"] for each in proposals if each["layer"] == 1]
        return max(Counter(answers).values()) / len(answers)

    deep, first = rows("deep"), rows("deep-first-1")
    [curve] = json.loads(moa("eval", "curve", bench / "out", "--json"))
    assert (curve["system"], curve["instructions"]) == ("deep", QUESTIONS)
    assert not curve["stand_in"]
    thresholds = [point["threshold"] for point in curve["points"]]
    assert thresholds == [1.01, 1, 0.66, 0.33]  # a user can type them
    for point in curve["points"]:
        stopped = [item for item in deep if agreement(deep[item]) >= point["threshold"] - 1e-4]
        ends = [first[item] if item in stopped else deep[item] for item in deep]
        assert point["stopped"] == pytest.approx(100 * len(stopped) / QUESTIONS)
        assert point["quality"]["value"] == pytest.approx(100 * np.mean(list(map(is_right, ends))))
        assert point["quality"]["low"] <= point["quality"]["value"] <= point["quality"]["high"]
    costs = {each.system: each.resource_use.cost.value for each in section.measurements}
    assert curve["points"][0]["cost"] == pytest.approx(costs["deep"])
    assert curve["points"][-1]["cost"] == pytest.approx(costs["deep-first-1"])
    assert (bench / "out" / "report" / "questions-curve-deep.png").stat().st_size > 10_000


def test_without_the_first_layers_a_proposal_stands_for_the_answer_and_that_is_said(
    bench, tmp_path
):
    copy = tmp_path / "out"
    shutil.copytree(bench / "out", copy)
    for system in ("deep-first-1", "mixture"):  # which is the same mixture here
        shutil.rmtree(copy / "questions" / system)
    told = moa("eval", "curve", copy, "--system", "deep")
    assert "stands for what the aggregator would have written" in " ".join(told.split())


def test_a_mixture_of_one_layer_has_no_curve(bench):
    done = CliRunner().invoke(app, ["eval", "curve", str(bench / "out"), "--system", "mixture"])
    assert "mixture: expected two or more layers of proposers, got 1" in str(done.exception)


def test_the_best_for_a_price_is_recommended_with_its_evidence(bench, section, tmp_path):
    costs = {m.system: m.resource_use.cost.value for m in section.measurements}
    price = costs["mixture-good-alone"] * 0.99
    text = moa("eval", "recommend", bench / "plan.toml", "--price", price)
    (tmp_path / "best.toml").write_text(text)
    best = MoAConfig.load(tmp_path / "best.toml")
    affordable = [m for m in section.measurements if costs[m.system] <= price]
    most = max(each.quality.value for each in affordable)
    [chosen] = [m for m in affordable if m.system == best.name]
    assert chosen.quality.value == most
    assert f"# * {best.name}: {most:.1f} [" in text
    moa("ask", "-c", tmp_path / "best.toml", "--db", tmp_path / "db", question(1))


def test_systems_of_unknown_cost_are_named(bench, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(bench, folder)
    path = folder / "out" / "comparison.json"
    comparison = json.loads(path.read_text())
    comparison["prices"] = {m: p for m, p in comparison["prices"].items() if "p=0.8" not in m}
    path.write_text(json.dumps(comparison))
    text = moa("eval", "recommend", folder / "plan.toml", "--price", 1)
    [line] = [each for each in text.splitlines() if "their cost is unknown" in each]
    assert "mixture-good-alone" in line
    assert "mixture-fair-alone" not in line


def test_a_price_that_pays_for_nothing_is_refused(bench):
    done = CliRunner().invoke(app, ["eval", "recommend", str(bench / "plan.toml"), "--price", "0"])
    assert "`price`=0: the cheapest system costs more: mixture-" in str(done.exception)
