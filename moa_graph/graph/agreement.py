"""Agreement of the proposals of a layer."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from typing_extensions import TypedDict  # pydantic needs it on Python 3.11

from moa_graph.graph.state import Proposal
from moa_graph.prompting.exact_answers import MAX_ANSWER_CHARS, read_exact_answers
from moa_graph.prompting.wording import measure_likeness

AgreementMethod = Literal["vote", "wording"]

_TOLERANCE = 1e-9  # rounding of floats
_MAX_MEASURED = 32  # cached layers


class Dissent(TypedDict):
    """One of several different answers, and the nodes for and against it.

    Attributes:
        claim: The answer as the first of these nodes wrote it; a long text is shortened.
        nodes: Nodes with this answer.
        against: Nodes with another answer.
    """

    claim: str
    nodes: list[str]
    against: list[str]


class LayerAgreement(TypedDict):
    """Agreement of the proposals of a layer.

    Attributes:
        figure: A number from 0 to 1. With `vote`, the share of proposals with the most frequent
            answer; with `wording`, the share of common words, over all pairs of proposals, and at
            most the share of common numbers.
        method: `vote` if most proposals are an answer that can be compared exactly: a number, a
            choice, a label, a short phrase. `wording` for prose; it ignores the meaning.
        dissent: The different answers, most frequent first, with `vote`; empty if all agree.
    """

    figure: float
    method: AgreementMethod
    dissent: list[Dissent]


@dataclass(frozen=True)
class Agreement:
    """The function that `agreement` returns."""

    threshold: float

    def __call__(self, proposals: Sequence[Proposal]) -> tuple[bool, str]:
        """Return whether proposals agree, and why."""
        texts = {str(number): each["content"] for number, each in enumerate(proposals)}
        measured = measure_agreement(texts)
        if measured is None:
            return False, "a single proposal, which cannot agree with others"
        figure = measured["figure"]
        is_enough = figure >= self.threshold - _TOLERANCE
        relation = "at least" if is_enough else "below"
        return is_enough, f"agreement {_round_down(figure):.2f}, {relation} {self.threshold:g}"


def agreement(threshold: float = 0.9) -> Agreement:
    r"""Create a function that decides whether the proposals of a layer agree.

    Answers that can be compared exactly (a number, a choice, a label, a short phrase) count as
    votes: the figure is the share of the most frequent answer. `42`, `It is 42.` and `The answer is
    42.` are the same answer. A longer text counts with the answer at its end (`The answer is 42.`,
    `\boxed{42}`); a text without one counts as an answer of its own.

    For prose, the figure is the share of common words of two proposals (of pairs of characters in
    scripts without spaces), and at most the share of common numbers. This measures wording and not
    meaning: good answers in different words rarely exceed 0.6, and two texts that differ in one
    "not" come close to 1. To compare prose by its meaning, use a decision model.

    Args:
        threshold: Figure at which proposals count as agreeing, above 0 and at most 1.

    Returns:
        A pure function of proposals for `create_moa(early_stop=...)`. It returns whether they agree
        and why.

    Raises:
        ValueError: If the threshold is not such a number.

    Example:
        ```python
        moa = create_moa([["offline:lead", "offline:bm25"]] * 3, "offline:consensus",
                         early_stop=agreement(0.9))
        ```
    """
    return Agreement(check_threshold("threshold", threshold))


def check_threshold(name: str, threshold: Any) -> float:
    """Check that a value is a valid agreement threshold.

    Raises:
        ValueError: If it is not.
    """
    is_number = isinstance(threshold, (int, float)) and not isinstance(threshold, bool)
    if not is_number or not 0 < threshold <= 1:
        raise ValueError(
            f"`{name}`={threshold!r}: expected a number above 0 and at most 1, such as 0.9"
        )
    return float(threshold)


def measure_agreement(texts: Mapping[str, str]) -> LayerAgreement | None:
    """Measure how far texts agree.

    Args:
        texts: The answers, keyed by node.

    Returns:
        The agreement and the dissent; `None` for fewer than two texts.
    """
    if len(texts) < 2:  # noqa: PLR2004  # one agrees with nobody
        return None
    measured = _measure_texts(tuple(texts.values()))
    dissent = _list_dissent(list(texts), measured.keys, measured.claims) if measured.keys else []
    return {"figure": measured.figure, "method": measured.method, "dissent": dissent}


class _MeasuredTexts(NamedTuple):
    figure: float
    method: AgreementMethod
    keys: Sequence[str] = ()
    """With `vote`: normalized answers that can be compared."""
    claims: Sequence[str] = ()
    """The answers in their original form."""


@lru_cache(maxsize=_MAX_MEASURED)
def _measure_texts(texts: tuple[str, ...]) -> _MeasuredTexts:
    """Measure texts, cached because a decision and the run summary both need the result."""
    answers = read_exact_answers(texts)
    if 2 * sum(answer is not None for answer in answers) <= len(texts):
        return _MeasuredTexts(round(measure_likeness(texts), 4), "wording")
    keys = [a.key if a else f"{number}\n" for number, a in enumerate(answers)]
    claims = [a.text if a else text for text, a in zip(texts, answers, strict=True)]
    figure = max(map(keys.count, keys)) / len(keys)
    return _MeasuredTexts(round(figure, 4), "vote", keys, claims)


def _list_dissent(
    nodes: Sequence[str], keys: Sequence[str], claims: Sequence[str]
) -> list[Dissent]:
    """List the different answers; empty if all agree."""
    distinct = sorted(dict.fromkeys(keys), key=keys.count, reverse=True)
    if len(distinct) == 1:
        return []
    return [
        Dissent(
            claim=_shorten(claims[keys.index(key)]),
            nodes=[node for node, held in zip(nodes, keys, strict=True) if held == key],
            against=[node for node, held in zip(nodes, keys, strict=True) if held != key],
        )
        for key in distinct
    ]


def _shorten(claim: str) -> str:
    line = " ".join(claim[: 2 * MAX_ANSWER_CHARS].split())
    return line if len(line) <= MAX_ANSWER_CHARS else f"{line[: MAX_ANSWER_CHARS - 1]}…"


def _round_down(figure: float) -> float:
    """Round down, so that a figure below a threshold is not shown as equal to it."""
    return math.floor(figure * 100 + _TOLERANCE) / 100
