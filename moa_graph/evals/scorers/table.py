"""The table of built-in scorers. Add new ones here."""

from collections.abc import Mapping

from moa_graph.evals.scorers.code import PythonCode
from moa_graph.evals.scorers.function import load_function
from moa_graph.evals.scorers.ifeval import InstructionFollowing
from moa_graph.evals.scorers.json_fields import JSONFields
from moa_graph.evals.scorers.math import MathAnswer
from moa_graph.evals.scorers.numbers import LastNumber
from moa_graph.evals.scorers.protocol import Scorer
from moa_graph.evals.scorers.text import ExactMatch, MultipleChoice, RegularExpression

SCORERS: Mapping[str, Scorer] = {
    each.name: each
    for each in (
        ExactMatch(),
        LastNumber(),
        MultipleChoice(),
        RegularExpression(),
        JSONFields(),
        MathAnswer(),
        InstructionFollowing(),
        PythonCode(),
    )
}
SCORER_PREFIX = "scorer:"
"""Prefix of a scorer's name that replaces a judge."""


def find_scorer(name: str) -> Scorer:
    """Return a scorer by its name, or import `module:function`.

    Raises:
        ValueError: If there is none.
    """
    if name in SCORERS:
        return SCORERS[name]
    if ":" in name:
        return load_function(name)
    raise ValueError(f"scorer {name!r}: expected one of {', '.join(SCORERS)}, or module:function")


def read_scorer_name(label: str) -> str | None:
    """Return the name of a scorer from a judge's label; `None` for a judge."""
    return label.removeprefix(SCORER_PREFIX) if label.startswith(SCORER_PREFIX) else None
