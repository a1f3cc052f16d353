"""What is asked: the data of a benchmark, or a file of prompts."""

import hashlib
import http.server
import json
import os
import re
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from judged import ROWS

from moa_graph.evals.benchmarks.mt_bench.benchmark import MTBench
from moa_graph.evals.datasets import load_benchmark

EVALDATA = Path(os.environ.get("MOA_EVALDATA", Path(__file__).parents[3] / "shared" / "evaldata"))
needs_evaldata = pytest.mark.skipif(
    not EVALDATA.is_dir(), reason=f"the published data are not at {EVALDATA} (MOA_EVALDATA)"
)
QUESTIONS = "".join(
    json.dumps({"question_id": n, "category": "math", "turns": [f"q{n}", "and?"]}) + "\n"
    for n in range(81, 89)
)


@pytest.fixture
def upstream(tmp_path, monkeypatch):
    """A server that holds the pinned file; gives the requests that it saw."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder, asked = tmp_path / "upstream", []
    folder.mkdir()
    (folder / "question.jsonl").write_text(QUESTIONS)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args, **options):
            super().__init__(*args, directory=folder, **options)

        def log_message(self, *args):
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        pin = replace(
            MTBench.pinned_file,
            url=f"http://127.0.0.1:{server.server_port}/question.jsonl",
            sha256=hashlib.sha256(QUESTIONS.encode()).hexdigest(),
        )
        monkeypatch.setattr(MTBench, "pinned_file", pin)
        yield asked
        server.shutdown()


def test_data_are_downloaded_once_and_checked(upstream):
    first, second = load_benchmark("mt_bench"), load_benchmark("mt_bench")
    assert first == second
    assert len(upstream) == 1
    assert first.items[0].id == 81
    assert first.items[0].turns == ("q81", "and?")
    assert first.items[0].category == "math"
    assert first.revision == MTBench.pinned_file.revision
    assert first.sha256 == MTBench.pinned_file.sha256


def test_file_that_was_damaged_in_the_cache_is_fetched_again(upstream, tmp_path):
    load_benchmark("mt_bench")
    (cached,) = (tmp_path / "cache").rglob("question.jsonl")
    cached.write_text("x")
    assert len(load_benchmark("mt_bench").items) == 8
    assert len(upstream) == 2


def test_other_data_than_the_pinned_are_refused(upstream, tmp_path):
    (tmp_path / "upstream" / "question.jsonl").write_text(QUESTIONS.replace("and", "but"))
    with pytest.raises(ValueError, match=r"has changed: sha256 \w+, expected"):
        load_benchmark("mt_bench")
    assert not list((tmp_path / "cache").rglob("question.jsonl"))


def test_size_is_checked_where_no_hash_is_known(upstream, monkeypatch):
    pin = replace(MTBench.pinned_file, sha256=None, size=12)
    monkeypatch.setattr(MTBench, "pinned_file", pin)
    with pytest.raises(ValueError, match="expected 12"):
        load_benchmark("mt_bench")


def test_offline_it_says_what_to_fetch_and_where_to_put_it(upstream, tmp_path):
    (tmp_path / "upstream" / "question.jsonl").unlink()
    with pytest.raises(ValueError, match="404") as caught:
        load_benchmark("mt_bench")
    text = str(caught.value)
    assert text.startswith(MTBench.pinned_file.url)
    place = Path(text.rpartition("put it at ")[2])
    assert "--data" in text
    place.parent.mkdir(parents=True)
    place.write_text(QUESTIONS)
    assert len(load_benchmark("mt_bench").items) == 8


def test_local_file_is_used_and_known_to_be_another_one(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text(QUESTIONS)
    benchmark = load_benchmark("mt_bench", path)
    assert (benchmark.name, benchmark.source) == ("mt_bench", str(path))
    assert benchmark.revision is None
    assert (len(benchmark.items), benchmark.full_size) == (8, 80)


@pytest.mark.parametrize(
    ("name", "text", "turns"),
    [
        ("p.jsonl", '{"instruction": "a"}\n\n{"prompt": "b"}\n{"question": "c"}', ["a", "b", "c"]),
        ("p.jsonl", '{"turns": ["a", "b"], "id": "x"}\n', [("a", "b")]),
        ("p.json", '[{"instruction": "a", "id": 3}]', ["a"]),
        ("p.txt", "\ufeffa \n\nb\u2028c\n", ["a", "b\u2028c"]),
    ],
)
def test_prompts_of_ones_own(tmp_path, name, text, turns):
    (tmp_path / name).write_text(text, encoding="utf-8")
    benchmark = load_benchmark(tmp_path / name)
    assert [item.turns for item in benchmark.items] == [
        turn if isinstance(turn, tuple) else (turn,) for turn in turns
    ]
    assert (benchmark.name, benchmark.revision) == ("p", None)


def test_file_named_like_a_benchmark_is_none(tmp_path):
    (tmp_path / "flask.txt").write_text("a")
    assert load_benchmark(tmp_path / "flask.txt").name == "flask_file"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.jsonl", '{"instruction": "a"}\n{"text": "b"}', "line 2: expected `turns`.*keys text"),
        ("p.jsonl", "{", "line 1: not valid JSON"),
        ("p.jsonl", "[1]", "line 1: expected an object, got list"),
        ("p.json", "{}", "expected a list of rows, got dict"),
        ("p.json", "[]", "no prompt in it"),
        ("p.jsonl", '{"prompt": "  "}', "expected `turns`"),
        ("p.jsonl", '{"turns": ["a", 2]}', "expected `turns`"),
        ("p.jsonl", '{"id": 1, "prompt": "a"}\n{"id": 1, "prompt": "b"}', "id 1 occurs 2"),
        ("p.xml", "a,b", r"expected \.jsonl, \.json, \.csv, \.parquet or \.txt, got '\.xml'"),
        ("alpaca", None, "expected a file, or one of: alpaca_eval, mt_bench, flask"),
    ],
)
def test_mistakes_say_where_they_are(tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        load_benchmark(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("mt_bench", {"idx": 0, "instruction": "a"}, "missing: question_id, category, turns; got"),
        (
            "mt_bench",
            {"question_id": 0, "category": "math", "turns": ["a"]},
            r"`turns`: expected a list of two texts, as mt_bench has, got \['a'\]",
        ),
        (
            "alpaca_eval",
            {"question_id": 0, "category": "math", "turns": ["a", "b"]},
            "a row of alpaca_eval has instruction; missing: instruction; got the keys question_id",
        ),
        ("flask", {"instruction": "a", "output": "b"}, "missing: answer, skill; got"),
    ],
)
def test_data_of_another_benchmark_are_refused(tmp_path, evaluate, name, row, message):
    path = tmp_path / "data.jsonl"
    path.write_text(f"{json.dumps(ROWS[name][0])}\n{json.dumps(row)}\n")
    words = ("-b", name, "--data", path, "-p", "offline", "--out", tmp_path / "out")
    told = evaluate("generate", *words)
    assert told.returncode == 1
    assert re.search(f"data.jsonl, line 2: .*{message}", told.stderr)
    assert not (tmp_path / "out").exists()


def test_limit_spreads_over_the_file_and_a_multiple_takes_in_the_same(tmp_path):
    (tmp_path / "p.txt").write_text("\n".join(map(str, range(805))))
    few, more = (load_benchmark(tmp_path / "p.txt", limit=n).items for n in (5, 20))
    assert [item.id for item in few] == [0, 161, 322, 483, 644]
    assert set(few) < set(more)
    assert len(load_benchmark(tmp_path / "p.txt", limit=9999).items) == 805
    with pytest.raises(ValueError, match="`limit`=0"):
        load_benchmark(tmp_path / "p.txt", limit=0)


@needs_evaldata
def test_published_questions_of_mt_bench_are_the_pinned_ones():
    benchmark = load_benchmark("mt_bench", EVALDATA / "mtbench_question.jsonl")
    assert benchmark.revision == MTBench.pinned_file.revision
    assert [item.id for item in benchmark.items] == list(range(81, 161))
    assert {len(item.turns) for item in benchmark.items} == {2}


@needs_evaldata
def test_rows_of_flask_are_read():
    benchmark = load_benchmark("flask", EVALDATA / "flask_hard.jsonl")
    assert len(benchmark.items) == 89
    assert len(benchmark.items[0].row["skill"]) == 3
    assert benchmark.revision is None
