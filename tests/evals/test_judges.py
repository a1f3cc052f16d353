"""What judges are asked, and what is made of what they say."""

import asyncio
import json
import math

import pytest
from judged import (
    ALPACA_EVAL,
    FLASK,
    answered,
    judgements,
    judging,
    prefer,
    shown,
    weigh,
)

from moa_graph import Agent
from moa_graph.evals.benchmarks.alpaca_eval.score import is_switched
from moa_graph.evals.call_store import CallStore
from moa_graph.evals.judging.judge import Judge
from moa_graph.evals.judging.run import judge_system
from moa_graph.evals.judging.setup import JudgeFilePaths, prepare_judging


@pytest.fixture
def run(server):
    """Have a folder judged by the model `judge` of the server."""

    def run(folder, *, against=None, agent=None, by="judge", **options):
        named = agent or {"model": f"openai:{by}", "base_url": server.url, "max_retries": 0}
        chosen = Judge(Agent(**named), {"openai:judge": (1, 1)})
        task = prepare_judging(
            folder, chosen, files=JudgeFilePaths(own_prompt=True), against=against
        )
        with CallStore(folder.parent.parent / "ledger.sqlite") as ledger:
            return asyncio.run(judge_system(task, ledger, **options))

    return run


def test_preference_is_the_same_in_either_order(tmp_path, server, run):
    folder = answered(tmp_path, "alpaca_eval", lambda asked: f"good answer to {asked}")
    server.model("judge", reply="M", logprobs=prefer("good"))
    done = run(folder)
    assert (done.judged, done.failures) == (8, {})
    rows = judgements(folder)
    assert [row["preference"] for row in rows] == pytest.approx([1.9] * 8)
    assert {row["switched"] for row in rows} == {True, False}
    for call in server.calls:
        asked = call.messages[1]["content"].split("<request>\n")[1].split("\n")[0]
        first, second = shown(call.body)
        assert ("good" in first, "good" in second) == (is_switched(asked), not is_switched(asked))


def test_annotator_asks_for_one_token_and_its_probabilities(tmp_path, server, run):
    folder = answered(tmp_path, "alpaca_eval", lambda _: "a", rows=ALPACA_EVAL[:1])
    server.model("judge", reply="m", logprobs=lambda _: weigh(0.7, 0.2, The=0.1))
    run(folder)
    (call,) = server.calls
    sent = {key: call.body[key] for key in ("temperature", "max_tokens", "logprobs")}
    assert sent == {"temperature": 1.0, "max_tokens": 1, "logprobs": True}
    assert call.body["top_logprobs"] == 5
    assert [message["role"] for message in call.messages] == ["system", "user"]
    (row,) = judgements(folder)
    raw = 2 - 0.7 / 0.9
    assert row["preference"] == pytest.approx(3 - raw if row["switched"] else raw)
    assert row["logprobs"]["The"] == pytest.approx(-2.302585)
    assert (row["model_length"], row["reference_length"]) == (1, 11)


@pytest.mark.parametrize(
    ("tokens", "share"),
    [
        ({" m": 0.7, " M": 0.2}, 0.7 / 0.9),
        ({"▁m": 0.6, "▁M": 0.3}, 0.6 / 0.9),
        ({" m": 0.6, "m": 0.1, " M": 0.2, "M": 0.1}, 0.7),  # the likeliest has a space
        ({" M": 0.8, "m": 0.1}, 0.1 / 0.9),
        ({"The": 0.8, " m": 0.1}, 1),
        ({"m": 0.6, " M": 0.3}, 1),  # to the letter, as the published parser does
        ({"m": 0.6, "M": 0.2, " M": 0.1}, 0.6 / 0.8),
    ],
)
def test_space_before_the_first_token_is_ignored_where_the_judge_writes_one(
    tokens, share, tmp_path, server, run
):
    folder = answered(tmp_path, "alpaca_eval", lambda _: "a", rows=ALPACA_EVAL[:1])
    server.model("judge", reply="m", logprobs=lambda _: weigh(0, 0, **tokens))
    run(folder)
    (row,) = judgements(folder)
    raw = 2 - share
    assert row["preference"] == pytest.approx(3 - raw if row["switched"] else raw)


