"""`moa eval judge` and `moa eval score`, as a person runs them, and killed at random moments."""

import json
import random
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from forked import Forked
from judged import ALPACA_EVAL, answered, judgements, judging, prefer
from waiting import wait_for

MOA = Path(sys.executable).parent / "moa"


@pytest.fixture
def moa(evaluate):
    """Run the command in this process."""

    def run(*words):
        done = evaluate(*words)
        return SimpleNamespace(code=done.returncode, out=done.stdout, err=done.stderr)

    return run


@pytest.fixture
def judge(tmp_path, server):
    """The file of a judge on the local server."""
    server.model("judge", reply="m", logprobs=prefer("good"))
    path = tmp_path / "judge.toml"
    path.write_text(
        f'model = "openai:judge"\nbase_url = "{server.url}"\nmax_retries = 0\n'
        '[prices]\n"openai:judge" = [1.0, 1.0]\n'
    )
    return path


def sometimes_good(asked):
    return f"good {asked}" if int(asked[-1]) % 4 else f"weak {asked}"


@pytest.mark.process
def test_killed_judging_repeats_no_stored_call(tmp_path, server, judge, moa):
    rows = [ALPACA_EVAL[0] | {"instruction": f"question {n}"} for n in range(30)]
    folder = answered(tmp_path, "alpaca_eval", sometimes_good, rows=rows)
    ways = {"reply": "m", "logprobs": prefer("good"), "latency": 0.1}
    server.model("judge", **ways, until=lambda: len(server.calls) < 20)
    words = ["judge", folder, "--judge", judge, "--builtin-prompt", "--concurrency", 2]
    some = random.randint(8, 18)
    with Forked([MOA, "eval", *words]) as process:
        wait_for(lambda: len(server.calls) >= some)
        process.kill()
    server.settle()
    server.model("judge", **ways)
    with closing(sqlite3.connect(tmp_path / "out" / "ledger.sqlite")) as db:
        (stored,) = db.execute("SELECT count(*) FROM answers").fetchone()
    assert 0 < stored < 30
    assert not (folder / "judgements.jsonl").exists()
    server.calls.clear()
    done = moa(*words)
    assert done.code == 0, done.err
    assert len(server.calls) == 30 - stored
    assert len(judgements(folder)) == 30


def test_score_prints_figures_and_what_they_are_not(tmp_path, server, judge, moa):
    folder = answered(tmp_path, "alpaca_eval", sometimes_good)
    assert moa("judge", folder, "--judge", judge, "--builtin-prompt").code == 0
    scored = moa("score", folder)
    assert scored.code == 0, scored.err
    assert "unavailable" in scored.out
    for note in (
        "judge openai:judge, not the benchmark's openai:gpt-4-1106-preview",
        "own prompt, not the benchmark's",
        "partial: 8 of 805 answered",
        "data other than the published ones",
        "length-controlled win rate unavailable: ",
    ):
        assert f"note: {note}" in scored.out
    whole = json.loads(moa("score", folder, "--json").out)
    (system,) = whole["systems"]
    # Six of eight are preferred with 0.9; two tie with the reference, which is not good either.
    assert system["figures"]["win_rate"]["win_rate"] == pytest.approx(100 * (6 * 0.9 + 2 * 0.5) / 8)
    assert system["figures"]["win_rate"]["discrete_win_rate"] == pytest.approx(87.5)
    assert system["figures"]["length_controlled"] is None
    assert system["judging"]["judge"]["official"] is False
    assert system["labels"] == judging(folder)["labels"]


def test_length_control_takes_the_table_that_is_given(tmp_path, judge, moa):
    folder = answered(
        tmp_path, "alpaca_eval", lambda asked: sometimes_good(asked) + "!" * int(asked[-1])
    )
    chance = random.Random(0)
    table = tmp_path / "gamed.csv"
    lines = [
        f"{model},{n},{chance.random()},{chance.gauss()},{chance.gauss()}"
        for model in ("concise", "verbose")
        for n in range(8)
    ]
    table.write_text(
        "\n".join(["model,index,preference,std_delta_len,instruction_difficulty", *lines])
    )
    moa("judge", folder, "--judge", judge, "--builtin-prompt")
    refused = moa("score", folder, "--gamed-baselines", table).out
    assert "the gamed baselines belong to the published instructions" in refused
    notes = folder / "judging.json"  # as if these were the published ones
    manifest = json.loads(notes.read_text())
    notes.write_text(json.dumps({**manifest, "data": {**manifest["data"], "revision": "1"}}))
    whole = json.loads(moa("score", folder, "--gamed-baselines", table, "--json").out)
    (system,) = whole["systems"]
    assert 0 < system["figures"]["length_controlled"]["win_rate"] < 100
    assert system["gamed_baselines"]["source"] == str(table)
    assert len(system["gamed_baselines"]["sha256"]) == 64
    table.write_text("model,index\n")
    assert "±" in moa("score", folder).out
    table.write_text("a,b\n1,2\n")
    broken = moa("score", folder, "--gamed-baselines", table)
    assert broken.code == 1
    assert "expected a table with the columns index" in broken.err


