"""A judge without a language model, for demonstrations: it counts words.

It knows nothing of what an answer says. Its judgements let everything be tried without a key or
a network, and say nothing of the quality of a system; whatever they go into says so.
"""

import math
from collections.abc import Iterable

from langchain_core.messages import AIMessage

from moa_graph.evals.benchmarks.alpaca_eval.judge import AlpacaEval
from moa_graph.evals.benchmarks.alpaca_eval.score import FIRST, SECOND, is_switched
from moa_graph.evals.benchmarks.flask.judge import Flask
from moa_graph.evals.judging.cases import Case, Method
from moa_graph.models.offline import words

LABEL = "offline:overlap"


def judge(method: Method, case: Case) -> AIMessage:
    """Answer as a language model would, in the benchmark's own form.

    Against a reference answer it counts the words in common; else (and in AlpacaEval, where the
    reference is the opponent) those of the instruction that the answer takes up.
    """
    answer, asked = case.answers[case.turn - 1], case.item.turns[case.turn - 1]
    if isinstance(method, AlpacaEval):
        shown = [case.references[0], answer]
        if is_switched(asked):
            shown.reverse()
        return _choose(*(0.01 + _taken_up(asked, each) for each in shown))
    near = case.references[case.turn - 1 : case.turn]
    share = _in_common(near[0], answer) if near else _taken_up(asked, answer)
    if isinstance(method, Flask):
        return AIMessage(str(dict.fromkeys(case.item.row["skill"], 1 + round(4 * share))))
    return AIMessage(f"Words counted: [[{1 + 9 * share:.1f}]]")


def _choose(first: float, second: float) -> AIMessage:
    total = first + second
    logprobs = [
        {"token": token, "logprob": math.log(weight / total)}
        for token, weight in ((FIRST, first), (SECOND, second))
    ]
    token = max(logprobs, key=lambda each: float(str(each["logprob"])))["token"]
    metadata = {"logprobs": {"content": [{"token": token, "top_logprobs": logprobs}]}}
    return AIMessage(str(token), response_metadata=metadata)


def _taken_up(asked: str, answer: str) -> float:
    wanted = set(words(asked))
    return _share(wanted & set(words(answer)), wanted)


def _in_common(reference: str, answer: str) -> float:
    """Give F1 of the words."""
    both = set(words(reference)) & set(words(answer))
    return 2 * len(both) / (len(set(words(reference))) + len(set(words(answer))) or 1)


def _share(part: Iterable[str], whole: set[str]) -> float:
    return len(set(part)) / (len(whole) or 1)