@pytest.mark.parametrize("first", ["<think>", "<", "Okay"])
def test_judge_that_thinks_is_told_of_the_text_verdict(first, tmp_path, server, run):
    folder = answered(tmp_path, "alpaca_eval", lambda _: "a", rows=ALPACA_EVAL[:1])
    server.model("judge", reply=first, logprobs=lambda _: weigh(0, 0, **{first: 0.9}))
    (told,) = run(folder).failures.values()
    assert "thinks or explains first, --text-verdict reads" in told


def test_identical_answers_are_a_tie_that_nobody_is_asked_for(tmp_path, server, run):
    folder = answered(tmp_path, "alpaca_eval", lambda asked: asked.replace("question", "reference"))
    done = run(folder)
    assert [row["preference"] for row in judgements(folder)] == [1.5] * 8
    assert (len(server.calls), done.progress.calls) == (0, 0)


def test_judge_that_names_neither_failed_and_is_asked_again(tmp_path, server, run):
    folder = answered(tmp_path, "alpaca_eval", lambda asked: f"good {asked}")

    def odd(body):
        return weigh(0, 0, Both=0.9) if "question 3" in str(body) else prefer("good")(body)

    server.model("judge", reply="Both", logprobs=odd)
    done = run(folder)
    assert done.judged == 7
    assert list(done.failures) == ["3"]
    assert "neither 'm' nor 'M' but 'Both'" in done.failures["3"]
    failed = judgements(folder)[3]
    assert "preference" not in failed
    assert failed["usage"]["total_tokens"] > 0, "it was paid for"
    assert judging(folder)["whole"] is False
    server.calls.clear()
    server.model("judge", reply="m", logprobs=prefer("good"))
    again = run(folder)
    assert (again.judged, again.failures) == (8, {})
    assert len(server.calls) == 1


def test_provider_without_logprobs_is_said_after_three_calls(tmp_path, server, run):
    folder = answered(tmp_path, "alpaca_eval", lambda asked: f"good {asked}")
    server.model("judge", reply="m")
    with pytest.raises(ValueError, match=r"openai:judge: the first 3 .* gave no logprobs"):
        run(folder, concurrency=8)
    assert len(server.calls) == 3


@pytest.mark.parametrize("position", [0, 2])
def test_one_judgement_without_logprobs_fails_alone(tmp_path, server, run, position):
    folder = answered(tmp_path, "alpaca_eval", lambda asked: f"good {asked}")

    def logprobs(body):
        return None if f"question {position}" in str(body) else prefer("good")(body)

    server.model("judge", reply="m", logprobs=logprobs)
    done = run(folder)
    assert (done.judged, list(done.failures)) == (7, [str(position)])
    assert "no logprobs" in done.failures[str(position)]


def test_probabilities_of_zero_are_no_judgement_and_stop_no_score(tmp_path, server, run):
    folder = answered(tmp_path, "alpaca_eval", lambda asked: f"good {asked}")

    def logprobs(body):
        if "question 2" not in str(body):
            return prefer("good")(body)
        tokens = [{"token": token, "logprob": -math.inf} for token in ("m", "M")]
        return {"content": [{"token": "m", "logprob": -math.inf, "top_logprobs": tokens}]}

    server.model("judge", reply="m", logprobs=logprobs)
    done = run(folder)
    assert (done.judged, list(done.failures)) == (7, ["2"])
    assert "named neither" in done.failures["2"]


def test_judge_that_breaks_after_its_first_judgement_fails_item_by_item(tmp_path, server, run):
    folder = answered(tmp_path, "alpaca_eval", lambda asked: f"good {asked}")
    server.model("judge", reply="m", logprobs=prefer("good"), faults=[None, *[500] * 7])
    done = run(folder)
    assert (done.judged, len(done.failures)) == (1, 7)


