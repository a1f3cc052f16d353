"""Scores of FLASK: skills from a judge's review, and their means."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from moa_graph.evals.columns import check_aligned

SKILLS = (
    "robustness",
    "correctness",
    "efficiency",
    "factuality",
    "commonsense",
    "comprehension",
    "insightfulness",
    "completeness",
    "metacognition",
    "readability",
    "conciseness",
    "harmlessness",
)
"""Short names of the skills in the benchmark's order: "Logical Robustness" is `robustness`."""
SKILLS_ASKED = 3
"""Number of skills in a review."""
UNLABELLED = "-1"
"""Value of a missing domain or difficulty in the benchmark's data."""

Scores = Mapping[str, float | None]
"""Scores from 1 to 5 by skill; `None` if the judge found a skill not applicable."""

_DICTIONARY = re.compile(r"{[^}]+}")
_NOT_APPLICABLE = ("na", "n/a", "not applicable")
_LOWEST, _HIGHEST = 1, 5


@dataclass(frozen=True)
class FlaskScore:
    """Mean scores from 1 to 5; entries without a score are left out."""

    skills: Mapping[str, float]
    """Means by skill, in the order of `SKILLS`."""
    domains: Mapping[str, float]
    """Means by domain over all skills; an instruction of two domains counts in both."""
    difficulties: Mapping[str, float]
    """Means by difficulty over all skills."""
    scored: int
    """Number of scores."""
    not_applicable: int
    """Number of skills that the judge found not applicable."""
    failures: int
    """Number of reviews without a valid score."""
    incomplete: int
    """Number of reviews with only some valid scores."""


def parse_review(review: str) -> dict[str, float | None]:
    """Parse the scores at the end of a review, from its last Python dictionary.

    Returns:
        Scores by short name of the skill. Unknown skills and invalid scores are left out.
    """
    scores: dict[str, float | None] = {}
    for name, value in _last_dictionary(review).items():
        skill = _short_name(str(name))
        if skill not in SKILLS:
            continue
        if value in _NOT_APPLICABLE:
            scores[skill] = None
            continue
        with suppress(TypeError, ValueError, OverflowError):
            if _LOWEST <= (score := float(value)) <= _HIGHEST:
                scores[skill] = score
    return scores


def read_official_scores(review: str) -> dict[Any, Any]:
    """Parse the scores in the form that FLASK's code writes to its files of reviews.

    Returns:
        The last dictionary of the review in lower case, with unchanged names and scores, and `N/A`
        for skills that are not applicable.
    """
    scores = _last_dictionary(review)
    return {name: "N/A" if value in _NOT_APPLICABLE else value for name, value in scores.items()}


def flask_score(
    scores: Sequence[Scores], domains: Sequence[Sequence[str]], difficulties: Sequence[str]
) -> FlaskScore:
    """Average scores by skill, by domain and by difficulty.

    Args:
        scores: Result of `parse_review` for each instruction.
        domains: Domains of each instruction.
        difficulties: Difficulty of each instruction.

    Raises:
        ValueError: If the columns have different lengths, or domains are not lists.
    """
    check_aligned(scores=scores, domains=domains, difficulties=difficulties)
    _check_domains(domains)
    values = [[score for score in each.values() if score is not None] for each in scores]
    skills = _mean_by_group((skill, [score]) for each in scores for skill, score in each.items())
    scored = sum(map(len, values))
    return FlaskScore(
        skills={skill: skills[skill] for skill in SKILLS if skill in skills},
        domains=_mean_by_group(
            (name, row) for names, row in zip(domains, values, strict=True) for name in names
        ),
        difficulties=_mean_by_group(zip(difficulties, values, strict=True)),
        scored=scored,
        not_applicable=sum(map(len, scores)) - scored,
        failures=sum(not each for each in scores),
        incomplete=sum(0 < len(each) < SKILLS_ASKED for each in scores),
    )


def _check_domains(domains: Sequence[Sequence[str]]) -> None:
    if texts := [domain for domain in domains if isinstance(domain, str)]:
        raise ValueError(f"`domains`: expected a list for each instruction, got {texts[0]!r}")


def _last_dictionary(review: str) -> dict[Any, Any]:
    # Cutting after the last brace makes the search linear for any text.
    dictionaries = _DICTIONARY.findall(review[: review.rfind("}") + 1])
    return _read_dictionary(dictionaries[-1] if dictionaries else "")


def _read_dictionary(text: str) -> dict[Any, Any]:
    with suppress(SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        parsed = ast.literal_eval(text.replace("\n", "").replace("_", " ").lower())
        return parsed if isinstance(parsed, dict) else {}
    return {}


def _short_name(skill: str) -> str:
    words = [word for word in skill.split() if word != "logical"]
    return words[0] if words else ""


def _mean_by_group(groups: Iterable[tuple[str, Iterable[float | None]]]) -> dict[str, float]:
    """Average the pooled scores of each group."""
    pooled = defaultdict[str, list[float]](list)
    for name, scores in groups:
        pooled[name] += [score for score in scores if score is not None]
    return {name: fmean(pool) for name, pool in pooled.items() if pool and name != UNLABELLED}
