"""Answers that are right or wrong, from a file to the report; and the published files' formats."""

import csv
import json
import os
import sys
from pathlib import Path

import pytest
from judged import judgements
from typer.testing import CliRunner
from waiting import PATIENCE

from moa_graph.cli.app import app
from moa_graph.evals.datasets import load_benchmark
from moa_graph.evals.scorers.table import find_scorer

SUMS = [
    {"id": f"sum-{n}", "question": f"What is {n} + {n}?", "expected": 2 * n, "category": kind}
    for n, kind in enumerate(["easy"] * 4 + ["hard"] * 4)
]


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def moa(*words, code=0):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Sums, and two systems that recorded answers to them: all right, and half of them."""
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "sums.jsonl", SUMS)
    for name, known in (("good", 8), ("half", 2)):
        answers = [
            {
                "instruction": row["question"],
                "output": f"It is {row['expected'] if n < known else 'not known'}.",
            }
            for n, row in enumerate(SUMS)
        ]
        write_rows(tmp_path / f"{name}.jsonl", answers)
    (tmp_path / "plan.toml").write_text(
        '[systems]\ngood = "recorded:good.jsonl"\nhalf = "recorded:half.jsonl"\n'
        '[[benchmarks]]\nname = "sums.jsonl"\nlimit = 8\nscorer = "number"\n'
    )
    return tmp_path


def test_a_plan_with_a_scorer_is_run_scored_and_reported(folder):
    assert "scorer:number" in moa("eval", "estimate", "plan.toml")
    moa("eval", "run", "plan.toml", "--max-cost", "1")
    rows = judgements(folder / "out" / "sums" / "half")
    assert [row["score"] for row in rows] == [1, 1, 0, 0, 0, 0, 0, 0]
    assert [row["read"] for row in rows][:2] == ["0", "2"]
    scored = json.loads(moa("eval", "score", "out", "--json"))
    by_name = {each["system"]: each for each in scored["systems"]}
    assert by_name["half"]["figures"] == {
        "accuracy": 25,
        "scored": 8,
        "unread": 6,
        "parts": None,
        "categories": {"easy": 50, "hard": 0},
        "by_part": {},
    }
    quality = by_name["half"]["quality"]
    assert quality["metric"] == "accuracy, %"
    assert 0 < quality["low"] < 10
    assert 60 < quality["high"] < 75
    assert by_name["half"]["labels"] == ["prompts of your own"]
    [comparison] = scored["comparisons"]
    assert comparison["better"] == "good"
    assert comparison["difference"] == 75
    assert scored["judges"] == []
    moa("eval", "report", "out")
    page = (folder / "out" / "report" / "index.html").read_text()
    assert "accuracy, %" in page
    assert "no answer found" in page
    assert "judged as AlpacaEval" not in page


def test_answers_are_scored_by_command(folder):
    moa("eval", "generate", "-b", "sums.jsonl", "-p", "offline", "--name", "quoting")
    moa("eval", "judge", "out", "--scorer", "number", "--max-cost", "1")
    told = moa("eval", "score", "out").splitlines()
    assert [line for line in told if line.startswith("accuracy %")]
    assert "The interval belongs to: accuracy, %" in told  # wider than the table


def test_many_systems_are_rows_that_end_without_spaces(folder):
    names = [f"good{n}" for n in range(4)]
    more = "".join(f'{name} = "recorded:good.jsonl"\n' for name in names)
    text = (folder / "plan.toml").read_text().replace("[systems]\n", f"[systems]\n{more}")
    (folder / "plan.toml").write_text(text)
    moa("eval", "run", "plan.toml")
    heading, *rows = moa("eval", "score", "out").split("The interval")[0].splitlines()
    assert heading.split()[:4] == ["sums", "judge", "judged", "accuracy"]
    assert [row.split()[0] for row in rows] == ["good", *names, "half"]
    assert all(row == row.rstrip() for row in (heading, *rows))


def test_a_function_of_ones_own_scores(folder):
    (folder / "my_scorer.py").write_text(
        "def odd(answer, row):\n    return row['expected'] % 4 == 2\n"
    )
    text = (folder / "plan.toml").read_text().replace('"number"', '"my_scorer:odd"')
    (folder / "plan.toml").write_text(text)
    moa("eval", "run", "plan.toml")
    assert [row["score"] for row in judgements(folder / "out" / "sums" / "good")] == [0, 1] * 4
    sys.modules.pop("my_scorer")


def test_the_function_of_the_documentation_scores(folder):
    page = (Path(__file__).parents[2] / "docs" / "evaluation-scorers.md").read_text(
        encoding="utf-8"
    )
    code = page.split("```py\n", 1)[1].split("```", 1)[0]
    (folder / "my_scorer.py").write_text(code)
    assert find_scorer("my_scorer:brief").score("two words", {"words": 2}).points == 1
    sys.modules.pop("my_scorer")


def test_code_is_run_only_where_it_is_allowed(folder):
    rows = [{"question": "Write x = 1.", "tests": "assert x == 1", "seconds": PATIENCE}]
    write_rows(folder / "code.jsonl", rows)
    write_rows(folder / "coder.jsonl", [{"instruction": "Write x = 1.", "output": "x = 1"}])
    (folder / "plan.toml").write_text(
        '[systems]\ncoder = "recorded:coder.jsonl"\n'
        '[[benchmarks]]\nname = "code.jsonl"\nscorer = "code"\n'
    )
    done = CliRunner().invoke(app, ["eval", "run", "plan.toml"])
    assert "scorer:code runs on this machine what models wrote; give --run-code" in str(
        done.exception
    )
    assert not (folder / "out").exists()


@pytest.mark.process
@pytest.mark.skipif(os.name != "posix", reason="only Linux and macOS bound a process")
def test_code_that_is_allowed_is_run(folder):
    test_code_is_run_only_where_it_is_allowed(folder)
    moa("eval", "run", "plan.toml", "--run-code")
    assert [row["score"] for row in judgements(folder / "out" / "code" / "coder")] == [1]


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (("--scorer", "numbr"), "scorer 'numbr': expected one of exact, number"),
        (("--scorer", "ifeval"), "missing: instruction_id_list, kwargs; got the keys id, question"),
        (("--scorer", "number", "--judge", "offline:overlap"), "expected a scorer alone"),
    ],
)
def test_a_scorer_that_cannot_score_says_why(folder, words, cause):
    moa("eval", "generate", "-b", "sums.jsonl", "-p", "offline")
    done = CliRunner().invoke(app, ["eval", "judge", "out", *words])
    assert done.exit_code
    assert cause in str(done.exception)


def test_a_model_judges_no_benchmark_that_is_scored_exactly(folder):
    write_rows(folder / "test.jsonl", [{"question": "1 + 1?", "answer": "So\n#### 2"}])
    moa("eval", "generate", "-b", "gsm8k", "--data", "test.jsonl", "-p", "offline")
    done = CliRunner().invoke(app, ["eval", "judge", "out", "--judge", "offline:overlap"])
    assert "gsm8k is scored exactly; expected scorer:number" in str(done.exception)
    moa("eval", "judge", "out")
    labels = json.loads(moa("eval", "score", "out", "--json"))["systems"][0]["labels"]
    assert [each for each in labels if "not compared with the published one" in each]


def test_a_scorer_scores_no_benchmark_that_is_judged(folder):
    write_rows(folder / "a.jsonl", [{"instruction": "1 + 1?", "output": "2"}])
    moa("eval", "generate", "-b", "alpaca_eval", "--data", "a.jsonl", "-p", "offline")
    done = CliRunner().invoke(app, ["eval", "judge", "out", "--scorer", "exact"])
    assert "alpaca_eval is judged by a model, not by a scorer" in str(done.exception)


def test_gsm8k_asks_for_the_number_after_the_marks(tmp_path):
    rows = [{"question": "How many?", "answer": "2 + 3 = <<2+3=5>>5\n#### 1,205"}]
    [item] = load_benchmark("gsm8k", write_rows(tmp_path / "test.jsonl", rows)).items
    assert item.row["expected"] == "1,205"
    assert item.turns[0].startswith("How many?\n\n")


def test_math_500_knows_subjects(tmp_path):
    rows = [{"problem": "$1+1$", "answer": "2", "subject": "Algebra", "unique_id": "test/1.json"}]
    [item] = load_benchmark("math_500", write_rows(tmp_path / "test.jsonl", rows)).items
    assert (item.id, item.category, item.row["expected"]) == ("test/1.json", "Algebra", "2")
    assert "\\boxed{}" in item.turns[0]


def test_gpqa_draws_the_order_of_options_by_the_question(tmp_path):
    columns = ["Record ID", "Question", "Correct Answer", "High-level domain"]
    columns += [f"Incorrect Answer {n}" for n in (1, 2, 3)]
    path = tmp_path / "gpqa_diamond.csv"
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, columns)
        table.writeheader()
        for n in range(12):
            values = [f"rec{n}", f"Why,\n{n}?", "right", "Physics", "a", "b", "c"]
            table.writerow(dict(zip(columns, values, strict=True)))
    first, again = (load_benchmark("gpqa", path).items for _ in range(2))
    assert [item.turns for item in first] == [item.turns for item in again]
    letters = {item.row["expected"] for item in first}
    assert len(letters) > 2
    for item in first:
        assert f"{item.row['expected']}) right\n" in item.turns[0]
    assert (first[3].id, first[3].category) == ("rec3", "Physics")


def test_mmlu_pro_has_up_to_ten_options(tmp_path):
    row = {"question_id": 70, "question": "Which?", "answer": "J", "category": "law"}
    row["options"] = [f"o{n}" for n in range(10)]
    path = tmp_path / "test.json"
    path.write_text(json.dumps([row]))
    [item] = load_benchmark("mmlu_pro", path).items
    assert "J) o9" in item.turns[0]
    assert (item.id, item.category) == (70, "law")


def test_mmlu_pro_is_read_from_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    row = {"question_id": 1, "question": "Which?", "options": ["a", "b"], "answer": "B"}
    parquet.write_table(pa.Table.from_pylist([row]), tmp_path / "test.parquet")
    [item] = load_benchmark("mmlu_pro", tmp_path / "test.parquet").items
    assert item.row["expected"] == "B"
    (tmp_path / "bad.parquet").write_text("no")
    with pytest.raises(ValueError, match=r"bad\.parquet: not Parquet"):
        load_benchmark("mmlu_pro", tmp_path / "bad.parquet")


def test_ifeval_leaves_out_what_cannot_be_checked_and_says_so(tmp_path, monkeypatch):
    rows = [
        {
            "key": 1,
            "prompt": "No commas.",
            "instruction_id_list": ["punctuation:no_comma"],
            "kwargs": [{"num_words": None}],
        },
        {
            "key": 2,
            "prompt": "In French.",
            "instruction_id_list": ["language:response_language"],
            "kwargs": [{"language": "fr"}],
        },
    ]
    data = load_benchmark("ifeval", write_rows(tmp_path / "input_data.jsonl", rows))
    assert [item.id for item in data.items] == [1]
    assert (data.full_size, data.left_out) == (2, 1)
    monkeypatch.chdir(tmp_path)
    moa("eval", "generate", "-b", "ifeval", "--data", "input_data.jsonl", "-p", "offline")
    moa("eval", "judge", "out")
    labels = json.loads(moa("eval", "score", "out", "--json"))["systems"][0]["labels"]
    assert "without 1 of 2 items, which cannot be scored exactly" in labels


@pytest.mark.parametrize(
    ("name", "row", "cause"),
    [
        ("gsm8k", {"question": "q", "answer": "5"}, "has an `answer` with '####'"),
        ("math_500", {"problem": "q"}, "missing: answer"),
        ("gpqa", {"Question": "q"}, "missing: Correct Answer, Incorrect Answer 1"),
    ],
)
def test_a_file_of_another_format_is_refused(tmp_path, name, row, cause):
    with pytest.raises(ValueError, match=cause):
        load_benchmark(name, write_rows(tmp_path / "test.jsonl", [row]))


def test_a_benchmark_without_its_file_says_where_to_get_it():
    with pytest.raises(ValueError, match=r"gsm8k: give its file with --data .*grade-school-math"):
        load_benchmark("gsm8k")


def test_a_single_question_is_scored_and_its_lack_of_comparisons_is_told_once(folder):
    text = (folder / "plan.toml").read_text()
    text = text.replace("limit = 8", "limit = 1").replace(
        "[systems]\n", '[systems]\nmore = "recorded:good.jsonl"\n'
    )
    (folder / "plan.toml").write_text(text)
    moa("eval", "run", "plan.toml")
    assert moa("eval", "score", "out").count("not compared: expected at least 2 instructions") == 1
