"""Several judges side by side: where their judgements stand, and what is told of them."""

import json
import math
import re
from statistics import fmean

import pytest
from compared import ROWS
from judged import answered, judging, shown, weigh
from sklearn.metrics import cohen_kappa_score

from moa_graph.evals.plan import EvalPlan
from moa_graph.evals.preflight import estimate_comparison


def write_judge(folder, server, name, more=""):
    path = folder / f"{name}.toml"
    path.write_text(
        f'model = "openai:{name}"\nbase_url = "{server.url}"\nmax_retries = 0\n{more}'
        f'[prices]\n"openai:{name}" = [1.0, 1.0]\n'
    )
    return path


def take_first(body):
    return weigh(0.8, 0.2)


def take_longer(body):
    first, second = map(len, shown(body))
    return weigh(0.9, 0.1) if first > second else weigh(0.1, 0.9)


@pytest.fixture
def judges(tmp_path, server):
    """The files of three judges: one of the place, one of the length, one that says words."""
    server.model("placer", reply="m", logprobs=take_first)
    server.model("measurer", reply="m", logprobs=take_longer)
    server.model("speaker", reply=lambda body: "m" if len(shown(body)[0]) % 2 else "M")
    return [
        write_judge(tmp_path, server, "placer"),
        write_judge(tmp_path, server, "measurer"),
        write_judge(tmp_path, server, "speaker", "text_verdict = true\n"),
    ]


def lengthy(asked):
    return "long " * (1 + int(asked[-1]) % 3) * 2


def judge_words(folder, judges):
    named = [word for judge in judges for word in ("--judge", judge)]
    return ("judge", folder, "--builtin-prompt", *named)


