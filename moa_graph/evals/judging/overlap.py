"""A judge without a language model, for demonstrations: it counts words.

It knows nothing of what an answer says. Its judgements let everything be tried without a key or
a network, and say nothing of the quality of a system; whatever they go into says so.
"""

import math
from collections.abc import Iterable

from langchain_core.messages import AIMessage

from moa_graph.evals.benchmarks.alpaca_eval.judge import AlpacaEvalMethod
from moa_graph.evals.benchmarks.alpaca_eval.score import FIRST, SECOND, is_switched
from moa_graph.evals.benchmarks.flask.judge import FlaskMethod
from moa_graph.evals.judging.cases import JudgementCase, JudgingMethod
from moa_graph.models.offline import stem_words

OVERLAP_LABEL = "offline:overlap"


def judge_by_overlap(method: JudgingMethod, case: JudgementCase) -> AIMessage:
    """Answer as a language model would, in the benchmark's own form.

    Against a reference answer it counts the words in common; else (and in AlpacaEval, where the
    reference is the opponent) those of the instruction that the answer takes up.
    """
    answer, instruction = case.answers[case.turn - 1], case.item.turns[case.turn - 1]
    if isinstance(method, AlpacaEvalMethod):
        outputs = [case.references[0], answer]
        if is_switched(instruction):
            outputs.reverse()
        return _choice_message(*(0.01 + _covered_share(instruction, each) for each in outputs))
    reference = case.references[case.turn - 1 : case.turn]
    share = _word_f1(reference[0], answer) if reference else _covered_share(instruction, answer)
    if isinstance(method, FlaskMethod):
        return AIMessage(str(dict.fromkeys(case.item.row["skill"], 1 + round(4 * share))))
    return AIMessage(f"Words counted: [[{1 + 9 * share:.1f}]]")


def _choice_message(first: float, second: float) -> AIMessage:
    total = first + second
    logprobs = [
        {"token": token, "logprob": math.log(weight / total)}
        for token, weight in ((FIRST, first), (SECOND, second))
    ]
    token = max(logprobs, key=lambda each: float(str(each["logprob"])))["token"]
    metadata = {"logprobs": {"content": [{"token": token, "top_logprobs": logprobs}]}}
    return AIMessage(str(token), response_metadata=metadata)


def _covered_share(instruction: str, answer: str) -> float:
    wanted = set(stem_words(instruction))
    return _share_of(wanted & set(stem_words(answer)), wanted)


def _word_f1(reference: str, answer: str) -> float:
    """Give F1 of the words."""
    both = set(stem_words(reference)) & set(stem_words(answer))
    return 2 * len(both) / (len(set(stem_words(reference))) + len(set(stem_words(answer))) or 1)


def _share_of(part: Iterable[str], whole: set[str]) -> float:
    return len(set(part)) / (len(whole) or 1)