def test_failures_of_several_kinds_do_not_stop_a_judging(tmp_path, server, run):
    folder = answered(tmp_path, "alpaca_eval", lambda asked: f"good {asked}")
    faults = ["malformed", "no choices", "reset", 500]
    server.model("judge", reply="m", logprobs=prefer("good"), faults=faults)
    done = run(folder)
    assert (done.judged, len(done.failures)) == (4, 4)


@pytest.mark.parametrize("first", ["good", "reference"])  # the reference's own answer is a tie
def test_judge_without_logprobs_replaces_no_judgements(tmp_path, server, run, first):
    answers = {"question 0": f"{first} 0"}
    folder = answered(tmp_path, "alpaca_eval", lambda asked: answers.get(asked, "good"))
    server.model("judge", reply="m", logprobs=prefer("good"))
    run(folder)
    before = judgements(folder), judging(folder)
    server.model("other", reply="m")
    with pytest.raises(ValueError, match="gave no logprobs"):
        run(folder, by="other", concurrency=1)
    assert (judgements(folder), judging(folder)) == before


def test_judge_that_refuses_everything_replaces_no_judgements(tmp_path, server, run):
    folder = answered(tmp_path, "mt_bench", lambda _: "a")
    server.model("judge", reply="[[5]]")
    run(folder)
    before = judgements(folder), judging(folder)
    server.model("other", always=403)
    with pytest.raises(ValueError, match="openai:other: the first 3 failed alike"):
        run(folder, by="other")
    assert len(server.calls_of("other")) == 3
    assert (judgements(folder), judging(folder)) == before
    server.model("other", reply="[[6]]", faults=[403])
    assert run(folder, by="other", concurrency=1).judged == 3
    assert judging(folder)["judge"]["model"] == "openai:other"


@pytest.mark.parametrize("fault", ["malformed", "no choices", "content filter", "empty", 500, 400])
def test_refused_and_broken_judgements_are_failures_and_asked_again(tmp_path, server, run, fault):
    folder = answered(tmp_path, "mt_bench", lambda _: "a")
    server.model("judge", reply="[[5]]", faults=[fault, None, fault])
    done = run(folder, concurrency=1)
    assert (done.judged, len(done.failures)) == (2, 2)
    assert [row["error"] is None for row in judgements(folder)] == [False, True, False, True]
    before = len(server.calls)
    again = run(folder)
    assert (again.judged, len(server.calls) - before) == (4, 2)


def test_another_system_can_be_the_opponent(tmp_path, server, run):
    other = answered(tmp_path, "alpaca_eval", lambda _: "weak", name="other")
    folder = answered(tmp_path, "alpaca_eval", lambda _: "good")
    server.model("judge", reply="m", logprobs=prefer("good"))
    done = run(folder, against=other)
    assert [row["preference"] for row in judgements(folder)] == pytest.approx([1.9] * 8)
    assert "compared with other, not with the benchmark's reference" in done.labels


def test_both_turns_are_rated_and_math_sees_the_reference(tmp_path, server, run):
    folder = answered(tmp_path, "mt_bench", lambda asked: f"answer to {asked!r}")
    server.model("judge", reply=lambda body: f"So. [[{7 if 'write' in str(body) else 4.5}]]")
    done = run(folder)
    assert (done.judged, done.failures) == (4, {})
    rows = judgements(folder)
    assert [(row["id"], row["turn"], row["prompt"], row["score"]) for row in rows] == [
        (81, 1, "single-v1", 7),
        (81, 2, "single-v1-multi-turn", 7),
        (101, 1, "single-math-v1", 4.5),
        (101, 2, "single-math-v1-multi-turn", 4.5),
    ]
    asked = {call.messages[-1]["content"]: call.body for call in server.calls}
    assert {(body["temperature"], body["max_tokens"]) for body in asked.values()} == {(0.0, 2048)}
    second = next(text for text in asked if "it is four" in text)
    for part in ("it is two", "1 + 1", "answer to '1 + 1'", "2 + 2", "answer to '2 + 2'"):
        assert part in second
    first = next(text for text in asked if "it is two" in text and "it is four" not in text)
    assert "2 + 2" not in first
    assert not any("it is two" in text for text in asked if "write" in text)


