"""Judges whose provider gives no log-probabilities."""

import asyncio
import json

import pytest
from compared import ROWS
from judged import answered, judgements, judging, shown

from moa_graph import Agent
from moa_graph.evals.call_store import CallStore
from moa_graph.evals.judging.judge import Judge, read_judge
from moa_graph.evals.judging.run import judge_system
from moa_graph.evals.judging.setup import JudgeFilePaths, prepare_judging
from moa_graph.evals.plan import EvalPlan
from moa_graph.evals.preflight import estimate_comparison

LABEL = "verdicts read from the judge's text, in both orders, not from log-probabilities"


@pytest.fixture
def run(server):
    """Have a folder judged by the words of the model `judge` of the server."""

    def run(folder):
        agent = Agent(model="openai:judge", base_url=server.url, max_retries=0)
        judge = Judge(agent, {"openai:judge": (1_000_000, 1_000_000)}, text_verdict=True)
        task = prepare_judging(folder, judge, files=JudgeFilePaths(own_prompt=True))
        with CallStore(folder.parent.parent / "ledger.sqlite") as call_store:
            return asyncio.run(judge_system(task, call_store))

    return run


def prefer_good(body):
    first, second = ("good" in each for each in shown(body))
    return "m" if first >= second else "M"


def test_each_judgement_is_asked_for_in_both_orders(tmp_path, server, run):
    folder = answered(tmp_path, "alpaca_eval", lambda asked: f"good answer to {asked}")
    server.model("judge", reply=prefer_good)
    done = run(folder)
    assert (done.judged, done.failures, len(server.calls)) == (8, {}, 16)
    rows = judgements(folder)
    assert {row["preference"] for row in rows} == {2}
    places = [tuple("good" in each for each in shown(call.body)) for call in server.calls]
    assert places.count((True, False)) == places.count((False, True)) == 8
    tokens = sum(row["usage"]["total_tokens"] for row in rows)
    assert tokens == done.progress.tokens == sum(row["cost"] for row in rows)


def test_judge_that_always_names_the_first_calls_everything_a_tie(tmp_path, server, run):
    folder = answered(tmp_path, "alpaca_eval", lambda asked: f"good answer to {asked}")
    server.model("judge", reply="m")
    run(folder)
    rows = judgements(folder)
    assert {row["preference"] for row in rows} == {1.5}
    assert {(row["first_order"], row["second_order"]) for row in rows} == {(1, 2)}


@pytest.mark.parametrize(
    ("said", "preference"),
    [
        ("M", 2),
        ("**M**", 2),
        ("The better one is `M`.", 2),
        ("I'm sure: M", 2),
        ("<think>m or M?</think>M", 2),
    ],
)
def test_verdict_is_read_where_it_is_unmistakable(tmp_path, server, run, said, preference):
    folder = answered(tmp_path, "alpaca_eval", lambda _: "good")
    server.model("judge", reply=lambda body: said if prefer_good(body) == "M" else "m")
    run(folder)
    assert {row["preference"] for row in judgements(folder)} == {preference}


def test_verdict_that_names_both_or_none_fails_alone(tmp_path, server, run):
    odd = {"question 3": "m and M", "question 5": "the first"}
    folder = answered(tmp_path, "alpaca_eval", lambda _: "good")

    def reply(body):
        text = str(body)
        return next((said for asked, said in odd.items() if asked in text), prefer_good(body))

    server.model("judge", reply=reply)
    done = run(folder)
    assert (done.judged, list(done.failures)) == (6, ["3", "5"])
    assert "expected 'm' or 'M' from the judge, got 'm and M'" in done.failures["3"]


def test_judgements_by_words_are_labelled_and_compared_with_no_others(tmp_path, server, run):
    folder = answered(tmp_path, "alpaca_eval", lambda _: "good")
    server.model("judge", reply=prefer_good)
    done = run(folder)
    manifest = judging(folder)
    assert LABEL in done.labels
    assert LABEL in manifest["labels"]
    assert manifest["judge"]["verdict"] == LABEL
    assert not {"logprobs", "max_tokens", "temperature"} & server.calls[0].body.keys()


def test_ratings_are_read_from_words_anyway(tmp_path, server, run):
    folder = answered(tmp_path, "mt_bench", lambda _: "a")
    server.model("judge", reply="[[5]]")
    done = run(folder)
    assert (done.judged, len(server.calls)) == (4, 4)
    assert LABEL not in done.labels


def test_text_verdict_is_an_option_of_the_command_and_of_a_judges_file(tmp_path, server, evaluate):
    folder = answered(tmp_path, "alpaca_eval", lambda _: "good")
    server.model("judge", reply=prefer_good)
    path = tmp_path / "judge.toml"
    path.write_text(f'model = "openai:judge"\nbase_url = "{server.url}"\nmax_retries = 0\n')
    words = ("judge", folder, "--judge", path, "--builtin-prompt")
    refused = evaluate(*words)
    assert refused.returncode == 1
    assert "--text-verdict reads the judge's words instead" in refused.stderr
    done = evaluate(*words, "--text-verdict")
    assert done.returncode == 0, done.stderr
    assert f"note: {LABEL}" in done.stdout
    path.write_text(path.read_text() + "text_verdict = true\n")
    assert read_judge(str(path)).text_verdict
    asked = len(server.calls)
    assert evaluate(*words).returncode == 0
    assert len(server.calls) == asked, "the same judgements are paid for once"


def test_estimate_counts_both_orders(tmp_path):
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    (tmp_path / "questions.jsonl").write_text(lines)
    (tmp_path / "judge.toml").write_text('model = "openai:judge"\ntext_verdict = true\n')
    (tmp_path / "plan.toml").write_text(
        'judge = "judge.toml"\n[systems]\na = "offline:lead"\n'
        '[[benchmarks]]\nname = "questions.jsonl"\n'
    )
    found = estimate_comparison(EvalPlan.load(tmp_path / "plan.toml"), tmp_path / "out")
    assert found.estimates[-1].calls == 2 * len(ROWS)