def scored(evaluate, folder):
    done = evaluate("score", folder, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def read_rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_judgements_of_each_judge_stand_in_a_place_of_their_own(tmp_path, judges, evaluate):
    folder = answered(tmp_path, "alpaca_eval", lengthy)
    done = evaluate(*judge_words(folder, judges))
    assert done.returncode == 0, done.stderr
    places = [folder, folder / "judges" / "openai-measurer", folder / "judges" / "openai-speaker"]
    for place, name in zip(places, ("placer", "measurer", "speaker"), strict=True):
        assert {row["judge"] for row in read_rows(place / "judgements.jsonl")} == {f"openai:{name}"}
        assert len(json.loads((place / "annotations.json").read_text())) == 8
    assert judging(folder)["further_judges"] == ["openai-measurer", "openai-speaker"]
    systems = scored(evaluate, tmp_path / "out")["systems"]
    assert [each["judging"]["judge"]["model"] for each in systems] == [
        "openai:placer",
        "openai:measurer",
        "openai:speaker",
    ]
    assert scored(evaluate, folder)["systems"] == systems, "a judge's folder is no system"


def test_judges_of_an_earlier_command_are_told_no_more(tmp_path, judges, evaluate, server):
    folder = answered(tmp_path, "alpaca_eval", lengthy)
    assert evaluate(*judge_words(folder, judges)).returncode == 0
    asked = len(server.calls)
    assert evaluate(*judge_words(folder, judges[1:2])).returncode == 0
    assert len(server.calls) == asked, "what was judged before is not paid for again"
    (system,) = scored(evaluate, folder)["systems"]
    assert system["judging"]["judge"]["model"] == "openai:measurer"
    assert scored(evaluate, folder)["judges"][0]["agreement"] == []


def test_folder_of_one_judge_from_before_still_loads(tmp_path, judges, evaluate):
    folder = answered(tmp_path, "alpaca_eval", lengthy)
    assert evaluate(*judge_words(folder, judges[:1])).returncode == 0
    manifest = judging(folder)
    del manifest["further_judges"]
    (folder / "judging.json").write_text(json.dumps(manifest))
    (system,) = scored(evaluate, folder)["systems"]
    assert system["judging"]["judge"]["model"] == "openai:placer"


def test_mean_of_judges_is_told_apart_from_theirs(tmp_path, judges, evaluate):
    folder = answered(tmp_path, "alpaca_eval", lengthy)
    assert evaluate(*judge_words(folder, judges)).returncode == 0
    document = scored(evaluate, folder)
    (panel,) = document["judges"]
    rates = [each["figures"]["win_rate"]["win_rate"] for each in document["systems"]]
    assert [each["mine"]["value"] for each in panel["quality"].values()] == pytest.approx(rates)
    assert panel["mean_of_judges"]["mine"]["value"] == pytest.approx(fmean(rates))
    text = evaluate("score", folder).stdout
    assert "it is no figure of the benchmark's" in " ".join(text.split())


def test_comparisons_of_systems_say_whose_judgements_they_are_of(tmp_path, judges, evaluate):
    answered(tmp_path, "alpaca_eval", lengthy)
    answered(tmp_path, "alpaca_eval", lambda _: "short", name="other")
    assert evaluate(*judge_words(tmp_path / "out", judges[:2])).returncode == 0
    comparisons = scored(evaluate, tmp_path / "out")["comparisons"]
    assert [each["judge"] for each in comparisons] == ["openai:placer", "openai:measurer"]
    assert {each["benchmark"] for each in comparisons} == {"alpaca_eval"}


def test_agreement_is_that_of_the_verdicts(tmp_path, judges, evaluate):
    folder = answered(tmp_path, "alpaca_eval", lengthy)
    assert evaluate(*judge_words(folder, judges)).returncode == 0
    (panel,) = scored(evaluate, folder)["judges"]
    pairs = [each["judges"] for each in panel["agreement"]]
    assert pairs == [
        ["openai:placer", "openai:measurer"],
        ["openai:placer", "openai:speaker"],
        ["openai:measurer", "openai:speaker"],
    ]
    verdicts = [
        [(row["preference"] > 1.5) - (row["preference"] < 1.5) for row in read_rows(path)]
        for path in (
            folder / "judgements.jsonl",
            folder / "judges" / "openai-measurer" / "judgements.jsonl",
        )
    ]
    first = panel["agreement"][0]
    expected = cohen_kappa_score(*verdicts, labels=[-1, 0, 1])
    assert first["kappa"] == pytest.approx(expected) or math.isnan(expected)
    same = fmean(one == other for one, other in zip(*verdicts, strict=True))
    assert (first["same"], first["ratings"]) == (pytest.approx(same), 8)


def test_leanings_of_each_judge_are_found(tmp_path, judges, evaluate):
    folder = answered(tmp_path, "alpaca_eval", lengthy)
    assert evaluate(*judge_words(folder, judges[:2])).returncode == 0
    (panel,) = scored(evaluate, folder)["judges"]
    placer, measurer = panel["position"]
    assert placer["prefers_first"]["value"] == pytest.approx(0.8)
    assert (placer["both_orders"], placer["consistent"]) == (False, None)
    assert panel["length"][1]["prefers_longer"]["value"] == pytest.approx(0.9)
    assert "does not prove a bias" in panel["notes"][1]
    assert measurer["judge"] == "openai:measurer"


def test_verdicts_of_both_orders_tell_how_often_they_are_the_same(tmp_path, server, evaluate):
    server.model("speaker", reply="m")
    judge = write_judge(tmp_path, server, "speaker", "text_verdict = true\n")
    folder = answered(tmp_path, "alpaca_eval", lengthy)
    assert evaluate(*judge_words(folder, [judge])).returncode == 0
    (panel,) = scored(evaluate, folder)["judges"]
    (position,) = panel["position"]
    assert position["both_orders"]
    assert (position["prefers_first"]["value"], position["consistent"]["value"]) == (1, 0)
    text = evaluate("score", folder).stdout
    assert "Position: how often a judge prefers the answer that it reads first" in text


def test_grades_have_a_kappa_and_go_with_length_or_not(tmp_path, server, evaluate):
    server.model("strict", reply=lambda body: f"[[{3 + len(str(body)) % 4}]]")
    server.model("mild", reply=lambda body: f"[[{6 + len(str(body)) % 4}]]")
    rows = [
        {"question_id": n, "category": "writing", "turns": [f"write {n}", "more"]} for n in range(6)
    ]
    folder = answered(tmp_path, "mt_bench", lambda asked: "x" * len(asked), rows=rows)
    files = [write_judge(tmp_path, server, name) for name in ("strict", "mild")]
    assert evaluate(*judge_words(folder, files)).returncode == 0
    (panel,) = scored(evaluate, folder)["judges"]
    (agreement,) = panel["agreement"]
    assert (agreement["weights"], agreement["ratings"], agreement["instructions"]) == (
        "quadratic",
        12,
        6,
    )
    assert panel["position"] == []
    assert {each["prefers_longer"] for each in panel["length"]} == {None}
    (note,) = panel["notes"]
    assert "The length of an answer is not random" in note


def test_budget_is_that_of_all_judges(tmp_path, judges, evaluate, server):
    folder = answered(tmp_path, "alpaca_eval", lengthy)
    done = evaluate(*judge_words(folder, judges[:2]), "--max-cost", "0.0000001")
    assert done.returncode == 3
    assert len(server.calls) <= 2  # the first of each is what tells the price
    assert len(server.calls_of("measurer")) == 0


def test_judges_of_one_name_are_refused(tmp_path, judges, evaluate):
    folder = answered(tmp_path, "alpaca_eval", lengthy)
    done = evaluate(*judge_words(folder, [judges[0], judges[0]]))
    assert done.returncode == 1
    assert "judges: 'openai:placer' and 'openai:placer' have the same name" in done.stderr


@pytest.fixture
def plan(tmp_path, judges):
    lines = "".join(json.dumps(row) + "\n" for row in ROWS[:5])
    (tmp_path / "questions.jsonl").write_text(lines)
    (tmp_path / "plan.toml").write_text(
        'judges = ["placer.toml", "measurer.toml"]\n[systems]\na = "offline:lead"\n'
        'b = "offline:bm25"\n[[benchmarks]]\nname = "questions.jsonl"\nbuiltin_prompt = true\n'
    )
    return tmp_path / "plan.toml"


def test_plan_with_several_judges_is_estimated_run_and_written_up(plan, evaluate, server):
    out = plan.parent / "out"
    estimate = estimate_comparison(EvalPlan.load(plan), out)
    assert [each.part for each in estimate.estimates][-2:] == [
        "judge openai:placer",
        "judge openai:measurer",
    ]
    done = evaluate("run", plan)
    assert done.returncode == 0, done.stderr
    assert len(server.calls) <= sum(each.calls for each in estimate.estimates)
    assert estimate_comparison(EvalPlan.load(plan), out).total.calls == 0
    assert evaluate("report", out).returncode == 0
    page = (out / "report" / "index.html").read_text()
    assert "Agreement of the judges on each loss, tie or win" in page
    assert "are by the first judge, openai:placer" in page
    assert "does not prove a bias" in page
    (row,) = re.findall(r"<tr><td>openai:placer</td><td>openai:measurer</td>.*?</tr>", page)
    (panel,) = json.loads((out / "report" / "judges.json").read_text())
    assert f"{100 * panel['agreement'][0]['same']:.1f}" in row


def test_broken_judge_stops_no_other(plan, evaluate, server):
    server.model("placer", always=500)
    done = evaluate("run", plan)
    assert done.returncode == 1
    assert "judgements by openai:placer, the first 3" in done.stderr
    assert len(server.calls_of("placer")) == 3
    document = scored(evaluate, plan.parent / "out")
    figures = {
        (each["system"], each["judging"]["judge"]["model"]): each["figures"]
        for each in document["systems"]
    }
    assert figures["a", "openai:measurer"]
    assert figures["b", "openai:measurer"]


def test_judge_and_judges_are_not_both_given(plan):
    plan.write_text('judge = "offline:overlap"\n' + plan.read_text())
    with pytest.raises(ValueError, match="judges: `judge` is given, too; expected one of the two"):
        EvalPlan.load(plan)


def test_a_benchmark_has_judges_of_its_own(plan):
    plan.write_text(plan.read_text() + 'judges = ["offline:overlap"]\n')
    loaded = EvalPlan.load(plan)
    (judge,) = loaded.judges_for(loaded.benchmarks[0])
    assert judge.label == "offline:overlap"
