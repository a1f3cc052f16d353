"""Systems of a plan that answer and are judged several times."""

import json
import re
from collections import Counter
from statistics import fmean, stdev

import pytest
from compared import ROWS

from moa_graph.evals.comparison import list_steps
from moa_graph.evals.plan import EvalPlan
from moa_graph.evals.preflight import estimate_comparison
from moa_graph.evals.report.cells import format_mean_cost, format_total_cost
from moa_graph.evals.report.comparison_info import find_judged_folders, read_comparison_info
from moa_graph.evals.report.pareto import draw_pareto
from moa_graph.evals.report.results import read_sections
from moa_graph.evals.report.style import figure_style


@pytest.fixture
def path(tmp_path, server):
    """A plan of two systems that share calls, three times; the judge's ratings vary."""
    seen = Counter()

    def rate(body):
        seen["judge"] += 1
        return f"[[{5 + seen['judge'] % 4}]]"

    def answer(_):
        seen["m"] += 1
        return f"answer {seen['m']} " * seen["m"]  # each run is dearer than the one before

    server.model("*", reply=answer)
    server.model("judge", reply=rate)
    rows = [
        {"question_id": n, "category": "writing", "turns": [row["instruction"], "More."]}
        for n, row in enumerate(ROWS[:4])
    ]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    agent = f'{{ model = "openai:m", base_url = "{server.url}", max_retries = 0 }}'
    (tmp_path / "judge.toml").write_text(
        f'model = "openai:judge"\nbase_url = "{server.url}"\nmax_retries = 0\n'
    )
    (tmp_path / "plan.toml").write_text(
        f'repeats = 3\njudge = "judge.toml"\n[systems]\nsingle = {agent}\n'
        f"mixture = {{ layers = [{{ m = {agent} }}], aggregator = {agent} }}\n"
        '[[benchmarks]]\nname = "mt_bench"\ndata = "q.jsonl"\nbuiltin_prompt = true\n'
        '[prices]\n"openai:m" = [100, 200]\n'
    )
    return tmp_path / "plan.toml"


def test_each_run_samples_answers_of_its_own_and_shares_them(path, server, evaluate, tmp_path):
    told = estimate_comparison(EvalPlan.load(path), tmp_path / "out")
    done = evaluate("run", path, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    folders = {each.name for each in (tmp_path / "out" / "mt_bench").iterdir()}
    runs = {f"{name}{run}" for name in ("single", "mixture") for run in ("", "+run2", "+run3")}
    assert folders == runs
    calls = {each.part: each.calls for each in told.estimates}
    assert {calls[run] for run in runs if run.startswith("single")} == {4 * 2}
    assert len(server.calls_of("m")) == sum(calls[run] for run in runs)
    first = [json.dumps(call.messages) for call in server.calls_of("m") if len(call.messages) == 1]
    assert set(Counter(first).values()) == {3}
    asked = len(server.calls)
    assert evaluate("run", path, "--out", tmp_path / "out").returncode == 0
    assert len(server.calls) == asked


def test_report_gives_mean_and_deviation_of_the_runs(path, evaluate, tmp_path):
    assert evaluate("run", path, "--out", tmp_path / "out").returncode == 0
    told = evaluate("report", tmp_path / "out")
    assert told.returncode == 0, told.stderr
    text = (tmp_path / "out" / "report" / "index.html").read_text()
    scored = json.loads(evaluate("score", tmp_path / "out", "--json").stdout)["systems"]
    values = [each["figures"]["both"] for each in scored if each["system"].startswith("single")]
    assert len(values) == 3
    expected = f"{fmean(values):.2f} ± {stdev(values):.2f} (3 runs)"
    (row,) = re.findall(r'<tr><th scope="row">single</th>.*?</tr>', text)[:1]
    assert f'<td class="r">{expected}</td>' in row
    assert ">single+run2</th>" not in text


def test_cost_is_that_of_all_runs(path, evaluate, tmp_path):
    out = tmp_path / "out"
    assert evaluate("run", path, "--out", out).returncode == 0
    costs = {}
    for name in ("single", "mixture"):
        folders = [out / "mt_bench" / f"{name}{run}" for run in ("", "+run2", "+run3")]
        manifests = [json.loads((each / "manifest.json").read_text()) for each in folders]
        costs[name] = [manifest["cost"] / 8 for manifest in manifests]  # of 4 items, of two turns
        assert len(set(costs[name])) == 3
    (section,) = read_report(out)
    measured = {each.system: each for each in section.measurements}
    for name, of_runs in costs.items():
        assert measured[name].resource_use.cost.value == pytest.approx(fmean(of_runs))
        assert measured[name].run_costs.values == pytest.approx(of_runs)
        assert format_total_cost(measured[name]) == f"${8 * sum(of_runs):.3g}"
        shown = format_mean_cost(measured[name])
        assert shown.startswith(f"${fmean(of_runs):.3g} ± ")
        assert float(shown.rpartition(" ")[2]) == pytest.approx(stdev(of_runs), rel=0.05)


def test_plot_of_quality_against_cost_shows_the_mean_of_the_runs(path, evaluate, tmp_path):
    out = tmp_path / "out"
    assert evaluate("run", path, "--out", out).returncode == 0
    (section,) = read_report(out)
    for each in section.measurements:
        values = section.repeated[each.system].values
        assert each.mean_quality.value == pytest.approx(fmean(values))
    with figure_style():
        picture = draw_pareto(section, "cost", "US dollars")
    assert "of repeated systems, the mean of all runs" in picture.caption


def read_report(out):
    comparison = read_comparison_info(out)
    folders, _ = find_judged_folders(out, comparison)
    return list(read_sections(folders, comparison, "no table"))


def test_variants_are_not_repeated(tmp_path):
    (tmp_path / "q.txt").write_text("one\n")
    (tmp_path / "plan.toml").write_text(
        'repeats = 2\njudge = "offline:overlap"\n[systems]\na = "offline"\n'
        '[[variants]]\nof = "a"\nanalyses = ["depth"]\n'
        '[[benchmarks]]\nname = "alpaca_eval"\ndata = "q.json"\n'
    )
    (tmp_path / "q.json").write_text('[{"instruction": "one", "output": "two"}]')
    steps = list_steps(EvalPlan.load(tmp_path / "plan.toml"), tmp_path / "out")
    names = [step.system for step in steps if step.kind == "answers"]
    assert names[:2] == ["a", "a+run2"]
    assert not any("run2" in name for name in names[2:])


def test_name_of_a_repeat_is_taken(tmp_path):
    (tmp_path / "plan.toml").write_text(
        'repeats = 2\n[systems]\na = "offline"\n"a+run2" = "offline"\n'
        '[[benchmarks]]\nname = "alpaca_eval"\n'
    )
    with pytest.raises(ValueError, match=r"systems: 'a\+run2' is the name of a repeat of 'a'"):
        EvalPlan.load(tmp_path / "plan.toml")
