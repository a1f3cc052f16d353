"""Judgements in the formats of the benchmarks' own tools."""

import asyncio
import json

import pytest
from judged import FLASK, answered, judgements, prefer

from moa_graph import Agent
from moa_graph.evals.call_store import CallStore
from moa_graph.evals.judging.judge import Judge
from moa_graph.evals.judging.run import judge_system
from moa_graph.evals.judging.setup import JudgeFilePaths, prepare_judging


@pytest.fixture
def run(server):
    """Have a folder judged by the model `org/judge` of the server."""

    def run(folder, against=None):
        agent = Agent(model="openai:org/judge", base_url=server.url, max_retries=0)
        task = prepare_judging(
            folder, Judge(agent), files=JudgeFilePaths(own_prompt=True), against=against
        )
        with CallStore(folder.parent.parent / "ledger.sqlite") as call_store:
            return asyncio.run(judge_system(task, call_store))

    return run


def test_annotations_are_those_that_alpaca_eval_reads(tmp_path, server, run):
    folder = answered(tmp_path, "alpaca_eval", lambda asked: f"good answer to {asked}")
    server.model("org/judge", reply="m", logprobs=prefer("good"), faults=[None, 500])
    run(folder)
    annotations = json.loads((folder / "annotations.json").read_text())
    preferences = [row["preference"] for row in judgements(folder) if row["error"] is None]
    assert [each["preference"] for each in annotations] == preferences
    assert len(annotations) == 7
    first = annotations[0]
    assert first["raw_completion"].keys() == {"m", "M"}
    del first["raw_completion"], first["preference"]
    assert first == {
        "instruction": "question 0",
        "output_1": "reference 0",
        "generator_1": "r",
        "dataset": "d",
        "output_2": "good answer to question 0",
        "generator_2": "mine",
        "annotator": "openai:org/judge",
    }


def test_annotations_name_the_other_system(tmp_path, server, run):
    other = answered(tmp_path, "alpaca_eval", lambda _: "weak", name="other")
    folder = answered(tmp_path, "alpaca_eval", lambda _: "good")
    server.model("org/judge", reply="m", logprobs=prefer("good"))
    run(folder, against=other)
    annotations = json.loads((folder / "annotations.json").read_text())
    assert {(each["generator_1"], each["output_1"]) for each in annotations} == {("other", "weak")}


def test_ratings_are_those_that_fastchat_reads(tmp_path, server, run):
    folder = answered(tmp_path, "mt_bench", lambda asked: f"answer to {asked}")
    server.model("org/judge", reply="So. [[7]]")
    run(folder)
    lines = (folder / "org-judge_single.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [(row["question_id"], row["turn"], row["score"]) for row in rows] == [
        (81, 1, 7),
        (81, 2, 7),
        (101, 1, 7),
        (101, 2, 7),
    ]
    assert rows[0]["judge"] == ["org/judge", "single-v1"]
    assert (rows[0]["model"], rows[0]["judgment"]) == ("mine", "So. [[7]]")
    sent = {call.messages[-1]["content"] for call in server.calls}
    assert {row["user_prompt"] for row in rows} == sent
    assert rows[0]["tstamp"] > 0


REVIEW = "So: {'Logical Correctness': 3, 'Factuality': 'N/A', 'Readability': 5}"


def test_reviews_are_those_that_flask_reads(tmp_path, server, run):
    folder = answered(tmp_path, "flask", lambda asked: f"answer to {asked}")
    server.model("org/judge", reply=REVIEW)
    run(folder)
    lines = (folder / "mine_review.jsonl").read_text().splitlines()
    first, second = (json.loads(line) for line in lines)
    # What gpt4_eval.py writes, and what the three aggregate_*.py read.
    assert first["score"] == {"logical correctness": 3, "factuality": "N/A", "readability": 5}
    assert (first["review"], first["target_txt"]) == (REVIEW, "answer to instruction 0")
    assert first["total_tokens_step4"] == judgements(folder)[0]["usage"]["total_tokens"]
    assert (first["question_id"], second["question_id"]) == (0, 1)
    assert (first["text"], first["answer"]) == ("instruction 0", "the truth 0")
    assert first["metrics"] == first["skill"] == FLASK[0]["skill"]
    assert first["domain_labeled"] == ["Math"]
    assert first["difficulty_labeled"] == "expert level knowledge"