def test_judgement_without_a_rating_is_a_failure_not_a_score(tmp_path, server, run):
    folder = answered(tmp_path, "mt_bench", lambda asked: f"answer to {asked!r}")
    server.model("judge", reply=lambda b: "I cannot judge." if "it is four" in str(b) else "[[8]]")
    done = run(folder)
    assert list(done.failures) == ["101, turn 2"]
    assert "no rating" in done.failures["101, turn 2"]
    assert "score" not in judgements(folder)[3]


def test_flask_asks_for_three_skills_with_the_reference_at_hand(tmp_path, server, run):
    folder = answered(tmp_path, "flask", lambda asked: f"answer to {asked}")
    review = "Fine.\n{'Logical_Correctness': 4,\n 'Factuality': 'N/A', 'Readability': 5}"
    server.model("judge", reply=review)
    done = run(folder)
    assert (done.judged, done.failures) == (2, {})
    assert judgements(folder)[0]["scores"] == {
        "correctness": 4,
        "factuality": None,
        "readability": 5,
    }
    asked = server.calls[0].messages[1]["content"]
    for part in ("Logical Correctness:", "Factuality:", "Readability:", "the truth", "answer to"):
        assert part in asked
    assert "Harmlessness" not in asked
    assert not {"temperature", "max_tokens"} & server.calls[0].body.keys(), "as published"


def test_review_without_scores_is_a_failure(tmp_path, server, run):
    folder = answered(tmp_path, "flask", lambda asked: f"answer to {asked}")
    server.model(
        "judge", reply=lambda b: "All good." if "truth 1" in str(b) else "{'Factuality': 3}"
    )
    done = run(folder)
    assert list(done.failures) == ["1"]
    assert done.judged == 1


def test_what_answers_contain_is_no_template(tmp_path, server, run):
    rows = [{**FLASK[0], "instruction": "say {response} {skills} {sample_answer}"}]
    folder = answered(tmp_path, "flask", lambda _: "{question} {{x}}", rows=rows)
    server.model("judge", reply="{'Factuality': 3}")
    run(folder)
    asked = server.calls[0].messages[1]["content"]
    assert "say {response} {skills} {sample_answer}" in asked
    assert "{question} {{x}}" in asked


def test_no_further_judgement_is_begun_when_the_money_is_spent(tmp_path, server, run):
    folder = answered(tmp_path, "alpaca_eval", lambda asked: f"good {asked}")
    server.model("judge", reply="m", logprobs=prefer("good"))
    done = run(folder, concurrency=1, max_cost=0.0001)
    assert done.progress.stopped
    assert 0 < done.judged < 8
    assert any("judgements are missing" in label for label in done.labels)
    whole = run(folder)
    assert whole.judged == 8
    assert len(server.calls) == 8


def test_same_answers_of_two_systems_are_judged_once(tmp_path, server, run):
    first = answered(tmp_path, "mt_bench", lambda _: "same")
    second = answered(tmp_path, "mt_bench", lambda _: "same", name="other")
    server.model("judge", reply="[[5]]")
    run(first)
    run(second)
    assert len(server.calls) == 4
    assert judgements(second)[0]["usage"]["total_tokens"] > 0


def test_manifest_names_judge_prompt_and_data(tmp_path, server, run):
    folder = answered(tmp_path, "mt_bench", lambda _: "a")
    server.model("judge", reply="[[5]]")
    run(folder)
    manifest = judging(folder)
    assert manifest["judge"]["model"] == "openai:judge"
    assert manifest["judge"]["official"] is False
    assert manifest["judge"]["base_url"] == server.url
    assert manifest["reads"]["prompt"]["kind"] == "own"
    assert len(manifest["reads"]["prompt"]["sha256"]) == 64
    assert manifest["data"]["sha256"]
    assert manifest["items"]["judged"] == 4
    assert "own prompt, not the benchmark's" in manifest["labels"]
    assert "partial: 2 of 80 answered" in manifest["labels"]
    assert json.dumps(manifest).count("none") == 0  # the key that keyless servers are sent