def test_two_systems_are_compared_on_what_both_answered(tmp_path, judge, moa):
    rows = [ALPACA_EVAL[0] | {"instruction": f"question {n}"} for n in range(20)]
    answered(tmp_path, "alpaca_eval", lambda a: f"good {a}", name="strong", rows=rows)
    answered(tmp_path, "alpaca_eval", lambda a: f"weak {a}", name="weak", rows=rows)
    assert moa("judge", tmp_path / "out", "--judge", judge, "--builtin-prompt").code == 0
    told = moa("score", tmp_path / "out").out
    assert "judge openai:judge: strong is better than weak by 40" in told
    assert told.count("own prompt, not the benchmark's") == 1, "a note on both is told once"
    whole = json.loads(moa("score", tmp_path / "out", "--json").out)
    assert whole["comparisons"][0]["better"] == "strong"
    assert whole["comparisons"][0]["instructions"] == 20


def test_systems_that_were_judged_differently_are_not_compared(tmp_path, judge, moa):
    first = answered(tmp_path, "alpaca_eval", sometimes_good, name="a")
    second = answered(tmp_path, "alpaca_eval", sometimes_good, name="b")
    moa("judge", first, "--judge", judge, "--builtin-prompt")
    moa("judge", second, "--judge", "offline:overlap")
    assert "a and b cannot be compared: they differ in 'judge'" in moa("score", first, second).out


@pytest.mark.parametrize("measured", ["alpaca_eval", "mt_bench", "flask"])
def test_stand_in_needs_nothing_and_cannot_be_mistaken(tmp_path, moa, measured):
    folder = answered(tmp_path, measured, lambda asked: f"the truth on {asked} is two")
    done = moa("judge", folder, "--judge", "offline:overlap")
    assert done.code == 0, done.err
    label = "judge offline:overlap is not a language model: it counts words, for demonstrations"
    assert f"note: {label}" in done.out
    scored = moa("score", folder)
    assert f"note: {label}" in scored.out
    assert "offline:overlap" in scored.out
    assert judging(folder)["reads"] == {}
    assert judging(folder)["judge"]["language_model"] is False
    before = judgements(folder)
    moa("judge", folder, "--judge", "offline:overlap")
    assert judgements(folder) == before


def test_mt_bench_and_flask_are_printed_by_what_they_distinguish(tmp_path, server, judge, moa):
    mt_bench = answered(tmp_path, "mt_bench", lambda _: "a")
    flask = answered(tmp_path, "flask", lambda _: "a")
    server.model("judge", reply=lambda b: f"[[{9 if 'write more' in str(b) else 5}]]")
    moa("judge", mt_bench, "--judge", judge, "--builtin-prompt")
    server.model("judge", reply="{'Factuality': 3, 'Readability': 'N/A'}")
    moa("judge", flask, "--judge", judge, "--builtin-prompt")
    told = [line.split() for line in moa("score", tmp_path / "out").out.splitlines()]
    for row in (
        ["both", "turns", "6.00"],
        ["first", "turn", "5.00"],
        ["second", "turn", "7.00"],
        ["writing", "7.00"],
        ["math", "5.00"],
        ["factuality", "3.00"],
        ["Technology", "3.00"],
        ["expert", "level", "knowledge", "3.00"],
        ["not", "applicable", "2"],
    ):
        assert row in told


def test_failed_judgements_are_told_and_end_in_1(tmp_path, server, judge, moa):
    folder = answered(tmp_path, "alpaca_eval", sometimes_good)
    server.models["judge"].faults = [500, 500]
    done = moa("judge", folder, "--judge", judge, "--builtin-prompt", "--concurrency", 1)
    assert done.code == 1
    assert "2 judgements failed (0: " in done.err
    assert "run the command again" in done.err
    assert "2 of 8 judgements are missing" in moa("score", folder).out
    assert "Traceback" not in done.err


def test_system_that_cannot_be_judged_stops_no_other(tmp_path, moa):
    folder = answered(tmp_path, "alpaca_eval", sometimes_good)
    answered(tmp_path, "mt_bench", lambda _: "a")
    (tmp_path / "mt_bench.jsonl").unlink()
    done = moa("judge", tmp_path / "out", "--judge", "offline:overlap")
    assert done.code == 1
    assert "mt_bench.jsonl: No such file" in done.err
    assert len(judgements(folder)) == 8


def test_judge_that_one_benchmark_refuses_judges_the_others(tmp_path, server, judge, moa):
    answered(tmp_path, "alpaca_eval", sometimes_good)
    other = answered(tmp_path, "mt_bench", lambda _: "a")
    server.model("judge", reply="[[5]]")  # and no logprobs
    done = moa("judge", tmp_path / "out", "--judge", judge, "--builtin-prompt")
    assert done.code == 1
    assert "alpaca_eval/mine: judge openai:judge: the first 3 failed alike" in done.err
    assert "the provider gave no logprobs" in done.err
    assert [row["score"] for row in judgements(other)] == [5] * 4


def test_unknown_provider_is_told_before_anything_is_fetched(tmp_path, moa, monkeypatch):
    folder = answered(tmp_path, "alpaca_eval", sometimes_good)

    def fetch(*_):
        raise AssertionError("something is fetched")

    monkeypatch.setattr("moa_graph.evals.judging.setup.load_judge_file", fetch)
    done = moa("judge", folder, "--judge", "foo:bar")
    assert done.code == 1
    assert "model 'foo:bar': " in done.err


def test_judging_that_costs_nothing_needs_no_money(tmp_path, moa):
    folder = answered(tmp_path, "alpaca_eval", sometimes_good)
    done = moa("judge", folder, "--judge", "offline:overlap", "--max-cost", 0)
    assert done.code == 0, done.err
    assert len(judgements(folder)) == 8


def test_money_that_is_spent_ends_in_3(tmp_path, judge, moa):
    folder = answered(tmp_path, "alpaca_eval", sometimes_good)
    words = ["judge", folder, "--judge", judge, "--builtin-prompt", "--concurrency", 1]
    done = moa(*words, "--max-cost", 0.0001)
    assert done.code == 3
    assert "judgements were not made: budget of $0.0001 exhausted ($" in done.err
    judge.write_text(judge.read_text().partition("[prices]")[0])
    done = moa(*words, "--max-cost", 1)
    assert done.code == 1
    assert "no price is known for openai:judge; give it in the [prices] of" in done.err


def test_answers_that_changed_are_not_scored_by_old_judgements(tmp_path, judge, moa):
    folder = answered(tmp_path, "alpaca_eval", sometimes_good)
    moa("judge", folder, "--judge", judge, "--builtin-prompt")
    answered(tmp_path, "alpaca_eval", lambda asked: f"new {asked}")
    scored = moa("score", folder)
    assert scored.code == 1
    assert "the answers changed since they were judged" in scored.err


def test_prompts_of_ones_own_are_judged_against_another_system(tmp_path, judge, moa):
    prompts = tmp_path / "questions.txt"
    prompts.write_text("question 1\nquestion 2\nquestion 4\n")
    for name in ("lead", "bm25"):
        (tmp_path / f"{name}.toml").write_text(
            f'name = "{name}"\nlayers = [["offline:lead"]]\naggregator = "offline:{name}"\n'
        )
        config = tmp_path / f"{name}.toml"
        out = tmp_path / "out"
        assert moa("generate", "-b", prompts, "--config", config, "--out", out).code == 0
    lead, bm25 = (tmp_path / "out" / "questions" / name for name in ("lead", "bm25"))
    alone = moa("judge", lead, "--judge", judge, "--builtin-prompt")
    assert alone.code == 1
    assert "--against" in alone.err
    done = moa("judge", lead, "--judge", judge, "--builtin-prompt", "--against", bm25)
    assert done.code == 0, done.err
    assert "compared with bm25" in moa("score", lead).out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("judge", "nowhere"), "no system in it"),
        (("score", "nowhere"), "no system in it"),
        (("judge", "{folder}"), "needs a key: set OPENAI_API_KEY"),
        (("judge", "{folder}", "--judge", "gpt-4"), "provider:model"),
        (("judge", "{folder}", "--judge", "offline:overlap", "--skills", "x"), "has no effect"),
        (
            ("judge", "{folder}", "--judge", "offline:overlap", "--data", "{folder}/x.json"),
            "No such file",
        ),
        (
            (
                *("judge", "{folder}", "--judge", "offline:overlap"),
                "--builtin-prompt",
                "--prompt",
                "x",
            ),
            "not both",
        ),
    ],
)
def test_mistakes_are_one_line(tmp_path, moa, monkeypatch, words, told):
    monkeypatch.chdir(tmp_path)
    folder = answered(tmp_path, "alpaca_eval", sometimes_good)
    done = moa(*(word.format(folder=folder) for word in words))
    assert done.code == 1
    assert told in done.err
    assert done.err.startswith("moa: ")
    assert done.err.count("\n") == 1
